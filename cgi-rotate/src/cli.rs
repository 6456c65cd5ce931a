//! The program by hand: a file in, a file out.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Parser;
use model::exit::EXIT_HELP;

use crate::limits::Limits;
use crate::params::{self, Answer, Filter, Format, Params};
use crate::picture::PADDING;
use crate::refusal::Refusal;
use crate::work::{self, Source};

const CGI_HELP: &str = "Under a web server (or with REQUEST_METHOD or GATEWAY_INTERFACE set) the \
program is a CGI/1.1 script instead: GET takes the same names in QUERY_STRING, with image=NAME for \
a file below $CGI_ROTATE_IMAGES (image=test, the default, is the built-in picture) and \
reply=picture or reply=summary; POST takes the image as its body. The reply carries Content-Length \
and X-Content-CRC32. $CGI_ROTATE_MAX_PIXELS, $CGI_ROTATE_MAX_BODY and $CGI_ROTATE_MAX_MEMORY \
(bytes) are its limits.";

/// Rotates a picture; the canvas grows to hold all of it.
#[derive(Debug, Parser)]
#[command(version, after_help = format!("{CGI_HELP}\n\n{EXIT_HELP}"))]
pub struct Cli {
    /// PNG, JPEG or PNM file, - for standard input; without it the built-in test picture
    pub file: Option<PathBuf>,
    /// Degrees clockwise, any real number
    #[arg(long, value_parser = params::angle, allow_negative_numbers = true)]
    pub angle: f64,
    /// Width in pixels before the turn: of the test picture, or what a file is scaled to
    #[arg(long, value_parser = |v: &str| params::side("width", v))]
    pub width: Option<u32>,
    /// Height in pixels before the turn
    #[arg(long, value_parser = |v: &str| params::side("height", v))]
    pub height: Option<u32>,
    /// png, jpeg or ppm; by default as the output's name ends, else png
    #[arg(long, value_parser = params::format)]
    pub format: Option<Format>,
    /// Colour around the picture: rrggbb in hexadecimal, or a name such as white
    #[arg(long, value_parser = params::colour, default_value = "black")]
    pub background: [u8; 3],
    /// nearest, bilinear or bicubic
    #[arg(long, value_parser = params::filter, default_value = "bilinear")]
    pub filter: Filter,
    /// picture, or summary: do all the work, then print its size and checksum only
    #[arg(long, value_parser = params::answer, default_value = "picture")]
    pub reply: Answer,
    /// File to write; without it standard output
    #[arg(long, short)]
    pub output: Option<PathBuf>,
}

impl Cli {
    fn params(&self) -> Params {
        let extension = self.output.as_deref().and_then(Path::extension).and_then(|e| e.to_str());
        let named = extension.and_then(|e| params::format(&e.to_ascii_lowercase()).ok());
        Params {
            angle: self.angle,
            width: self.width,
            height: self.height,
            image: None,
            format: self.format.or(named).unwrap_or(Format::Png),
            background: self.background,
            filter: self.filter,
            answer: self.reply,
        }
    }
}

/// Rotates as the command line says. By hand there are no limits but a side's longest.
///
/// # Errors
/// What was wrong with the file, or why it could not be read or written.
pub fn run(cli: &Cli) -> Result<(), Refusal> {
    if cli.output.is_none() && cli.reply == Answer::Picture && io::stdout().is_terminal() {
        let text = "the picture would fill the terminal: name a file with --output, or redirect";
        return Err(Refusal::BadRequest(text.into()));
    }
    let source = match &cli.file {
        None => Source::Pattern,
        Some(path) => Source::File(load(path)?),
    };
    let limits = Limits { pixels: u64::MAX, body: u64::MAX, memory: u64::MAX };
    let outcome = work::run(&cli.params(), source, &limits)?;
    let (name, written) = match &cli.output {
        Some(path) => (path.display().to_string(), fs::write(path, outcome.body)),
        None => ("standard output".into(), print(&outcome.body)),
    };
    written.map_err(|e| Refusal::Server(format!("cannot write {name}: {e}")))
}

fn load(path: &Path) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|mut file| {
            bytes.reserve_exact(file.metadata()?.len() as usize + PADDING);
            file.read_to_end(&mut bytes)
        })
    };
    match read {
        Ok(_) => Ok(bytes),
        Err(e) => Err(Refusal::BadRequest(format!("cannot read {}: {e}", path.display()))),
    }
}

fn print(bytes: &[u8]) -> io::Result<()> {
    unbuffered_output()?.write_all(bytes)
}

/// Standard output without the line buffer, which would search megabytes of pixels for newlines.
///
/// # Errors
/// Where the descriptor cannot be duplicated.
pub fn unbuffered_output() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

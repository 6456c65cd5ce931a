//! The program by hand: a file in, a file out.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Parser;
use manual::Manual;
use model::exit::example;
use model::outfile::OutFile;
use model::print;

use crate::limits::Limits;
use crate::params::{self, Answer, Filter, Format, Params};
use crate::picture::{PADDING, reserve};
use crate::refusal::Refusal;
use crate::work::{Prepared, Source};

const CGI_HELP: &str = "Under a web server (or with REQUEST_METHOD or GATEWAY_INTERFACE set) the \
program is a CGI/1.1 script instead: GET takes the same names in QUERY_STRING, with image=NAME for \
a file below $CGI_ROTATE_IMAGES (image=test, the default, is the built-in picture) and \
reply=picture or reply=summary; POST takes the image as its body. The reply carries Content-Length \
and X-Content-CRC32. $CGI_ROTATE_MAX_PIXELS, $CGI_ROTATE_MAX_BODY and $CGI_ROTATE_MAX_MEMORY \
(bytes) are its limits.";

/// Rotates a picture; the canvas grows to hold all of it.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = format!("{CGI_HELP}\n\n{}", example("cgi-rotate --angle 20 photo.jpg -o turned.png"))
)]
pub struct Cli {
    #[command(subcommand)]
    manual: Option<Manual>,
    /// PNG, JPEG or PNM file, - for standard input; without it the built-in test picture
    pub file: Option<PathBuf>,
    /// Degrees clockwise, any real number
    #[arg(long, required = true, value_parser = params::angle, allow_hyphen_values = true)]
    pub angle: Option<f64>,
    /// Width in pixels before the turn: of the test picture, or what a file is scaled to
    #[arg(long, value_parser = |v: &str| params::side("width", v))]
    pub width: Option<u32>,
    /// Height in pixels before the turn
    #[arg(long, value_parser = |v: &str| params::side("height", v))]
    pub height: Option<u32>,
    /// png, jpeg or ppm; by default as the output's name ends (.pnm is ppm), png where it has no end
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
    /// The format asked for, or the one that the output's name ends in.
    fn format(&self) -> Result<Format, Refusal> {
        let extension = self.output.as_deref().and_then(Path::extension);
        let (None, Some(extension)) = (self.format, extension) else {
            return Ok(self.format.unwrap_or(Format::Png));
        };
        match extension.to_string_lossy().to_ascii_lowercase().as_str() {
            "pnm" => Ok(Format::Ppm),
            name => params::format(name).map_err(|_unknown| {
                Refusal::BadRequest(format!(
                    "the output's name ends in .{name}; what is written is png, jpeg or ppm: end it \
                     so, or choose with --format"
                ))
            }),
        }
    }

    fn params(&self, format: Format) -> Params {
        Params {
            angle: self.angle.unwrap_or_default(),
            width: self.width,
            height: self.height,
            image: None,
            format,
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
    if let Some(manual) = &cli.manual {
        let text = manual.text::<Cli>().map_err(Refusal::BadRequest)?;
        let told = print::answer(&text);
        return told.map(|_reader| ()).map_err(|error| Refusal::Server(error.to_string()));
    }
    if cli.output.is_none() && cli.reply == Answer::Picture && io::stdout().is_terminal() {
        let text = "the picture would fill the terminal: name a file with --output, or redirect";
        return Err(Refusal::BadRequest(text.into()));
    }
    let format = cli.format()?;
    let source = match &cli.file {
        None => Source::Pattern,
        Some(path) => Source::File(load(path)?),
    };
    let output = cli.output.as_deref().map(open).transpose()?;
    let limits = Limits { pixels: u64::MAX, body: u64::MAX, memory: u64::MAX };
    let params = cli.params(format);
    let prepared = Prepared::new(&params, source, &limits)?;
    if prepared.is_for_rows() {
        return written(output, |out| prepared.write_pixmap(out));
    }
    let outcome = prepared.finish(limits.for_the_result())?;
    written(output, |out| out.write_all(&outcome.body))
}

/// Has the output written: the file, or standard output.
fn written(
    output: Option<OutFile>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Refusal> {
    let (name, written) = match output {
        Some(file) => (file.path().display().to_string(), file.fill(write)),
        None => {
            let printed = unbuffered_output().and_then(|mut out| write(&mut out));
            ("standard output".into(), print::heard(printed).map(|_| ()))
        }
    };
    written.map_err(|e| Refusal::Server(format!("cannot write {name}: {e}")))
}

fn open(path: &Path) -> Result<OutFile, Refusal> {
    OutFile::open(path)
        .map_err(|e| Refusal::BadRequest(format!("cannot write {}: {e}", path.display())))
}

fn load(path: &Path) -> Result<Vec<u8>, Refusal> {
    let failed = |e| Refusal::BadRequest(format!("cannot read {}: {e}", path.display()));
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let mut file = File::open(path).map_err(failed)?;
        bytes = reserve(file.metadata().map_err(failed)?.len() as usize + PADDING)?;
        file.read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(bytes)
}

/// Standard output without the line buffer, which would search megabytes of pixels for newlines.
///
/// # Errors
/// Where the descriptor cannot be duplicated.
pub fn unbuffered_output() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

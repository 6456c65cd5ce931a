//! The command line.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use http::{
    Method,
    header::{HeaderName, HeaderValue},
};
use manual::Manual;
use model::{
    Exit, duration,
    exit::example,
    print::{self, Reader},
    say,
};
use nix::sys::signal::Signal;
use thiserror::Error;

use crate::{
    Config, Rate, RunError, Summary, Target,
    error::OutputError,
    output::Outputs,
    run::{probe_cpu, run_into},
    stream::Stream,
    summary,
    target::TargetError,
};

/// Concurrent HTTP clients: N clients send M requests each, one after the other (closed loop), or
/// all of them together at a constant rate (open loop).
#[derive(Debug, Parser)]
#[command(
    name = "webload",
    version,
    after_help = example("webload --url http://127.0.0.1:8080/ --clients 10 --rate 50/s --out requests.csv"),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Args {
    #[command(subcommand)]
    manual: Option<Manual>,
    /// The URL to request (http only); if given several times, client i uses URL number i modulo
    /// their count
    #[arg(long = "url", value_name = "URL", required = true)]
    urls: Vec<String>,
    /// Number of concurrent clients
    #[arg(long, value_name = "N", default_value_t = 10)]
    clients: u32,
    /// Measured requests per client and repetition
    #[arg(long, value_name = "M", default_value_t = 10)]
    requests: u64,
    /// Repetitions of the whole
    #[arg(long, value_name = "R", default_value_t = 1)]
    repetitions: u32,
    /// Open loop: constant rate of all clients together, as in 50/s; response times count from the
    /// instant at which a request was due
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
    /// A request without a whole answer after this time has failed; at least 1ms. It counts from the
    /// instant at which the client begins to send or connect, also where the request was due before
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = duration::parse)]
    timeout: Duration,
    /// Requests per client before the first repetition: counted, not recorded
    #[arg(long, value_name = "N", default_value_t = 0)]
    warm_up: u64,
    /// Method of every request
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: Method,
    /// A header of every request, as in `Accept: text/html`; repeat it for more
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Send this file as the body of every request
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Keep connections from one request to the next [default: a new connection for each]
    #[arg(long)]
    keep_alive: bool,
    /// Run the clients on this CPU only
    #[arg(long, value_name = "CPU")]
    cpu: Option<u32>,
    /// Share of failed requests above which the exit code is 4, for example 0.05
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    max_failures: f64,
    /// What stands in the column `experiment`
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// Write every measured request as CSV
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write an HdrHistogram log
    #[arg(long, value_name = "FILE")]
    hist_log: Option<PathBuf>,
    /// Write the percentile spectrum of response times as wrk2 prints it with --latency; milliseconds
    #[arg(long, value_name = "FILE")]
    spectrum: Option<PathBuf>,
    /// Keep a record of every request in memory while at most this many are to be sent: exact
    /// percentiles, and --out is written at the end. Beyond, memory is constant: percentiles come from
    /// histograms (within 0.1 %), and rows are written while the requests go on
    #[arg(long, value_name = "N", default_value_t = Config::MOST_RECORDS)]
    most_records: u64,
    /// What is printed on standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    summary: Format,
}

/// The format of the summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    Text,
    /// One JSON object
    Json,
}

/// What ended the program early.
#[derive(Debug, Error)]
pub enum CliError {
    /// A URL that cannot be asked.
    #[error("--url: {0}")]
    Target(#[from] TargetError),
    /// A run that could not take place.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file that cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A command that does not exist.
    #[error("{0}")]
    Manual(String),
    /// The body cannot be read.
    #[error("--body {}: {error}", path.display())]
    Body {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        #[source]
        error: io::Error,
    },
    /// No signal handler, or standard output is gone.
    #[error("{doing}: {error}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

impl CliError {
    /// The exit code: 2 where the input was wrong and nothing was sent, else 1.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Target(_)
            | Self::Manual(_)
            | Self::Body { .. }
            | Self::Run(
                RunError::Config(_) | RunError::Cpu { .. } | RunError::Descriptors { .. },
            )
            | Self::Output(OutputError::Open { .. } | OutputError::Same(_)) => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}

/// A share from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| format!("`{text}` is not a share; write a number from 0 to 1"))
}

/// A header line.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let form = || format!("`{text}` is not a header; write for example `Accept: text/html`");
    let (name, value) = text.split_once(':').ok_or_else(form)?;
    let name = name.trim().parse().map_err(|error| format!("{}: {error}", form()))?;
    let value = value.trim().parse().map_err(|error| format!("{}: {error}", form()))?;
    Ok((name, value))
}

impl Args {
    /// The plain data, checked as far as no host is needed (host names are resolved).
    fn config(&self) -> Result<Config, CliError> {
        let targets =
            self.urls.iter().map(|url| Target::new(url)).collect::<Result<Vec<_>, _>>()?;
        let config = Config {
            clients: self.clients,
            requests: self.requests,
            repetitions: self.repetitions,
            warm_up: self.warm_up,
            rate: self.rate,
            timeout: self.timeout,
            method: self.method.clone(),
            headers: self.headers.clone(),
            most_records: self.most_records,
            body: self.body.as_deref().map_or(Ok(Bytes::new()), read_body)?,
            keep_alive: self.keep_alive,
            cpu: self.cpu,
            experiment: self.experiment.clone(),
            ..Config::new(targets)
        };
        config.total().map_err(RunError::Config)?;
        Ok(config)
    }
}

fn read_body(path: &Path) -> Result<Bytes, CliError> {
    fs::read(path).map(Bytes::from).map_err(|error| CliError::Body { path: path.to_owned(), error })
}

/// Does what the command line says: runs, writes the files, prints the summary. Each of these is done
/// also where another cannot be.
///
/// # Errors
/// [`CliError`], each with its exit code.
pub fn execute(args: &Args) -> Result<Exit, CliError> {
    if let Some(manual) = &args.manual {
        let text = manual.text::<Args>().map_err(CliError::Manual)?;
        return answer(&text).map(|()| Exit::Done);
    }
    let config = args.config()?;
    config.cpu.map_or(Ok(()), probe_cpu)?;
    let mut outputs =
        Outputs::open(args.out.as_deref(), args.hist_log.as_deref(), args.spectrum.as_deref())?;
    let stop = stop_on_signals()?;
    let fail = |error| CliError::Io { doing: "cannot start a thread", error };
    let stream = outputs.stream(&config).map_err(fail)?;
    let run = run_into(&config, &stop, stream.as_ref().map(Stream::feed), |one| {
        if config.repetitions > 1 {
            say!("{}", summary::progress(one, config.repetitions, config.first_repetition));
        }
    })?;
    if !run.interrupted {
        give_up_on_writing(stop);
    }
    let streamed = stream.map_or(Ok(0), Stream::finish);
    let written = outputs.write(&run);
    let summary = Summary::of(&config, &run);
    summary.warnings.iter().for_each(|warning| say!("webload: warning: {warning}"));
    let printed = print(&summary, args.summary);
    let lost = streamed?;
    written?;
    printed?;
    if lost > 0 {
        return Err(OutputError::Lost { rows: lost, requests: summary.requests }.into());
    }
    Ok(if run.interrupted {
        Exit::Interrupted
    } else if summary.fails(args.max_failures) {
        Exit::NotHeld
    } else {
        Exit::Done
    })
}

/// A flag that SIGINT, SIGTERM and, where it is not ignored (nohup), SIGHUP set; a second one ends
/// the program at once.
fn stop_on_signals() -> Result<Arc<AtomicBool>, CliError> {
    let fail = |error| CliError::Io { doing: "cannot handle signals", error };
    let stop = Arc::new(AtomicBool::new(false));
    let hang_up = (!kernel::process::ignores(Signal::SIGHUP)).then_some(Signal::SIGHUP);
    for signal in [Signal::SIGINT, Signal::SIGTERM].into_iter().chain(hang_up) {
        let code = Exit::Interrupted as i32;
        signal_hook::flag::register_conditional_shutdown(signal as i32, code, Arc::clone(&stop))
            .map_err(fail)?;
        signal_hook::flag::register(signal as i32, Arc::clone(&stop)).map_err(fail)?;
    }
    Ok(stop)
}

/// From now on a signal ends the program, though not at once: results that are being written have
/// two seconds to get there. A pipe that nobody reads takes for ever.
fn give_up_on_writing(stop: Arc<AtomicBool>) {
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(50));
        }
        thread::sleep(Duration::from_secs(2));
        std::process::exit(Exit::Interrupted as i32);
    });
}

fn print(summary: &Summary, format: Format) -> Result<(), CliError> {
    let text = match format {
        Format::Text => summary.to_string(),
        Format::Json => {
            let json = serde_json::to_string(summary).expect("plain data with string keys");
            format!("{json}\n")
        }
    };
    answer(&text)
}

fn answer(text: &str) -> Result<(), CliError> {
    match print::answer(text) {
        Ok(Reader::Present | Reader::Gone) => Ok(()),
        Err(error) => Err(CliError::Io { doing: "cannot write to standard output", error }),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
        assert!(Args::command().render_long_help().to_string().contains("Example: "));
    }

    #[test]
    fn the_defaults_are_the_papers() {
        let args = Args::parse_from(["webload", "--url", "http://127.0.0.1:1/"]);
        let config = args.config().unwrap();
        assert_eq!(config.total(), Ok(100));
        assert!(!config.keep_alive && config.rate.is_none());
        assert_eq!(config.timeout, Duration::from_secs(120));
    }

    #[test]
    fn a_share_lies_between_0_and_1() {
        assert_eq!(share("0.05"), Ok(0.05));
        for text in ["5%", "-0.1", "1.1", "nan", ""] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}

//! The schedule of one repetition, for Perfetto or as a Gantt chart.

pub mod gantt;
pub mod perfetto;
pub mod schedule;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};
use model::{duration, outfile::OutFile};

use self::schedule::Schedule;
use crate::{error::ReportError, figure::export, folder::Results};

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Trace events in JSON, for Perfetto (ui.perfetto.dev) and Chrome (about:tracing)
    Perfetto,
    /// A picture of a window, SVG and PNG: guest jobs over vCPU supply over host load
    Gantt,
}

/// The arguments of `reports export`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// A result folder
    dir: PathBuf,
    /// The experiment
    #[arg(long)]
    experiment: String,
    /// The repetition, from 0
    #[arg(long, default_value_t = 0)]
    repetition: u32,
    /// What to write
    #[arg(long, value_enum)]
    format: Kind,
    /// Begin of the window, from the workload's start
    #[arg(long, value_parser = duration::parse, default_value = "0")]
    from: Duration,
    /// End of the window; 400 ms after its begin in a picture, the whole repetition in a trace
    #[arg(long, value_parser = duration::parse)]
    to: Option<Duration>,
    /// The file (of a picture the SVG); in the folder's report/ otherwise
    #[arg(long)]
    out: Option<PathBuf>,
}

/// How much a picture shows where nothing else is said.
const PICTURE: Duration = Duration::from_millis(400);

/// Writes the file, or both of a picture; returns their paths, a line each.
///
/// # Errors
/// What is not there to be exported, or cannot be written.
pub fn run(arguments: &Arguments) -> Result<String, ReportError> {
    let Arguments { dir, experiment, repetition, format, from, to, .. } = arguments;
    let results = Results::read(dir)?;
    let schedule = Schedule::read(&results, experiment, *repetition)?;
    let to = match format {
        Kind::Perfetto => *to,
        Kind::Gantt => Some(to.unwrap_or(*from + PICTURE)),
    };
    if to.is_some_and(|to| to <= *from) {
        return Err(ReportError::Nothing("--to must lie behind --from".to_owned()));
    }
    let schedule = schedule.window(*from, to);
    if schedule.is_empty() {
        return Err(ReportError::Nothing(format!(
            "--from {}: nothing of `{experiment}` lies in this window; it lasts {}",
            duration::format(*from),
            duration::format(Duration::from_nanos(schedule.length_ns()))
        )));
    }
    let ending = match format {
        Kind::Perfetto => "perfetto.json",
        Kind::Gantt => "gantt.svg",
    };
    let path = arguments
        .out
        .clone()
        .unwrap_or_else(|| dir.join("report").join(format!("{experiment}-{repetition}-{ending}")));
    match format {
        Kind::Perfetto => write_perfetto(&schedule, &path),
        Kind::Gantt => write_gantt(&schedule, &path),
    }
}

fn create(path: &Path) -> Result<OutFile, ReportError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    if !folder.as_os_str().is_empty() {
        fs::create_dir_all(folder).map_err(|error| ReportError::write(folder, error))?;
    }
    OutFile::open(path).map_err(|error| ReportError::write(path, error))
}

fn write_perfetto(schedule: &Schedule, path: &Path) -> Result<String, ReportError> {
    create(path)?
        .fill(|file| perfetto::write(schedule, file))
        .map_err(|error| ReportError::write(path, error))?;
    Ok(format!("{}\n", path.display()))
}

fn write_gantt(schedule: &Schedule, path: &Path) -> Result<String, ReportError> {
    let chart = gantt::Gantt::of(schedule);
    let png = path.with_extension("png");
    let put = |path: &Path, bytes: &[u8]| {
        create(path)?
            .fill(|file| file.write_all(bytes))
            .map_err(|error| ReportError::write(path, error))
    };
    put(path, export::svg(&chart)?.as_bytes())?;
    put(&png, &export::png(&chart)?)?;
    Ok(format!("{}\n{}\n", path.display(), png.display()))
}

//! `rtload run --rt-app FILE`: plays a file of rt-app.
//!
//! `json` (any value and its place) → `read` (with `event` and `scheduling`) → [`workload`], plain
//! data → `player`, one thread each, on rtload's own crew, work and calibration → `output`.

mod event;
mod json;
#[cfg(test)]
mod mutated;
mod output;
mod player;
mod read;
mod scheduling;
mod timer;
pub mod workload;

use std::{collections::BTreeMap, path::Path, sync::atomic::AtomicBool, time::Duration};

use kernel::sched::Policy;
use model::{Exit, duration::as_ns};

use output::{Files, Summary, summarise};
use player::{Player, Stage, Tally};
use timer::Timer;
use workload::{Calibrated, Workload};

use crate::{
    Error,
    calibration::{self, Calibration},
    engine::crew::{self, Ended, Hours},
    options::RunArgs,
    output::{Labels, Stream, print_ready},
    plan,
    run::hold_awake,
    signals::Signals,
    warning::Warning,
    work::WorkKind,
};

/// Response times of runs without an end are counted up to this.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// Reads the file, calibrates, plays, writes and prints.
///
/// # Errors
/// [`Error::Usage`] before anything is touched, then those of the calibration, the threads and the
/// output.
pub fn command(args: &RunArgs, path: &Path) -> Result<Exit, Error> {
    let workload = checked(args, path)?;
    let calibrated_on = calibration_cpu(&workload, args.common.cpu)?;
    let mut files = Files::open(&args.common)?;
    let signals = Signals::block()?;
    let mut warnings = Vec::new();
    let _awake = args.common.hold_awake.then(|| hold_awake(&mut warnings)).flatten();
    // As in rt-app `run` is an amount of work, unless something else is asked for.
    let kind = args.common.work.unwrap_or(WorkKind::Fixed);
    let options = args.common.calibration_options(kind);
    let (calibration, doubts) =
        calibration::obtain(calibrated_on, &options, &|| !signals.pending())?;
    files.save.take().map_or(Ok(()), |file| calibration::save_to(file, &calibration))?;
    warnings.extend(doubts);
    if let Calibrated::Given(ns) = workload.calibration {
        warnings.push(Warning::OtherLoop { ns });
    }
    let labels = Labels { experiment: args.experiment.clone(), repetition: args.repetition };
    let stream = files.stream(&labels, &workload, args.common.cpu)?;
    let (mut ended, failure) =
        play(&workload, args, (kind, &calibration), stream.as_ref(), &signals)?;
    signals.give_up_on_writing();
    warnings.append(&mut ended.warnings);
    let mut summary = sum_up(&workload, (args, path), &ended, (kind, calibration));
    summary.add_warnings(&warnings);
    finish(&workload, &ended, (files, stream), &summary, args)?;
    let misses: u64 = ended.done.iter().map(|tally| tally.misses).sum();
    match failure {
        Some(error) => Err(error),
        None if ended.interrupted => Ok(Exit::Interrupted),
        None if args.fail_on_miss && misses > 0 => Ok(Exit::NotHeld),
        None => Ok(Exit::Done),
    }
}

/// What the file says, and the options where they say otherwise.
fn checked(args: &RunArgs, path: &Path) -> Result<Workload, Error> {
    let mut workload = read::read(path).map_err(Error::Usage)?;
    workload.duration = args.duration.or(workload.duration);
    if let Some(duration) = args.duration {
        plan::above_zero("--duration", duration)?;
    }
    plan::above_zero("--for", args.common.calibration.length)?;
    plan::still_to_come(args.common.start_at)?;
    Ok(workload)
}

/// The CPU for the calibration: the one that was asked for, the file's, one that a task runs on, or
/// any. Refuses those that this process cannot use, also where tasks name them.
fn calibration_cpu(workload: &Workload, asked: Option<u32>) -> Result<u32, Error> {
    let mut of_tasks = BTreeMap::new();
    for thread in &workload.threads {
        let cpus = thread.phases.iter().flat_map(|phase| &phase.cpus);
        cpus.for_each(|&cpu| _ = of_tasks.entry(cpu).or_insert(&thread.path));
    }
    for (&cpu, path) in &of_tasks {
        plan::usable(&format!("{path}: cpus: {cpu}"), cpu)?;
    }
    match (asked, workload.calibration) {
        (None, Calibrated::On(cpu)) => {
            plan::usable(&format!("global.calibration: CPU{cpu}"), cpu)?;
            Ok(cpu)
        }
        _ => plan::choose_cpu(asked.or_else(|| of_tasks.keys().next().copied())),
    }
}

/// Plays it; what ended a thread before its time comes with what was measured until then.
fn play(
    workload: &Workload,
    args: &RunArgs,
    (work, calibration): (WorkKind, &Calibration),
    stream: Option<&Stream<7>>,
    signals: &Signals,
) -> Result<(Ended<Tally>, Option<Error>), Error> {
    let stop = AtomicBool::new(false);
    let timers: Vec<Timer> = workload.timers.iter().map(|&mode| Timer::new(mode)).collect();
    let feed = stream.map(Stream::feed);
    let stage = Stage {
        timers: &timers,
        calibration,
        work,
        cpus: &args.common.cpu.map_or_else(plan::allowed, |cpu| Ok(vec![cpu]))?,
        feed,
        longest_ns: as_ns(workload.duration.unwrap_or(LONG)),
        stop: &stop,
    };
    let players = workload.threads.iter().enumerate().map(|(number, thread)| Player {
        number,
        thread,
        stage,
    });
    let policies: Vec<Policy> =
        workload.threads.iter().flat_map(|thread| thread.policies()).collect();
    let hours = Hours { start_at: args.common.start_at, length: workload.duration };
    let first = |first_ns| {
        if let Some(feed) = feed {
            feed.released(first_ns);
        }
    };
    let calls = (first, print_ready);
    let mut ended = crew::run(players.collect(), &policies, &stop, hours, signals, calls)?;
    let failure = ended.done.iter_mut().find_map(|tally| tally.failure.take());
    Ok((ended, failure))
}

/// The summary, without its warnings.
fn sum_up(
    workload: &Workload,
    (args, path): (&RunArgs, &Path),
    ended: &Ended<Tally>,
    (work, calibration): (WorkKind, Calibration),
) -> Summary {
    let threads = workload.threads.iter().zip(&ended.done);
    Summary {
        tasks: threads.map(|(own, did)| summarise(own, did)).collect(),
        rt_app: path.display().to_string(),
        work,
        cpu: args.common.cpu,
        first_release_ns: ended.first_ns,
        duration_ns: workload.duration.map(as_ns),
        elapsed_ns: ended.end_ns.saturating_sub(ended.first_ns),
        interrupted: ended.interrupted,
        percentiles: "histogram",
        calibration,
        warnings: Vec::new(),
    }
}

/// Writes the files and prints the summary, each also where another cannot be.
fn finish(
    workload: &Workload,
    ended: &Ended<Tally>,
    (files, stream): (Files, Option<Stream<7>>),
    summary: &Summary,
    args: &RunArgs,
) -> Result<(), Error> {
    let streamed = stream.map_or(Ok(()), Stream::finish);
    let written = files.write(workload, ended);
    let printed = summary.print(args.common.summary);
    streamed.and(written).and(printed)?;
    match ended.done.iter().map(|tally| tally.lost).sum() {
        0 => Ok(()),
        rows => Err(Error::RowsLost { rows }),
    }
}

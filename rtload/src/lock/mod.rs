//! `rtload lock`: threads that share a lock, and what waiting for it costs.
//!
//! A thread does work of (1 − f) / f · h, asks for the lock, and does work of h while it has it: it
//! spends the share f of its own work in the lock. Where the thread that holds the lock loses its CPU
//! (preempted, or with its virtual CPU), the others wait until it is back: the lock-holder problem
//! (Uhlig, LeVasseur, Skoglund and Dannowski 2004). `docs/load-generator.md` has
//! what to expect.

mod contender;
mod kinds;
mod output;
mod witness;

use std::{sync::atomic::AtomicBool, time::Duration};

use model::{Exit, duration::as_ns, outfile};

use contender::{AcquisitionFeed, Arena, Contender, Tally};
use output::{Acquisition, Summary, ThreadSummary, share};
use witness::Witness;

use crate::{
    Error,
    calibration::{self, Calibration, Look},
    engine::crew::{self, Ended, Hours},
    options::{LockArgs, Switch},
    output::{Stream, open, print_ready},
    plan,
    signals::Signals,
    warning::Warning,
    work::WorkKind,
};

/// The most threads.
const MOST_THREADS: u32 = 256;

/// The least share: the work between two locks is a thousand times that in the lock.
const LEAST_SHARE: f64 = 0.001;

/// Checks, calibrates, runs, writes and prints.
///
/// # Errors
/// [`Error::Usage`] before anything is touched, then those of the calibration, the threads and the
/// output.
pub fn command(args: &LockArgs) -> Result<Exit, Error> {
    let cpus = check(args)?;
    let out = open("--out", args.out.as_deref())?;
    let save = open("--save", args.calibration.save.as_deref())?;
    let named = [("--out", &out), ("--save", &save)];
    let given: Vec<_> =
        named.into_iter().filter_map(|(option, file)| Some((option, file.as_ref()?))).collect();
    outfile::distinct(&given).map_err(Error::Usage)?;
    let signals = Signals::block()?;
    let options = calibration::Options {
        file: args.calibration.file.clone(),
        look: (args.calibration.check == Switch::On).then_some(Look::ROUGH),
        length: args.calibration.length,
    };
    let (calibration, mut warnings) =
        calibration::obtain(cpus[0], &options, &|| !signals.pending())?;
    save.map_or(Ok(()), |file| calibration::save_to(file, &calibration))?;
    let names: Vec<String> = (0..args.threads).map(|number| format!("thread{number}")).collect();
    let stream = out.map(|file| {
        let every_ns = as_ns(args.hold + outside(args));
        let (feed, names) = (AcquisitionFeed::new(names.iter().map(|_| every_ns)), names.clone());
        let row = move |_first_ns, index: usize, cells| Acquisition::of(&names[index], cells);
        Stream::start(file, feed, &cpus, row)
    });
    let stream = stream.transpose()?;
    let feed = stream.as_ref().map(Stream::feed);
    let witness = Witness::default();
    let mut ended = contend(args, (&names, &cpus), &calibration, &witness, feed, &signals)?;
    signals.give_up_on_writing();
    warnings.append(&mut ended.warnings);
    let summary = summarise(args, (names, &cpus), &ended, &witness, calibration, &warnings);
    let streamed = stream.map_or(Ok(()), Stream::finish);
    streamed.and(summary.print(args.summary))?;
    match ended.done.iter().map(|tally| tally.lost).sum() {
        0 if ended.interrupted => Ok(Exit::Interrupted),
        0 if summary.violations > 0 => Ok(Exit::NotHeld),
        0 => Ok(Exit::Done),
        rows => Err(Error::RowsLost { rows }),
    }
}

/// Refuses what makes no sense; the CPU of each thread.
fn check(args: &LockArgs) -> Result<Vec<u32>, Error> {
    let usage = |text: String| Err(Error::Usage(text));
    if !(1..=MOST_THREADS).contains(&args.threads) {
        return usage(format!("--threads {}: must be from 1 to {MOST_THREADS}", args.threads));
    }
    if !(LEAST_SHARE..=1.0).contains(&args.share) {
        return usage(format!(
            "--share {}: must be from {LEAST_SHARE} to 1, for example 0.5",
            args.share
        ));
    }
    plan::above_zero("--hold", args.hold)?;
    plan::above_zero("--duration", args.duration)?;
    plan::above_zero("--for", args.calibration.length)?;
    plan::still_to_come(args.start_at)?;
    let given = if args.cpus.is_empty() { plan::allowed()? } else { args.cpus.clone() };
    for &cpu in &given {
        plan::usable(&format!("--cpus {cpu}"), cpu)?;
    }
    Ok(given.into_iter().cycle().take(args.threads as usize).collect())
}

/// Mean work between two locks.
fn outside(args: &LockArgs) -> Duration {
    args.hold.mul_f64((1.0 - args.share) / args.share)
}

fn contend(
    args: &LockArgs,
    (names, cpus): (&[String], &[u32]),
    calibration: &Calibration,
    witness: &Witness,
    feed: Option<&AcquisitionFeed>,
    signals: &Signals,
) -> Result<Ended<Tally>, Error> {
    let (lock, stop) = (args.kind.lock(), AtomicBool::new(false));
    let arena = Arena {
        lock: &*lock,
        witness,
        inside: calibration.work(WorkKind::Fixed, args.hold),
        outside: (args.share < 1.0).then(|| calibration.work(WorkKind::Fixed, outside(args))),
        feed,
        longest_ns: as_ns(args.duration),
        stop: &stop,
    };
    let contenders = names.iter().zip(cpus).enumerate().map(|(number, (name, &cpu))| Contender {
        name: name.clone(),
        number,
        cpu,
        arena,
    });
    let hours = Hours { start_at: args.start_at, length: Some(args.duration) };
    crew::run(contenders.collect(), &[], &stop, hours, signals, (|_| (), print_ready))
}

fn summarise(
    args: &LockArgs,
    (names, cpus): (Vec<String>, &[u32]),
    ended: &Ended<Tally>,
    witness: &Witness,
    calibration: Calibration,
    warnings: &[Warning],
) -> Summary {
    let of_thread = |((name, &cpu), tally)| ThreadSummary::of(name, cpu, tally);
    let threads: Vec<ThreadSummary> =
        names.into_iter().zip(cpus).zip(&ended.done).map(of_thread).collect();
    let acquisitions = threads.iter().map(|own| own.acquisitions).sum();
    let wait_cpu_ns = threads.iter().map(|own| own.wait_cpu_ns).sum();
    let cpu_ns = threads.iter().map(|own| own.cpu_ns).sum();
    Summary {
        kind: args.kind,
        share: args.share,
        hold_ns: as_ns(args.hold),
        longest_wait_ns: threads.iter().map(ThreadSummary::longest_wait_ns).max().unwrap_or(0),
        wait_cpu_ns,
        wasted_share: share(wait_cpu_ns, cpu_ns),
        violations: witness.violations(acquisitions),
        start_ns: ended.first_ns,
        duration_ns: as_ns(args.duration),
        elapsed_ns: ended.end_ns.saturating_sub(ended.first_ns),
        interrupted: ended.interrupted,
        percentiles: "histogram",
        calibration,
        warnings: warnings.iter().map(ToString::to_string).collect(),
        threads,
    }
}

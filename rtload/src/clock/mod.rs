//! `rtload clock`: what time looks like inside this system.
//!
//! In a guest a clock goes on while its virtual CPU does not, timers wake a thread when that CPU is back,
//! and what was taken meanwhile may show as steal time or not at all. `docs/guest-clock.md` says
//! what to expect.

mod output;
mod phases;
mod probe;
mod source;
mod watch;

use std::{path::Path, sync::atomic::AtomicBool, time::Duration};

use kernel::sched::Policy;
use model::{Exit, duration::as_ns, outfile};

use output::Summary;
use phases::Part;
use probe::{EventFeed, Hand, Plan, Role};
use source::{CLOCK_SOURCES, Source};

use crate::{
    Error,
    engine::crew::{self, Hours},
    options::{ClockArgs, ClockPolicy},
    output::{Labels, Stream, open, print_ready},
    plan,
    signals::Signals,
};

/// Room for an event every so often while the writer is held up.
const EVENT_EVERY_NS: u64 = 100_000;

/// The shortest period of timers, in ns: what a wake-up costs.
const LEAST_PERIOD_NS: u64 = 10_000;

/// Above what a host's real-time tasks usually have, below the kernel's own threads.
const PRIORITY: u8 = 80;

/// Checks, probes, writes and prints.
///
/// # Errors
/// [`Error::Usage`] before anything is touched, then those of the threads and the output.
pub fn command(args: &ClockArgs) -> Result<Exit, Error> {
    let plan = check(args)?;
    let out = open("--out", args.out.as_deref())?;
    outfile::distinct(&out.iter().map(|file| ("--out", file)).collect::<Vec<_>>())
        .map_err(Error::Usage)?;
    let signals = Signals::block()?;
    let labels = Labels { experiment: args.experiment.clone(), repetition: args.repetition };
    let stream = out.map(|file| {
        let row = move |_first_ns, _index, cells| output::row(&labels, &probe::told(cells));
        Stream::start(file, EventFeed::new([EVENT_EVERY_NS]), &[plan.cpu], row)
    });
    let stream = stream.transpose()?;
    let (feed, stop) = (stream.as_ref().map(Stream::feed), AtomicBool::new(false));
    let hand = |role| Hand { role, plan, feed, stop: &stop };
    let hours = Hours { start_at: args.start_at, length: None };
    let first = |first_ns| {
        if let Some(feed) = feed {
            feed.released(first_ns);
        }
    };
    let source = Source::read(Path::new(CLOCK_SOURCES));
    let stolen = source::steal_ns(plan.cpu);
    let crew = vec![hand(Role::Probe), hand(Role::Busy)];
    let ended = crew::run(crew, &[plan.policy], &stop, hours, &signals, (first, print_ready))?;
    signals.give_up_on_writing();
    let told = (source, (stolen, source::steal_ns(plan.cpu)));
    let tally = ended.done.into_iter().flatten().next().expect("the probe has a tally");
    let mut summary = Summary::of(&plan, args.policy, &tally, told, (ended.first_ns, ended.end_ns));
    summary.interrupted = ended.interrupted;
    summary.warnings = ended.warnings.iter().map(ToString::to_string).collect();
    let streamed = stream.map_or(Ok(()), Stream::finish);
    streamed.and(summary.print(args.summary))?;
    match tally.lost {
        0 if ended.interrupted => Ok(Exit::Interrupted),
        0 => Ok(Exit::Done),
        rows => Err(Error::EventsLost { rows }),
    }
}

/// Refuses what makes no sense.
fn check(args: &ClockArgs) -> Result<Plan, Error> {
    plan::above_zero("--duration", args.duration)?;
    if args.threshold.is_zero() {
        let text = "--threshold 0: must be above zero, for example `--threshold 20us`";
        return Err(Error::Usage(text.to_owned()));
    }
    let period_ns = as_ns(args.period);
    if period_ns < LEAST_PERIOD_NS {
        return Err(Error::Usage(format!(
            "--period {}: must be at least 10us, for example `--period 1ms`",
            model::duration::format(args.period)
        )));
    }
    if let Some(slice) = phases::slices(args.duration).find(|own| own.part != Part::Read)
        && slice.to_ns - slice.from_ns <= period_ns
    {
        let [period, quarter] = [args.period, Duration::from_nanos(slice.to_ns - slice.from_ns)];
        return Err(Error::Usage(format!(
            "--period {}: no timer falls into {}, the part of --duration in which timers are waited \
             for; give a shorter period or a longer duration",
            model::duration::format(period),
            model::duration::format(quarter)
        )));
    }
    plan::still_to_come(args.start_at)?;
    let policy = match args.policy {
        ClockPolicy::Fifo => Policy::Fifo { priority: args.priority.unwrap_or(PRIORITY) },
        ClockPolicy::Other if args.priority.is_some() => {
            return Err(Error::Usage("--priority is for --policy fifo only".to_owned()));
        }
        ClockPolicy::Other => Policy::Other { nice: 0 },
    };
    let cpu = plan::choose_cpu(args.cpu)?;
    let (length, threshold_ns) = (args.duration, as_ns(args.threshold));
    Ok(Plan { cpu, policy, length, threshold_ns, period_ns })
}

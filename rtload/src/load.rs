//! `rtload load`: keeps a CPU busy in the background, and dies with its parent.

use std::{os::unix::process::parent_id, time::Duration};

use model::{Exit, Task, TaskSet, duration};

use crate::{
    Error, engine,
    options::{LoadArgs, TaskArgs},
    output::{self, Labels, Outputs, Stream},
    plan::{self, Keep, Plan},
    run::{check, finish},
    signals::Signals,
    traffic::{self, LoadKind},
    variation::TaskArg,
    work::WorkKind,
};

/// The highest priority of the load, unless given: below that of a measured task set.
const HIGHEST_PRIORITY: u8 = 50;

/// The share of a CPU that a real-time load may take without `--force`.
pub const SAFE_UTILISATION: f64 = 0.95;

/// Checks, calibrates, and loads the CPU until its time is over or a signal comes. To be told to stop
/// is the ordinary end of a load, so it counts as done.
///
/// # Errors
/// [`Error::Usage`] before anything is touched, then those of the calibration, the engine and the
/// output.
pub fn command(args: &LoadArgs) -> Result<Exit, Error> {
    let parent = parent_id();
    kernel::process::die_with_parent().map_err(Error::system("cannot tie it to its parent"))?;
    if parent_id() != parent {
        return Err(Error::Interrupted);
    }
    let tasks = tasks(args)?;
    let set: TaskSet = tasks.iter().map(|given| given.task).collect();
    plan::above_zero("--duration", args.duration)?;
    check_traffic(args)?;
    if !args.force {
        safe(&set, &args.common, plan::has_spare_cpu())?;
    }
    let keep = if args.common.writes_samples() {
        plan::keep(&set, args.duration, args.common.most_records)
    } else {
        Keep::Nothing
    };
    let checked = check(&set, &args.common, HIGHEST_PRIORITY)?;
    let spec = traffic::Spec::of(args.kind, args.size, checked.cpu);
    spec.map_or(Ok(()), |spec| spec.check_room(tasks.len()))?;
    let mut outputs = Outputs::open(&args.common)?;
    let signals = Signals::block()?;
    let (mut planned, prepared) = checked.ready(&tasks, &args.common, &mut outputs, &signals)?;
    planned.iter_mut().for_each(|planned| planned.traffic = spec);
    let plan = Plan {
        tasks: planned,
        pin: prepared.pin,
        backlog: args.backlog.into(),
        duration: args.duration,
        drain: Duration::ZERO,
        start_at: args.common.start_at,
        keep,
        stop_above: None,
    };
    let labels = Labels { experiment: None, repetition: None };
    let stream = outputs.stream(&labels, &plan)?;
    let feed = stream.as_ref().map(Stream::feed);
    let outcome = engine::execute(&plan, feed, &signals, output::print_ready)?;
    signals.give_up_on_writing();
    let summary = prepared.summary(&plan, &args.common, &outcome);
    finish((outputs, stream), &labels, &outcome, &summary, args.common.summary)?;
    Ok(Exit::Done)
}

/// Refuses what arithmetic alone, or traffic alone, knows.
fn check_traffic(args: &LoadArgs) -> Result<(), Error> {
    match (args.kind, args.size, args.common.work_kind()) {
        (LoadKind::Cpu, Some(_), _) => Err(Error::Usage(
            "--size is for --kind cache and memory; arithmetic has no buffer".to_owned(),
        )),
        (LoadKind::Cache | LoadKind::Memory, _, WorkKind::Fixed) => Err(Error::Usage(
            "--kind cache and memory take CPU time, not a number of iterations: add --work paced"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

/// The tasks given, or the one that takes `--utilisation`.
fn tasks(args: &LoadArgs) -> Result<Vec<TaskArg>, Error> {
    let Some(share) = args.utilisation else { return Ok(args.tasks.clone()) };
    if !(share > 0.0 && share <= 1.0) {
        return Err(Error::Usage(format!(
            "--utilisation {share}: must be above 0 and at most 1, for example 0.9"
        )));
    }
    plan::above_zero("--period", args.period)?;
    let execution = Duration::from_nanos((duration::as_ns(args.period) as f64 * share) as u64);
    let task = Task::new(execution, args.period, args.period)
        .map_err(|error| Error::Usage(format!("--utilisation {share}: {error}")))?;
    Ok(vec![task.into()])
}

/// Refuses a load that could lock up the host.
fn safe(set: &TaskSet, args: &TaskArgs, spare_cpu: bool) -> Result<(), Error> {
    if !args.policy.is_real_time() {
        return Ok(());
    }
    let utilisation = set.utilisation();
    if utilisation > SAFE_UTILISATION + 1e-9 {
        return Err(Error::Usage(format!(
            "the load asks for {:.1} % of the CPU at real-time priority, and {:.0} % is the safe \
             limit; lower it, or lift the limit with --force",
            utilisation * 100.0,
            SAFE_UTILISATION * 100.0
        )));
    }
    if !spare_cpu {
        return Err(Error::Usage(
            "this is the only CPU, and a real-time load may lock up the machine; use \
             --policy other, or lift the limit with --force"
                .to_owned(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn parsed(rest: &[&str]) -> LoadArgs {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            args: LoadArgs,
        }
        Line::parse_from([&["rtload"], rest].concat()).args
    }

    fn verdict(rest: &[&str], spare_cpu: bool) -> bool {
        let args = parsed(rest);
        let set = tasks(&args).unwrap().iter().map(|given| given.task).collect();
        safe(&set, &args.common, spare_cpu).is_ok()
    }

    #[test]
    fn the_safety_limit_is_ninety_five_percent_and_never_the_only_cpu() {
        assert!(verdict(&["--task", "50ms/120ms", "--task", "20ms/80ms"], true));
        assert!(verdict(&["--utilisation", "0.95"], true));
        assert!(!verdict(&["--utilisation", "0.96"], true));
        assert!(!verdict(&["--utilisation", "0.5"], false));
        assert!(verdict(&["--utilisation", "1", "--policy", "other"], false));
    }

    #[test]
    fn a_share_becomes_a_task() {
        let set = tasks(&parsed(&["--utilisation", "0.9", "--period", "20ms"])).unwrap();
        assert_eq!(set[0].task.to_string(), "18ms/20ms");
        for share in ["0", "1.5", "NaN"] {
            let error = tasks(&parsed(&["--utilisation", share])).unwrap_err();
            assert!(error.to_string().contains("--utilisation"), "{error}");
        }
    }
}

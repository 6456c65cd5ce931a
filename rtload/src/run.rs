//! `rtload run`: measures a task set.

use std::{path::Path, time::Duration};

use kernel::dma_latency::DmaLatency;
use model::{Exit, TaskSet, load::Backlog};

use crate::{
    Error,
    calibration::{self, Calibration},
    engine::{self, Outcome},
    options::{RunArgs, TaskArgs},
    output::{self, Labels, Summary},
    plan::{self, Plan},
    policy::{PolicyKind, policies},
    signals::Signals,
    warning::Warning,
};

/// The highest priority of a measured task set, unless given.
const HIGHEST_PRIORITY: u8 = 80;

/// Time for released jobs to finish, where none is given: twice the duration, at least 10 s.
#[must_use]
pub fn default_drain(duration: Duration) -> Duration {
    (duration * 2).max(Duration::from_secs(10))
}

/// Checks, calibrates, runs, writes and prints.
///
/// # Errors
/// [`Error::Usage`] before anything is touched, then those of the calibration, the engine and the
/// output.
pub fn command(args: &RunArgs) -> Result<Exit, Error> {
    let signals = Signals::block()?;
    let (plan, prepared) = prepare(args, &signals)?;
    let outcome = engine::execute(&plan, &signals, output::print_ready)?;
    let mut summary = prepared.summary(&plan, &args.common, &outcome);
    let unfinished: u64 = outcome.tasks.iter().map(|task| task.tally.unfinished).sum();
    if unfinished > 0 {
        summary.add_warning(&Warning::Unfinished { jobs: unfinished });
    }
    let labels = Labels { experiment: args.experiment.clone(), repetition: args.repetition };
    output::write_files(&args.common, &labels, &outcome)?;
    summary.print(args.common.summary);
    let misses: u64 = outcome.tasks.iter().map(|task| task.tally.late).sum();
    Ok(match () {
        () if outcome.interrupted => Exit::Interrupted,
        () if args.fail_on_miss && misses + unfinished > 0 => Exit::NotHeld,
        () => Exit::Done,
    })
}

fn prepare(args: &RunArgs, signals: &Signals) -> Result<(Plan, Prepared), Error> {
    let set = TaskSet(args.tasks.clone());
    plan::above_zero("--duration", args.duration)?;
    plan::records_fit(&set, args.duration)?;
    let (planned, mut prepared) = ready_tasks(&set, &args.common, HIGHEST_PRIORITY, signals)?;
    if set.utilisation() > 1.0 {
        prepared.warnings.push(Warning::Overload { utilisation: set.utilisation() });
    }
    let plan = Plan {
        tasks: planned,
        pin: prepared.pin,
        backlog: Backlog::Keep,
        duration: args.duration,
        drain: args.drain.unwrap_or_else(|| default_drain(args.duration)),
        start_at: args.common.start_at,
        keep_records: true,
    };
    Ok((plan, prepared))
}

/// What was found out on the way to a plan.
pub(crate) struct Prepared {
    pub calibration: Calibration,
    pub warnings: Vec<Warning>,
    pub pin: Option<u32>,
    _awake: Option<DmaLatency>,
}

impl Prepared {
    pub(crate) fn summary(&self, plan: &Plan, args: &TaskArgs, outcome: &Outcome) -> Summary {
        let mut summary = Summary::new(plan, args, &self.calibration, outcome);
        self.warnings.iter().chain(&outcome.warnings).for_each(|warning| {
            summary.add_warning(warning);
        });
        summary
    }
}

/// What `run` and `load` share: checks the options, takes the calibration, gives every task its
/// policy and its work.
pub(crate) fn ready_tasks(
    set: &TaskSet,
    args: &TaskArgs,
    highest_priority: u8,
    signals: &Signals,
) -> Result<(Vec<plan::PlannedTask>, Prepared), Error> {
    let policies = policies(args.policy, set, &args.priority, highest_priority)?;
    plan::above_zero("--for", args.calibration.length)?;
    plan::still_to_come(args.start_at)?;
    plan::writable("--out", args.out.as_deref())?;
    plan::writable("--hist-log", args.hist_log.as_deref())?;
    let cpu = plan::choose_cpu(args.cpu)?;
    // SCHED_DEADLINE takes no affinity narrower than its root domain, so only on demand.
    let pin = (args.policy != PolicyKind::Deadline || args.cpu.is_some()).then_some(cpu);
    let mut warnings = Vec::new();
    let awake = args.hold_awake.then(|| hold_awake(&mut warnings)).flatten();
    let (calibration, doubts) =
        calibration::obtain(cpu, &args.calibration_options(), &|| !signals.pending())?;
    warnings.extend(doubts);
    let planned = plan::tasks(set, &policies, args.work_kind(), &calibration);
    Ok((planned, Prepared { calibration, warnings, pin, _awake: awake }))
}

fn hold_awake(warnings: &mut Vec<Warning>) -> Option<DmaLatency> {
    DmaLatency::hold(Path::new("/dev/cpu_dma_latency"))
        .map_err(|error| warnings.push(Warning::CannotHoldAwake(error.to_string())))
        .ok()
}

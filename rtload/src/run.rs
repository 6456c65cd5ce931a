//! `rtload run` without `--rt-app`: measures a task set.

use std::{path::Path, time::Duration};

use kernel::{dma_latency::DmaLatency, sched::Policy};
use model::{Exit, TaskSet, load::Backlog};

use crate::{
    Error,
    calibration::{self, Calibration},
    engine::{self, Outcome},
    limits,
    options::{Format, RunArgs, TaskArgs},
    output::{self, JobStream, Labels, Outputs, Stream, Summary},
    plan::{self, Plan},
    policy::{PolicyKind, policies},
    signals::Signals,
    variation::TaskArg,
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
    let set: TaskSet = args.tasks.iter().map(|given| given.task).collect();
    let duration = args.duration.unwrap_or_default();
    plan::above_zero("--duration", duration)?;
    if let Some(surge) = args.surge {
        surge.greatest(&set).map_err(|error| Error::Usage(format!("--surge {error}")))?;
    }
    let checked = check(&set, &args.common, HIGHEST_PRIORITY)?;
    let mut outputs = Outputs::open(&args.common)?;
    let signals = Signals::block()?;
    let (mut planned, mut prepared) =
        checked.ready(&args.tasks, &args.common, &mut outputs, &signals)?;
    planned.iter_mut().for_each(|planned| planned.surge = args.surge);
    if set.utilisation() > 1.0 {
        prepared.warnings.push(Warning::Overload { utilisation: set.utilisation() });
    }
    let plan = Plan {
        tasks: planned,
        pin: prepared.pin,
        backlog: Backlog::Keep,
        duration,
        drain: args.drain.unwrap_or_else(|| default_drain(duration)),
        start_at: args.common.start_at,
        keep: plan::keep(&set, duration, args.common.most_records),
        stop_above: args.stop_above(),
    };
    let labels = Labels { experiment: args.experiment.clone(), repetition: args.repetition };
    let stream = outputs.stream(&labels, &plan)?;
    let feed = stream.as_ref().map(Stream::feed);
    let outcome = engine::execute(&plan, feed, &signals, output::print_ready)?;
    signals.give_up_on_writing();
    let mut summary = prepared.summary(&plan, &args.common, &outcome);
    let unfinished: u64 = outcome.tasks.iter().map(|task| task.tally.unfinished).sum();
    if unfinished > 0 {
        summary.add_warning(&Warning::Unfinished { jobs: unfinished });
    }
    finish((outputs, stream), &labels, &outcome, &summary, args.common.summary)?;
    let misses: u64 = outcome.tasks.iter().map(|task| task.tally.late).sum();
    Ok(match () {
        () if outcome.interrupted => Exit::Interrupted,
        () if args.fail_on_miss && misses + unfinished > 0 => Exit::NotHeld,
        () => Exit::Done,
    })
}

/// Writes the files and prints the summary, each also where the other cannot be.
pub(crate) fn finish(
    (outputs, stream): (Outputs, Option<JobStream>),
    labels: &Labels,
    outcome: &Outcome,
    summary: &Summary,
    format: Format,
) -> Result<(), Error> {
    let streamed = stream.map_or(Ok(()), Stream::finish);
    let written = outputs.write(labels, outcome, summary.cpu);
    let printed = summary.print(format);
    streamed.and(written).and(printed)?;
    match outcome.tasks.iter().map(|task| task.tally.lost).sum() {
        0 => Ok(()),
        rows => Err(Error::RowsLost { rows }),
    }
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

/// Options that were found to make sense, before anything was touched.
pub(crate) struct Checked {
    policies: Vec<Policy>,
    /// Where the tasks run, and the calibration.
    pub cpu: u32,
}

/// What `run` and `load` share: checks the options.
pub(crate) fn check(
    set: &TaskSet,
    args: &TaskArgs,
    highest_priority: u8,
) -> Result<Checked, Error> {
    let policies = policies(args.policy, set, &args.priority, highest_priority)?;
    plan::above_zero("--for", args.calibration.length)?;
    plan::still_to_come(args.start_at)?;
    Ok(Checked { policies, cpu: plan::choose_cpu(args.cpu)? })
}

impl Checked {
    /// Takes the calibration, gives every task its policy and its work.
    pub(crate) fn ready(
        self,
        tasks: &[TaskArg],
        args: &TaskArgs,
        outputs: &mut Outputs,
        signals: &Signals,
    ) -> Result<(Vec<plan::PlannedTask>, Prepared), Error> {
        let Self { policies, cpu } = self;
        let set: TaskSet = tasks.iter().map(|given| given.task).collect();
        // SCHED_DEADLINE takes no affinity narrower than its root domain, so only on demand.
        let pin = (args.policy != PolicyKind::Deadline || args.cpu.is_some()).then_some(cpu);
        let mut warnings = Vec::new();
        let awake = args.hold_awake.then(|| hold_awake(&mut warnings)).flatten();
        let (calibration, doubts) =
            calibration::obtain(cpu, &args.calibration_options(args.work_kind()), &|| {
                !signals.pending()
            })?;
        outputs.save(&calibration)?;
        warnings.extend(doubts);
        warnings.extend(limits::doubts(&set, args.policy, args.work_kind(), cpu));
        let mut planned = plan::tasks(&set, &policies, args.work_kind(), &calibration);
        for (index, (planned, given)) in planned.iter_mut().zip(tasks).enumerate() {
            planned.variation = given.variation(index, args.seed);
        }
        Ok((planned, Prepared { calibration, warnings, pin, _awake: awake }))
    }
}

/// Keeps CPUs out of slow sleep states while it is held; none where that cannot be.
pub(crate) fn hold_awake(warnings: &mut Vec<Warning>) -> Option<DmaLatency> {
    DmaLatency::hold(Path::new("/dev/cpu_dma_latency"))
        .map_err(|error| warnings.push(Warning::CannotHoldAwake(error.to_string())))
        .ok()
}

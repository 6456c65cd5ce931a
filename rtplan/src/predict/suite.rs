//! A suite's experiments on another host.

use std::time::Duration;

use model::{
    Suite, Task, TaskSet,
    analysis::ExperimentAnalysis,
    duration::as_ns,
    stats::Summary,
    suite::{Experiment, Service, ServiceKind, Work, Workload},
};
use serde::Serialize;

use super::{PredictError, Scaled, Transport};
use crate::{
    experiment::analyse,
    sim::{
        Count, Done, Observer, Recorder, experiment as play, simulate,
        suite::{Plan, SuiteRunError, refusal},
    },
};

/// A task on the other host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PredictedTask {
    /// `tau1`, `tau2`, …
    pub task: String,
    /// T.
    pub period_ns: u64,
    /// D.
    pub deadline_ns: u64,
    /// C as the suite says, on the first host.
    pub from_execution_ns: u64,
    /// C on the second, by the medians: what is simulated.
    pub to_execution_ns: u64,
    /// The lower end of its range.
    pub to_low_ns: u64,
    /// The upper end: what is analysed.
    pub to_high_ns: u64,
    /// Worst-case response time; none where it is unbounded or nothing is promised.
    pub wcrt_ns: Option<u64>,
    /// Simulated jobs that finished; none where nothing was simulated, as below.
    pub jobs: Option<u64>,
    /// Of these, later than D.
    pub misses: Option<u64>,
    /// Simulated jobs that were not done at the end.
    pub unfinished: Option<u64>,
    /// Their response times.
    pub response_ns: Option<Summary>,
}

/// A service of tasks on the other host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// Its experiment.
    pub experiment: String,
    /// Its VM; none on the host.
    pub vm: Option<String>,
    /// Its name.
    pub service: String,
    /// The supply model of the analysis; none where nothing is promised.
    pub supply: Option<String>,
    /// Whether every deadline holds with the upper end of C; none where nothing is promised or the
    /// analysis was given up.
    pub schedulable: Option<bool>,
    /// Why it was not simulated; none where it was.
    pub not_simulated: Option<String>,
    /// In the order of the suite.
    pub tasks: Vec<PredictedTask>,
}

/// Every service of tasks of the plan's suite, scaled, analysed with the upper end of C and simulated
/// with the typical one. Experiments without tasks are left out.
///
/// # Errors
/// [`PredictError::Paced`], before anything is analysed; what the simulator says.
pub fn predict(plan: &Plan, transport: &Transport) -> Result<Vec<Prediction>, PredictError> {
    let experiments = with_tasks(&plan.suite)?;
    let mut predictions = Vec::new();
    for experiment in experiments {
        predictions.extend(one(plan, experiment, transport)?);
    }
    Ok(predictions)
}

fn with_tasks(suite: &Suite) -> Result<Vec<&Experiment>, PredictError> {
    let has_tasks = |one: &&Experiment| one.workloads().iter().any(|own| !own.tasks().is_empty());
    let experiments: Vec<_> = suite.experiments.iter().filter(has_tasks).collect();
    let paced = experiments.iter().filter(|one| one.work == Work::Paced);
    let names: Vec<String> = paced.map(|one| one.name.clone()).collect();
    if names.is_empty() { Ok(experiments) } else { Err(PredictError::Paced { names }) }
}

fn one(
    plan: &Plan,
    experiment: &Experiment,
    transport: &Transport,
) -> Result<Vec<Prediction>, PredictError> {
    let (upper, _) = scaled(experiment, &|execution| transport.scaled(execution).high);
    let (typical, fits) = scaled(experiment, &|execution| transport.scaled(execution).typical);
    let mut predictions: Vec<Prediction> = play::played(experiment)
        .into_iter()
        .zip(play::played(&upper))
        .map(|(own, upper)| analysed(own, upper, transport))
        .collect();
    let reason = if fits {
        refusal(&typical)
    } else {
        Some("a task takes longer than its period or deadline".to_owned())
    };
    match reason {
        Some(reason) => {
            predictions.iter_mut().for_each(|own| own.not_simulated = Some(reason.clone()));
        }
        None => played(plan, &typical, &mut predictions)?,
    }
    Ok(predictions)
}

/// `experiment` with other execution times, and whether all of them fit into their periods and
/// deadlines. The tasks of a service in which one does not are left as they are.
fn scaled(experiment: &Experiment, scale: &dyn Fn(Duration) -> Duration) -> (Experiment, bool) {
    let mut other = experiment.clone();
    let mut fit = true;
    let own = other.services.iter_mut();
    for service in own.chain(other.vms.iter_mut().flat_map(|vm| &mut vm.services)) {
        if let ServiceKind::Tasks(tasks) = &mut service.kind {
            match longer(tasks, scale) {
                Some(longer) => *tasks = longer,
                None => fit = false,
            }
        }
    }
    (other, fit)
}

fn longer(tasks: &TaskSet, scale: &dyn Fn(Duration) -> Duration) -> Option<TaskSet> {
    let task = |own: &Task| Task::new(scale(own.execution()), own.period(), own.deadline()).ok();
    tasks.iter().map(task).collect()
}

/// `upper` is `own` with the upper end of C.
fn analysed(own: Workload, upper: Workload, transport: &Transport) -> Prediction {
    let times: Vec<Scaled> =
        own.tasks().iter().map(|task| transport.scaled(task.execution())).collect();
    let fits = own
        .tasks()
        .iter()
        .zip(&times)
        .all(|(task, scaled)| scaled.high <= task.period() && scaled.high <= task.deadline());
    let analysis = analyse(upper);
    let expected = analysis.as_ref().and_then(ExperimentAnalysis::expected);
    let wcrt = |at: usize| expected.filter(|_| fits).and_then(|all| all.tasks.get(at)?.wcrt_ns);
    let task = |(at, (task, scaled)): (usize, (&Task, &Scaled))| PredictedTask {
        task: TaskSet::name(at),
        period_ns: as_ns(task.period()),
        deadline_ns: as_ns(task.deadline()),
        from_execution_ns: as_ns(task.execution()),
        to_execution_ns: as_ns(scaled.typical),
        to_low_ns: as_ns(scaled.low),
        to_high_ns: as_ns(scaled.high),
        wcrt_ns: wcrt(at),
        jobs: None,
        misses: None,
        unfinished: None,
        response_ns: None,
    };
    Prediction {
        experiment: own.experiment.name.clone(),
        vm: own.vm.map(|vm| vm.name.clone()),
        service: own.service.map_or(Service::TASKS, |service| service.name.as_str()).to_owned(),
        supply: expected.map(|all| all.supply.clone()),
        // What does not fit into its period or deadline holds under no supply.
        schedulable: if fits { expected.and_then(|all| all.schedulable) } else { Some(false) },
        not_simulated: None,
        tasks: own.tasks().iter().zip(&times).enumerate().map(task).collect(),
    }
}

/// Fills in what the simulator says.
fn played(
    plan: &Plan,
    experiment: &Experiment,
    predictions: &mut [Prediction],
) -> Result<(), PredictError> {
    let failed =
        |error| SuiteRunError::Experiment { name: experiment.name.clone(), error: Box::new(error) };
    let (conditions, _) = plan.conditions(experiment)?;
    let cpus = play::cpus(experiment, &conditions[0]).map_err(failed)?;
    let mut recorders: Vec<Recorder> =
        predictions.iter().map(|own| Recorder::new(own.tasks.len())).collect();
    for own in &cpus {
        let mut see = |done: &Done| recorders[own.played[done.thread]].done(done);
        let outcome = simulate(&own.set_up, plan.seed, &mut see).map_err(failed)?;
        for (&place, thread) in own.played.iter().zip(&outcome.threads) {
            for (at, task) in predictions[place].tasks.iter_mut().enumerate() {
                let count = thread.tasks.iter().find(|(name, _)| *name == at);
                let count = count.map_or(Count::default(), |(_, count)| *count);
                task.jobs = Some(count.done);
                task.misses = Some(count.missed);
                task.unfinished = Some(count.unfinished);
                task.response_ns = recorders[place].tasks[at].response.summary();
            }
        }
    }
    Ok(())
}

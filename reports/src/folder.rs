//! A result folder, read once into plain data.
//!
//! Only attempts whose record says `counts` enter it; the others are counted, so that a report can
//! say how many there were. A file that should be there and is not becomes a line in
//! [`Results::gaps`]: what was not measured is never filled in.

use std::path::{Path, PathBuf};

use model::{
    Manifest, TaskSet,
    analysis::ExperimentAnalysis,
    manifest::{RepetitionRecord, Status},
    sample::ClockRow,
    suite::{Experiment, ReservationSettings, Sweep, Workload},
    sweep::{self, Outcome, Point},
};
use results::{
    Folder, Samples,
    budget::{self, Budgets},
    network::{self, Traffic},
    point::point,
};

use crate::{
    error::ReportError,
    predict::Bounds,
    series::{Selection, Series},
    traced::Traced,
};

/// Everything a report needs of a result folder.
#[derive(Debug)]
pub struct Results {
    /// The folder.
    pub path: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// One per service of each experiment of the suite, in its order, measured or not.
    pub cases: Vec<Case>,
    /// What the suite's sweeps came to.
    pub sweeps: Vec<Outcome>,
    /// What should have been there and is not, a sentence each.
    pub gaps: Vec<String>,
    /// The same suite simulated, where the report shows both ([`Results::join`]).
    pub simulation: Option<Box<Results>>,
}

/// A service of an experiment and what was measured of it.
#[derive(Debug)]
pub struct Case {
    /// As the suite says.
    pub experiment: Experiment,
    /// Which of its workloads this is.
    at: usize,
    name: String,
    /// One per task (or one for the service), in the order of the tasks, also of a task that
    /// starved; empty where nothing that counts was measured.
    pub series: Vec<Series>,
    /// The host's own tasks, in their order, where the load recorded its jobs.
    pub load: Vec<Series>,
    /// Which jobs decide.
    judged: Selection,
    /// What the analysis promises each task, where it applies.
    pub bounds: Option<Bounds>,
    /// Whether the budget of its reservation is enough; none without tasks or reservation.
    pub point: Option<Point>,
    /// When the VM's threads ran in the attempts that count, where that was traced.
    pub traced: Vec<Traced>,
    /// What its probe of the clock saw in each attempt that counts; empty without a probe.
    pub clocks: Vec<(u32, Vec<ClockRow>)>,
    /// How its budget adapted in each attempt that counts; empty where it is fixed.
    pub budgets: Vec<Budgets>,
    /// What its clients asked for in each attempt that counts and was answered; empty of tasks.
    pub traffic: Vec<Traffic>,
    /// The attempts that count.
    pub counted: Vec<RepetitionRecord>,
    /// How many attempts there were.
    pub attempts: usize,
    /// How many of them failed.
    pub failed: usize,
    /// How many of the complete ones were noisy.
    pub noisy: usize,
}

impl Results {
    /// Reads `folder`: the manifest, and the samples of each attempt that counts.
    ///
    /// # Errors
    /// A folder without a readable manifest of a known version, or a malformed CSV row.
    pub fn read(folder: &Path) -> Result<Self, ReportError> {
        let folder = Folder::open(folder)?;
        let suite = &folder.manifest.suite;
        let analyses = rtplan::experiment::analyses(suite);
        let mut gaps = Vec::new();
        let mut cases = Vec::new();
        for experiment in &suite.experiments {
            for at in 0..experiment.workloads().len() {
                cases.push(Case::read(&folder, experiment, at, &analyses, &mut gaps)?);
            }
        }
        let outcome = |own: &Sweep| {
            let names: Vec<String> =
                own.members(suite).filter_map(|one| Some(own.workload(one)?.name())).collect();
            let mine = |case: &&Case| names.iter().any(|name| name == case.name());
            let points = cases.iter().filter(mine).filter_map(|case| case.point.clone());
            sweep::outcome(suite, own, points.collect(), &analyses)
        };
        let sweeps = suite.sweeps.iter().map(outcome).collect();
        let Folder { path, manifest } = folder;
        Ok(Self { path, manifest, cases, sweeps, gaps, simulation: None })
    }

    /// The case of this name, where something that counts was measured in it.
    #[must_use]
    pub fn measured(&self, name: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.name() == name && case.is_measured())
    }

    /// Whether `rtplan simulate` made these results, so that nothing was measured.
    #[must_use]
    pub fn simulated(&self) -> bool {
        self.accelerator() == Some(rtplan::sim::ACCELERATOR)
    }

    /// Whether the case is drawn with a sweep that it belongs to.
    #[must_use]
    pub fn is_swept(&self, case: &Case) -> bool {
        let name = &case.experiment.name;
        let members = |own: &Outcome| own.points.iter().any(|one| one.experiment == *name);
        self.sweeps.iter().any(members)
    }

    /// The case of this name, measured or not.
    ///
    /// # Errors
    /// Where the suite has none, with those that it has.
    pub fn case(&self, name: &str) -> Result<&Case, ReportError> {
        self.cases.iter().find(|case| case.name() == name).ok_or_else(|| {
            let names: Vec<_> = self.cases.iter().map(Case::name).collect();
            ReportError::Nothing(format!(
                "--experiment: the suite has no experiment `{name}`; it has {}",
                names.join(", ")
            ))
        })
    }

    /// What is real on a host whose speed is not that of hardware, in one sentence.
    #[must_use]
    pub fn unreal_speed(&self) -> Option<&'static str> {
        let platform = self.manifest.host.platform?;
        (!platform.has_real_speed()).then(|| platform.what_is_real())
    }

    /// `kvm`, `tcg` or `simulation`; none where no guest ran.
    #[must_use]
    pub fn accelerator(&self) -> Option<&str> {
        self.manifest.accelerator.as_ref().map(|facts| facts.name.as_str())
    }
}

impl Case {
    fn read(
        folder: &Folder,
        experiment: &Experiment,
        at: usize,
        analyses: &[ExperimentAnalysis],
        gaps: &mut Vec<String>,
    ) -> Result<Self, ReportError> {
        let workload = experiment.workloads()[at];
        let vm = workload.vm.map(|vm| vm.name.as_str());
        let Samples { mut series, mut load, gaps: missing } = folder.samples(workload)?;
        // A file that is not there is one gap, whatever services it was for.
        gaps.extend(missing.into_iter().filter(|_| at == 0));
        for side in [&mut series, &mut load] {
            side.sort_by(|a, b| (a.task.len(), &a.task).cmp(&(b.task.len(), &b.task)));
        }
        let own: Vec<_> = folder.attempts(&experiment.name).collect();
        let of_vm = |record: &RepetitionRecord| RepetitionRecord {
            facts: record.facts.of(vm),
            ..record.clone()
        };
        let counted: Vec<_> = folder.counted(&experiment.name).map(of_vm).collect();
        let (mut traced, mut clocks, mut budgets) = (Vec::new(), Vec::new(), Vec::new());
        let mut traffic = Vec::new();
        for record in &counted {
            budgets.extend(budget::read(&folder.path, record, workload)?);
            if workload.web().is_some() {
                traffic.extend(network::traffic(&folder.path, record, workload)?);
            }
            if workload.probe().is_some() {
                let rows = results::clock::rows(&folder.path, record, workload)?;
                if rows.is_none() {
                    gaps.push(format!(
                        "{}/rep-{:03} counts, but has no clock.csv",
                        record.experiment, record.attempt
                    ));
                }
                clocks.extend(rows.map(|rows| (record.attempt, rows)));
            }
            traced.extend(Traced::read(&folder.place(record), record, vm, workload.vcpu())?);
        }
        let analysis = analyses.iter().find(|own| own.is_of(workload));
        let failed = |record: &&&RepetitionRecord| record.status == Status::Failed;
        let reserved = workload.reservation().is_some() && !workload.tasks().is_empty();
        Ok(Self {
            experiment: experiment.clone(),
            at,
            name: workload.name(),
            judged: Selection::by(analysis),
            bounds: analysis.and_then(Bounds::of),
            point: reserved.then(|| point(workload, &series, analyses)),
            series,
            load,
            traced,
            clocks,
            budgets,
            traffic,
            attempts: own.len(),
            failed: own.iter().filter(failed).count(),
            noisy: own.iter().filter(|record| record.noisy && !failed(record)).count(),
            counted,
        })
    }

    /// The experiment's name, with those of VM and service where it has several services.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The service, and where it runs.
    #[must_use]
    pub fn workload(&self) -> Workload<'_> {
        self.experiment.workloads()[self.at]
    }

    /// Its tasks; none of a web service.
    #[must_use]
    pub fn tasks(&self) -> &TaskSet {
        self.workload().tasks()
    }

    /// What its VM is guaranteed.
    #[must_use]
    pub fn reservation(&self) -> Option<&ReservationSettings> {
        self.workload().reservation()
    }

    /// Whether any run that counts was measured; all its jobs may have starved.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.series.iter().any(|series| !series.is_empty())
    }

    /// The series of this task.
    #[must_use]
    pub fn task(&self, task: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.task == task && !series.is_empty())
    }

    /// The analytic worst case of this task in nanoseconds.
    #[must_use]
    pub fn bound_ns(&self, task: &str) -> Option<u64> {
        self.bounds.as_ref()?.wcrt_ns(task)
    }

    /// The jobs by which this case is judged: [`Selection::by`] its analysis.
    #[must_use]
    pub fn judged(&self) -> Selection {
        self.judged
    }

    /// Whether that leaves enough of every task's jobs ([`model::judged::Count::is_enough`]).
    #[must_use]
    pub fn is_enough(&self, selection: Selection) -> bool {
        self.series.iter().all(|own| own.count(selection).is_enough())
    }
}

//! One mechanism of a group: what its VM's tasks, the host's tasks and the trace say.

use std::{cmp::Ordering, time::Duration};

use model::{
    Mechanism, Reservation, TaskSet, duration::as_ns, manifest::HostFacts, stats::Summary,
    suite::ReservationSettings,
};

use super::mechanism;
use crate::{
    folder::{Case, Results},
    series::{SERVICE, Selection, Series},
    supply::{
        self, Traced,
        bound::{Promise, least},
        table::bandwidth,
    },
};

/// An experiment of a group, and the figures by which it is ranked.
#[derive(Debug)]
pub struct Member<'a> {
    /// The experiment.
    pub case: &'a Case,
    /// How it was reserved.
    pub mechanism: Mechanism,
    /// Why this host cannot run it.
    pub impossible: Option<&'a str>,
    /// Which of the VM's jobs are judged.
    pub selection: Selection,
    /// The VM's tasks, or the service.
    pub tasks: Vec<Figures>,
    /// The host's own tasks.
    pub load: Vec<Figures>,
    /// CPU time of the vCPUs as a share of the workload's time.
    pub delivered: Option<f64>,
    /// The least supply in any undisturbed window of 2P − Q in which the vCPU was busy, in ns.
    pub least_ns: Option<u64>,
    /// Whether it was given CPU time beyond (Q, P); none where no busy interval was long enough.
    pub spare: Option<bool>,
}

/// What became of the jobs of a task, or the requests to a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Its name in the table: the host's tasks are numbered on from the VM's.
    pub task: String,
    /// Judged jobs, with those that were released but not finished; all requests.
    pub jobs: usize,
    /// Those of them that missed their deadline or were not finished; requests that failed.
    pub misses: usize,
    /// Mean response time in ns.
    pub mean_ns: Option<f64>,
    /// 99th percentile in ns, unfinished jobs being the longest; none where it is one of those.
    pub p99_ns: Option<u64>,
    /// Relative deadline in ns; none for a service.
    pub deadline_ns: Option<u64>,
}

impl Figures {
    fn of(series: &Series, task: String, selection: Selection) -> Self {
        let (count, failures) = (series.count(selection), series.failures);
        let summary = Summary::of(&mut series.responses(selection));
        Self {
            task,
            jobs: (count.judged() + failures) as usize,
            misses: (count.missed() + failures) as usize,
            mean_ns: summary.map(|own| own.mean),
            p99_ns: series.percentile(selection, 99.0),
            deadline_ns: series.deadline_ns,
        }
    }
}

impl<'a> Member<'a> {
    pub(super) fn of(results: &'a Results, case: &'a Case, reservation: Reservation) -> Self {
        let selection = selection(case);
        let figures = |own: &Series| Figures::of(own, own.task.clone(), selection);
        let first = case.tasks().len();
        let loaded = |(at, own): (usize, &Series)| {
            Figures::of(own, TaskSet::name(first + at), Selection::All)
        };
        let mechanism = mechanism(case);
        let corner_ns = as_ns(reservation.period()) * 2 - as_ns(reservation.budget());
        let quiet: Vec<_> = case.traced.iter().flat_map(|one| one.quiet.clone()).collect();
        let mut impossible = results.manifest.impossible.iter();
        let impossible = impossible.find(|own| own.experiment == case.experiment.name);
        Self {
            case,
            mechanism,
            impossible: impossible.map(|own| own.reason.as_str()),
            selection,
            tasks: case.series.iter().map(figures).collect(),
            load: case.load.iter().enumerate().map(loaded).collect(),
            delivered: bandwidth(&case.traced).or_else(|| shares(case)),
            least_ns: least(&quiet, corner_ns).map(|window| window.supplied_ns),
            spare: promise(&results.manifest.host, reservation, mechanism)
                .and_then(|own| spare(&case.traced, &own)),
        }
    }

    /// Whether there is anything to rank it by.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.tasks.iter().any(|own| own.jobs > 0)
    }

    pub(super) fn service_p99_ns(&self) -> Option<u64> {
        self.tasks.iter().find(|own| own.task == SERVICE)?.p99_ns
    }

    /// Better is less: first the share of judged jobs that missed (requests that failed); then the
    /// 99th percentile of the task that comes nearest to its deadline, in tenths of that (of a
    /// service: in tenths of `best_ns`, the least of the group); then the share of the host's jobs
    /// that missed.
    pub(super) fn order(&self, other: &Self, best_ns: Option<u64>) -> Ordering {
        let key = |own: &Self| {
            let misses = [&own.tasks, &own.load].map(|side| missed(side).unwrap_or(f64::INFINITY));
            [misses[0], own.tenths(best_ns), misses[1]]
        };
        let (ours, theirs) = (key(self), key(other));
        let each = ours.iter().zip(&theirs).map(|(a, b)| a.total_cmp(b));
        let by_key = each.fold(Ordering::Equal, Ordering::then);
        other.is_measured().cmp(&self.is_measured()).then(by_key)
    }

    fn tenths(&self, best_ns: Option<u64>) -> f64 {
        let share = |own: &Figures| match (own.p99_ns, own.deadline_ns.or(best_ns)) {
            (Some(p99_ns), Some(of_ns)) => 10.0 * p99_ns as f64 / of_ns as f64,
            _ => f64::INFINITY,
        };
        self.tasks.iter().map(share).fold(0.0, f64::max).round()
    }
}

/// The share of all jobs that missed; none where there are none.
fn missed(tasks: &[Figures]) -> Option<f64> {
    let jobs: usize = tasks.iter().map(|own| own.jobs).sum();
    let misses: usize = tasks.iter().map(|own| own.misses).sum();
    (jobs > 0).then(|| misses as f64 / jobs as f64)
}

/// As the case is judged, unless that leaves too few of a task's jobs: a ranking leaves nobody out.
fn selection(case: &Case) -> Selection {
    let judged = case.judged();
    if case.is_enough(judged) { judged } else { Selection::All }
}

/// Delivered bandwidth where nothing was traced: by the CPU clocks.
fn shares(case: &Case) -> Option<f64> {
    let shares = case.counted.iter().map(|record| record.facts.vcpu_share);
    let shares: Vec<f64> = shares.collect::<Option<_>>()?;
    (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
}

/// (Q, P) with this host's tick, for a mechanism that need not have been promised anything.
fn promise(host: &HostFacts, reservation: Reservation, mechanism: Mechanism) -> Option<Promise> {
    let (budget, period) = (reservation.budget(), reservation.period());
    let (burst, placement, control) = (Duration::ZERO, None, None);
    let settings = ReservationSettings { budget, period, mechanism, burst, placement, control };
    supply::of_host(host, &settings).ok()
}

/// Whether any busy interval as a whole, up to its first stall, got more than a cap of (Q, P) lets
/// through ([`Promise::most_from_begin_ns`]); none where a whole CPU could not exceed that.
fn spare(attempts: &[Traced], promise: &Promise) -> Option<bool> {
    let intervals = attempts.iter().flat_map(Traced::from_begin);
    let told = intervals.filter_map(|own| {
        let capped = promise.most_from_begin_ns(own.length_ns());
        (capped < own.length_ns()).then(|| own.supplied_ns() > capped)
    });
    told.reduce(|any, more| any || more)
}

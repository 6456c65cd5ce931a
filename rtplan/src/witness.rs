//! Evidence for a verdict: instants at which demand and supply can be compared by hand.

use crate::{
    fixed_priority::Worst,
    item::{Item, due},
    ns::Ns,
    problem::{Problem, Scenario},
};

/// So many instants a person can be asked to check.
const MOST_POINTS: usize = 12;

/// Deadlines of one task among which the tightest is looked for.
const MOST_DEADLINES: u32 = 100;

/// Demand and supply of a busy window up to one instant, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Since the window opened.
    pub at: u128,
    /// Work asked for until then.
    pub demand: u128,
    /// Work surely supplied until then.
    pub supply: u128,
}

/// Why a task's deadline holds, or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Witness {
    /// Fixed priorities: at this instant, before the deadline, the task's job, its earlier ones and
    /// all more urgent work released before are supplied.
    Finishes {
        /// Which of its jobs since the window opened, counted from 0: the one that takes longest.
        job: u128,
        /// The instant.
        point: Point,
    },
    /// Fixed priorities: at none of these instants is that so, and between two of them the demand
    /// does not change; the last one is the deadline.
    Starved {
        /// Which of its jobs since the window opened, counted from 0: the first that misses.
        job: u128,
        /// The instants, ascending.
        points: Vec<Point>,
        /// Whether these are all there are; else only the last ones are listed.
        complete: bool,
    },
    /// EDF: the deadline of the task with the least to spare.
    Tightest {
        /// The deadline.
        point: Point,
    },
    /// EDF: the first instant at which more is due than supplied.
    Overrun {
        /// The instant.
        point: Point,
    },
}

/// The evidence for a rank under fixed priorities, from its worst case and its first job that
/// misses; none where its offsets are used, since each opening of the window is another case then.
pub(crate) fn of_rank(
    problem: &Problem,
    rank: usize,
    worst: Worst,
    miss: Option<Ns>,
) -> Option<Witness> {
    let scenarios = concerned(problem, rank)?;
    let item = &problem.items[rank];
    let Some(job) = miss else {
        let job = worst.job;
        let at = (worst.response.ns()? + job * item.period).checked_sub(item.jitter)?;
        let points = scenarios.map(|scenario| point(problem, rank, job, scenario, at));
        let least = points.min_by_key(|point| point.supply);
        return least.map(|point| Witness::Finishes { job, point });
    };
    let deadline = item.deadline_of(job)?;
    let least = scenarios.min_by_key(|scenario| scenario.bound.provided(deadline))?;
    let (instants, complete) = scheduling_points(&problem.items[..rank], deadline);
    let points: Vec<Point> =
        instants.into_iter().map(|at| point(problem, rank, job, least, at)).collect();
    // Where windows open in several ways, one instant may suffice in the one and not in another.
    let starved = points.iter().all(|point| point.demand > point.supply);
    starved.then_some(Witness::Starved { job, points, complete })
}

/// Demand against supply of `rank` at the deadline of its `job`.
pub(crate) fn at_deadline(problem: &Problem, rank: usize, job: Ns) -> Option<Point> {
    let at = problem.items[rank].deadline_of(job)?;
    let points = concerned(problem, rank)?.map(|scenario| point(problem, rank, job, scenario, at));
    points.min_by_key(|point| point.supply)
}

/// The windows that `rank` has to consider; none where they differ in the releases.
fn concerned(problem: &Problem, rank: usize) -> Option<impl Iterator<Item = &Scenario>> {
    let scenarios = || problem.scenarios.iter().filter(move |scenario| scenario.opener <= rank);
    scenarios().all(|scenario| scenario.phases.is_none()).then(scenarios)
}

fn point(problem: &Problem, rank: usize, job: Ns, scenario: &Scenario, at: Ns) -> Point {
    let item = &problem.items[rank];
    let above = problem.items[..rank].iter();
    let above: Ns = above.map(|item| item.releases(at, 0) * item.execution).sum();
    let demand = item.blocking + (job + 1) * item.execution + above;
    Point { at, demand, supply: scenario.bound.provided(at) }
}

/// The instants up to `deadline` before which the demand of `above` jumps (Lehoczky, Sha and Ding
/// 1989), the deadline among them: all of them, or the last few.
fn scheduling_points(above: &[Item], deadline: Ns) -> (Vec<Ns>, bool) {
    let mut instants = vec![deadline];
    let mut complete = true;
    for item in above {
        let releases = item.releases(deadline, 0);
        let kept = releases.min(MOST_POINTS as Ns);
        complete &= kept == releases;
        let of_item = (releases - kept..releases).map(|job| job * item.period);
        instants.extend(of_item.filter_map(|at| at.checked_sub(item.jitter)).filter(|&at| at > 0));
        if instants.len() > 8 * MOST_POINTS {
            complete &= shorten(&mut instants);
        }
    }
    complete &= shorten(&mut instants);
    (instants, complete)
}

/// All scheduling points of the first job of `rank` with the demand up to each; `None` where there
/// are more than `most`, or where later jobs decide, too.
pub(crate) fn all_points(problem: &Problem, rank: usize, most: usize) -> Option<Vec<(Ns, Ns)>> {
    let (above, item) = (&problem.items[..rank], &problem.items[rank]);
    if item.deadline > item.period {
        return None;
    }
    let deadline = item.deadline.checked_sub(item.jitter)?;
    let count: Ns = above.iter().map(|item| item.releases(deadline, 0)).sum();
    if count > most as Ns {
        return None;
    }
    let of_item = |item: &Item| {
        let (period, jitter) = (item.period, item.jitter);
        (0..item.releases(deadline, 0)).filter_map(move |job| (job * period).checked_sub(jitter))
    };
    let mut instants: Vec<Ns> = above.iter().flat_map(of_item).filter(|&at| at > 0).collect();
    instants.push(deadline);
    let scenario = problem.scenarios.first()?;
    let demand = |at| (at, point(problem, rank, 0, scenario, at).demand);
    Some(instants.into_iter().map(demand).collect())
}

/// Sorts, and keeps the last few; tells whether those were all.
fn shorten(instants: &mut Vec<Ns>) -> bool {
    instants.sort_unstable();
    instants.dedup();
    let excess = instants.len().saturating_sub(MOST_POINTS);
    instants.drain(..excess);
    excess == 0
}

/// Of the deadlines of `rank` the one with the least to spare.
pub(crate) fn tightest_deadline(problem: &Problem, rank: usize) -> Option<Witness> {
    let item = &problem.items[rank];
    let jobs = if problem.items.len() > MOST_DEADLINES as usize { 1 } else { MOST_DEADLINES };
    let instants = (0..jobs).filter_map(|job| item.deadline_of(job.into()));
    let points = instants.flat_map(|at| {
        let demand = due(&problem.items, at);
        let supply = problem.scenarios.iter().map(move |scenario| scenario.bound.provided(at));
        supply.min().map(|supply| Point { at, demand, supply })
    });
    let spare = |point: &Point| point.supply.saturating_sub(point.demand);
    points.min_by_key(spare).map(|point| Witness::Tightest { point })
}

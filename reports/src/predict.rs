//! What the analysis (`rtplan`) promises the tasks of an experiment.

use std::time::Duration;

use model::{
    TaskSet,
    duration::as_ns,
    suite::{Experiment, Place},
};
use rtplan::{Scheduler, Supply};

/// Worst-case response times of an experiment's tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// The assumption about the CPU that the tasks get, in words.
    pub supply: &'static str,
    /// By task, in order; none where it is unbounded.
    wcrt: Vec<Option<Duration>>,
}

impl Bounds {
    /// The bound of `task` (`tau1`, …) in nanoseconds.
    #[must_use]
    pub fn wcrt_ns(&self, task: &str) -> Option<u64> {
        let index = (0..self.wcrt.len()).find(|index| TaskSet::name(*index) == task)?;
        self.wcrt[index].map(as_ns)
    }
}

/// The bounds, where the supply is known: under a reservation, tasks released at the start of its
/// period; without one and without load, the CPU to itself. Beside a load and without a
/// reservation nothing is promised.
#[must_use]
pub fn bounds(experiment: &Experiment) -> Option<Bounds> {
    if experiment.tasks.is_empty() {
        return None;
    }
    let (supply, words) = match (&experiment.reservation, &experiment.load, experiment.place) {
        (Some(own), _, _) => {
            (Supply::aligned(own.reservation()), "releases aligned with the reservation")
        }
        (None, None, Place::Host | Place::Guest) => (Supply::dedicated(), "the CPU to itself"),
        (None, Some(_), _) => return None,
    };
    let wcrt = rtplan::wcrt(&experiment.tasks, &supply, Scheduler::RateMonotonic);
    Some(Bounds { supply: words, wcrt })
}

//! A workload, a scheduler and a supply, made ready for the algorithms.

use std::collections::BTreeMap;

use crate::{
    ns::{Ns, ceil_div, div_rem, gcd},
    supply::{Bound, Grid, Model, Supply},
    workload::{Scheduler, TaskSpec, Workload, WorkloadError},
};

/// Offsets are used up to so many tasks: the analysis with them is cubic in their number. Larger
/// sets are analysed for the worst offsets, which is the safe side.
const MOST_WITH_OFFSETS: usize = 256;

/// A task's numbers, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    /// Place in the order given.
    pub index: usize,
    pub execution: Ns,
    pub period: Ns,
    pub deadline: Ns,
    pub jitter: Ns,
    pub blocking: Ns,
    offset: Option<Ns>,
}

impl Item {
    fn of(index: usize, spec: &TaskSpec) -> Self {
        let task = spec.task;
        Self {
            index,
            execution: task.execution().as_nanos(),
            period: task.period().as_nanos(),
            deadline: task.deadline().as_nanos(),
            jitter: spec.jitter.as_nanos(),
            blocking: spec.blocking.as_nanos(),
            offset: spec.offset.map(|offset| offset.as_nanos()),
        }
    }

    /// The most jobs ready in [0, t) where the first is ready `phase` after the window opens:
    /// ⌈(t + J − φ) / T⌉.
    pub(crate) fn releases(&self, t: Ns, phase: Ns) -> Ns {
        if t == 0 { 0 } else { ceil_div((t + self.jitter).saturating_sub(phase), self.period) }
    }

    /// The most jobs with arrival and deadline in [0, t]: ⌊(t + J − D) / T⌋ + 1.
    pub(crate) fn deadlines(&self, t: Ns) -> Ns {
        (t + self.jitter)
            .checked_sub(self.deadline)
            .map_or(0, |rest| div_rem(rest, self.period).0 + 1)
    }
}

/// One way in which a busy window can open.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// The rank of the task whose release opens it; more urgent tasks need not consider it.
    pub opener: usize,
    /// Where offsets are used: the first release of each rank after the opening.
    pub phases: Option<Vec<Ns>>,
    /// What is supplied from there on.
    pub bound: Bound,
}

/// Items by rank (0 is the most urgent), and every way in which a busy window can open.
#[derive(Debug)]
pub(crate) struct Problem {
    pub items: Vec<Item>,
    pub scheduler: Scheduler,
    pub scenarios: Vec<Scenario>,
}

impl Problem {
    pub(crate) fn new(
        workload: &Workload,
        supply: &Supply,
        scheduler: Scheduler,
    ) -> Result<Self, WorkloadError> {
        let tasks = workload.tasks();
        let items: Vec<Item> = workload
            .order(scheduler)?
            .into_iter()
            .map(|index| Item::of(index, &tasks[index]))
            .collect();
        let mut problem = Self { items, scheduler, scenarios: Vec::new() };
        problem.resupply(supply);
        Ok(problem)
    }

    /// The same tasks on another supply.
    pub(crate) fn resupply(&mut self, supply: &Supply) {
        let jitter = self.items.iter().any(|item| item.jitter > 0);
        let offsets = !jitter
            && self.scheduler != Scheduler::Edf
            && self.items.len() <= MOST_WITH_OFFSETS
            && self.items.iter().all(|item| item.offset.is_some());
        self.scenarios = if offsets {
            self.with_offsets(supply)
        } else if supply.model() == Model::Aligned {
            self.on_grids(supply, jitter)
        } else {
            let bound = supply.bound(Grid { base: 0, step: 1 });
            vec![Scenario { opener: 0, phases: None, bound }]
        };
    }

    /// Each task may open the window; the others are released as soon after as their offsets
    /// allow, which is (Oj − Oi) modulo gcd(Ti, Tj).
    fn with_offsets(&self, supply: &Supply) -> Vec<Scenario> {
        let opened_by = |opener: usize| {
            let first = &self.items[opener];
            let phase = |item: &Item| {
                let step = gcd(first.period, item.period);
                let from = first.offset.unwrap_or(0) % step;
                (item.offset.unwrap_or(0) % step + step - from) % step
            };
            let phases = Some(self.items.iter().map(phase).collect());
            Scenario { opener, phases, bound: supply.bound(first.grid(supply, false)) }
        };
        (0..self.items.len()).map(opened_by).collect()
    }

    /// All tasks released at once, on each of the grids that their periods and offsets make with
    /// the server's period. There are no more grids than the period has divisors, times offsets.
    fn on_grids(&self, supply: &Supply, jitter: bool) -> Vec<Scenario> {
        let mut grids = BTreeMap::new();
        for (rank, item) in self.items.iter().enumerate() {
            grids.entry(item.grid(supply, jitter)).or_insert(rank);
        }
        let scenario =
            |(grid, opener)| Scenario { opener, phases: None, bound: supply.bound(grid) };
        grids.into_iter().map(scenario).collect()
    }
}

impl Item {
    /// The phases at which the task's releases fall into the server's period. A release with
    /// jitter can fall anywhere.
    fn grid(&self, supply: &Supply, jitter: bool) -> Grid {
        let period = supply.reservation().map_or(1, |r| r.period().as_nanos());
        let step = if jitter { 1 } else { gcd(period, self.period) };
        Grid { base: self.offset.unwrap_or(0) % step, step }
    }
}

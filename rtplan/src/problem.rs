//! A workload, a scheduler and a supply, made ready for the algorithms.

use std::collections::BTreeMap;

use crate::{
    item::Item,
    ns::{FOREVER, Ns, gcd},
    phases::Phases,
    supply::{Bound, Model, Supply},
    workload::{Scheduler, Workload, WorkloadError},
};

/// Offsets are used up to so many tasks: the analysis with them is cubic in their number. Larger
/// sets are analysed for the worst offsets, which is the safe side.
const MOST_WITH_OFFSETS: usize = 256;

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
        let offsets = self.scheduler != Scheduler::Edf
            && self.items.len() <= MOST_WITH_OFFSETS
            && self.items.iter().all(|item| item.is_strict() && item.offset.is_some());
        let aligned = supply.reservation().filter(|_| supply.model() == Model::Aligned);
        let phases = aligned.map(|own| Phases::new(&self.items, own.period().as_nanos()));
        self.scenarios = match (&phases, offsets) {
            (Some(phases), true) => {
                self.with_offsets(|item| supply.bound(&phases.of(phases.kind(item))))
            }
            (None, true) => self.with_offsets(|_| supply.bound(&[])),
            (Some(phases), false) => self.on_phases(supply, phases),
            (None, false) => {
                vec![Scenario { opener: 0, phases: None, bound: supply.bound(&[]) }]
            }
        };
    }

    /// Each task may open the window; the others are released as soon after as their offsets
    /// allow, which is (Oj − Oi) modulo gcd(Ti, Tj).
    fn with_offsets(&self, bound: impl Fn(&Item) -> Bound) -> Vec<Scenario> {
        let opened_by = |opener: usize| {
            let first = &self.items[opener];
            let phase = |item: &Item| {
                let step = gcd(first.period, item.period);
                let from = first.offset.unwrap_or(0) % step;
                (item.offset.unwrap_or(0) % step + step - from) % step
            };
            let phases = Some(self.items.iter().map(phase).collect());
            Scenario { opener, phases, bound: bound(first) }
        };
        (0..self.items.len()).map(opened_by).collect()
    }

    /// All tasks released at once, at each of the phases of the server's period at which they can be.
    /// There are no more kinds of them than the period has divisors, times offsets.
    fn on_phases(&self, supply: &Supply, phases: &Phases) -> Vec<Scenario> {
        let mut first_of_kind = BTreeMap::new();
        for (rank, item) in self.items.iter().enumerate() {
            first_of_kind.entry(phases.kind(item)).or_insert(rank);
        }
        let scenario = |(kind, opener)| Scenario {
            opener,
            phases: None,
            bound: supply.bound(&phases.of(kind)),
        };
        first_of_kind.into_iter().map(scenario).collect()
    }
}

/// The length after which demand and supply both repeat: the least common multiple of the periods;
/// at least [`FOREVER`] where that is too long to be of use.
pub(crate) fn cycle(items: &[Item], bound: &Bound) -> Ns {
    items.iter().fold(bound.period(), |length, item| {
        if length >= FOREVER {
            return FOREVER;
        }
        (length / gcd(length, item.period)).saturating_mul(item.period).min(FOREVER)
    })
}

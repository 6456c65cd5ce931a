//! Who runs.

use super::{Engine, NONE};
use crate::sim::{
    observe::Observer,
    server::{Actor, NEVER, Rule},
};

/// How long an ordinary thread runs before another of its like is looked at: the kernel's base
/// slice on two CPUs.
const SLICE_NS: u64 = 2_800_000;

impl<O: Observer> Engine<'_, O> {
    pub(super) fn dispatch(&mut self) {
        let chosen = self.pick();
        if chosen == self.current {
            if chosen != NONE && chosen >= self.ordinary && self.now >= self.slice_end {
                self.begin_slice(chosen);
            }
            return;
        }
        if self.current != NONE {
            // A switch shows a used-up budget before the tick does.
            self.enforce(self.current);
        }
        if chosen != NONE {
            self.actors[chosen].debt = self.switch_overhead;
            if chosen >= self.ordinary {
                self.begin_slice(chosen);
            }
        }
        self.current = chosen;
    }

    fn begin_slice(&mut self, chosen: usize) {
        self.slice_end = self.now.saturating_add(SLICE_NS);
        self.virtual_floor = self.virtual_floor.max(self.actors[chosen].virtual_ns);
    }

    #[inline]
    fn pick(&mut self) -> usize {
        let (mut best, mut earliest) = (NONE, NEVER);
        for (index, actor) in self.actors[..self.fixed].iter().enumerate() {
            let sooner = actor.deadline < earliest
                || (actor.deadline == earliest && (index == self.current || best == NONE));
            if actor.runnable() && sooner {
                (best, earliest) = (index, actor.deadline);
            }
        }
        if self.has_periodic {
            self.passing = self.idle_before(earliest);
        }
        if let Some(chosen) = self.fair_choice(earliest) {
            return chosen;
        }
        if best != NONE {
            return best;
        }
        let runnable = |index: &usize| self.actors[*index].runnable();
        (self.fixed..self.ordinary).find(runnable).unwrap_or_else(|| self.pick_ordinary())
    }

    /// The periodic server that would run if it had work: its budget passes.
    fn idle_before(&self, earliest: u64) -> usize {
        let idle = |actor: &Actor| {
            actor.rule == Rule::Periodic && !actor.throttled && actor.ready.is_empty()
        };
        let mut servers = self.actors[..self.fixed].iter().enumerate();
        let first = servers
            .by_ref()
            .filter(|(_, actor)| idle(actor) && actor.deadline < earliest)
            .min_by_key(|(_, actor)| actor.deadline);
        first.map_or(NONE, |(index, _)| index)
    }

    fn fair_choice(&mut self, earliest: u64) -> Option<usize> {
        self.fair.as_ref()?;
        let chosen = self.pick_ordinary();
        let enforced = self.current < self.ordinary || self.current == NONE || self.on_tick();
        let fair = self.fair.as_mut()?;
        fair.update(self.now, chosen != NONE, enforced);
        (chosen != NONE && fair.active() && fair.deadline < earliest).then_some(chosen)
    }

    fn pick_ordinary(&self) -> usize {
        let current = self.current;
        if current != NONE
            && current >= self.ordinary
            && self.now < self.slice_end
            && self.actors[current].runnable()
        {
            return current;
        }
        let mut candidates = self.ordinary..self.actors.len();
        let runnable = candidates.by_ref().filter(|&index| self.actors[index].runnable());
        runnable.min_by_key(|&index| self.actors[index].virtual_ns).unwrap_or(NONE)
    }
}

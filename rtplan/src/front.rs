//! Finishing times of the first jobs of all ranks, released at once, in one pass.
//!
//! The finishing times grow with the rank, so the demand of the ranks above needs to be brought
//! forward only: release by release from a heap while few lie ahead, by one sum over all ranks where
//! many do. That keeps a million tasks, and periods that differ by nine decades, cheap alike.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{
    effort::{Effort, TooHard},
    item::Item,
    ns::{FOREVER, Ns},
    supply::Bound,
};

/// All work released in [0, `time`) by the ranks so far.
pub(crate) struct Front<'a> {
    bound: &'a Bound,
    /// The ranks so far.
    items: Vec<Item>,
    time: Ns,
    work: Ns,
    /// The next release of each rank at or after `time`.
    next: BinaryHeap<Reverse<(Ns, usize)>>,
}

impl<'a> Front<'a> {
    pub(crate) fn new(bound: &'a Bound) -> Self {
        Self { bound, items: Vec::new(), time: 1, work: 0, next: BinaryHeap::new() }
    }

    /// When the first job of the next rank is done; stops at the first value beyond `limit`.
    pub(crate) fn finish(
        &mut self,
        item: &Item,
        limit: Ns,
        effort: &mut Effort,
    ) -> Result<Ns, TooHard> {
        let end = loop {
            effort.spend(1)?;
            let end = self.bound.time_for(self.work + item.execution);
            if end <= self.time || end > limit || end >= FOREVER {
                break end.max(self.time);
            }
            self.advance(end, effort)?;
        };
        self.add(item);
        Ok(end)
    }

    fn add(&mut self, item: &Item) {
        let releases = item.releases(self.time, 0);
        self.work += releases * item.execution;
        self.next.push(Reverse((releases * item.period - item.jitter, self.items.len())));
        self.items.push(*item);
    }

    fn advance(&mut self, time: Ns, effort: &mut Effort) -> Result<(), TooHard> {
        self.time = time;
        for _ in 0..self.items.len() + 8 {
            let Some(mut top) = self.next.peek_mut() else { return Ok(()) };
            let Reverse((release, rank)) = *top;
            if release >= time {
                return Ok(());
            }
            effort.spend(1)?;
            self.work += self.items[rank].execution;
            *top = Reverse((release + self.items[rank].period, rank));
        }
        self.recount(effort)
    }

    fn recount(&mut self, effort: &mut Effort) -> Result<(), TooHard> {
        effort.spend(self.items.len())?;
        let mut next = Vec::with_capacity(self.items.len());
        self.work = 0;
        for (rank, item) in self.items.iter().enumerate() {
            let releases = item.releases(self.time, 0);
            self.work += releases * item.execution;
            next.push(Reverse((releases * item.period - item.jitter, rank)));
        }
        self.next = next.into();
        Ok(())
    }
}

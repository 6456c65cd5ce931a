//! A task as it runs.

use std::time::Duration;

use fastrand::Rng;
use model::Surge;

use crate::sim::{chance::Times, observe::Count, server::NEVER, setup::Entry};

/// A task as it runs.
#[derive(Debug)]
pub struct State {
    pub actor: u32,
    /// Rank among the tasks of its thread.
    pub rank: u64,
    /// More urgent than every deadline.
    pub above: bool,
    pub measured: bool,
    pub drop: bool,
    /// Place in the report.
    pub name: u32,
    pub period: u64,
    pub gap: Times,
    /// Of the gaps between arrivals, and once more between jobs that end: a backlog needs no list.
    pub gaps: [Rng; 2],
    pub deadline: u64,
    /// The next arrival, and when its job becomes ready.
    pub arrival: u64,
    pub ready_at: u64,
    /// No arrival from here on.
    pub until: u64,
    /// The oldest unfinished job: its number, arrival, CPU time, what is left of that, start.
    pub job: u64,
    pub head: u64,
    pub cost: u64,
    pub left: u64,
    pub start: u64,
    /// What is left of the work before the job itself; part of `left`.
    pub entering: u64,
    /// Unfinished jobs that have arrived.
    pub pending: u64,
    pub execution: Times,
    pub surge: Option<Surge>,
    pub delay: Times,
    pub entry: Entry,
    pub rng: Rng,
    pub count: Count,
}

impl State {
    /// From an arrival to the next.
    #[inline]
    pub fn draw_next_arrival(&mut self) -> u64 {
        self.period.saturating_add(self.gap.draw(&mut self.gaps[0]))
    }

    /// From the arrival of the oldest unfinished job to that of the next.
    #[inline]
    pub fn draw_next_head(&mut self) -> u64 {
        self.period.saturating_add(self.gap.draw(&mut self.gaps[1]))
    }

    /// The next job becomes the oldest.
    #[inline]
    pub fn begin(&mut self) {
        self.cost = match self.execution {
            Times::Constant(cost) => cost,
            ref execution => execution.draw(&mut self.rng),
        };
        if let Some(surge) = self.surge {
            let times = surge.at(Duration::from_nanos(self.head));
            self.cost = (self.cost as f64 * times).round() as u64;
        }
        self.left = self.cost;
        self.start = NEVER;
        self.entering = 0;
    }

    /// The job is the first of its thread: what brings it onto the CPU comes before.
    #[inline]
    pub fn enter(&mut self, which: impl Fn(&Entry) -> &Times) {
        let entry = match *which(&self.entry) {
            Times::Constant(entry) => entry,
            ref entry => entry.draw(&mut self.rng),
        };
        self.left += entry;
        if self.start == NEVER {
            self.entering += entry;
        }
    }

    /// Whether it has not been the first of its thread before.
    #[inline]
    pub fn is_new(&self) -> bool {
        self.start == NEVER && self.entering == 0 && self.left == self.cost
    }

    /// Less is more urgent.
    #[inline]
    pub fn urgency(&self, edf: bool) -> u64 {
        match (edf, self.above) {
            (true, true) => 0,
            // Above zero, so that the guest's own work comes first.
            (true, false) => self.head.saturating_add(self.deadline).max(1),
            (false, _) => self.rank,
        }
    }
}

//! A task in numbers, and what is due of several.

use crate::{
    ns::{Ns, ceil_div, div_rem},
    workload::TaskSpec,
};

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
    pub offset: Option<Ns>,
    /// Arrivals can come later than T after one another.
    sporadic: bool,
}

impl Item {
    pub(crate) fn of(index: usize, spec: &TaskSpec) -> Self {
        let task = spec.task;
        Self {
            index,
            execution: task.execution().as_nanos(),
            period: task.period().as_nanos(),
            deadline: task.deadline().as_nanos(),
            jitter: spec.jitter.as_nanos(),
            blocking: spec.blocking.as_nanos(),
            offset: spec.offset.map(|offset| offset.as_nanos()),
            sporadic: !spec.sporadic.is_zero(),
        }
    }

    /// Released at multiples of T after the first release, and never elsewhere.
    pub(crate) fn is_strict(&self) -> bool {
        self.jitter == 0 && !self.sporadic
    }

    /// The most jobs ready in [0, t) where the first is ready `phase` after the window opens:
    /// ⌈(t + J − φ) / T⌉.
    pub(crate) fn releases(&self, t: Ns, phase: Ns) -> Ns {
        if t == 0 { 0 } else { ceil_div((t + self.jitter).saturating_sub(phase), self.period) }
    }

    /// When the deadline of a job, counted from 0, is, in a window that opens as the first job is
    /// ready at its latest; `None` where that is before the opening.
    pub(crate) fn deadline_of(&self, job: Ns) -> Option<Ns> {
        (job * self.period + self.deadline).checked_sub(self.jitter)
    }

    /// The most jobs with arrival and deadline in [0, t]: ⌊(t + J − D) / T⌋ + 1.
    pub(crate) fn deadlines(&self, t: Ns) -> Ns {
        (t + self.jitter)
            .checked_sub(self.deadline)
            .map_or(0, |rest| div_rem(rest, self.period).0 + 1)
    }
}

/// Work that must be done within [0, t] of a busy window, and the blocking it can suffer.
pub(crate) fn due(items: &[Item], t: Ns) -> Ns {
    let (mut work, mut blocking) = (0, 0);
    for item in items {
        let jobs = item.deadlines(t);
        if jobs > 0 {
            work += jobs * item.execution;
            blocking = item.blocking.max(blocking);
        }
    }
    work + blocking
}

//! What a simulation tells, and who listens.

use model::control::{Seen, Why};

/// A finished job of a measured task; instants count from the start of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// The thread's place in the set-up.
    pub thread: usize,
    /// The task's place in the report.
    pub task: usize,
    /// Its number within the task, from 0.
    pub job: u64,
    /// Arrival.
    pub release_ns: u64,
    /// When it first had the CPU.
    pub start_ns: u64,
    /// When it was done.
    pub finish_ns: u64,
    /// CPU time that it took.
    pub cpu_ns: u64,
    /// D.
    pub deadline_ns: u64,
    /// Stalls since the start of the busy period of the measured jobs.
    pub stalled_ns: u64,
}

impl Done {
    /// From arrival to finish.
    #[must_use]
    pub fn response_ns(&self) -> u64 {
        self.finish_ns - self.release_ns
    }
}

/// A law has decided on the budget of a thread, or begins with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adapted {
    /// The thread's place in the set-up.
    pub thread: usize,
    /// When.
    pub time_ns: u64,
    /// Q from now on.
    pub budget_ns: u64,
    /// What the law saw; nothing at the begin.
    pub seen: Option<Seen>,
    /// Why it is that.
    pub why: Why,
    /// What the law wished for; nothing at the begin.
    pub wish_ns: Option<u64>,
}

/// Listens to a simulation.
pub trait Observer {
    /// A measured job is done.
    fn done(&mut self, done: &Done);

    /// `thread` had the CPU from `from` to `to`; intervals come in order and may join.
    #[inline]
    fn ran(&mut self, thread: usize, from: u64, to: u64) {
        let _ = (thread, from, to);
    }

    /// A budget adapts.
    fn adapted(&mut self, adapted: &Adapted) {
        let _ = adapted;
    }
}

impl<F: FnMut(&Done)> Observer for F {
    #[inline]
    fn done(&mut self, done: &Done) {
        self(done);
    }
}

/// What became of a task's jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Finished.
    pub done: u64,
    /// Finished after the deadline.
    pub missed: u64,
    /// Dropped, where the backlog is.
    pub skipped: u64,
    /// Released and not finished at the end.
    pub unfinished: u64,
}

/// What a thread did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ThreadOutcome {
    /// CPU time, with the overhead of switches.
    pub ran_ns: u64,
    /// Each task's place in the report and its jobs; the guest's own work is not among them.
    pub tasks: Vec<(usize, Count)>,
}

/// How a simulation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The instant.
    pub end_ns: u64,
    /// In the order of the set-up.
    pub threads: Vec<ThreadOutcome>,
}

//! What a file of rt-app says, as plain data.

use std::time::Duration;

use kernel::sched::Policy;

/// All threads of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// `global.duration`; none runs until all threads have ended by themselves.
    pub duration: Option<Duration>,
    /// `global.calibration`.
    pub calibration: Calibrated,
    /// The threads: one for each instance of each task.
    pub threads: Vec<Thread>,
    /// The timers that the threads refer to by number.
    pub timers: Vec<TimerMode>,
}

/// How rt-app would know how long its work takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calibrated {
    /// By measuring it on this CPU.
    On(u32),
    /// Its own loop takes so many nanoseconds. rtload's loop is another.
    Given(i64),
    /// It is not said.
    Unsaid,
}

/// How often something is run; none is for ever.
pub type Loops = Option<u64>;

/// One thread.
#[derive(Debug, Clone, PartialEq)]
pub struct Thread {
    /// As rt-app calls it: the task's name, a hyphen, and its number among all threads.
    pub name: String,
    /// Where it stands in the file.
    pub path: String,
    /// From the start of all to its own.
    pub delay: Duration,
    /// How often all phases are run.
    pub loops: Loops,
    /// At its start.
    pub policy: Policy,
    /// One after the other.
    pub phases: Vec<Phase>,
}

/// A part of a thread's behaviour. Each time that its events are run is a loop.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// The phase's name, or that of its task where there is one only.
    pub name: String,
    /// How often it is run before the next phase.
    pub loops: Loops,
    /// Where it may run; empty where that is not said.
    pub cpus: Vec<u32>,
    /// From here on, where it changes.
    pub policy: Option<Policy>,
    /// One after the other; at least one.
    pub events: Vec<Event>,
}

/// Something that a thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Works as much as takes so long on an undisturbed CPU.
    Run(Duration),
    /// Works until so much time has passed.
    Runtime(Duration),
    /// Sleeps for so long.
    Sleep(Duration),
    /// Sleeps until the timer of this number comes, which does every `period`.
    Timer {
        /// Its number in [`Workload::timers`].
        timer: usize,
        /// From its last instant to the next.
        period: Duration,
    },
    /// Lets others run (sched_yield(2)).
    Yield,
}

/// Where a timer that came too late goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerMode {
    /// From the instant at which it was found late.
    Relative,
    /// From the instant at which it should have come: nothing shifts.
    Absolute,
}

impl Event {
    /// Whether it is work.
    #[must_use]
    pub fn is_work(self) -> bool {
        matches!(self, Self::Run(_) | Self::Runtime(_))
    }

    /// About the time that it takes.
    fn length(self) -> Duration {
        match self {
            Self::Run(length) | Self::Runtime(length) | Self::Sleep(length) => length,
            // What was worked before is part of the period.
            Self::Timer { .. } | Self::Yield => Duration::ZERO,
        }
    }
}

impl Phase {
    /// About the least time that a loop takes.
    #[must_use]
    pub fn least_time(&self) -> Duration {
        let waited = self.events.iter().filter_map(|event| match event {
            Event::Timer { period, .. } => Some(*period),
            _ => None,
        });
        let spent = self.events.iter().map(|event| event.length()).sum::<Duration>();
        spent.max(waited.max().unwrap_or_default())
    }
}

impl Thread {
    /// Every policy that it has at some time.
    pub fn policies(&self) -> impl Iterator<Item = Policy> + '_ {
        let of_phases = self.phases.iter().filter_map(|phase| phase.policy);
        std::iter::once(self.policy).chain(of_phases)
    }
}

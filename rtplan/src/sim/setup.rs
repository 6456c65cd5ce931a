//! What is simulated: a CPU, the threads on it, and the tasks in them, as plain data.

use std::time::Duration;

use model::{
    Reservation, Surge, TaskSet,
    control::{Bounds, Law},
    duration::as_ns,
    load::Backlog,
};
use thiserror::Error;

use super::chance::{Stalls, Times};
use crate::{
    ns::ceil_div,
    supply::Ratio,
    workload::{Scheduler, TaskSpec, Workload},
};

/// The weight of an ordinary thread (nice 0), as the kernel has it.
pub const ORDINARY_WEIGHT: u32 = 1024;

/// So many releases, budget periods and ticks of guests at most in one simulation: some ten
/// minutes. Beyond that a question is refused instead of left to run.
pub const MOST_EVENTS: u64 = 5_000_000_000;

/// How a thread gets the CPU. `docs/simulation.md` has the rules and their sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Server {
    /// Fixed priority on the host (SCHED_FIFO); the greater, the more urgent.
    Fifo {
        /// Among the host's.
        priority: u32,
    },
    /// Hard constant bandwidth server, as Linux's SCHED_DEADLINE: throttled until its deadline
    /// when the budget is used up.
    HardCbs(Reservation),
    /// The same where budgets are enforced at a tick, but for a controlling thread that ends them on
    /// time (`timer-server`). What ends too close to the deadline it leaves to the tick.
    TimerServer(Reservation),
    /// Soft constant bandwidth server: its deadline is put off when the budget is used up.
    SoftCbs(Reservation),
    /// Periodic server: the budget comes each period, and passes whether used or not.
    Periodic(Reservation),
    /// Deferrable server: the budget comes each period, and is kept while unused.
    Deferrable(Reservation),
    /// Fixed priority with at most Q in each P (RT group scheduling).
    RtQuota {
        /// (Q, P).
        reservation: Reservation,
        /// Among the host's.
        priority: u32,
    },
    /// Ordinary thread with at most Q in each P (CFS bandwidth control).
    Quota {
        /// (Q, P).
        reservation: Reservation,
        /// Among ordinary threads.
        weight: u32,
    },
    /// Ordinary thread: below the host's fixed priorities, a share by weight among its like.
    Share {
        /// Among ordinary threads.
        weight: u32,
    },
}

impl Server {
    /// An ordinary thread without a reservation.
    pub const NONE: Self = Self::Share { weight: ORDINARY_WEIGHT };

    /// (Q, P), where it has them.
    #[must_use]
    pub fn reservation(self) -> Option<Reservation> {
        match self {
            Self::HardCbs(reservation)
            | Self::TimerServer(reservation)
            | Self::SoftCbs(reservation)
            | Self::Periodic(reservation)
            | Self::Deferrable(reservation)
            | Self::RtQuota { reservation, .. }
            | Self::Quota { reservation, .. } => Some(reservation),
            Self::Fifo { .. } | Self::Share { .. } => None,
        }
    }

    /// Scheduled by deadline, above every fixed priority.
    #[must_use]
    pub fn is_deadline(self) -> bool {
        matches!(
            self,
            Self::HardCbs(_)
                | Self::TimerServer(_)
                | Self::SoftCbs(_)
                | Self::Periodic(_)
                | Self::Deferrable(_)
        )
    }
}

/// Who chooses a server's budget, beginning with the one that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// The law.
    pub law: Law,
    /// Between which budgets.
    pub bounds: Bounds,
    /// Beside others on the CPU that adapt.
    pub weight: u32,
}

/// A periodic task in a thread; times in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// CPU time of a job.
    pub execution: Times,
    /// When jobs take longer or shorter, by their arrivals.
    pub surge: Option<Surge>,
    /// T, the least time between two arrivals.
    pub period: u64,
    /// How much longer it is; nothing where arrivals are periodic.
    pub gap: Times,
    /// D, from the arrival.
    pub deadline: u64,
    /// First arrival.
    pub offset: u64,
    /// How long after its arrival a job becomes ready; jobs of a task stay in order.
    pub delay: Times,
    /// CPU time of its thread before a job starts.
    pub entry: Entry,
    /// What becomes of jobs that come while one is unfinished.
    pub backlog: Backlog,
}

/// CPU time from where a thread can turn to a job until the job starts, or goes on: its guest's timer
/// interrupt, wake-up and switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Of a job that finds the thread without work, or throttled.
    pub woken: Times,
    /// Of one that preempts a less urgent one.
    pub preempting: Times,
    /// Of one that waited for a more urgent one to end.
    pub queued: Times,
    /// Of one that goes on after a more urgent one.
    pub resumed: Times,
}

impl Entry {
    /// Nothing.
    pub const FREE: Self = Self {
        woken: Times::Constant(0),
        preempting: Times::Constant(0),
        queued: Times::Constant(0),
        resumed: Times::Constant(0),
    };
}

/// A thread of the host: a virtual CPU with its guest, or the host's own tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// How it gets the CPU.
    pub server: Server,
    /// The law that chooses its budget, where that adapts.
    pub control: Option<Control>,
    /// Start of the first budget period, where budgets come with the clock.
    pub phase: u64,
    /// How long after the deadline a used-up budget of a hard constant bandwidth server comes back:
    /// the host's timer and switch.
    pub timer_latency: u64,
    /// Its tasks, the most urgent first.
    pub tasks: Vec<Task>,
    /// The earlier deadline goes first, instead of the order given.
    pub edf: bool,
    /// The first so many tasks are more urgent than any deadline: the guest's own work.
    pub above: usize,
    /// Its jobs are reported, released for [`Cpu::duration`], and waited for.
    pub measured: bool,
    /// The place in the report of each task.
    pub names: Vec<usize>,
}

impl Thread {
    /// `workload` under `scheduler` as one thread, measured; no guest tick.
    ///
    /// # Errors
    /// [`SimError`]: priorities missing, or a task with blocking, which the simulator has not.
    pub fn new(
        server: Server,
        workload: &Workload,
        scheduler: Scheduler,
    ) -> Result<Self, SimError> {
        let names = workload.order(scheduler)?;
        let mut tasks = Vec::with_capacity(names.len());
        for &index in &names {
            tasks.push(Task::of(&workload.tasks()[index], index)?);
        }
        let edf = scheduler == Scheduler::Edf;
        Ok(Self {
            server,
            control: None,
            phase: 0,
            timer_latency: 0,
            tasks,
            edf,
            above: 0,
            measured: true,
            names,
        })
    }

    /// The host's load: rate monotonic, not measured.
    ///
    /// # Errors
    /// [`SimError`] where there is no task.
    pub fn load(set: &TaskSet, backlog: Backlog, priority: u32) -> Result<Self, SimError> {
        let workload = Workload::of(set)?;
        let mut load = Self::new(Server::Fifo { priority }, &workload, Scheduler::RateMonotonic)?;
        load.measured = false;
        load.tasks.iter_mut().for_each(|task| task.backlog = backlog);
        Ok(load)
    }

    /// A thread that always asks for the CPU.
    #[must_use]
    pub fn hog(server: Server) -> Self {
        let second = 1_000_000_000;
        let task = Task {
            execution: Times::Constant(second),
            surge: None,
            period: second,
            gap: Times::Constant(0),
            deadline: second,
            offset: 0,
            delay: Times::Constant(0),
            entry: Entry::FREE,
            backlog: Backlog::Keep,
        };
        let tasks = vec![task];
        let names = vec![0];
        Self {
            server,
            control: None,
            phase: 0,
            timer_latency: 0,
            tasks,
            edf: false,
            above: 0,
            measured: false,
            names,
        }
    }

    /// Adds the guest's tick: `work` every `period`, above all of the guest's tasks.
    pub fn add_guest_tick(&mut self, work: u64, period: u64) {
        let tick = Task {
            execution: Times::Constant(work),
            surge: None,
            period,
            gap: Times::Constant(0),
            deadline: period,
            offset: 0,
            delay: Times::Constant(0),
            entry: Entry::FREE,
            backlog: Backlog::Drop,
        };
        self.tasks.insert(self.above, tick);
        self.above += 1;
    }

    /// The share of the CPU that it surely has: where its budget adapts, the least.
    fn surely(&self) -> Option<f64> {
        let least =
            |own: Control| own.bounds.min().as_secs_f64() / own.bounds.period().as_secs_f64();
        let reservation = self.server.reservation()?;
        Some(self.control.map_or_else(|| reservation.bandwidth(), least))
    }

    /// Lets every nanosecond of work take `factor` nanoseconds of CPU time.
    pub fn slow_down(&mut self, factor: Ratio) {
        let slower = |work: u64| u64::try_from(factor.cpu_time(work.into())).unwrap_or(u64::MAX);
        for task in &mut self.tasks {
            task.execution = task.execution.map(slower);
        }
    }
}

impl Task {
    fn of(spec: &TaskSpec, index: usize) -> Result<Self, SimError> {
        if !spec.blocking.is_zero() {
            return Err(SimError::Blocking(TaskSet::name(index)));
        }
        let up_to = |most: Duration| match as_ns(most) {
            0 => Times::Constant(0),
            most => Times::Uniform(0, most),
        };
        Ok(Self {
            execution: Times::Constant(as_ns(spec.task.execution())),
            surge: None,
            period: as_ns(spec.task.period()),
            gap: up_to(spec.sporadic),
            deadline: as_ns(spec.task.deadline()),
            offset: spec.offset.map_or(0, as_ns),
            delay: up_to(spec.jitter),
            entry: Entry::FREE,
            backlog: Backlog::Keep,
        })
    }
}

/// The scheduler's tick, where budgets are enforced only there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Between two ticks, above zero.
    pub period: u64,
    /// Of the first.
    pub phase: u64,
}

/// A CPU and everything on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Cpu {
    /// In no particular order.
    pub threads: Vec<Thread>,
    /// When the machine runs nobody.
    pub stalls: Stalls,
    /// Where budgets are enforced; exactly where absent.
    pub tick: Option<Tick>,
    /// CPU time lost whenever the CPU goes to another thread, at the cost of that one.
    pub switch_overhead: u64,
    /// What ordinary threads get under a load of fixed priorities (50 ms in every second on
    /// current kernels); none where absent.
    pub fair_server: Option<Reservation>,
    /// The share of the CPU that budgets which adapt have together; infinite where nothing limits them.
    pub adaptable: f64,
    /// Measured tasks are released for so long.
    pub duration: u64,
    /// Then released jobs have so long to finish.
    pub drain: u64,
}

impl Cpu {
    /// A CPU with exact budgets, free switches, no stalls and no fair server, whose measured jobs
    /// get as long to finish as rtload gives them: twice the duration, at least 10 s.
    #[must_use]
    pub fn new(threads: Vec<Thread>, duration: Duration) -> Self {
        let duration = as_ns(duration);
        Self {
            threads,
            stalls: Stalls::None,
            tick: None,
            switch_overhead: 0,
            fair_server: None,
            adaptable: f64::INFINITY,
            duration,
            drain: duration.saturating_mul(2).max(10_000_000_000),
        }
    }

    /// Whether it can be simulated.
    ///
    /// # Errors
    /// [`SimError`], one a rule.
    pub fn check(&self) -> Result<(), SimError> {
        if self.duration == 0 {
            return Err(SimError::NoDuration);
        }
        let end = self.duration.saturating_add(self.drain);
        if end > i64::MAX as u64 {
            return Err(SimError::TooLong);
        }
        let reserved = |thread: &&Thread| thread.server.is_deadline();
        let bandwidth: f64 = self.threads.iter().filter(reserved).filter_map(Thread::surely).sum();
        if bandwidth > 1.0 + 1e-9 {
            return Err(SimError::Overbooked(bandwidth));
        }
        let events = self.threads.iter().map(|thread| self.events(thread, end)).sum::<u128>();
        if events > MOST_EVENTS.into() {
            return Err(SimError::TooMany(events));
        }
        Ok(())
    }

    /// How many releases and budget periods of `thread` there are until `end`.
    fn events(&self, thread: &Thread, end: u64) -> u128 {
        let until = if thread.measured { self.duration } else { end };
        let releases = |task: &Task| ceil_div(until.into(), u128::from(task.period.max(1)));
        let budgets = thread.server.reservation();
        let budgets = budgets.map_or(0, |own| ceil_div(end.into(), own.period().as_nanos()));
        thread.tasks.iter().map(releases).sum::<u128>() + budgets
    }
}

/// Why something cannot be simulated.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SimError {
    /// No tasks, or no priorities.
    #[error(transparent)]
    Workload(#[from] crate::workload::WorkloadError),
    /// Blocking is for the analysis only.
    #[error(
        "{0}: the simulator does not model blocking; leave `blocking` out, or use `rtplan analyse`"
    )]
    Blocking(String),
    /// Reclaiming has a rule of its own, which would have to be played.
    #[error(
        "the simulator does not model how `deadline-reclaim` gives out unreserved bandwidth (GRUB); \
         simulate `deadline`, or measure it"
    )]
    Reclaiming,
    /// Nothing would happen.
    #[error("the duration must be above zero, for example `60s`")]
    NoDuration,
    /// Instants would not fit.
    #[error("the duration and what follows are too long; together at most 292 years")]
    TooLong,
    /// More reservations than CPU.
    #[error("the reservations of one CPU add up to {0:.3} of it; at most 1")]
    Overbooked(f64),
    /// It would take too long.
    #[error(
        "{0} releases and budget periods are too many, at most {MOST_EVENTS}; shorten the duration"
    )]
    TooMany(u128),
}

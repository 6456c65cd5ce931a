//! What may spoil the figures; each warning says what to do about it.

use std::{fmt, time::Duration};

use model::{costs::Component, duration};

/// What keeps real-time tasks from having a whole CPU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kept {
    /// Its share of the CPU.
    pub share: f64,
    /// Its name.
    pub by: &'static str,
}

/// Something that the user should know about the data.
#[derive(Debug, Clone, PartialEq)]
pub enum Warning {
    /// A short and a long stretch of work do not cost the same per iteration.
    LengthsDisagree {
        /// Relative difference of the two.
        difference: f64,
    },
    /// The processor is faster or slower than when the calibration was taken.
    SpeedChanged {
        /// Undisturbed speed now against then, relative.
        difference: f64,
    },
    /// A job costs more or less than when the calibration was taken, at the same processor speed.
    CostChanged {
        /// Cost now against then, relative.
        difference: f64,
    },
    /// The calibration was taken on another processor.
    OtherProcessor {
        /// There.
        then: String,
        /// Here.
        now: String,
    },
    /// The calibration could not be stored or the stored one could not be read.
    Cache(String),
    /// Memory is not locked.
    MemoryNotLocked(String),
    /// The memory that was taken after the start is not locked.
    MemoryLockedInPart,
    /// `/dev/cpu_dma_latency` cannot be held.
    CannotHoldAwake(String),
    /// The task set asks for more than the CPU has.
    Overload {
        /// Sum of C / T.
        utilisation: f64,
    },
    /// The task set asks for more than the kernel leaves to real-time tasks.
    LittleLeft {
        /// Sum of C / T.
        utilisation: f64,
        /// What ordinary tasks keep.
        kept: Kept,
    },
    /// Paced work is too short to be exact.
    ShortPaced {
        /// The task.
        task: String,
        /// C.
        execution: Duration,
        /// From where on it is within 1 %.
        exact_ns: u64,
    },
    /// Jobs ran on another CPU than the one that they were bound to.
    OtherCpu {
        /// How many.
        jobs: u64,
        /// The CPU that was asked for.
        cpu: u32,
    },
    /// A file of rt-app says what rt-app's own loop takes.
    OtherLoop {
        /// Nanoseconds.
        ns: i64,
    },
    /// There is too little memory for a component of the vector of costs.
    NoRoomFor {
        /// Which.
        component: Component,
    },
    /// The program whose start is measured cannot be started.
    NoStart {
        /// What the kernel said.
        why: String,
    },
    /// Stalls, or a clock too coarse, left nothing of a component of the vector of costs.
    NothingMeasured {
        /// Which.
        component: Component,
    },
    /// Jobs were released, but not finished when the run had to end.
    Unfinished {
        /// How many.
        jobs: u64,
    },
}

fn percent(fraction: f64) -> String {
    format!("{:+.2} %", fraction * 100.0)
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LengthsDisagree { difference } => write!(
                f,
                "calibration: work in pieces of 10 ms and of 30 ms differs by {} (at most 0.5 % is \
                 good): the CPU is disturbed; quieten the machine or calibrate longer (--for 10s)",
                percent(*difference)
            ),
            Self::SpeedChanged { difference } => write!(
                f,
                "calibration: an iteration takes {} against the stored calibration, undisturbed: \
                 the clock frequency or the machine has changed; run `rtload calibrate` again",
                percent(*difference)
            ),
            Self::CostChanged { difference } => write!(
                f,
                "calibration: a job costs {} against the stored calibration, at the same processor \
                 speed: interrupts or the hypervisor take their share; quieten the machine, or run \
                 `rtload calibrate` again",
                percent(*difference)
            ),
            Self::OtherProcessor { then, now } => write!(
                f,
                "calibration: taken on `{then}`, used on `{now}`: the amount of work is the same, \
                 the execution time may not be; leave --calibration out to calibrate here"
            ),
            Self::Cache(text) => write!(f, "calibration: {text}; give a file with --calibration"),
            Self::MemoryNotLocked(text) => write!(
                f,
                "memory is not locked ({text}), page faults may delay jobs; run as root or raise \
                 `ulimit -l`"
            ),
            Self::MemoryLockedInPart => write!(
                f,
                "only the memory that there was at the start is locked, page faults may delay jobs \
                 where memory is short; run as root or set `ulimit -l unlimited`"
            ),
            Self::CannotHoldAwake(text) => {
                write!(f, "--hold-awake has no effect here ({text}); run as root, or leave it out")
            }
            Self::Overload { utilisation } => write!(
                f,
                "the tasks ask for {:.1} % of the CPU: the backlog grows without bound; lower C or \
                 raise T unless that is what you want to see",
                utilisation * 100.0
            ),
            Self::LittleLeft { utilisation, kept } => write!(
                f,
                "the tasks ask for {:.1} % of the CPU, and {} leaves real-time tasks {:.1} % where \
                 ordinary tasks want to run: deadlines may be missed; lower C, raise T, or keep \
                 ordinary tasks off this CPU",
                utilisation * 100.0,
                kept.by,
                (1.0 - kept.share) * 100.0
            ),
            Self::ShortPaced { task, execution, exact_ns } => write!(
                f,
                "{task}: paced work of {} takes up to 1 us more, since it reads the clock on the \
                 way; it is within 1 % from {} on; use --work fixed for shorter jobs",
                duration::format(*execution),
                duration::format(Duration::from_nanos(*exact_ns))
            ),
            Self::OtherCpu { jobs, cpu } => write!(
                f,
                "{jobs} jobs ran on another CPU than {cpu}: the threads' affinity or cpuset was \
                 changed during the run; repeat it"
            ),
            Self::OtherLoop { ns } => write!(
                f,
                "global.calibration: {ns} ns is what rt-app's loop takes; rtload's loop is another, \
                 and was measured; give \"CPU0\", or a measured one with --calibration"
            ),
            Self::NoRoomFor { component } => write!(
                f,
                "{component} was not measured: {} MiB are more than half of the memory that is \
                 available; free some and measure again",
                component.size_bytes().unwrap_or(0) >> 20
            ),
            Self::NoStart { why } => write!(
                f,
                "process_start was not measured: a program in memory cannot be started ({why}); \
                 `sysctl vm.memfd_noexec` above 0 forbids it"
            ),
            Self::NothingMeasured { component } => write!(
                f,
                "{component} was measured, and too many batches were disturbed to tell what it costs; \
                 measure again, or for longer (--for)"
            ),
            Self::Unfinished { jobs } => write!(
                f,
                "{jobs} jobs were released but not finished, and are in no statistic; a longer \
                 --drain lets them end"
            ),
        }
    }
}

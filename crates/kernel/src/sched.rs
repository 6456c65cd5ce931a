//! Scheduling policies of threads, with `sched_setattr(2)`.

use std::{fmt, io, time::Duration};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    affinity::{self, SELF, Tid},
    procfs::Proc,
};

/// A scheduling policy with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// SCHED_OTHER with a nice value in -20..=19.
    Other {
        /// The nice value.
        nice: i32,
    },
    /// SCHED_BATCH with a nice value.
    Batch {
        /// The nice value.
        nice: i32,
    },
    /// SCHED_IDLE: below everything else.
    Idle,
    /// SCHED_EXT: whatever the loaded BPF scheduler does, with a nice value.
    Ext {
        /// The nice value.
        nice: i32,
    },
    /// SCHED_FIFO with a priority in 1..=99.
    Fifo {
        /// The priority.
        priority: u8,
    },
    /// SCHED_RR with a priority in 1..=99.
    Rr {
        /// The priority.
        priority: u8,
    },
    /// SCHED_DEADLINE: a hard constant bandwidth server.
    Deadline {
        /// Budget Q.
        runtime: Duration,
        /// Relative deadline; at most the period.
        deadline: Duration,
        /// Period P.
        period: Duration,
        /// SCHED_FLAG_RECLAIM: uses bandwidth that others leave (GRUB).
        reclaim: bool,
    },
}

impl Policy {
    /// SCHED_DEADLINE with the deadline at the period's end.
    #[must_use]
    pub fn deadline(runtime: Duration, period: Duration) -> Self {
        Self::Deadline { runtime, deadline: period, period, reclaim: false }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other { nice } => write!(f, "SCHED_OTHER nice {nice}"),
            Self::Batch { nice } => write!(f, "SCHED_BATCH nice {nice}"),
            Self::Idle => write!(f, "SCHED_IDLE"),
            Self::Ext { nice } => write!(f, "SCHED_EXT nice {nice}"),
            Self::Fifo { priority } => write!(f, "SCHED_FIFO {priority}"),
            Self::Rr { priority } => write!(f, "SCHED_RR {priority}"),
            Self::Deadline { runtime, period, .. } => {
                write!(f, "SCHED_DEADLINE ({runtime:?}, {period:?})")
            }
        }
    }
}

/// A policy, and whether children of the thread start as ordinary tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// The policy.
    pub policy: Policy,
    /// SCHED_FLAG_RESET_ON_FORK; a SCHED_DEADLINE thread cannot fork without it.
    pub reset_on_fork: bool,
}

impl From<Policy> for Attributes {
    fn from(policy: Policy) -> Self {
        Self { policy, reset_on_fork: matches!(policy, Policy::Deadline { .. }) }
    }
}

/// A policy that the kernel refused, with the errno.
#[derive(Debug, Error)]
#[error("thread {tid}: {policy} was refused: {errno}")]
pub struct SchedError {
    /// The thread; 0 is the caller.
    pub tid: Tid,
    /// What was asked for.
    pub policy: Policy,
    /// The kernel's answer.
    pub errno: Errno,
}

impl From<SchedError> for io::Error {
    fn from(error: SchedError) -> Self {
        Self::new(Self::from(error.errno).kind(), error)
    }
}

const SCHED_BATCH: u32 = libc::SCHED_BATCH as u32;
const SCHED_IDLE: u32 = libc::SCHED_IDLE as u32;
const SCHED_FIFO: u32 = libc::SCHED_FIFO as u32;
const SCHED_RR: u32 = libc::SCHED_RR as u32;
const SCHED_EXT: u32 = 7;
const SCHED_OTHER: u32 = libc::SCHED_OTHER as u32;
const SCHED_DEADLINE: u32 = libc::SCHED_DEADLINE as u32;
const FLAG_RESET_ON_FORK: u64 = 0x01;
const FLAG_RECLAIM: u64 = 0x02;

/// `struct sched_attr` of <linux/sched/types.h>, its first version (48 bytes), which every kernel
/// since 3.14 takes.
#[repr(C)]
#[derive(Default)]
struct RawAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

const RAW_SIZE: u32 = size_of::<RawAttr>() as u32;

impl From<Attributes> for RawAttr {
    fn from(attributes: Attributes) -> Self {
        let mut raw = Self { size: RAW_SIZE, ..Self::default() };
        if attributes.reset_on_fork {
            raw.flags |= FLAG_RESET_ON_FORK;
        }
        match attributes.policy {
            Policy::Other { nice } => raw.nice = nice,
            Policy::Batch { nice } => (raw.policy, raw.nice) = (SCHED_BATCH, nice),
            Policy::Idle => raw.policy = SCHED_IDLE,
            Policy::Ext { nice } => (raw.policy, raw.nice) = (SCHED_EXT, nice),
            Policy::Fifo { priority } => {
                (raw.policy, raw.priority) = (SCHED_FIFO, priority.into());
            }
            Policy::Rr { priority } => (raw.policy, raw.priority) = (SCHED_RR, priority.into()),
            Policy::Deadline { runtime, deadline, period, reclaim } => {
                raw.policy = SCHED_DEADLINE;
                raw.runtime = model::duration::as_ns(runtime);
                raw.deadline = model::duration::as_ns(deadline);
                raw.period = model::duration::as_ns(period);
                raw.flags |= if reclaim { FLAG_RECLAIM } else { 0 };
            }
        }
        raw
    }
}

impl RawAttr {
    /// None for a policy that this program does not know, and could not put back.
    fn attributes(&self) -> Option<Attributes> {
        let priority = u8::try_from(self.priority).unwrap_or(u8::MAX);
        let policy = match self.policy {
            SCHED_BATCH => Policy::Batch { nice: self.nice },
            SCHED_IDLE => Policy::Idle,
            SCHED_FIFO => Policy::Fifo { priority },
            SCHED_RR => Policy::Rr { priority },
            SCHED_DEADLINE => Policy::Deadline {
                runtime: Duration::from_nanos(self.runtime),
                deadline: Duration::from_nanos(self.deadline),
                period: Duration::from_nanos(self.period),
                reclaim: self.flags & FLAG_RECLAIM != 0,
            },
            SCHED_EXT => Policy::Ext { nice: self.nice },
            SCHED_OTHER => Policy::Other { nice: self.nice },
            _ => return None,
        };
        Some(Attributes { policy, reset_on_fork: self.flags & FLAG_RESET_ON_FORK != 0 })
    }
}

/// Gives thread `tid` (0: the caller) a policy.
///
/// # Errors
/// [`SchedError`]. EPERM has several causes (privilege, affinity narrower than the root domain);
/// EBUSY means that admission control refused the bandwidth. Telling them apart needs a look at the
/// host, which is the caller's.
pub fn set(tid: Tid, attributes: impl Into<Attributes>) -> Result<(), SchedError> {
    let attributes = attributes.into();
    let raw = RawAttr::from(attributes);
    // SAFETY: `raw` is a live, initialised `struct sched_attr` whose `size` field says how much of
    // it the kernel may read; the call writes nothing through the pointer but that field (E2BIG).
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, tid, &raw const raw, 0_u32) };
    match Errno::result(result) {
        Ok(_) => Ok(()),
        Err(errno) => Err(SchedError { tid, policy: attributes.policy, errno }),
    }
}

/// Like [`set`], for a thread that may be in SCHED_DEADLINE and leave it: one that sleeps as it
/// leaves can leave its bandwidth behind, counted in its root domain for nobody. Its reservation is
/// made as small as the kernel takes first, which counts at once; what it can leave behind then is a
/// millionth of a CPU.
///
/// One that runs leaves as it is. The kernel has it pay its debt at the rate of its reservation
/// before it forgets it: a fraction of a millisecond at a millionth of a CPU takes minutes, and where
/// the thread comes back before, having been throttled as it left, it stays throttled for ever.
///
/// # Errors
/// As [`set`].
pub fn change(tid: Tid, attributes: impl Into<Attributes>) -> Result<(), SchedError> {
    let attributes = attributes.into();
    let is_deadline = |policy| matches!(policy, Policy::Deadline { .. });
    let leaves =
        !is_deadline(attributes.policy) && get(tid).is_ok_and(|now| is_deadline(now.policy));
    if leaves && tid != SELF && !Proc::default().runs(tid).unwrap_or(true) {
        // Where it is refused, leaving is no worse than without.
        let _ = set(tid, Policy::deadline(LEAST_RUNTIME, Duration::from_secs(1)));
    }
    set(tid, attributes)
}

/// `1 << DL_SCALE` nanoseconds.
const LEAST_RUNTIME: Duration = Duration::from_nanos(1024);

/// The policy of thread `tid` (0: the caller).
///
/// # Errors
/// ESRCH where it is gone; `Unsupported` where the policy is none that this program knows.
pub fn get(tid: Tid) -> io::Result<Attributes> {
    let mut raw = RawAttr::default();
    // SAFETY: `raw` has room for the `RAW_SIZE` bytes that the kernel is told it may write, and any
    // bytes make a valid `RawAttr`, which is all integers.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_getattr, tid, &raw mut raw, RAW_SIZE, 0_u32) };
    Errno::result(result)?;
    raw.attributes().ok_or_else(|| {
        let text = format!(
            "thread {tid} is under scheduling policy {}, which this program does not know and could \
             not put back",
            raw.policy
        );
        io::Error::new(io::ErrorKind::Unsupported, text)
    })
}

/// Makes the calling thread an ordinary one of low priority, on other CPUs than `taken` where it may
/// use any: for what goes on beside a measurement. Where the kernel refuses, it stays as it was.
pub fn step_aside(taken: &[u32]) {
    let _as_it_was = set(SELF, Policy::Other { nice: 10 });
    let allowed = affinity::get(SELF).unwrap_or_default();
    let others: Vec<u32> = allowed.into_iter().filter(|cpu| !taken.contains(cpu)).collect();
    if !others.is_empty() {
        let _where_it_was = affinity::set(SELF, &others);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raw_form_has_the_size_that_the_kernel_knows() {
        assert_eq!(RAW_SIZE, 48);
    }

    #[test]
    fn every_policy_survives_the_raw_form() {
        let (runtime, period) = (Duration::from_millis(28), Duration::from_millis(50));
        for policy in [
            Policy::Other { nice: -3 },
            Policy::Batch { nice: 5 },
            Policy::Idle,
            Policy::Ext { nice: 4 },
            Policy::Fifo { priority: 7 },
            Policy::Rr { priority: 9 },
            Policy::deadline(runtime, period),
            Policy::Deadline { runtime, deadline: runtime, period, reclaim: true },
        ] {
            let attributes = Attributes::from(policy);
            assert_eq!(RawAttr::from(attributes).attributes(), Some(attributes));
        }
    }

    #[test]
    fn a_policy_that_nobody_knows_is_none_of_those_that_can_be_put_back() {
        assert_eq!(RawAttr { policy: 42, ..RawAttr::default() }.attributes(), None);
    }

    #[test]
    fn who_steps_aside_leaves_the_taken_cpus_where_there_are_others() {
        std::thread::spawn(|| {
            let allowed = affinity::get(SELF).unwrap();
            step_aside(&allowed);
            assert_eq!(affinity::get(SELF).unwrap(), allowed);
            let (first, others) = allowed.split_at(1);
            step_aside(first);
            let left = if others.is_empty() { first } else { others };
            assert_eq!(affinity::get(SELF).unwrap(), left);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_thread_gets_the_policy_it_asks_for() {
        std::thread::spawn(|| {
            set(SELF, Policy::Batch { nice: 3 }).unwrap();
            assert_eq!(get(SELF).unwrap().policy, Policy::Batch { nice: 3 });
            let error = set(SELF, Policy::Fifo { priority: 200 }).unwrap_err();
            assert_eq!(error.errno, Errno::EINVAL);
        })
        .join()
        .unwrap();
    }
}

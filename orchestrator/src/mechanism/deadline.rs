//! SCHED_DEADLINE: a hard constant bandwidth server for each vCPU thread; with SCHED_FLAG_RECLAIM
//! one that also takes what nobody reserved.

use std::time::{Duration, Instant};

use anyhow::Result;
use kernel::{
    affinity::{self, Tid},
    sched::{Policy, SchedError},
};
use model::Reservation;
use nix::errno::Errno;

use super::{
    Attached, Enforce, Request, Vm,
    hrtick::{self, Hrtick},
    leak, place, placement, room, starved,
};
use crate::{
    error::Refusal,
    host::{Roots, Stage, deadline_bandwidth_limit, line_of, pause},
};

pub(super) struct Deadline {
    pub reclaim: bool,
}

impl Enforce for Deadline {
    fn check(&self, request: &Request) -> Result<(), Refusal> {
        request.reservation().map(drop)
    }

    fn probe(&self, request: &Request, roots: &Roots) -> Result<(), Refusal> {
        room::parameters(request.reservation()?, roots)
    }

    fn attach(&self, stage: &mut Stage, vm: &Vm, request: &Request) -> Result<Attached> {
        let reservation = request.reservation()?;
        let mut attached = Attached::default();
        if hrtick::switch_on(&mut stage.guard, &stage.roots)? == Hrtick::Locked {
            attached.facts.push(at_the_tick(&stage.roots));
        }
        let (runtime, period) = (reservation.budget(), reservation.period());
        let cpu = stage.cpus.of(request.cpu);
        let policy = Policy::Deadline { runtime, deadline: period, period, reclaim: self.reclaim };
        for &tid in &vm.vcpus {
            place(stage, request, vm.pid, tid)?;
            attached.facts.extend(set(stage, (tid, cpu), reservation, policy)?);
        }
        Ok(attached)
    }
}

fn at_the_tick(roots: &Roots) -> String {
    let hz: Option<f64> = roots.kernel_config("CONFIG_HZ").and_then(|hz| hz.parse().ok());
    let late = hz.map_or_else(|| "a tick".to_owned(), |hz| format!("{} ms", 1000.0 / hz));
    format!(
        "the kernel ends SCHED_DEADLINE budgets at its tick (HRTICK_DL is off): a burst may be \
         {late} too long, which is paid back"
    )
}

/// A thread that sleeps stays in the root domain it went to sleep in, and SCHED_DEADLINE in the new
/// one is EPERM until it wakes; QEMU's threads do so many times a second.
const AWAKENING: Duration = Duration::from_secs(2);

/// Gives a thread that was placed on this measured CPU a hard reservation.
///
/// # Errors
/// The refusal, with its cause and remedy.
pub(super) fn reserve(
    stage: &mut Stage,
    thread: (Tid, u32),
    reservation: Reservation,
) -> Result<()> {
    let policy = Policy::deadline(reservation.budget(), reservation.period());
    set(stage, thread, reservation, policy).map(drop)
}

/// Sets the policy of a thread on a CPU, patiently where waiting helps; returns what had to be repaired
/// for it.
fn set(
    stage: &mut Stage,
    (tid, cpu): (Tid, u32),
    reservation: Reservation,
    policy: Policy,
) -> Result<Option<String>> {
    let start = Instant::now();
    let mut repaired = None;
    loop {
        let mark = stage.guard.mark();
        let Err(error) = stage.guard.set_scheduling(tid, policy) else {
            if !starved::is(tid, reservation, &stage.roots, &stage.stop)? {
                return Ok(repaired);
            }
            stage.guard.undo_to(mark)?;
            repaired = Some(starved::wait(tid, reservation, repaired, &stage.stop)?);
            continue;
        };
        let errno = error.downcast_ref::<SchedError>().map(|refused| refused.errno);
        let patience = match errno {
            Some(Errno::EPERM) => AWAKENING,
            // Bandwidth is free again at the zero-lag time of the thread that had it.
            Some(Errno::EBUSY) => reservation.period(),
            _ => Duration::ZERO,
        };
        if start.elapsed() < patience {
            stage.guard.undo_to(mark)?;
            pause(Duration::from_millis(5), &stage.stop)?;
            continue;
        }
        if errno == Some(Errno::EBUSY) && repaired.is_none() {
            stage.guard.undo_to(mark)?;
            repaired = leak::repair(stage, cpu, reservation)?;
            if repaired.is_some() {
                continue;
            }
        }
        return Err(match errno {
            Some(errno) => {
                error.context(explain(errno, &Circumstances::of((tid, cpu), reservation, stage)))
            }
            None => error,
        });
    }
}

/// What decides which of an errno's causes it is.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// What was asked for.
    pub reservation: Reservation,
    /// Whether the caller is root.
    pub root: bool,
    /// The thread's CPUs.
    pub affinity: Vec<u32>,
    /// The CPUs of its root domain.
    pub root_domain: Vec<u32>,
    /// The admissible share of a CPU.
    pub limit: f64,
    /// `sched_deadline_period_min_us` and `_max_us`.
    pub period_us: (Option<u64>, Option<u64>),
}

impl Circumstances {
    fn of((tid, cpu): (Tid, u32), reservation: Reservation, stage: &Stage) -> Self {
        let bound = |which: &str| {
            let path = format!("sys/kernel/sched_deadline_period_{which}_us");
            line_of(&Roots::default().proc.path(&path))?.parse().ok()
        };
        Self {
            reservation,
            root: Roots::default().may_schedule(),
            affinity: affinity::get(tid).unwrap_or_default(),
            root_domain: placement::span(&stage.roots, tid).unwrap_or_else(|| vec![cpu]),
            limit: deadline_bandwidth_limit(&stage.roots),
            period_us: (bound("min"), bound("max")),
        }
    }
}

/// The cause behind an errno of SCHED_DEADLINE, and the remedy, in one sentence.
#[must_use]
pub fn explain(errno: Errno, circumstances: &Circumstances) -> String {
    let Circumstances { reservation, root, affinity, root_domain, limit, period_us } =
        circumstances;
    match errno {
        Errno::EPERM if !root => {
            format!("reservation {reservation}: no privilege; run as root or with CAP_SYS_NICE")
        }
        Errno::EPERM if !root_domain.iter().all(|cpu| affinity.contains(cpu)) => format!(
            "reservation {reservation}: the thread may run on CPUs {affinity:?} only, but its root \
             domain is {root_domain:?}; give these CPUs an exclusive cpuset partition, or choose \
             another `--placement`"
        ),
        Errno::EPERM => format!(
            "reservation {reservation}: the kernel denies it even to root; SCHED_DEADLINE may be \
             blocked by a security module or a container"
        ),
        Errno::EBUSY => format!(
            "reservation {reservation} asks for {:.3} of a CPU, but at most {limit:.3} of each can be \
             reserved, other SCHED_DEADLINE threads and the stall sentinel included; lower \
             the budget or end them (bandwidth that threads leaked was looked for, and there is \
             none)",
            reservation.bandwidth()
        ),
        Errno::EINVAL => format!(
            "reservation {reservation} has parameters that the kernel does not take: the budget is \
             at least 1.024us, the period between {} and {} us",
            period_us.0.map_or_else(|| "?".to_owned(), |us| us.to_string()),
            period_us.1.map_or_else(|| "?".to_owned(), |us| us.to_string()),
        ),
        Errno::ESRCH => format!("reservation {reservation}: the thread has ended"),
        other => format!("reservation {reservation}: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circumstances() -> Circumstances {
        Circumstances {
            reservation: "28ms/50ms".parse().unwrap(),
            root: true,
            affinity: vec![1],
            root_domain: vec![1],
            limit: 0.95,
            period_us: (Some(100), Some(4_194_304)),
        }
    }

    #[test]
    fn causes_that_share_an_errno_are_told_apart() {
        let unprivileged = Circumstances { root: false, ..circumstances() };
        assert!(explain(Errno::EPERM, &unprivileged).contains("CAP_SYS_NICE"));
        let narrow = Circumstances { root_domain: vec![0, 1], ..circumstances() };
        assert!(explain(Errno::EPERM, &narrow).contains("exclusive cpuset"));
        assert!(explain(Errno::EPERM, &circumstances()).contains("security module"));
        assert!(explain(Errno::EBUSY, &circumstances()).contains("0.560 of a CPU"));
        assert!(explain(Errno::EINVAL, &circumstances()).contains("between 100 and 4194304 us"));
        assert!(explain(Errno::ESRCH, &circumstances()).contains("ended"));
    }
}

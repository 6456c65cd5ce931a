//! A thread that SCHED_DEADLINE never lets run again.
//!
//! The kernel keeps the debt of a thread that leaves SCHED_DEADLINE until its zero-lag time. One that
//! was throttled as it left, and comes back before, stays throttled for ever: no timer is set that
//! would give it its budget. [`kernel::sched::change`] leaves in a way that ends the debt soon; others
//! may not. Leaving once more, as a thread that runs, and waiting for the zero-lag time cures it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use kernel::affinity::Tid;
use model::Reservation;

use crate::{
    error::Refusal,
    host::{Roots, Stop, pause},
};

/// What stalls and ticks may add to a wait for the CPU.
const SLACK: Duration = Duration::from_millis(50);

/// The longest debt that an overrun of a tick leaves.
const MOST_DEBT: Duration = Duration::from_millis(10);

/// Whether a thread that was just put under `reservation` wants to run for two periods and never
/// does. A thread that sleeps all the time, or of which nothing is known, is none.
///
/// # Errors
/// [`Refusal::Interrupted`].
pub(super) fn is(
    tid: Tid,
    reservation: Reservation,
    roots: &Roots,
    stop: &Stop,
) -> Result<bool, Refusal> {
    let ran = || roots.proc.thread_times(tid).map(|times| times.cpu_ns).ok();
    let (before, start) = (ran(), Instant::now());
    let limit = 2 * reservation.period() + SLACK;
    let mut wants = false;
    while start.elapsed() < limit {
        if ran() != before || before.is_none() {
            return Ok(false);
        }
        wants = roots.proc.runs(tid).unwrap_or(false);
        // QEMU's vCPUs wake up at the guest's next tick.
        if !wants && start.elapsed() > SLACK {
            return Ok(false);
        }
        pause(Duration::from_millis(1), stop)?;
    }
    Ok(wants)
}

/// Waits, outside of SCHED_DEADLINE, until the thread's debt is forgotten; returns what was done, in
/// a sentence.
///
/// # Errors
/// Where that was done already (`before`) and did not help; [`Refusal::Interrupted`].
pub(super) fn wait(
    tid: Tid,
    reservation: Reservation,
    before: Option<String>,
    stop: &Stop,
) -> Result<String> {
    let said = format!(
        "thread {tid} had left SCHED_DEADLINE in debt and the kernel never let it run again; it left \
         once more and came back"
    );
    if before.as_ref() == Some(&said) {
        bail!(
            "thread {tid}: the kernel gives it no time of {reservation}, and leaving did not help"
        );
    }
    pause(reservation.period() + MOST_DEBT.div_f64(reservation.bandwidth()), stop)?;
    Ok(said)
}

#[cfg(test)]
mod tests {
    use kernel::procfs::Proc;

    use super::*;

    fn found(state: char, cpu: &str, changed: bool) -> bool {
        let root = tempfile::tempdir().unwrap();
        let thread = root.path().join("7");
        std::fs::create_dir(&thread).unwrap();
        std::fs::write(thread.join("stat"), format!("7 (CPU 0/KVM) {state} 1 7")).unwrap();
        std::fs::write(thread.join("schedstat"), format!("{cpu} 0 0\n")).unwrap();
        let roots = Roots { proc: Proc::at(root.path()), ..Roots::default() };
        let reservation = "1ms/20ms".parse().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(30));
                if changed {
                    std::fs::write(thread.join("schedstat"), "9999 0 0\n").unwrap();
                }
            });
            is(7, reservation, &roots, &Stop::default()).unwrap()
        })
    }

    #[test]
    fn who_wants_to_run_and_never_does_is_starved() {
        assert!(found('R', "100", false));
        assert!(!found('R', "100", true));
        assert!(!found('S', "100", false));
        assert!(!found('R', "no schedstat", false));
    }

    #[test]
    fn what_did_not_help_is_an_error() {
        let reservation = "10ms/20ms".parse().unwrap();
        let first = wait(7, reservation, None, &Stop::default()).unwrap();
        assert!(first.contains("thread 7 had left"));
        let again = wait(7, reservation, Some(first), &Stop::default()).unwrap_err();
        assert!(again.to_string().contains("did not help"), "{again}");
    }
}

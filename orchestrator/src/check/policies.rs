//! Each scheduling policy, tried by setting it.

use std::{thread, time::Duration};

use kernel::{
    affinity::SELF,
    sched::{self, Policy},
};
use model::{Mechanism, Reservation};

use super::{
    Row, State, drill,
    trial::{self, promise},
    watch::watched,
};
use crate::{
    host::{Stage, pause},
    sentinel,
};

/// The policies that need no partition, tried on a thread that ends with the trial.
pub(super) fn ordinary() -> Vec<Row> {
    let unpinned = Policy::deadline(Duration::from_millis(1), Duration::from_millis(100));
    [
        ("SCHED_FIFO", Policy::Fifo { priority: 1 }, true),
        ("SCHED_RR", Policy::Rr { priority: 1 }, false),
        ("SCHED_IDLE", Policy::Idle, true),
        ("SCHED_DEADLINE, unpinned", unpinned, false),
    ]
    .into_iter()
    .map(|(name, policy, required)| {
        let row = attempt(name, policy);
        if required { row.required() } else { row }
    })
    .collect()
}

fn attempt(name: &str, policy: Policy) -> Row {
    match thread::spawn(move || sched::set(SELF, policy)).join() {
        Ok(Ok(())) => Row::new(name, State::Good, "set and taken back"),
        Ok(Err(error)) => Row::new(name, State::Missing, error.errno.to_string()).advise(
            "run as root or with CAP_SYS_NICE; under RT_GROUP_SCHED with cgroup v2 real-time \
             policies work in the root group only",
        ),
        Err(_) => Row::new(name, State::Unknown, "the trial failed"),
    }
}

/// SCHED_DEADLINE on the measured CPU, tried with the stall sentinel.
pub(super) fn deadline_in_partition(stage: &mut Stage) -> Row {
    const NAME: &str = "SCHED_DEADLINE, partition";
    let said =
        watched(stage, sentinel::MOST, |stage, _| Ok(pause(Duration::from_secs(1), &stage.stop)?));
    match said {
        Ok(said) => match sentinel::blind(&said.facts) {
            None => {
                let stalled = said.stalled_ns() as f64 / said.facts.watched_ns.max(1) as f64;
                let found = format!(
                    "works; the CPU was stalled for {:.2} % of a second while idle",
                    stalled * 100.0
                );
                Row::new(NAME, State::Good, found)
            }
            Some(why) => Row::new(NAME, State::Limited, format!("works; {why}"))
                .advise("the processor is too slow to tell stalls from its own reservation"),
        },
        Err(error) => Row::new(NAME, State::Missing, format!("{error:#}"))
            .advise("see docs/host-setup.md on SCHED_DEADLINE"),
    }
}

/// How far a reservation may be off over two seconds: three ticks at 250 Hz.
const TOLERANCE: f64 = 0.012;

/// A real reservation, on a thread that asks for everything.
pub(super) fn delivered(stage: &mut Stage) -> Row {
    const NAME: &str = "(28ms, 50ms) delivered";
    match drill::delivered(stage) {
        Ok(share) => {
            let good = (share - 0.56).abs() < TOLERANCE;
            let state = if good { State::Good } else { State::Limited };
            Row::new(NAME, state, format!("{share:.3} of the CPU, 0.560 promised"))
                .advise("the machine may have stalled: look again; see docs/host-setup.md")
        }
        Err(error) => Row::new(NAME, State::Missing, format!("{error:#}"))
            .advise("see docs/host-setup.md on SCHED_DEADLINE"),
    }
}

/// How long each mechanism is tried for its row.
const TRIED: Duration = Duration::from_millis(300);

/// Every mechanism, tried with (28 ms, 50 ms) on a thread that asks for everything. What a third of
/// a second shows is that it works here, and about how much it gives.
pub(super) fn mechanisms(stage: &mut Stage) -> Vec<Row> {
    let Ok(reservation) = "28ms/50ms".parse::<Reservation>() else { return Vec::new() };
    let reserving = Mechanism::ALL.into_iter().filter(|one| *one != Mechanism::None);
    reserving.map(|mechanism| mechanism_row(stage, mechanism, reservation)).collect()
}

fn mechanism_row(stage: &mut Stage, mechanism: Mechanism, reservation: Reservation) -> Row {
    let name = format!("mechanism {mechanism}");
    let (rival, promised) = promise(mechanism, reservation);
    match trial::attempt(stage, mechanism, &reservation.into(), rival, TRIED) {
        Ok(tried) => {
            let promised = promised.map(|share| format!(", {share:.2} promised"));
            let found =
                format!("{:.2} of the CPU {rival}{}", tried.share, promised.unwrap_or_default());
            let advice = tried.facts.join("; ");
            let limited = mechanism == Mechanism::Deadline && !advice.is_empty();
            let state = if limited { State::Limited } else { State::Good };
            Row::new(&name, state, found).advise(&advice)
        }
        Err(error) => Row::new(&name, State::Missing, format!("{error:#}"))
            .advise("see docs/mechanisms.md on what it needs"),
    }
}

//! The sentinel: sees when the measured CPU ran nobody.
//!
//! A SCHED_DEADLINE thread with a short deadline is first in the queue whenever it wakes, whatever
//! reservation or real-time priority the others have. So when it wakes late, nobody ran: the
//! hypervisor took the CPU, or firmware did. What the kernel's fair server or RT throttling takes
//! from SCHED_FIFO threads does not delay it, and is thus no stall.
//!
//! Its own reservation can delay it, too. So it measures first what a look costs it and sizes the
//! budget by that (`size`), and it keeps account of the budget (`account`): a look that the
//! kernel may have held back for want of budget tells nothing, late as it may be (`judge`).

mod account;
mod body;
mod judge;
mod process;

use std::time::Duration;

pub use body::{Orders, run};
use model::manifest::SentinelFacts;
pub use process::Sentinel;

/// How often it wakes.
const INTERVAL: Duration = Duration::from_millis(1);

/// Its reservation's period, and so its relative deadline: shorter than any VM's, so that it goes
/// first under EDF, and shorter than `INTERVAL`, so that each wake-up begins a period of its own
/// (a deadline below the period would have the kernel hold it back between the two).
pub const PERIOD: Duration = Duration::from_micros(800);

/// Its reservation's budget at the least: on a processor of today a look takes some 10 µs.
pub const LEAST: Duration = Duration::from_micros(25);

/// Its budget at the most, 25 % of the CPU: enough on a host that is itself emulated, where a look
/// takes 80 to 150 µs, and little enough that (3, 5) fits beside it.
pub const MOST: Duration = Duration::from_micros(200);

/// A wake-up later than this is a stall; leaving idle takes less. Where looks are slow, wake-ups
/// are: it is twice a look at the least.
const THRESHOLD: Duration = Duration::from_micros(200);

/// Where more than this share of the time could not be judged, how much the CPU was stalled is not
/// known: twice what a run takes for noise by default.
const TOLERATED: f64 = 0.01;

/// The budget for looks that take `look`, at most `most`: twice that, since a look takes longer
/// beside others, which have the caches.
fn size(look: Duration, most: Duration) -> Duration {
    (look * 2).max(LEAST).min(most)
}

/// Why this sentinel cannot say how much the CPU was stalled, if so.
#[must_use]
pub fn blind(facts: &SentinelFacts) -> Option<String> {
    let share = facts.held_back_ns as f64 / facts.watched_ns.max(1) as f64;
    let us = |ns: u64| ns as f64 / 1e3;
    (share > TOLERATED).then(|| {
        format!(
            "how much the CPU was stalled is not known: the sentinel was held back by its own \
             budget for {:.1} % of the time (a look takes {:.0} us, its budget is {:.0} us)",
            100.0 * share,
            us(facts.look_ns),
            us(facts.budget_ns)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_twice_a_look_within_its_bounds() {
        let us = Duration::from_micros;
        assert_eq!(size(us(8), MOST), LEAST);
        assert_eq!(size(us(40), MOST), us(80));
        assert_eq!(size(us(400), MOST), MOST);
        assert_eq!(size(us(40), us(50)), us(50));
        assert_eq!(size(us(40), us(5)), us(5), "what the plan leaves is the limit");
    }

    #[test]
    fn a_sentinel_that_was_held_back_says_that_it_knows_nothing() {
        let facts = |held_back_ns| SentinelFacts {
            budget_ns: 25_000,
            period_ns: 800_000,
            look_ns: 60_000,
            looks: 1000,
            held_back_ns,
            watched_ns: 1_000_000_000,
        };
        assert_eq!(blind(&facts(9_000_000)), None);
        let why = blind(&facts(300_000_000)).unwrap();
        assert!(why.contains("30.0 %") && why.contains("60 us") && why.contains("25 us"), "{why}");
    }
}

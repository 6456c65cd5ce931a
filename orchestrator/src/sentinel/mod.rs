//! The sentinel: sees when a measured CPU ran no thread. Each of several has one of its own.
//!
//! A SCHED_DEADLINE thread with a short deadline is first in the queue whenever it wakes, whatever
//! reservation or real-time priority the others have. So when it wakes late, nobody ran: the
//! hypervisor took the CPU, or firmware did. What the kernel's fair server or RT throttling takes
//! from SCHED_FIFO threads does not delay it, and is thus no stall.
//!
//! Its own reservation can delay it, too. So it measures first what a look costs it and sizes its
//! pace by that (`pace`), and it keeps account of the budget (`account`): a look that the
//! kernel may have held back for want of budget tells nothing, late as it may be (`judge`).

mod account;
mod body;
mod judge;
mod pace;
mod process;

use std::time::Duration;

pub use body::{Orders, run};
use model::manifest::SentinelFacts;
pub use process::{Sentinel, Watched};

/// How often it wakes, where a look costs little.
const INTERVAL: Duration = Duration::from_millis(1);

/// Its reservation's period then, and so its relative deadline: shorter than any VM's, so that it
/// goes first under EDF, and shorter than `INTERVAL`, so that each wake-up begins a period of its own
/// (a deadline below the period would have the kernel hold it back between the two).
pub const PERIOD: Duration = Duration::from_micros(800);

/// Its reservation's budget at the least: on a processor of today a look takes some 10 µs.
pub const LEAST: Duration = Duration::from_micros(25);

/// Its budget at the most, 25 % of the CPU: little enough that (3, 5) fits beside it.
pub const MOST: Duration = Duration::from_micros(200);

/// A wake-up later than this is a stall; leaving idle takes less.
const THRESHOLD: Duration = Duration::from_micros(200);

/// Where looks are slow, wake-ups are: one within so many looks is no stall. On an emulated processor
/// three of four that are late at all come within four looks, whoever else runs, and what remains
/// beyond six hardly depends on where the line is drawn.
const SLOW_WAKE_UP: u64 = 6;

/// Where more than this share of the time could not be judged, how much the CPU was stalled is not
/// known: twice what a run takes for noise by default.
const TOLERATED: f64 = 0.01;

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
    fn a_sentinel_that_was_held_back_says_that_it_knows_nothing() {
        let facts = |held_back_ns| SentinelFacts {
            cpu: Some(1),
            budget_ns: 25_000,
            period_ns: 800_000,
            interval_ns: 1_000_000,
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

//! The guest's clock against the host's.
//!
//! Cristian's method (F. Cristian, *Probabilistic clock synchronization*, 1989): the guest reads its
//! clock somewhere between the request and the reply, so the exchange with the shortest round trip
//! bounds the offset best, to within half of that round trip.

use std::{
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use super::Agent;

/// How long the exchanges of one measurement may take; some there are in any case. Round trips through
/// QEMU's guest agent take a thousand times as long as through a port of the bench's own.
const LONGEST: Duration = Duration::from_secs(3);
const LEAST_EXCHANGES: u32 = 3;

/// Guest CLOCK_MONOTONIC minus host CLOCK_MONOTONIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    /// The offset in ns.
    pub offset_ns: i64,
    /// The offset is known to within this, in ns.
    pub uncertainty_ns: u64,
    /// When it held: CLOCK_MONOTONIC of the host, in ns.
    pub at_ns: u64,
}

impl ClockOffset {
    /// Measures it by `exchanges` requests, at least one, and fewer where they take long.
    ///
    /// # Errors
    /// The agent did not answer within `limit`.
    pub fn measure(
        agent: &Agent,
        exchanges: u32,
        limit: Duration,
        stop: &AtomicBool,
    ) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let mut best = Self::of(agent.clock(limit, stop)?);
        for number in 1..exchanges {
            if number >= LEAST_EXCHANGES && begun.elapsed() > LONGEST {
                break;
            }
            let next = Self::of(agent.clock(limit, stop)?);
            if next.uncertainty_ns < best.uncertainty_ns {
                best = next;
            }
        }
        Ok(best)
    }

    /// From one exchange.
    fn of((before, guest, after): (u64, u64, u64)) -> Self {
        let round_trip = after.saturating_sub(before);
        let at_ns = before + round_trip / 2;
        Self {
            offset_ns: guest.cast_signed() - at_ns.cast_signed(),
            uncertainty_ns: round_trip.div_ceil(2),
            at_ns,
        }
    }

    /// Growth of the offset since `earlier`, as a share of the time between: 1e-6 is 1 µs a second.
    /// None where no time lies between.
    #[must_use]
    pub fn drift_since(self, earlier: Self) -> Option<f64> {
        let elapsed = self.at_ns.checked_sub(earlier.at_ns).filter(|ns| *ns > 0)?;
        Some((self.offset_ns - earlier.offset_ns) as f64 / elapsed as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_lies_within_half_the_round_trip() {
        for (delay_there, delay_back) in [(0, 100), (100, 0), (50, 51), (7, 3)] {
            for true_offset in [-500_i64, 0, 12_345] {
                let before = 1_000_000_u64;
                let guest = (before + delay_there).cast_signed() + true_offset;
                let after = before + delay_there + delay_back;
                let found = ClockOffset::of((before, guest.cast_unsigned(), after));
                let error = (found.offset_ns - true_offset).unsigned_abs();
                assert!(error <= found.uncertainty_ns, "{found:?} for {true_offset}");
            }
        }
    }

    #[test]
    fn drift_is_a_share() {
        let at = |at_ns, offset_ns| ClockOffset { offset_ns, uncertainty_ns: 1, at_ns };
        let drift = at(2_000_000_000, 5_000).drift_since(at(1_000_000_000, 1_000)).unwrap();
        assert!((drift - 4e-6).abs() < 1e-12);
        assert_eq!(at(1, 1).drift_since(at(1, 1)), None);
    }
}

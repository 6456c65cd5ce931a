//! A guest's clock against the host's over an attempt, and to within what it is known: through QEMU's
//! guest agent or SSH a round trip takes milliseconds.

use model::clock::{ClockMap, DRIFT};

use crate::guest::ClockOffset;

/// The readings on both sides of the workload.
#[derive(Debug, Clone, Copy)]
pub(super) struct GuestClock {
    /// As it began.
    pub begin: ClockOffset,
    /// As it ended; none where the guest did not answer, or the workload goes on.
    later: Option<ClockOffset>,
    elapsed_ns: u64,
}

/// The clock of a service's jobs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct JobsClock {
    pub map: ClockMap,
    /// What `map` gives is known to within this.
    pub uncertainty_ns: u64,
}

impl JobsClock {
    /// The host's own.
    pub const HOST: Self = Self { map: ClockMap::HOST, uncertainty_ns: 0 };

    /// Whether it tells jobs apart of which the next is released after `period_ns`: an instant of the
    /// host's that may be anywhere in a whole period is of no job.
    pub fn tells_apart(&self, period_ns: u64) -> bool {
        self.uncertainty_ns.saturating_mul(2) <= period_ns
    }
}

impl GuestClock {
    pub fn at(begin: ClockOffset) -> Self {
        Self { begin, later: None, elapsed_ns: 0 }
    }

    /// With what was read, if anything was, as the workload ended that took `elapsed_ns`.
    pub fn until(self, later: Option<ClockOffset>, elapsed_ns: u64) -> Self {
        Self { later, elapsed_ns, ..self }
    }

    /// Growth of the offset, as a share of the time. None where it is more than a clock may drift (it
    /// jumped in between, or stood still), or less certain than that.
    pub fn drift(&self) -> Option<f64> {
        let (begin, later) = (self.begin, self.later?);
        let drift = later.drift_since(begin)?;
        let error_ns = begin.uncertainty_ns + later.uncertainty_ns;
        let between_ns = later.at_ns.saturating_sub(begin.at_ns);
        let certain = error_ns.saturating_mul(DRIFT) <= between_ns;
        (certain && drift.abs() * DRIFT as f64 <= 1.0).then_some(drift)
    }

    /// The clock of what ran in the guest meanwhile.
    pub fn of_jobs(&self) -> JobsClock {
        let (begin, drift) = (self.begin, self.drift());
        let uncertainty_ns = match (drift, self.later) {
            // Between two readings the error is at most that of the worse one.
            (Some(_), Some(later)) => begin.uncertainty_ns.max(later.uncertainty_ns),
            // The first reading holds until the end, where the second says how wrong it may be.
            (_, Some(later)) => {
                let moved = (later.offset_ns - begin.offset_ns).unsigned_abs();
                begin.uncertainty_ns.max(moved + later.uncertainty_ns)
            }
            (_, None) => begin.uncertainty_ns + self.elapsed_ns / DRIFT,
        };
        let (offset_ns, since_ns) = (begin.offset_ns, begin.at_ns);
        let map = ClockMap { offset_ns, since_ns, drift: drift.unwrap_or(0.0) };
        JobsClock { map, uncertainty_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1000 * MS;

    fn read(at_ns: u64, offset_ns: i64, uncertainty_ns: u64) -> ClockOffset {
        ClockOffset { offset_ns, uncertainty_ns, at_ns }
    }

    fn clock(begin: ClockOffset, later: ClockOffset) -> GuestClock {
        GuestClock::at(begin).until(Some(later), later.at_ns - begin.at_ns)
    }

    #[test]
    fn an_exact_clock_drifts_and_is_as_exact_as_its_readings() {
        let own = clock(read(0, 0, 100_000), read(20 * SECOND, 200_000, 150_000));
        assert!((own.drift().unwrap() - 1e-5).abs() < 1e-12);
        assert_eq!(own.of_jobs().uncertainty_ns, 150_000);
    }

    #[test]
    fn a_drift_is_not_made_of_slow_round_trips() {
        // 30 ms on either side of 20 s: up to 3000 parts in a million, of which none need be drift.
        let (ours, later) = (read(0, 0, 30 * MS), read(20 * SECOND, 12 * MS as i64, 30 * MS));
        let own = clock(ours, later);
        assert_eq!(own.drift(), None);
        let jobs = own.of_jobs();
        assert_eq!((jobs.map.drift, jobs.uncertainty_ns), (0.0, 42 * MS));
        assert!(jobs.tells_apart(150 * MS) && !jobs.tells_apart(80 * MS));
    }

    #[test]
    fn a_clock_that_jumped_is_uncertain_by_its_jump() {
        let own = clock(read(0, 0, 1000), read(10 * SECOND, -(40 * MS as i64), 2000));
        assert_eq!(own.drift(), None);
        assert_eq!(own.of_jobs().uncertainty_ns, 40 * MS + 2000);
    }

    #[test]
    fn one_that_was_read_once_may_have_drifted() {
        let own = GuestClock::at(read(0, 5, 1000)).until(None, 10 * SECOND);
        assert_eq!(own.of_jobs().uncertainty_ns, 1000 + 10 * MS);
        assert!(JobsClock::HOST.tells_apart(0));
    }
}

//! A guest's clock on the host's.

/// A guest's clock against the host's: host time = guest time - offset, where the offset grows
/// evenly from the instant at which it was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClockMap {
    /// Guest minus host at `since_ns`.
    pub offset_ns: i64,
    /// Host time of the measurement.
    pub since_ns: u64,
    /// Growth of the offset a nanosecond.
    pub drift: f64,
}

impl ClockMap {
    /// The host's own clock.
    pub const HOST: Self = Self { offset_ns: 0, since_ns: 0, drift: 0.0 };

    /// The host's time at which the guest's clock showed `guest_ns`.
    #[must_use]
    pub fn host_ns(&self, guest_ns: u64) -> u64 {
        let near = guest_ns.saturating_add_signed(-self.offset_ns);
        let elapsed = near as f64 - self.since_ns as f64;
        near.saturating_add_signed(-(elapsed * self.drift) as i64)
    }
}

/// What was read of a guest's clock at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// When, on the host's clock.
    pub at_ns: u64,
    /// Guest minus host.
    pub offset_ns: i64,
    /// The offset is known to within this.
    pub uncertainty_ns: u64,
}

impl Reading {
    /// What the guest's clock showed.
    fn guest_ns(&self) -> u64 {
        self.at_ns.saturating_add_signed(self.offset_ns)
    }
}

/// A guest's clock against the host's, read again and again: between two readings the offset changes
/// evenly. Where it changed by more than a clock may drift, nobody knows when it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline(Vec<Reading>);

/// The most that a clock drifts, as a part of the time: the kernel slews by at most 500 parts in a
/// million (adjtimex(2)), on either side.
pub const DRIFT: u64 = 1_000;

impl Timeline {
    /// Of readings in any order; none of none.
    #[must_use]
    pub fn of(mut readings: Vec<Reading>) -> Option<Self> {
        readings.sort_by_key(Reading::guest_ns);
        (!readings.is_empty()).then_some(Self(readings))
    }

    /// The host's time at which the guest's clock showed `guest_ns`, and to within what that is known.
    #[must_use]
    pub fn host_ns(&self, guest_ns: u64) -> (u64, u64) {
        let next = self.0.partition_point(|own| own.guest_ns() <= guest_ns);
        let at = |index: usize| self.0.get(index);
        let (before, after) = (next.checked_sub(1).and_then(at), at(next));
        let shifted = |offset_ns: i64| guest_ns.saturating_add_signed(-offset_ns);
        match (before, after) {
            (Some(before), Some(after)) => {
                let whole = after.guest_ns() - before.guest_ns();
                let part = (guest_ns - before.guest_ns()) as f64 / whole.max(1) as f64;
                let change = after.offset_ns - before.offset_ns;
                let offset_ns = before.offset_ns + (change as f64 * part) as i64;
                let read = before.uncertainty_ns.max(after.uncertainty_ns);
                let allowed = whole / DRIFT + before.uncertainty_ns + after.uncertainty_ns;
                let jumped = Some(change.unsigned_abs()).filter(|change| *change > allowed);
                (shifted(offset_ns), read + jumped.unwrap_or(0))
            }
            (one, other) => {
                let near = one.or(other).expect("there is a reading");
                let far = guest_ns.abs_diff(near.guest_ns());
                (shifted(near.offset_ns), near.uncertainty_ns + far / DRIFT)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_taken_off_and_grows() {
        let still = ClockMap { offset_ns: -1000, since_ns: 1100, drift: 0.0 };
        assert_eq!(still.host_ns(100), 1100);
        let drifting = ClockMap { offset_ns: 0, since_ns: 0, drift: 0.1 };
        assert_eq!(drifting.host_ns(1000), 900);
        let both = ClockMap { offset_ns: -1000, since_ns: 2000, drift: 0.1 };
        assert_eq!((both.host_ns(1000), both.host_ns(2000)), (2000, 3000 - 100));
    }

    fn reading(at_ns: u64, offset_ns: i64, uncertainty_ns: u64) -> Reading {
        Reading { at_ns, offset_ns, uncertainty_ns }
    }

    #[test]
    fn between_two_readings_the_offset_changes_evenly() {
        let second = 1_000_000_000;
        let readings =
            vec![reading(2 * second, 100_000, 7), reading(second, 0, 9), reading(3 * second, 0, 5)];
        let line = Timeline::of(readings).unwrap();
        assert_eq!(line.host_ns(second), (second, 9));
        assert_eq!(line.host_ns(second + second / 2 + 50_000), (second + second / 2, 9));
        // Beyond the last, the offset may drift.
        assert_eq!(line.host_ns(4 * second), (4 * second, 5 + second / 1_000));
        assert_eq!(line.host_ns(0), (0, 9 + second / 1_000));
        assert_eq!(Timeline::of(Vec::new()), None);
    }

    #[test]
    fn a_jump_makes_what_lies_around_it_uncertain_and_nothing_else() {
        // The guest's clock stood still for 20 s, somewhere between the second and the third reading.
        let second = 1_000_000_000_u64;
        let still = -20_000_000_000;
        let readings = vec![
            reading(second, 0, 5),
            reading(2 * second, 0, 5),
            reading(23 * second, still, 5),
            reading(24 * second, still, 5),
        ];
        let line = Timeline::of(readings).unwrap();
        assert_eq!(line.host_ns(second + 1), (second + 1, 5));
        assert_eq!(line.host_ns(3 * second + 9), (23 * second + 9, 5));
        let (_, uncertainty_ns) = line.host_ns(2 * second + second / 2);
        assert!(uncertainty_ns > 19 * second, "{uncertainty_ns}");
    }
}

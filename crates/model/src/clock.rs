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
}

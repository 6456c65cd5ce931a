//! When the requests of an open loop are due.

use crate::Rate;

/// The schedule of a repetition, which all its clients share.
#[derive(Debug)]
pub(crate) struct Schedule {
    rate: Rate,
    start_ns: u64,
    total: u64,
    /// The next request that nobody has taken.
    next: u64,
}

impl Schedule {
    /// `total` requests at `rate`, the first one due at `start_ns`.
    pub(crate) fn new(rate: Rate, start_ns: u64, total: u64) -> Self {
        Self { rate, start_ns, total, next: 0 }
    }

    /// Takes the next request: the instant at which it is due.
    pub(crate) fn take(&mut self) -> Option<u64> {
        let index = self.next;
        self.next += 1;
        (index < self.total).then(|| self.start_ns.saturating_add(self.rate.offset_ns(index)))
    }

    /// How many requests are due at `now_ns`.
    pub(crate) fn due(&self, now_ns: u64) -> u64 {
        let passed = now_ns.saturating_sub(self.start_ns);
        let mut count = (passed as f64 * self.rate.as_per_second() / 1e9) as u64;
        // The instants are rounded: settle it with them.
        while count > 0 && self.rate.offset_ns(count - 1) > passed {
            count -= 1;
        }
        while self.rate.offset_ns(count) <= passed && count < self.total {
            count += 1;
        }
        count.min(self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_counted_up_to_now() {
        let mut schedule = Schedule::new("3/s".parse().unwrap(), 1_000, 10);
        let second = 1_000_000_000;
        for (after, due) in
            [(0, 1), (333_333_332, 1), (333_333_333, 2), (second, 4), (60 * second, 10)]
        {
            assert_eq!(schedule.due(1_000 + after), due, "after {after}");
        }
        assert_eq!((schedule.take(), schedule.take()), (Some(1_000), Some(333_334_333)));
        assert_eq!((0..10).filter_map(|_| schedule.take()).count(), 8);
    }
}

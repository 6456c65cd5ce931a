//! What successive looks at three clocks tell: gaps, steps back, and clocks that move apart.
//!
//! The clocks of a look are read one after the other, so what one shows of another is known to an
//! interval. CLOCK_REALTIME is read between two reads of CLOCK_MONOTONIC: its distance from that clock
//! lies between its distances from the two reads. The intervals of successive looks are intersected,
//! each widened by what the clocks may have drifted meanwhile (set-membership estimation: Schweppe
//! 1968). An empty intersection is a step, however long the thread was away between two reads.

use model::{
    clock::DRIFT,
    sample::{ClockName, ClockWhat},
};

/// All clocks, in the order in which they are read, in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// CLOCK_MONOTONIC.
    pub monotonic_ns: u64,
    /// CLOCK_MONOTONIC_RAW.
    pub raw_ns: u64,
    /// CLOCK_REALTIME.
    pub realtime_ns: u64,
}

impl Look {
    /// Reads them.
    #[inline]
    pub fn now() -> Self {
        Self {
            monotonic_ns: kernel::clock::monotonic_ns(),
            raw_ns: kernel::clock::monotonic_raw_ns(),
            realtime_ns: kernel::clock::realtime_ns(),
        }
    }

    fn of(&self, clock: ClockName) -> u64 {
        match clock {
            ClockName::Monotonic => self.monotonic_ns,
            ClockName::MonotonicRaw => self.raw_ns,
            ClockName::Realtime => self.realtime_ns,
        }
    }
}

/// Something that two looks told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// `Gap`, `Backward` or `Step`.
    pub what: ClockWhat,
    /// The clock that it is of.
    pub clock: ClockName,
    /// The look before, on CLOCK_MONOTONIC.
    pub start_ns: u64,
    /// How long, or how far.
    pub length_ns: u64,
    /// Whether a step went forward.
    pub ahead: bool,
}

/// Looks at each pair of successive looks.
#[derive(Debug)]
pub struct Watch {
    threshold_ns: u64,
    before: Option<Look>,
    apart: [Apart; 2],
}

impl Watch {
    /// One that tells gaps and steps above `threshold_ns`, and steps back of any size.
    #[must_use]
    pub fn new(threshold_ns: u64) -> Self {
        let apart = [ClockName::MonotonicRaw, ClockName::Realtime].map(Apart::of);
        Self { threshold_ns, before: None, apart }
    }

    /// Nobody reads from here to the next look: that is no gap.
    pub fn pause(&mut self) {
        self.before = None;
    }

    /// Tells what happened since the look before; the time between the two on CLOCK_MONOTONIC, 0 where
    /// it went back. None of the first look.
    #[inline]
    pub fn look(&mut self, now: Look, tell: &mut impl FnMut(Event)) -> Option<u64> {
        let before = self.before.replace(now)?;
        let start_ns = before.monotonic_ns;
        for clock in ClockName::ALL {
            if let Some(length_ns) = before.of(clock).checked_sub(now.of(clock))
                && length_ns > 0
            {
                let what = ClockWhat::Backward;
                tell(Event { what, clock, start_ns, length_ns, ahead: false });
            }
        }
        for apart in &mut self.apart {
            let step_ns = apart.narrow(before, now.monotonic_ns);
            if step_ns.unsigned_abs() > self.threshold_ns {
                let (clock, length_ns, ahead) = (apart.clock, step_ns.unsigned_abs(), step_ns > 0);
                tell(Event { what: ClockWhat::Step, clock, start_ns, length_ns, ahead });
            }
        }
        let distance_ns = now.monotonic_ns.saturating_sub(start_ns);
        if distance_ns > self.threshold_ns {
            let (what, clock) = (ClockWhat::Gap, ClockName::Monotonic);
            tell(Event { what, clock, start_ns, length_ns: distance_ns, ahead: true });
        }
        Some(distance_ns)
    }
}

/// By how much a clock is ahead of CLOCK_MONOTONIC, as far as is known.
#[derive(Debug)]
struct Apart {
    clock: ClockName,
    /// Least and greatest distance, and CLOCK_MONOTONIC at the last look that told it.
    known: Option<(i64, i64, u64)>,
}

impl Apart {
    fn of(clock: ClockName) -> Self {
        Self { clock, known: None }
    }

    /// Takes a look, after which CLOCK_MONOTONIC was `after_ns`; by how much the clock has stepped at
    /// least, 0 where it need not have.
    #[inline]
    fn narrow(&mut self, look: Look, after_ns: u64) -> i64 {
        let own = look.of(self.clock).cast_signed();
        let (first, second) = (look.monotonic_ns.cast_signed(), after_ns.cast_signed());
        let (low, high) = (own - first.max(second), own - first.min(second));
        let Some((least, greatest, at_ns)) = self.known else {
            self.known = Some((low, high, look.monotonic_ns));
            return 0;
        };
        let drift = (after_ns.saturating_sub(at_ns) / DRIFT).cast_signed() + 1;
        let (least, greatest) = (least - drift, greatest + drift);
        let both = (low.max(least), high.min(greatest));
        let (kept, step) = match () {
            () if both.0 <= both.1 => (both, 0),
            () if low > greatest => ((low, high), low - greatest),
            () => ((low, high), high - least),
        };
        self.known = Some((kept.0, kept.1, look.monotonic_ns));
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLD_NS: u64 = 20_000;

    /// A made-up system, whose clocks can be broken.
    struct System {
        now: Look,
        watch: Watch,
        events: Vec<Event>,
    }

    impl System {
        fn new() -> Self {
            let now =
                Look { monotonic_ns: 5_000, raw_ns: 4_000, realtime_ns: 1_700_000_000_000_000_000 };
            let mut own = Self { now, watch: Watch::new(THRESHOLD_NS), events: Vec::new() };
            // The first looks tell how far the clocks are apart.
            (0..3).for_each(|_| own.read(100));
            own
        }

        /// Time goes on by so much, at least 100 ns; the reads of a look are 30 ns apart.
        fn read(&mut self, length_ns: u64) {
            self.now.monotonic_ns += length_ns;
            self.now.raw_ns += length_ns;
            self.now.realtime_ns += length_ns;
            let Look { monotonic_ns, raw_ns, realtime_ns } = self.now;
            let look = Look { monotonic_ns, raw_ns: raw_ns + 30, realtime_ns: realtime_ns + 60 };
            self.watch.look(look, &mut |event| self.events.push(event));
        }

        /// What the next looks tell: `what clock length` of each.
        fn told(&mut self) -> Vec<String> {
            (0..3).for_each(|_| self.read(100));
            let text = |own: Event| {
                let sign = if own.ahead { "" } else { "-" };
                format!("{} {} {sign}{}", own.what.name(), own.clock.name(), own.length_ns / 1_000)
            };
            self.events.drain(..).map(text).collect()
        }
    }

    #[test]
    fn an_even_flow_of_time_tells_nothing() {
        let mut system = System::new();
        (0..1_000).for_each(|n| system.read(100 + n % 300));
        assert_eq!(system.told(), [""; 0]);
    }

    #[test]
    fn time_without_a_read_is_a_gap_unless_nobody_was_to_read() {
        let mut system = System::new();
        system.read(22_000_000);
        assert_eq!(system.told(), ["gap monotonic 22000"]);
        system.watch.pause();
        system.read(22_000_000);
        assert_eq!(system.told(), [""; 0]);
        system.read(THRESHOLD_NS);
        assert_eq!(system.told(), [""; 0], "not above the threshold");
    }

    #[test]
    fn a_clock_that_is_set_back_or_ahead_is_seen() {
        let mut system = System::new();
        system.now.realtime_ns -= 3_000_000;
        let told = system.told();
        assert_eq!(told[0], "backward realtime -2999");
        assert!(told[1].starts_with("step realtime -299"), "{told:?}");
        assert_eq!(told.len(), 2);
        system.now.realtime_ns += 3_000_000;
        let told = system.told();
        assert!(told.len() == 1 && told[0].starts_with("step realtime 299"), "{told:?}");
    }

    #[test]
    fn a_jump_of_the_monotonic_clock_is_a_gap_that_the_raw_clock_knows_nothing_of() {
        let mut system = System::new();
        system.now.monotonic_ns += 7_000_000;
        let told = system.told();
        // Both others are behind it by as much.
        assert_eq!(told[0], "gap monotonic 7000");
        let mut rest: Vec<_> = told[1..].iter().map(|own| &own[..own.len() - 3]).collect();
        rest.sort_unstable();
        assert_eq!(rest, ["step monotonic-raw -6", "step realtime -6"], "{told:?}");
        system.now.monotonic_ns -= 7_000_000;
        let told = system.told();
        assert!(told.contains(&"backward monotonic -6999".to_owned()), "{told:?}");
    }

    #[test]
    fn a_step_that_hides_in_a_gap_or_between_slices_is_seen() {
        for pause in [false, true] {
            let mut system = System::new();
            if pause {
                system.watch.pause();
            }
            system.now.realtime_ns += 1_000_000;
            system.read(20_000_000);
            let told = system.told();
            let step = told.iter().find(|own| own.starts_with("step")).unwrap();
            // The clocks may have drifted by 20 us meanwhile.
            assert!(step.starts_with("step realtime 9"), "{told:?}");
        }
    }

    #[test]
    fn a_slewed_clock_has_not_stepped() {
        let mut system = System::new();
        for _ in 0..10_000 {
            system.read(10_000);
            // 500 parts in a million.
            system.now.realtime_ns += 5;
        }
        assert_eq!(system.told(), [""; 0]);
    }
}

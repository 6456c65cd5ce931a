//! One job or one good request, small: a result folder may hold millions.

use model::{judged::Selection, sample::DISTURBED_NS};

/// One part in so many of a response time: 0.5 ms of 30 ms.
const HARMLESS: u64 = 60;

/// CPU and stalled times take so many bits each: up to 18 minutes.
const BITS: u32 = 40;
const LARGEST: u64 = (1 << BITS) - 1;
/// What is known, and whether the deadline was missed, stands above them.
const CPU: u32 = 120;
const STALLED: u32 = 121;
const OWN: u32 = 122;
const MISSED: u32 = 123;

/// One job or one good request. CPU and stalled times above 18 minutes read as that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Its release (a request: when it was due), from the first of its run.
    pub at_ns: u64,
    /// From release to finish.
    pub response_ns: u64,
    /// The rest in 16 bytes, so that the whole takes 32.
    rest: [u64; 2],
}

impl Sample {
    /// Of an instant and a response time; nothing else is known.
    #[must_use]
    pub fn new(at_ns: u64, response_ns: u64) -> Self {
        Self { at_ns, response_ns, rest: [0; 2] }
    }

    /// With what a job's row tells.
    #[must_use]
    pub fn with(self, cpu_ns: Option<u64>, missed: bool, stalled_ns: Option<u64>) -> Self {
        let own = self.put(0, CPU, cpu_ns).put(BITS, STALLED, stalled_ns);
        Self::of(own, own.bits() | (u128::from(missed) << MISSED))
    }

    /// With the part of its stalled time that was its own.
    #[must_use]
    pub fn with_own_stalled(self, own_stalled_ns: Option<u64>) -> Self {
        self.put(2 * BITS, OWN, own_stalled_ns)
    }

    /// CPU time, where it is known.
    #[must_use]
    pub fn cpu_ns(&self) -> Option<u64> {
        self.get(0, CPU)
    }

    /// Whether it missed its deadline.
    #[must_use]
    pub fn missed(&self) -> bool {
        self.bits() >> MISSED & 1 == 1
    }

    /// Stalled time of its busy period so far; none where no sentinel watched.
    #[must_use]
    pub fn stalled_ns(&self) -> Option<u64> {
        self.get(BITS, STALLED)
    }

    /// The part of that which may have fallen between its release (or that of an earlier job of its
    /// task that was still unfinished then) and its finish: what can have delayed a job of the most
    /// urgent task.
    #[must_use]
    pub fn own_stalled_ns(&self) -> Option<u64> {
        self.get(2 * BITS, OWN)
    }

    /// Whether a stall disturbed it, as far as is known: unwatched samples are not disturbed.
    #[must_use]
    pub fn disturbed(&self) -> bool {
        self.stalled_ns().is_some_and(|stalled| stalled > DISTURBED_NS)
    }

    /// Whether stalls may have made it late, were it of the most urgent task: a backlog of less
    /// urgent ones, and the stalls since that began, does not hold it up. What is a small part of its
    /// response time, as [`DISTURBED_NS`] is of the shortest measured execution time, does not.
    #[must_use]
    pub fn disturbed_itself(&self) -> bool {
        let harmless = DISTURBED_NS.max(self.response_ns / HARMLESS);
        self.own_stalled_ns().is_some_and(|stalled| stalled > harmless)
    }

    /// Whether the selection takes it.
    #[must_use]
    pub fn is_in(&self, selection: Selection) -> bool {
        selection.takes(self.disturbed())
    }

    fn bits(&self) -> u128 {
        u128::from(self.rest[1]) << 64 | u128::from(self.rest[0])
    }

    fn of(own: Self, bits: u128) -> Self {
        Self { rest: [bits as u64, (bits >> 64) as u64], ..own }
    }

    fn put(self, from: u32, known: u32, value: Option<u64>) -> Self {
        let cleared = self.bits() & !(u128::from(LARGEST) << from) & !(1 << known);
        let set = value.map_or(0, |ns| u128::from(ns.min(LARGEST)) << from | 1 << known);
        Self::of(self, cleared | set)
    }

    fn get(&self, from: u32, known: u32) -> Option<u64> {
        let bits = self.bits();
        (bits >> known & 1 == 1).then(|| (bits >> from) as u64 & LARGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_takes_32_bytes() {
        assert_eq!(size_of::<Sample>(), 32);
    }

    proptest! {
        #[test]
        fn what_was_put_in_comes_out(
            cpu in prop::option::of(0..=LARGEST),
            stalled in prop::option::of(0..=LARGEST),
            own in prop::option::of(0..=LARGEST),
            missed: bool,
        ) {
            let sample = Sample::new(1, 2).with(cpu, missed, stalled).with_own_stalled(own);
            prop_assert_eq!((sample.at_ns, sample.response_ns), (1, 2));
            prop_assert_eq!((sample.cpu_ns(), sample.missed()), (cpu, missed));
            prop_assert_eq!((sample.stalled_ns(), sample.own_stalled_ns()), (stalled, own));
        }
    }

    #[test]
    fn a_job_is_disturbed_by_what_is_no_small_part_of_its_response_time() {
        let of = |response_ms: u64, stalled_us: u64| {
            let own = Some(stalled_us * 1_000);
            Sample::new(0, response_ms * 1_000_000).with_own_stalled(own).disturbed_itself()
        };
        assert!(!of(30, 500) && of(30, 501), "at most 0.5 ms of a short one");
        assert!(!of(180, 3_000) && of(180, 3_001), "at most a sixtieth of a long one");
        assert!(of(180, 150_000), "one that stalls made long");
    }

    #[test]
    fn what_is_too_large_is_the_largest() {
        assert_eq!(Sample::new(0, 0).with(Some(u64::MAX), false, None).cpu_ns(), Some(LARGEST));
    }
}

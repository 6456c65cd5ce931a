//! The cycle of the probe: one thread cannot read in a tight loop and sleep for timers at once.
//!
//! Half of a cycle is reading. A quarter is timers on a CPU that has nothing else to do, a quarter is
//! timers while a thread of the lowest urgency keeps the CPU busy: a virtual CPU that sleeps keeps its
//! budget, and one that is busy uses it up. Cycles are about a second long, so that every part sees the
//! whole of the time, and a real-time thread that reads leaves the CPU half of each second (the kernel
//! stops one that does not).

use std::time::Duration;

use model::duration::as_ns;

/// About this long, in ns.
const CYCLE_NS: u64 = 1_000_000_000;

/// A part of a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Read, in a tight loop.
    Read,
    /// Wait for timers, the CPU being idle or busy in between.
    Timers {
        /// Whether another thread keeps the CPU busy.
        busy: bool,
    },
}

/// A part in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// What is done.
    pub part: Part,
    /// From the start of the probe, in ns.
    pub from_ns: u64,
    /// To here.
    pub to_ns: u64,
}

/// The slices of a probe of this length, one after the other.
pub fn slices(length: Duration) -> impl Iterator<Item = Slice> {
    let length_ns = as_ns(length);
    let cycles = (length_ns.saturating_add(CYCLE_NS / 2) / CYCLE_NS).max(1);
    // Whole cycles, whatever the length: in 128 bits, since the product may be large.
    let at = move |quarter: u64| {
        (u128::from(length_ns) * u128::from(quarter) / u128::from(4 * cycles)) as u64
    };
    (0..cycles).flat_map(move |cycle| {
        let slice = move |part, from, to| Slice {
            part,
            from_ns: at(4 * cycle + from),
            to_ns: at(4 * cycle + to),
        };
        [
            slice(Part::Read, 0, 2),
            slice(Part::Timers { busy: false }, 2, 3),
            slice(Part::Timers { busy: true }, 3, 4),
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_follow_each_other_and_half_of_the_time_is_reading() {
        for ms in [1, 400, 1_000, 1_499, 10_000, 10_700, 86_400_000] {
            let length = Duration::from_millis(ms);
            let all: Vec<Slice> = slices(length).collect();
            assert_eq!((all[0].from_ns, all[all.len() - 1].to_ns), (0, as_ns(length)));
            assert!(all.windows(2).all(|two| two[0].to_ns == two[1].from_ns));
            let of = |part| -> u64 {
                let mine = all.iter().filter(|own| own.part == part);
                mine.map(|own| own.to_ns - own.from_ns).sum()
            };
            let near = |ns: u64, share: u64| (ns * share).abs_diff(as_ns(length)) <= 100_000;
            assert!(near(of(Part::Read), 2), "{ms} ms");
            assert!(
                [true, false].iter().all(|&busy| near(of(Part::Timers { busy }), 4)),
                "{ms} ms"
            );
            // The kernel takes the CPU from a real-time thread that runs for 950 ms of a second.
            assert!(all.iter().all(|own| own.to_ns - own.from_ns <= 750_000_000), "{ms} ms");
        }
    }
}

//! How long the vCPU ran at a stretch while it was busy, and how long it waited.

use std::collections::BTreeMap;

use super::segment::Segment;

/// Runs closer than this belong to one burst: the sentinel and interrupts' threads come between.
pub const PAUSE_NS: u64 = 100_000;

/// Lengths in ns, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bursts {
    /// Of the bursts that the mechanism or another thread ended. The last one of a busy interval is
    /// ended by the guest itself, and is not among them.
    pub bursts_ns: Vec<u64>,
    /// Of the times in which it was runnable and did not run.
    pub gaps_ns: Vec<u64>,
}

impl Bursts {
    /// Of these busy intervals.
    #[must_use]
    pub fn of(busy: &[Segment]) -> Self {
        let mut all = Self::default();
        for segment in busy {
            let bursts = merged(&segment.runs);
            let ended = bursts.len().saturating_sub(1);
            all.bursts_ns.extend(bursts[..ended].iter().map(|(start, end)| end - start));
            let first = bursts.first().map(|burst| burst.0 - segment.from_ns);
            let between = bursts.windows(2).map(|pair| pair[1].0 - pair[0].1);
            all.gaps_ns.extend(first.into_iter().filter(|gap| *gap > PAUSE_NS).chain(between));
        }
        all.bursts_ns.sort_unstable();
        all.gaps_ns.sort_unstable();
        all
    }
}

fn merged(runs: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut bursts: Vec<(u64, u64)> = Vec::new();
    for &(start, end) in runs {
        match bursts.last_mut().filter(|last| start - last.1 <= PAUSE_NS) {
            Some(last) => last.1 = end,
            None => bursts.push((start, end)),
        }
    }
    bursts
}

/// How many lengths lie in each bin of `width_ns`, by the bin's lower end; empty bins are left out.
#[must_use]
pub fn histogram(lengths: &[u64], width_ns: u64) -> BTreeMap<u64, usize> {
    let mut bins = BTreeMap::new();
    for length in lengths {
        *bins.entry(length / width_ns * width_ns).or_default() += 1;
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn short_interruptions_part_no_burst() {
        let runs = vec![(2 * MS, 3 * MS), (3 * MS + 50_000, 5 * MS), (9 * MS, 12 * MS)];
        let busy = [Segment { from_ns: 0, to_ns: 12 * MS, runs }];
        let found = Bursts::of(&busy);
        assert_eq!(found.bursts_ns, [3 * MS], "the last one ends with the guest's sleep");
        assert_eq!(found.gaps_ns, [2 * MS, 4 * MS]);
    }

    #[test]
    fn bins_are_named_by_their_lower_end() {
        let bins = histogram(&[5, 9, 10, 31], 10);
        assert_eq!(bins, BTreeMap::from([(0, 2), (10, 1), (30, 1)]));
    }
}

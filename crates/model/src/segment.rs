//! The least and the greatest supply in any window of a length, exact.
//!
//! Let S(x) be the CPU time supplied until x: it grows at rate 1 while the thread runs and at rate 0
//! while it does not. The supply of a window of length L that opens at s, g(s) = S(s + L) − S(s), is
//! therefore piecewise linear in s with slopes −1, 0 and 1. A minimum of such a function lies at an
//! end of its domain, or where a slope of −1 ends: there either s leaves a run (the window opens as
//! a run ends) or s + L enters one (the window closes as a run begins). So these windows are the only
//! ones to look at: two for each run. Mirrored, a maximum has a window that opens as a run begins or
//! closes as a run ends. Both S(s) and S(s + L) are followed by cursors that only move forward, so a
//! length costs time proportional to the number of runs.

/// A stretch of time, and the runs of a thread in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins.
    pub from_ns: u64,
    /// Where it ends.
    pub to_ns: u64,
    /// Begin and end of each run; ascending, disjoint, inside.
    pub runs: Vec<(u64, u64)>,
}

/// A window and what was supplied in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// When it opens.
    pub start_ns: u64,
    /// How long it is.
    pub length_ns: u64,
    /// CPU time in it.
    pub supplied_ns: u64,
}

impl Segment {
    /// Its length.
    #[must_use]
    pub fn length_ns(&self) -> u64 {
        self.to_ns - self.from_ns
    }

    /// CPU time in all of it.
    #[must_use]
    pub fn supplied_ns(&self) -> u64 {
        self.runs.iter().map(|(start, end)| end - start).sum()
    }

    /// The window of this length with the least supply, the earliest of several; `None` where the
    /// segment is shorter.
    #[must_use]
    pub fn least(&self, length_ns: u64) -> Option<Window> {
        let opens = |&(_, end): &(u64, u64)| Some(end);
        let closes = |&(start, _): &(u64, u64)| start.checked_sub(length_ns);
        self.extreme(length_ns, &opens, &closes, |new, best| new < best)
    }

    /// The window of this length with the greatest supply, the earliest of several; `None` where the
    /// segment is shorter.
    #[must_use]
    pub fn greatest(&self, length_ns: u64) -> Option<Window> {
        let opens = |&(start, _): &(u64, u64)| Some(start);
        let closes = |&(_, end): &(u64, u64)| end.checked_sub(length_ns);
        self.extreme(length_ns, &opens, &closes, |new, best| new > best)
    }

    fn extreme(
        &self,
        length_ns: u64,
        opens: &dyn Fn(&(u64, u64)) -> Option<u64>,
        closes: &dyn Fn(&(u64, u64)) -> Option<u64>,
        better: fn(u64, u64) -> bool,
    ) -> Option<Window> {
        let last_ns = self.to_ns.checked_sub(length_ns).filter(|last| *last >= self.from_ns)?;
        let mut best: Option<Window> = None;
        let mut offer = |start_ns: u64, supplied_ns: u64| {
            let new = Window { start_ns, length_ns, supplied_ns };
            best = Some(best.map_or(new, |old| {
                let earlier = supplied_ns == old.supplied_ns && start_ns < old.start_ns;
                if better(supplied_ns, old.supplied_ns) || earlier { new } else { old }
            }));
        };
        for candidates in [opens, closes] {
            let (mut at_open, mut at_close) = (Cursor::of(&self.runs), Cursor::of(&self.runs));
            let inside = |s: &u64| (self.from_ns..=last_ns).contains(s);
            let of_runs = self.runs.iter().filter_map(candidates).filter(inside);
            for s in std::iter::once(self.from_ns).chain(of_runs).chain([last_ns]) {
                offer(s, at_close.until(s + length_ns) - at_open.until(s));
            }
        }
        best
    }

    /// The parts of it outside of `holes` (ascending; they may overlap).
    #[must_use]
    pub fn without(&self, holes: &[(u64, u64)]) -> Vec<Self> {
        let mut parts = Vec::new();
        let mut from_ns = self.from_ns;
        for &(start, end) in holes {
            if start >= self.to_ns {
                break;
            }
            parts.extend(self.part(from_ns, start));
            from_ns = from_ns.max(end);
        }
        parts.extend(self.part(from_ns, self.to_ns));
        parts
    }

    /// What lies in `from_ns..to_ns`; none where that is nothing.
    #[must_use]
    pub fn part(&self, from_ns: u64, to_ns: u64) -> Option<Self> {
        let (from_ns, to_ns) = (from_ns.max(self.from_ns), to_ns.min(self.to_ns));
        if from_ns >= to_ns {
            return None;
        }
        let first = self.runs.partition_point(|(_, end)| *end <= from_ns);
        let runs = self.runs[first..]
            .iter()
            .take_while(|(start, _)| *start < to_ns)
            .map(|&(start, end)| (start.max(from_ns), end.min(to_ns)))
            .collect();
        Some(Self { from_ns, to_ns, runs })
    }
}

/// S(x) for ascending x.
struct Cursor<'a> {
    runs: &'a [(u64, u64)],
    /// Length of the runs that are over.
    before_ns: u64,
}

impl<'a> Cursor<'a> {
    fn of(runs: &'a [(u64, u64)]) -> Self {
        Self { runs, before_ns: 0 }
    }

    fn until(&mut self, x: u64) -> u64 {
        while let [(start, end), rest @ ..] = self.runs
            && *end <= x
        {
            self.before_ns += end - start;
            self.runs = rest;
        }
        let begun = self.runs.first().map_or(0, |(start, _)| x.saturating_sub(*start));
        self.before_ns + begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment(to_ns: u64, runs: &[(u64, u64)]) -> Segment {
        Segment { from_ns: 0, to_ns, runs: runs.to_vec() }
    }

    #[test]
    fn the_worst_window_of_a_periodic_server_is_two_gaps_long() {
        // (3, 5): served early, then late, then early again.
        let served = segment(30, &[(0, 3), (7, 10), (12, 15), (15, 18), (20, 23), (25, 28)]);
        let least = |length| served.least(length).unwrap().supplied_ns;
        assert_eq!([1, 4, 5, 7, 8].map(least), [0, 0, 1, 3, 3]);
        assert_eq!(served.least(4).unwrap(), Window { start_ns: 3, length_ns: 4, supplied_ns: 0 });
        let greatest = served.greatest(5).unwrap();
        assert_eq!(greatest, Window { start_ns: 12, length_ns: 5, supplied_ns: 5 });
        assert_eq!(served.least(31), None);
    }

    #[test]
    fn holes_part_a_segment_and_its_runs() {
        let one = segment(100, &[(10, 30), (50, 90)]);
        let parts = one.without(&[(20, 25), (22, 60), (95, 200)]);
        assert_eq!(
            parts,
            [
                Segment { from_ns: 0, to_ns: 20, runs: vec![(10, 20)] },
                Segment { from_ns: 60, to_ns: 95, runs: vec![(60, 90)] },
            ]
        );
        assert_eq!(one.without(&[]), std::slice::from_ref(&one));
        assert!(one.without(&[(0, 100)]).is_empty());
    }

    prop_compose! {
        fn segments()(gaps in prop::collection::vec((0_u64..12, 1_u64..12), 0..12),
                      head in 0_u64..9, tail in 0_u64..9) -> Segment {
            let mut at = 50 + head;
            let mut runs = Vec::new();
            for (gap, run) in gaps {
                runs.push((at + gap, at + gap + run));
                at += gap + run;
            }
            Segment { from_ns: 50, to_ns: at + tail + 1, runs }
        }
    }

    /// Every window that opens at a whole nanosecond, nanosecond by nanosecond.
    fn brute(segment: &Segment, length: u64) -> Option<(u64, u64)> {
        let runs = |x: &u64| segment.runs.iter().any(|(start, end)| start <= x && x < end);
        let supply = |s: u64| (s..s + length).filter(runs).count() as u64;
        let last = segment.to_ns.checked_sub(length).filter(|last| *last >= segment.from_ns)?;
        let all: Vec<u64> = (segment.from_ns..=last).map(supply).collect();
        Some((*all.iter().min()?, *all.iter().max()?))
    }

    proptest! {
        #[test]
        fn least_and_greatest_are_those_of_all_windows(segment in segments(), length in 0_u64..80) {
            let found = segment.least(length).zip(segment.greatest(length));
            let found = found.map(|(least, most)| (least.supplied_ns, most.supplied_ns));
            prop_assert_eq!(found, brute(&segment, length));
        }

        #[test]
        fn no_earlier_window_has_as_little(segment in segments(), length in 1_u64..40) {
            let Some(least) = segment.least(length) else { return Ok(()) };
            let earlier = segment.part(segment.from_ns, least.start_ns + length - 1);
            let before = earlier.and_then(|part| brute(&part, length));
            prop_assert!(before.is_none_or(|(other, _)| other > least.supplied_ns));
        }

        #[test]
        fn parts_lose_nothing(segment in segments(), cut in 50_u64..200) {
            let parts = segment.without(&[(cut, cut)]);
            let sum: u64 = parts.iter().map(Segment::supplied_ns).sum();
            prop_assert_eq!(sum, segment.supplied_ns());
        }
    }
}

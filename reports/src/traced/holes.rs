//! Busy intervals without the times in which the machine was not itself.

use model::sample::Stall;

use model::segment::Segment;

/// The times in which the machine may have run nobody, and `after_ns` more: what a stall delays goes
/// on being late. The sentinel looks every `interval_ns`, so a stall may have begun that much before
/// it was seen.
#[must_use]
pub fn holes(stalls: &[Stall], interval_ns: u64, after_ns: u64) -> Vec<(u64, u64)> {
    stalls
        .iter()
        .map(|stall| {
            let end = stall.start_ns.saturating_add(stall.length_ns);
            (stall.start_ns.saturating_sub(interval_ns), end + after_ns)
        })
        .collect()
}

/// The parts of busy intervals without these holes.
#[must_use]
pub fn undisturbed(busy: &[Segment], holes: &[(u64, u64)]) -> Vec<Segment> {
    busy.iter()
        .flat_map(|one| {
            let first = holes.partition_point(|(_, end)| *end <= one.from_ns);
            one.without(&holes[first..])
        })
        .collect()
}

/// Busy intervals without their first `head_ns`.
#[must_use]
pub fn headless(busy: &[Segment], head_ns: u64) -> Vec<Segment> {
    busy.iter().filter_map(|one| one.part(one.from_ns.saturating_add(head_ns), one.to_ns)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalls_are_cut_out_with_what_nobody_saw_of_them() {
        let stalls = [Stall { start_ns: 5_000_000, length_ns: 2_000_000, cpu: None }];
        let holes = holes(&stalls, 1_000_000, 50);
        assert_eq!(holes, [(4_000_000, 7_000_050)]);
        let whole = Segment { from_ns: 0, to_ns: 9_000_000, runs: vec![(0, 9_000_000)] };
        let spans: Vec<_> = undisturbed(std::slice::from_ref(&whole), &holes)
            .iter()
            .map(|one| (one.from_ns, one.to_ns))
            .collect();
        assert_eq!(spans, [(0, 4_000_000), (7_000_050, 9_000_000)]);
        assert_eq!(headless(&[whole], 8_000_000)[0].length_ns(), 1_000_000);
    }
}

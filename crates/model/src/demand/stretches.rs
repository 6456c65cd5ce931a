//! The greatest work in any stretch, by the idle time in it.

use super::Corner;

/// What [`most_work`] finds.
pub(super) struct Stretches {
    /// Idle time and work ascend strictly.
    pub corners: Vec<Corner>,
    /// Where not all stretches could be looked at: windows up to this length are known.
    pub horizon_ns: Option<u64>,
}

/// Idle times below `2 << FINE_BITS` ns have a cell each, longer ones share cells that are a
/// `1 >> FINE_BITS` of them wide. A cell keeps its least idle time and its greatest work, so what it
/// tells is never below the truth.
const FINE_BITS: u32 = 10;
const CELLS: usize = ((64 - FINE_BITS + 1) as usize) << FINE_BITS;

/// Looks at all stretches of these intervals (ascending, apart), or, where those are more than
/// `most`, at the ones of fewer intervals.
pub(super) fn most_work(intervals: &[(u64, u64)], most: usize) -> Stretches {
    let count = intervals.len();
    let reach = (most / count.max(1)).clamp(1, count.max(1));
    let mut cells: Vec<Option<Corner>> = vec![None; CELLS];
    for (first, &(from_ns, _)) in intervals.iter().enumerate() {
        let mut work_ns = 0;
        for &(start, end) in &intervals[first..count.min(first + reach)] {
            let idle_ns = start - from_ns - work_ns;
            work_ns += end - start;
            let cell = cells[cell_of(idle_ns)].get_or_insert(Corner { idle_ns, work_ns });
            cell.idle_ns = cell.idle_ns.min(idle_ns);
            cell.work_ns = cell.work_ns.max(work_ns);
        }
    }
    let mut corners: Vec<Corner> = Vec::new();
    for corner in cells.into_iter().flatten() {
        if corners.last().is_none_or(|last| corner.work_ns > last.work_ns) {
            corners.push(corner);
        }
    }
    let beyond = intervals.iter().zip(&intervals[reach.min(count)..]);
    let horizon_ns = beyond.map(|(first, next)| next.0 - first.1).min();
    Stretches { corners, horizon_ns }
}

fn cell_of(idle_ns: u64) -> usize {
    let bits = 64 - idle_ns.leading_zeros();
    let shift = bits.saturating_sub(FINE_BITS + 1);
    ((shift as usize) << FINE_BITS) + (idle_ns >> shift) as usize
}

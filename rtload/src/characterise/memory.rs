//! Loads of which each waits for the one before: the latency of caches and memory.
//!
//! As lat_mem_rd of lmbench (McVoy and Staelin 1996), through lines in random order, which no
//! prefetcher follows; misses of the TLB are part of it, as they are of a program's loads.

use std::hint::black_box;

/// Loads in a unit.
pub const LOADS: u64 = 16;

/// The words of a line of 64 bytes.
const LINE: usize = 8;

/// A ring through all lines of a buffer, and where the walk is.
pub struct Ring {
    words: Vec<usize>,
    at: usize,
}

impl Ring {
    /// Through so many bytes; none where there is no such memory.
    pub fn new(bytes: u64) -> Option<Self> {
        let lines = bytes as usize / (LINE * size_of::<usize>());
        let mut words: Vec<usize> = Vec::new();
        words.try_reserve_exact(lines * LINE).ok()?;
        words.resize(lines * LINE, 0);
        (0..lines).for_each(|line| words[line * LINE] = line * LINE);
        // Sattolo (1986): a permutation of one cycle.
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        for line in (1..lines).rev() {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // The high bits times the range: no division, which emulators are slow at.
            let other = ((u128::from(random) * line as u128) >> 64) as usize;
            words.swap(line * LINE, other * LINE);
        }
        Some(Self { words, at: 0 })
    }

    /// Goes on for so many units.
    #[inline(never)]
    pub fn walk(&mut self, units: u64) {
        let mut at = self.at;
        for _ in 0..units {
            for _ in 0..LOADS {
                at = self.words[at];
            }
        }
        self.at = black_box(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_comes_by_every_line_before_it_is_where_it_began() {
        let mut ring = Ring::new(16 << 10).unwrap();
        let lines = (16 << 10) / 64;
        let mut at = 0;
        let mut seen = vec![false; lines];
        for _ in 0..lines {
            assert!(!seen[at / LINE]);
            seen[at / LINE] = true;
            at = ring.words[at];
        }
        assert_eq!(at, 0);
        ring.walk(lines as u64 / LOADS);
        assert_eq!(ring.at, 0);
        ring.walk(1);
        assert_ne!(ring.at, 0);
    }

    #[test]
    fn memory_that_is_not_there_is_no_abort() {
        assert!(Ring::new(1 << 50).is_none());
    }
}

//! What runs in registers: each function does so many units of work, and nothing that a compiler can
//! take out.

use std::{hint::black_box, sync::atomic::AtomicBool};

use kernel::clock::thread_cpu_ns;

use crate::work::burn;

/// Chains of [`throughput`].
pub const CHAINS: u64 = 4;

/// Branches in a unit of [`branches`]: the bits of a word.
pub const BITS: u64 = 64;

/// Words of [`bits`]: 131,072 branches before any pattern comes again, which no predictor keeps; they
/// fill half of the smallest first cache.
const WORDS: usize = 2048;

/// Iterations of rtload's own loop.
pub fn latency(iterations: u64) {
    burn(iterations, &AtomicBool::new(false));
}

/// The same steps in four chains. No two shift by the same amounts, so that vectors of two, as
/// compilers make them of equal shifts, gain nothing: what is measured is scalar arithmetic.
#[inline(never)]
pub fn throughput(units: u64) {
    let [mut a, mut b, mut c, mut d] = black_box([0x9E37_79B9_7F4A_7C15_u64, 2, 3, 4]);
    for _ in 0..units {
        a ^= a << 13;
        b ^= b << 7;
        c ^= c << 12;
        d ^= d << 21;
        a ^= a >> 7;
        b ^= b >> 9;
        c ^= c >> 25;
        d ^= d >> 35;
        a ^= a << 17;
        b ^= b << 8;
        c ^= c << 27;
        d ^= d << 4;
    }
    black_box([a, b, c, d]);
}

/// A chain of multiplications and additions that stays near 1.
#[inline(never)]
pub fn floating_point(units: u64) {
    let (factor, term) = black_box((0.999_999_9_f64, 1e-7_f64));
    let mut value = black_box(0.5_f64);
    for _ in 0..units {
        value = value * factor + term;
    }
    black_box(value);
}

/// Random bits for [`branches`], the same ones every time.
pub fn bits() -> Vec<u64> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..WORDS).map(|_| next()).collect()
}

/// A branch on each bit of so many words. What stands in the arms is opaque, so that no conditional
/// move replaces the branch.
#[inline(never)]
pub fn branches(units: u64, words: &[u64]) {
    let mut sums = black_box([0_u64; 2]);
    let mut left = units as usize;
    while left > 0 {
        let part = left.min(words.len());
        for &word in &words[..part] {
            for bit in 0..BITS {
                if (word >> bit) & 1 == 1 {
                    sums[0] = black_box(sums[0].wrapping_add(word));
                } else {
                    sums[1] = black_box(sums[1] ^ word);
                }
            }
        }
        left -= part;
    }
    black_box(sums);
}

/// Iterations of a loop without a body.
#[inline(never)]
pub fn empty(units: u64) {
    for unit in 0..units {
        black_box(unit);
    }
}

/// Readings of the clock by which batches are measured.
pub fn clock_reads(units: u64) {
    for _ in 0..units {
        black_box(thread_cpu_ns());
    }
}

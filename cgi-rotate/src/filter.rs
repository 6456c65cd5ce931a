//! Interpolation filters: a pixel's value at a position between pixels, in integers.

use crate::geometry::ONE;
use crate::picture::PADDING;

/// An interpolation filter over a square of `HIGH - LOW + 1` pixels a side.
pub trait Kernel {
    /// First tap, relative to the whole part of the position.
    const LOW: i64;
    /// Last tap, relative to the whole part of the position.
    const HIGH: i64;
    /// Added to positions (u, v) so that cutting fraction bits off rounds to the nearest weight.
    const BIAS: (i64, i64);

    /// The colour at (`u`, `v`), of which only the fractions count; `at` is the byte of the first
    /// tap of the first row. At most [`PADDING`] bytes past the last tap are read.
    fn sample(bytes: &[u8], stride: usize, at: usize, u: i64, v: i64) -> [u8; 3];

    /// The same of four pixels at once.
    #[inline(always)]
    fn four(bytes: &[u8], stride: usize, places: &[Place; 4]) -> [u8; 12] {
        let mut colours = [0; 12];
        for (colour, place) in colours.as_chunks_mut().0.iter_mut().zip(places) {
            *colour = Self::sample(bytes, stride, place.at, place.u, place.v);
        }
        colours
    }
}

/// Where a pixel's taps are: what [`Kernel::sample`] is given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place {
    /// The byte of the first tap of the first row.
    pub at: usize,
    /// Position across.
    pub u: i64,
    /// Position down.
    pub v: i64,
}

/// The nearest pixel.
pub struct Nearest;

impl Kernel for Nearest {
    const LOW: i64 = 0;
    const HIGH: i64 = 0;
    const BIAS: (i64, i64) = (ONE / 2, ONE / 2);

    #[inline(always)]
    fn sample(bytes: &[u8], _: usize, at: usize, _: i64, _: i64) -> [u8; 3] {
        let [r, g, b, ..] = word(bytes, at).to_le_bytes();
        [r, g, b]
    }
}

/// Weighted mean of 2x2 pixels.
///
/// The three colours lie in one word, 21 bits apart: 8 bits of colour, 6 of horizontal and 7 of
/// vertical weight. A difference of two such words borrows between the lanes, but the weighted sum
/// has no negative lane, so the borrows cancel: three multiplications do a whole pixel.
pub struct Bilinear;

/// Bits of the horizontal weight.
pub const WEIGHT_U: u32 = 6;
/// Bits of the vertical weight.
pub const WEIGHT_V: u32 = 7;
const LANES: u64 = 1 | 1 << 21 | 1 << 42;

impl Kernel for Bilinear {
    const LOW: i64 = 0;
    const HIGH: i64 = 1;
    const BIAS: (i64, i64) = (ONE >> (WEIGHT_U + 1), ONE >> (WEIGHT_V + 1));

    #[inline(always)]
    fn sample(bytes: &[u8], stride: usize, at: usize, u: i64, v: i64) -> [u8; 3] {
        let weight_u = u as u32 >> (32 - WEIGHT_U);
        let weight_v = v as u32 >> (32 - WEIGHT_V);
        let above = blend(word(bytes, at), weight_u);
        let below = blend(word(bytes, at + stride), weight_u);
        let mixed = (above << WEIGHT_V)
            .wrapping_add(below.wrapping_sub(above).wrapping_mul(u64::from(weight_v)))
            .wrapping_add(LANES << (WEIGHT_U + WEIGHT_V - 1));
        [13, 34, 55].map(|lane| (mixed >> lane) as u8)
    }
}

/// Two neighbours of a row, mixed by `weight` of 64; lanes of 14 bits.
#[inline(always)]
fn blend(pair: u64, weight: u32) -> u64 {
    let (left, right) = (spread(pair), spread(pair >> 24));
    (left << WEIGHT_U).wrapping_add(right.wrapping_sub(left).wrapping_mul(u64::from(weight)))
}

/// The low three bytes, 21 bits apart.
#[inline(always)]
fn spread(pixel: u64) -> u64 {
    (pixel & 0xff) | ((pixel & 0xff00) << 13) | ((pixel & 0x00ff_0000) << 26)
}

/// Eight bytes from `at`, the first one lowest.
#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u64 {
    let bytes: [u8; PADDING] = *bytes[at..].first_chunk().expect("pictures are padded");
    u64::from_le_bytes(bytes)
}

/// Catmull-Rom spline over 4x4 pixels (Keys 1981, a = -1/2).
pub struct Bicubic;

const PHASE_BITS: u32 = 8;
const WEIGHT_BITS: u32 = 11;
static CUBIC: [[i32; 4]; 1 << PHASE_BITS] = cubic_weights();

impl Kernel for Bicubic {
    const LOW: i64 = -1;
    const HIGH: i64 = 2;
    const BIAS: (i64, i64) = (ONE >> (PHASE_BITS + 1), ONE >> (PHASE_BITS + 1));

    #[inline(always)]
    fn sample(bytes: &[u8], stride: usize, at: usize, u: i64, v: i64) -> [u8; 3] {
        let across = &CUBIC[(u as u32 >> (32 - PHASE_BITS)) as usize];
        let down = &CUBIC[(v as u32 >> (32 - PHASE_BITS)) as usize];
        let mut sum = [1i32 << (2 * WEIGHT_BITS - 1); 3];
        for (row, weight) in down.iter().enumerate() {
            let taps: &[u8; 12] =
                bytes[at + row * stride..].first_chunk().expect("the taps lie in the picture");
            for (colour, sum) in sum.iter_mut().enumerate() {
                let line: i32 = (0..4).map(|i| across[i] * i32::from(taps[i * 3 + colour])).sum();
                *sum += line * weight;
            }
        }
        sum.map(|sum| (sum >> (2 * WEIGHT_BITS)).clamp(0, 255) as u8)
    }
}

/// The four weights at each of the phases i/256, in 1/2048; they add up to exactly 1.
const fn cubic_weights() -> [[i32; 4]; 1 << PHASE_BITS] {
    let mut table = [[0; 4]; 1 << PHASE_BITS];
    let mut phase = 0;
    while phase < table.len() {
        let one = 1i64 << PHASE_BITS;
        let t = phase as i64;
        let (linear, square, cube) = (t * one * one, t * t * one, t * t * t);
        let unit = one * one * one;
        let first = weight(2 * square - cube - linear);
        let second = weight(3 * cube - 5 * square + 2 * unit);
        let last = weight(cube - square);
        table[phase] = [first, second, (1 << WEIGHT_BITS) - first - second - last, last];
        phase += 1;
    }
    table
}

/// `halves` is twice the weight, with 3·[`PHASE_BITS`] fraction bits; rounded to [`WEIGHT_BITS`].
const fn weight(halves: i64) -> i32 {
    let shift = 3 * PHASE_BITS + 1 - WEIGHT_BITS;
    ((halves + (1 << (shift - 1))) >> shift) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exact_bilinear(p: &[u8], c: usize, fu: f64, fv: f64) -> f64 {
        let at = |x: usize, y: usize| f64::from(p[y * 6 + x * 3 + c]);
        let above = at(0, 0) * (1.0 - fu) + at(1, 0) * fu;
        let below = at(0, 1) * (1.0 - fu) + at(1, 1) * fu;
        above * (1.0 - fv) + below * fv
    }

    #[test]
    fn cubic_weights_at_known_phases() {
        assert_eq!(CUBIC[0], [0, 2048, 0, 0]);
        assert_eq!(CUBIC[128], [-128, 1152, 1152, -128]);
        assert!(CUBIC.iter().all(|w| w.iter().sum::<i32>() == 2048));
    }

    proptest! {
        #[test]
        fn bilinear_is_the_weighted_mean(
            mut pixels in prop::collection::vec(any::<u8>(), 12), u in 0..ONE, v in 0..ONE,
        ) {
            pixels.resize(12 + PADDING, 0);
            let (ub, vb) = (u & !0x03ff_ffff, v & !0x01ff_ffff);
            let got = Bilinear::sample(&pixels, 6, 0, ub, vb);
            let of_one = |x: i64| x as f64 / ONE as f64;
            for (c, got) in got.into_iter().enumerate() {
                let exact = exact_bilinear(&pixels, c, of_one(ub), of_one(vb));
                prop_assert!((f64::from(got) - exact).abs() <= 0.5, "{} {}", got, exact);
            }
        }

        #[test]
        fn a_flat_patch_keeps_its_colour(colour: [u8; 3], u in 0..ONE, v in 0..ONE) {
            let mut pixels = colour.repeat(16);
            pixels.resize(48 + PADDING, 0);
            prop_assert_eq!(Nearest::sample(&pixels, 12, 0, u, v), colour);
            prop_assert_eq!(Bilinear::sample(&pixels, 12, 0, u, v), colour);
            prop_assert_eq!(Bicubic::sample(&pixels, 12, 0, u, v), colour);
        }
    }
}

//! Bilinear interpolation with the processor's vectors: what [`Bilinear`] computes, four pixels at a
//! time.
//!
//! Each pixel's taps lie in one vector of eight 16-bit lanes, left and right neighbour by turns: red,
//! red, green, green, blue, blue. The rows are mixed first (8 bits of colour and 7 of weight fit a
//! lane), then the neighbours by one multiply-and-add of pairs into 32-bit lanes. All of it is exact,
//! so the order does not matter to the result.

use wide::{i16x8, i32x4, i32x8, u8x16};

use crate::filter::{Bilinear, Kernel, Place, WEIGHT_U, WEIGHT_V};

/// How QEMU's emulator signs as a hypervisor.
const EMULATOR: &str = "TCGTCGTCGTCG";

/// Whether vectors are faster than words: QEMU emulates most of their instructions by a call each,
/// which takes twice as long as all of [`Bilinear`].
pub fn pays() -> bool {
    kernel::cpuid::hypervisor().as_deref() != Some(EMULATOR)
}

/// [`Bilinear`] by vectors.
pub struct BilinearVector;

/// By weight of the right neighbour: the weights of left and right by turns.
static ACROSS: [[i16; 8]; 1 << WEIGHT_U] = across();

/// By weight of the row below: that weight in each lane.
static DOWN: [[i16; 8]; 1 << WEIGHT_V] = down();

/// Bytes of a row that two neighbours' vector is made of: two words, three bytes apart.
const TAPS: usize = 11;

impl Kernel for BilinearVector {
    const LOW: i64 = Bilinear::LOW;
    const HIGH: i64 = Bilinear::HIGH;
    const BIAS: (i64, i64) = Bilinear::BIAS;

    #[inline(always)]
    fn sample(bytes: &[u8], stride: usize, at: usize, u: i64, v: i64) -> [u8; 3] {
        Bilinear::sample(bytes, stride, at, u, v)
    }

    #[inline(always)]
    fn four(bytes: &[u8], stride: usize, places: &[Place; 4]) -> [u8; 12] {
        // Written out, for what is in a loop goes through memory.
        let [a, b, c, d] = *places;
        let first = narrow(mixed(bytes, stride, a), mixed(bytes, stride, b));
        let second = narrow(mixed(bytes, stride, c), mixed(bytes, stride, d));
        let lanes = u8x16::narrow_i16x8(first, second);
        // Four bytes a pixel, the last one nobody's.
        let whole = u128::from_le_bytes(lanes.to_array());
        let (low, high) = (closed(whole as u64), closed((whole >> 64) as u64));
        let mut colours = [0; 12];
        colours[..8].copy_from_slice(&(low | high << 48).to_le_bytes());
        colours[8..].copy_from_slice(&((high >> 16) as u32).to_le_bytes());
        colours
    }
}

/// Red, green and blue of a pixel, with as many bits of fraction as both weights have, and a lane
/// that is nobody's.
#[inline(always)]
fn mixed(bytes: &[u8], stride: usize, place: Place) -> i32x4 {
    let weight_u = place.u as u32 >> (32 - WEIGHT_U);
    let weight_v = place.v as u32 >> (32 - WEIGHT_V);
    let above = neighbours(bytes, place.at);
    let below = neighbours(bytes, place.at + stride);
    let down = i16x8::from(DOWN[weight_v as usize]);
    let rows: i16x8 = (above << WEIGHT_V as i32) + (below - above) * down;
    rows.dot(i16x8::from(ACROSS[weight_u as usize]))
}

/// The pixel at byte `at` and its right neighbour, colour by colour.
#[inline(always)]
fn neighbours(bytes: &[u8], at: usize) -> i16x8 {
    let taps: &[u8; TAPS] = bytes[at..].first_chunk().expect("pictures are padded");
    let word = |from: usize| {
        let word: [u8; 8] = *taps[from..].first_chunk().expect("two words, three bytes apart");
        u8x16::from(u128::from(u64::from_le_bytes(word)).to_le_bytes())
    };
    i16x8::from_u8x16_low(u8x16::unpack_low(word(0), word(3)))
}

/// Two pixels, rounded to whole colours.
#[inline(always)]
fn narrow(a: i32x4, b: i32x4) -> i16x8 {
    let half = i32x4::splat(1 << (WEIGHT_U + WEIGHT_V - 1));
    let a = ((a + half) >> (WEIGHT_U + WEIGHT_V) as i32).to_array();
    let b = ((b + half) >> (WEIGHT_U + WEIGHT_V) as i32).to_array();
    i16x8::from_i32x8_saturate(i32x8::from([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]))
}

/// Two pixels of four bytes as two of three.
#[inline(always)]
fn closed(pair: u64) -> u64 {
    (pair & 0xff_ffff) | (pair >> 8 & 0xffff_ff00_0000)
}

const fn across() -> [[i16; 8]; 1 << WEIGHT_U] {
    let mut table = [[0; 8]; 1 << WEIGHT_U];
    let mut right = 0;
    while right < table.len() {
        let (l, r) = ((table.len() - right) as i16, right as i16);
        table[right] = [l, r, l, r, l, r, l, r];
        right += 1;
    }
    table
}

const fn down() -> [[i16; 8]; 1 << WEIGHT_V] {
    let mut table = [[0; 8]; 1 << WEIGHT_V];
    let mut below = 0;
    while below < table.len() {
        table[below] = [below as i16; 8];
        below += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geometry::ONE;
    use crate::picture::PADDING;

    proptest! {
        /// Any bytes at any position, alone and four at once.
        #[test]
        fn the_same_as_by_words(
            mut bytes in prop::collection::vec(any::<u8>(), 60),
            places in prop::array::uniform4((0_usize..24, 0..ONE, 0..ONE)),
        ) {
            const STRIDE: usize = 30;
            bytes.resize(bytes.len() + PADDING, 0);
            let places = places.map(|(at, u, v)| Place { at, u, v });
            let one = |place: Place| Bilinear::sample(&bytes, STRIDE, place.at, place.u, place.v);
            let expected: Vec<u8> = places.into_iter().flat_map(one).collect();
            prop_assert_eq!(&BilinearVector::four(&bytes, STRIDE, &places)[..], &expected[..]);
            prop_assert_eq!(&Bilinear::four(&bytes, STRIDE, &places)[..], &expected[..]);
        }
    }

    #[test]
    fn the_extremes_are_exact() {
        for taps in 0..16_u32 {
            let colour = |tap: u32| if taps >> tap & 1 == 1 { [255; 3] } else { [0; 3] };
            let mut bytes = [colour(0), colour(1), colour(2), colour(3)].concat();
            bytes.resize(12 + PADDING, 0);
            for (u, v) in (0..64).flat_map(|u| (0..128).map(move |v| (u << 26, v << 25))) {
                let place = Place { at: 0, u, v };
                let one = Bilinear::sample(&bytes, 6, 0, u, v);
                assert_eq!(
                    BilinearVector::four(&bytes, 6, &[place; 4])[3..6],
                    one,
                    "{taps} {u} {v}"
                );
            }
        }
    }
}

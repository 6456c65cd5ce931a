//! Scaling down, with a low-pass: each pixel of the result is a weighted mean of all source pixels that
//! it covers, so that patterns finer than the result do not come out as others (aliasing).
//!
//! The filter is the one of the interpolation (a triangle, or the Catmull-Rom spline), stretched by
//! the ratio of the sides, as in the `resize` of Pillow. Integers only, as in the turn itself.

use crate::params::Filter;
use crate::picture::{PADDING, Picture, reserve};
use crate::refusal::Refusal;

/// Fraction bits of a weight.
const WEIGHT_BITS: u32 = 20;
/// Fraction bits that are kept of the sums of columns.
const KEPT_BITS: u32 = 8;

/// The source pixels of one pixel along one axis: the first, and the weight of each.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// Scales `picture` down to `size`, of which neither side may be greater than the picture's.
///
/// # Errors
/// 413 where there is no memory for it.
pub fn shrink(picture: &Picture, size: (usize, usize), filter: Filter) -> Result<Picture, Refusal> {
    let across = taps(picture.width(), size.0, filter);
    let mut bytes = reserve(size.0 * size.1 * 3 + PADDING)?;
    let mut sums = vec![0; picture.stride()];
    for row in taps(picture.height(), size.1, filter) {
        columns(picture, &row, &mut sums);
        let (sums, _) = sums.as_chunks::<3>();
        bytes.extend(across.iter().flat_map(|taps| mean(&sums[taps.first..], &taps.weights)));
    }
    Picture::new(size.0, size.1, 0, bytes)
}

/// The weighted means of the columns, with [`KEPT_BITS`].
fn columns(picture: &Picture, taps: &Taps, sums: &mut [i32]) {
    sums.fill(1 << (WEIGHT_BITS - KEPT_BITS - 1));
    let rows = picture.pixels().chunks_exact(picture.stride()).skip(taps.first);
    for (row, &weight) in rows.zip(&taps.weights) {
        for (sum, &colour) in sums.iter_mut().zip(row) {
            *sum += weight * i32::from(colour);
        }
    }
    sums.iter_mut().for_each(|sum| *sum >>= WEIGHT_BITS - KEPT_BITS);
}

/// The weighted mean of neighbours in a row.
fn mean(sums: &[[i32; 3]], weights: &[i32]) -> [u8; 3] {
    let mut mean = [1_i64 << (WEIGHT_BITS + KEPT_BITS - 1); 3];
    for (pixel, &weight) in sums.iter().zip(weights) {
        for (mean, &sum) in mean.iter_mut().zip(pixel) {
            *mean += i64::from(sum) * i64::from(weight);
        }
    }
    mean.map(|mean| (mean >> (WEIGHT_BITS + KEPT_BITS)).clamp(0, 255) as u8)
}

/// For each of `to` pixels along an axis which of the `from` pixels it is made of.
fn taps(from: usize, to: usize, filter: Filter) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let (kernel, radius): (fn(f64) -> f64, f64) = match filter {
        Filter::Bicubic => (catmull_rom, 2.0),
        Filter::Nearest | Filter::Bilinear => (triangle, 1.0),
    };
    let of_pixel = |index: usize| {
        let centre = (index as f64 + 0.5) * scale;
        let first = (centre - radius * scale + 0.5).max(0.0) as usize;
        let end = ((centre + radius * scale + 0.5) as usize).min(from);
        let at = |source: usize| kernel((source as f64 + 0.5 - centre) / scale);
        let sum: f64 = (first..end).map(at).sum();
        let one = f64::from(1 << WEIGHT_BITS);
        let mut weights: Vec<i32> =
            (first..end).map(|source| (at(source) / sum * one).round() as i32).collect();
        // A flat picture stays flat: what rounding left over goes to the middle.
        let over: i32 = weights.iter().sum::<i32>() - (1 << WEIGHT_BITS);
        let middle = weights.len() / 2;
        weights[middle] -= over;
        Taps { first, weights }
    };
    (0..to).map(of_pixel).collect()
}

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// Keys 1981 with a = -1/2.
fn catmull_rom(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern;
    use proptest::prelude::*;

    /// Pillow 13.0.0: `Image.fromarray(pattern).resize((8, 8), …)` of the pattern below.
    const PILLOW: [(Filter, [[u8; 8]; 8]); 2] = [
        (
            Filter::Bilinear,
            [
                [30, 117, 149, 117, 141, 135, 151, 204],
                [84, 128, 118, 115, 133, 143, 139, 188],
                [138, 119, 127, 134, 115, 80, 90, 152],
                [151, 141, 127, 148, 131, 160, 137, 128],
                [109, 129, 133, 149, 138, 126, 159, 131],
                [124, 110, 147, 119, 136, 115, 121, 142],
                [115, 118, 118, 122, 137, 118, 117, 143],
                [123, 134, 103, 122, 111, 133, 138, 102],
            ],
        ),
        (
            Filter::Bicubic,
            [
                [17, 120, 156, 111, 144, 134, 150, 211],
                [80, 132, 117, 112, 135, 146, 140, 194],
                [143, 116, 127, 138, 117, 67, 80, 158],
                [158, 143, 125, 151, 127, 172, 140, 121],
                [105, 130, 131, 152, 137, 120, 172, 127],
                [126, 104, 155, 114, 138, 117, 115, 144],
                [114, 117, 114, 122, 143, 117, 111, 149],
                [120, 137, 102, 119, 109, 137, 142, 97],
            ],
        ),
    ];

    fn grey(width: usize, height: usize, at: impl Fn(usize, usize) -> u8) -> Picture {
        let pixels = (0..width * height).flat_map(|i| [at(i % width, i / width); 3]).collect();
        Picture::new(width, height, 0, pixels).unwrap()
    }

    fn row(picture: &Picture, y: usize) -> Vec<u8> {
        picture.pixels()[y * picture.stride()..][..picture.stride()]
            .iter()
            .step_by(3)
            .copied()
            .collect()
    }

    #[test]
    fn a_rough_pattern_comes_out_as_pillow_has_it() {
        let pattern = grey(20, 20, |x, y| ((x * x * 7 + y * 13 * x + y * y * 3) % 256) as u8);
        for (filter, rows) in PILLOW {
            let small = shrink(&pattern, (8, 8), filter).unwrap();
            for (y, expected) in rows.iter().enumerate() {
                for (got, &expected) in row(&small, y).into_iter().zip(expected) {
                    assert!(got.abs_diff(expected) <= 1, "{filter:?} row {y}: {got} {expected}");
                }
            }
        }
    }

    #[test]
    fn fine_patterns_become_grey() {
        let board = grey(400, 400, |x, y| if (x + y) % 2 == 0 { 255 } else { 0 });
        let small = shrink(&board, (160, 160), Filter::Bilinear).unwrap();
        assert!(small.pixels().iter().all(|&colour| colour.abs_diff(128) < 24));
    }

    #[test]
    fn a_side_that_stays_is_copied() {
        let picture = pattern::picture(31, 17).unwrap();
        for filter in [Filter::Bilinear, Filter::Bicubic] {
            assert_eq!(shrink(&picture, (31, 17), filter).unwrap().pixels(), picture.pixels());
        }
    }

    proptest! {
        #[test]
        fn a_flat_picture_stays_flat(
            width in 1usize..90, height in 1usize..90, colour: u8,
            part in (1usize..90, 1usize..90), cubic: bool,
        ) {
            let filter = if cubic { Filter::Bicubic } else { Filter::Bilinear };
            let size = (part.0.min(width), part.1.min(height));
            let small = shrink(&grey(width, height, |_, _| colour), size, filter).unwrap();
            prop_assert!(small.pixels().iter().all(|&got| got == colour));
        }
    }
}

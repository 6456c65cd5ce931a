//! The turn itself: each row of the canvas is background, an edge, the interior, an edge, and
//! background again.
//!
//! Where these begin and end is computed up front, so that the interior's loop asks no questions.
//! The interior is walked in blocks, because a slanted row touches a new source row every few
//! pixels: a block's source pixels stay in the first-level cache and its pages in the TLB. (Of the
//! sides from 16 to 256 none was faster.)

use crate::filter::{Bicubic, Bilinear, Kernel, Nearest, Place};
use crate::geometry::{FRACTION, Geometry, shared};
use crate::outline::{self, Row};
use crate::params::Filter;
use crate::picture::Picture;
use crate::quarter;
use crate::vector::{self, BilinearVector};

/// Rows and columns of a block.
const BLOCK_ROWS: usize = 32;
const BLOCK_COLUMNS: usize = 32;

/// Fills `canvas` (three bytes a pixel, all of `turn.canvas`) with the turned `picture`.
///
/// Taps outside of the picture have the background's colour, or where the picture fills the canvas
/// that of its border. The cost depends on the sizes, the angle and the filter, never on the picture's
/// content.
///
/// # Panics
/// Where `picture` or `canvas` has not the size that `turn` says.
pub fn rotate(
    picture: &Picture,
    turn: &Geometry,
    filter: Filter,
    background: [u8; 3],
    canvas: &mut [u8],
) {
    assert_eq!((picture.width(), picture.height()), turn.source, "size of the picture");
    assert_eq!(canvas.len(), turn.canvas.0 * turn.canvas.1 * 3, "size of the canvas");
    if let Some(quarters) = turn.quarters {
        return quarter::turn(picture, quarters, canvas);
    }
    let draw = band(filter);
    for (number, lines) in canvas.chunks_mut(turn.canvas.0 * 3 * BLOCK_ROWS).enumerate() {
        draw(picture, turn, background, number * BLOCK_ROWS, lines);
    }
}

/// The same from the top, some rows at a time, which `take` gets: the canvas is never held as a whole.
/// (Where the turn is by right angles and nothing is scaled, [`rotate`] is faster.)
///
/// # Errors
/// The first of `take`.
///
/// # Panics
/// Where `picture` has not the size that `turn` says.
pub fn in_bands<E>(
    picture: &Picture,
    turn: &Geometry,
    filter: Filter,
    background: [u8; 3],
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    assert_eq!((picture.width(), picture.height()), turn.source, "size of the picture");
    let (width, height) = turn.canvas;
    let draw = band(filter);
    let mut band = vec![0; width * 3 * BLOCK_ROWS];
    for first in (0..height).step_by(BLOCK_ROWS) {
        let lines = &mut band[..width * 3 * BLOCK_ROWS.min(height - first)];
        draw(picture, turn, background, first, lines);
        take(lines)?;
    }
    Ok(())
}

/// Draws the rows from the one given on.
type Band = fn(&Picture, &Geometry, [u8; 3], usize, &mut [u8]);

fn band(filter: Filter) -> Band {
    match filter {
        Filter::Nearest => walk::<Nearest>,
        Filter::Bilinear if vector::pays() => walk::<BilinearVector>,
        Filter::Bilinear => walk::<Bilinear>,
        Filter::Bicubic => walk::<Bicubic>,
    }
}

fn walk<K: Kernel>(
    picture: &Picture,
    turn: &Geometry,
    background: [u8; 3],
    first: usize,
    lines: &mut [u8],
) {
    let width = turn.canvas.0;
    let mut rows = Vec::with_capacity(BLOCK_ROWS);
    for (y, line) in lines.chunks_exact_mut(width * 3).enumerate() {
        let row = Row::new::<K>(turn, first + y);
        outline::draw::<K>(picture, &row, turn, background, line);
        rows.push(row);
    }
    interior::<K>(picture, &rows, turn.walk.column, lines, width);
}

/// The interiors of a band of rows, block by block.
fn interior<K: Kernel>(
    picture: &Picture,
    rows: &[Row],
    step: (i64, i64),
    lines: &mut [u8],
    width: usize,
) {
    let first = rows.iter().map(|row| row.inner.start).min().unwrap_or(0);
    let end = rows.iter().map(|row| row.inner.end).max().unwrap_or(0);
    for left in (first..end).step_by(BLOCK_COLUMNS) {
        let block = left..left + BLOCK_COLUMNS;
        for (row, line) in rows.iter().zip(lines.chunks_exact_mut(width * 3)) {
            let columns = shared(&row.inner, &block);
            let from = row.at(columns.start, step);
            let pixels = &mut line[columns.start * 3..columns.end * 3];
            run::<K>(picture, from, step, pixels.as_chunks_mut().0);
        }
    }
}

/// Neighbouring pixels of the interior.
#[inline(always)]
fn run<K: Kernel>(picture: &Picture, from: (i64, i64), step: (i64, i64), out: &mut [[u8; 3]]) {
    let (bytes, stride) = (picture.padded(), picture.stride());
    let (mut u, mut v) = from;
    let mut next = || {
        let column = (u >> FRACTION) + K::LOW;
        let row = (v >> FRACTION) + K::LOW;
        let at = row as usize * stride + column as usize * 3;
        let place = Place { at, u, v };
        u += step.0;
        v += step.1;
        place
    };
    let (fours, rest) = out.as_chunks_mut::<4>();
    for pixels in fours {
        let places = [next(), next(), next(), next()];
        pixels.as_flattened_mut().copy_from_slice(&K::four(bytes, stride, &places));
    }
    for pixel in rest {
        let Place { at, u, v } = next();
        *pixel = K::sample(bytes, stride, at, u, v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern;
    use proptest::prelude::*;

    fn turned(picture: &Picture, turn: &Geometry, filter: Filter) -> Vec<u8> {
        let mut canvas = vec![77; turn.canvas.0 * turn.canvas.1 * 3];
        rotate(picture, turn, filter, [9, 8, 7], &mut canvas);
        canvas
    }

    /// Bilinear interpolation in floating point, straight from the definition.
    fn reference(picture: &Picture, degrees: f64, turn: &Geometry) -> Vec<u8> {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (cw, ch) = turn.canvas;
        let (w, h) = (picture.width() as f64, picture.height() as f64);
        let mut out = Vec::new();
        for (y, x) in (0..ch).flat_map(|y| (0..cw).map(move |x| (y, x))) {
            let dx = x as f64 + 0.5 - cw as f64 / 2.0;
            let dy = y as f64 + 0.5 - ch as f64 / 2.0;
            let u = cos * dx + sin * dy + w / 2.0 - 0.5;
            let v = -sin * dx + cos * dy + h / 2.0 - 0.5;
            out.extend((0..3).map(|c| mean(picture, u, v, c).round() as u8));
        }
        out
    }

    fn mean(picture: &Picture, u: f64, v: f64, c: usize) -> f64 {
        let mut sum = 0.0;
        for (i, j) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)] {
            let (x, y) = (u.floor() + i, v.floor() + j);
            let weight = (1.0 - (u - x).abs()) * (1.0 - (v - y).abs());
            let inside =
                x >= 0.0 && y >= 0.0 && x < picture.width() as f64 && y < picture.height() as f64;
            let colour = if inside {
                picture.pixels()[(y as usize * picture.width() + x as usize) * 3 + c]
            } else {
                [9, 8, 7][c]
            };
            sum += weight * f64::from(colour);
        }
        sum
    }

    #[test]
    fn an_unscaled_walk_by_no_angle_copies() {
        let picture = pattern::picture(37, 23).unwrap();
        let mut turn = Geometry::new(0.0, (37, 23), (37, 23));
        turn.quarters = None;
        for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic] {
            assert_eq!(turned(&picture, &turn, filter), picture.pixels(), "{filter:?}");
        }
    }

    #[test]
    fn what_is_enlarged_at_right_angles_has_no_frame() {
        let white = Picture::new(10, 10, 0, vec![255; 300]).unwrap();
        for (degrees, size) in
            [(0.0, (100, 100)), (90.0, (35, 77)), (180.0, (10, 11)), (270.0, (99, 10))]
        {
            let turn = Geometry::new(degrees, (10, 10), size);
            for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic] {
                let all = turned(&white, &turn, filter);
                assert!(all.iter().all(|&colour| colour == 255), "{degrees} {size:?} {filter:?}");
            }
        }
    }

    #[test]
    fn scaling_doubles_the_nearest_pixels() {
        let picture = Picture::new(2, 1, 0, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let turn = Geometry::new(90.0, (2, 1), (4, 2));
        assert_eq!(turn.canvas, (2, 4));
        let expected = [
            [1, 2, 3],
            [1, 2, 3],
            [1, 2, 3],
            [1, 2, 3],
            [4, 5, 6],
            [4, 5, 6],
            [4, 5, 6],
            [4, 5, 6],
        ];
        assert_eq!(turned(&picture, &turn, Filter::Nearest), expected.concat());
    }

    proptest! {
        #[test]
        fn bilinear_agrees_with_the_definition(
            degrees in -400.0f64..400.0, width in 1usize..90, height in 1usize..90,
        ) {
            let picture = pattern::picture(width, height).unwrap();
            let turn = Geometry::new(degrees, (width, height), (width, height));
            let got = turned(&picture, &turn, Filter::Bilinear);
            // Weights have 6 and 7 bits: half a step of each, times the largest contrast, plus rounding.
            let most = 255.0 / 128.0 + 255.0 / 256.0 + 1.0;
            for (a, b) in got.iter().zip(reference(&picture, degrees, &turn)) {
                prop_assert!((f64::from(*a) - f64::from(b)).abs() <= most, "{} {}", a, b);
            }
        }

        #[test]
        fn bands_are_the_whole(
            degrees in prop_oneof![-400.0f64..400.0, Just(90.0)],
            width in 1usize..70, height in 1usize..70,
            filter in prop::sample::select(vec![Filter::Nearest, Filter::Bilinear, Filter::Bicubic]),
        ) {
            let picture = pattern::picture(width, height).unwrap();
            let turn = Geometry::new(degrees, (width, height), (width, height));
            let mut bands = Vec::new();
            let taken = in_bands(&picture, &turn, filter, [9, 8, 7], |lines| {
                bands.extend_from_slice(lines);
                Ok::<(), ()>(())
            });
            prop_assert_eq!(taken, Ok(()));
            prop_assert_eq!(bands, turned(&picture, &turn, filter));
        }

        #[test]
        fn no_angle_or_size_leaves_the_picture(
            degrees in -400.0f64..400.0, width in 1usize..70, height in 1usize..70,
            to_width in 1usize..100, to_height in 1usize..100,
        ) {
            let picture = pattern::picture(width, height).unwrap();
            let turn = Geometry::new(degrees, (width, height), (to_width, to_height));
            for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic] {
                turned(&picture, &turn, filter);
            }
        }
    }
}

//! What surrounds the interior of a row: the background, and edges whose taps may lie outside of the
//! picture.

use std::ops::Range;

use crate::filter::Kernel;
use crate::geometry::{FRACTION, Geometry, ONE, Walk, shared, span};
use crate::picture::{PADDING, Picture};

/// One row of the canvas.
pub(crate) struct Row {
    /// Source position of its first pixel.
    start: (i64, i64),
    /// Columns at which at least one tap lies in the picture.
    touched: Range<usize>,
    /// Columns at which all taps do.
    pub(crate) inner: Range<usize>,
}

impl Row {
    /// The row `y` of the canvas.
    pub(crate) fn new<K: Kernel>(turn: &Geometry, y: usize) -> Self {
        let Walk { column, .. } = turn.walk;
        let start = turn.walk.row_start(y, K::BIAS);
        let columns = |low: i64, shrink: i64| {
            let along = |start: i64, step: i64, side: usize| {
                span(start, step, low * ONE, (side as i64 + shrink) * ONE, turn.canvas.0)
            };
            let u = along(start.0, column.0, turn.source.0);
            let v = along(start.1, column.1, turn.source.1);
            shared(&u, &v)
        };
        let touched = if turn.fills { 0..turn.canvas.0 } else { columns(-K::HIGH, -K::LOW) };
        let inner = shared(&columns(-K::LOW, -K::HIGH), &touched);
        Self { start, touched, inner }
    }

    /// Source position of the pixel in `column`, where one column adds `step`.
    pub(crate) fn at(&self, column: usize, step: (i64, i64)) -> (i64, i64) {
        (self.start.0 + column as i64 * step.0, self.start.1 + column as i64 * step.1)
    }
}

/// The background and the edges of one row.
pub(crate) fn draw<K: Kernel>(
    picture: &Picture,
    row: &Row,
    turn: &Geometry,
    background: [u8; 3],
    line: &mut [u8],
) {
    let outside = (!turn.fills).then_some(background);
    let (line, _) = line.as_chunks_mut::<3>();
    fill(&mut line[..row.touched.start], background);
    fill(&mut line[row.touched.end..], background);
    let edges = if row.inner.is_empty() {
        [row.touched.clone(), 0..0]
    } else {
        [row.touched.start..row.inner.start, row.inner.end..row.touched.end]
    };
    for column in edges.into_iter().flatten() {
        let (u, v) = row.at(column, turn.walk.column);
        line[column] = edge::<K>(picture, u, v, outside.as_ref());
    }
}

/// Makes all `pixels` one colour; a grey one byte by byte, which is faster.
fn fill(pixels: &mut [[u8; 3]], colour: [u8; 3]) {
    match colour {
        [r, g, b] if r == g && g == b => pixels.as_flattened_mut().fill(r),
        _ => pixels.fill(colour),
    }
}

/// A pixel some of whose taps may lie outside: they are gathered first. Those outside have that
/// colour, or the one of the border.
fn edge<K: Kernel>(picture: &Picture, u: i64, v: i64, outside: Option<&[u8; 3]>) -> [u8; 3] {
    const SIDE: usize = 4;
    let side = (K::HIGH - K::LOW + 1) as usize;
    let mut taps = [0; SIDE * SIDE * 3 + PADDING];
    let pixels = picture.pixels();
    let index = |position: i64, tap: usize, side: usize| {
        let index = (position >> FRACTION) + K::LOW + tap as i64;
        let nearest = index.clamp(0, side as i64 - 1);
        (nearest as usize, nearest == index)
    };
    for y in 0..side {
        for x in 0..side {
            let (column, within_row) = index(u, x, picture.width());
            let (row, within_column) = index(v, y, picture.height());
            let nearest = &pixels[row * picture.stride() + column * 3..][..3];
            let tap = match outside {
                Some(colour) if !(within_row && within_column) => colour,
                _ => nearest,
            };
            taps[(y * SIDE + x) * 3..][..3].copy_from_slice(tap);
        }
    }
    K::sample(&taps, SIDE * 3, 0, u, v)
}

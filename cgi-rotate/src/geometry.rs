//! Where each pixel of the canvas comes from, in fixed point.
//!
//! A canvas pixel's centre is turned back around the canvas's centre and scaled to the source:
//! `u = (c·dx + s·dy)·sx + w/2 - 1/2`, `v = (-s·dx + c·dy)·sy + h/2 - 1/2` for a turn clockwise
//! (y points down). Both are linear in the canvas's column and row, so that a row is walked with
//! two additions a pixel. Positions have 32 fraction bits: over 65,535 steps the rounding of a
//! step adds up to less than 10⁻⁴ of a pixel.

use std::ops::Range;

/// Fraction bits of a position.
pub const FRACTION: u32 = 32;

/// One pixel as a position.
pub const ONE: i64 = 1 << FRACTION;

/// Overhang of the rotated corners, in pixels, that does not earn another row or column.
const SLIVER: f64 = 1e-6;

/// The turn of a picture: sizes, and the way from canvas to source.
#[derive(Debug, Clone, PartialEq)]
pub struct Geometry {
    /// Width and height of the source as it is stored, in pixels.
    pub source: (usize, usize),
    /// Width and height of the canvas that holds the whole turned picture, in pixels.
    pub canvas: (usize, usize),
    /// Quarter turns clockwise, where the result is the source's pixels in another order.
    pub quarters: Option<u8>,
    /// Whether the turn is by right angles, scaled or not: the picture fills the canvas.
    pub fills: bool,
    /// How to walk the canvas.
    pub walk: Walk,
}

/// Source positions of canvas pixels, with [`FRACTION`] bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    /// Position (u, v) of the first pixel's centre; (0, 0) is the centre of the source's first.
    pub start: (i64, i64),
    /// What one column adds.
    pub column: (i64, i64),
    /// What one row adds.
    pub row: (i64, i64),
}

impl Geometry {
    /// Turns by `degrees` clockwise (finite) a `source` that is first scaled to `size`, both in
    /// pixels and at least 1x1.
    #[must_use]
    pub fn new(degrees: f64, source: (usize, usize), size: (usize, usize)) -> Self {
        let degrees = degrees.rem_euclid(360.0);
        let quarter = (degrees % 90.0 == 0.0).then_some((degrees / 90.0) as u8 % 4);
        let (sin, cos) = match quarter {
            Some(0) => (0.0, 1.0),
            Some(1) => (1.0, 0.0),
            Some(2) => (0.0, -1.0),
            Some(_) => (-1.0, 0.0),
            None => degrees.to_radians().sin_cos(),
        };
        let (width, height) = (size.0 as f64, size.1 as f64);
        let extent = |a: f64, b: f64| (a.abs() + b.abs() - SLIVER).ceil().max(1.0) as usize;
        let canvas = (extent(width * cos, height * sin), extent(width * sin, height * cos));
        let walk = Walk::new(sin, cos, source, size, canvas);
        let quarters = quarter.filter(|_| source == size);
        Self { source, canvas, quarters, fills: quarter.is_some(), walk }
    }
}

impl Walk {
    fn new(
        sin: f64,
        cos: f64,
        source: (usize, usize),
        size: (usize, usize),
        canvas: (usize, usize),
    ) -> Self {
        let scale = (source.0 as f64 / size.0 as f64, source.1 as f64 / size.1 as f64);
        let column = (cos * scale.0, -sin * scale.1);
        let row = (sin * scale.0, cos * scale.1);
        let (dx, dy) = ((1.0 - canvas.0 as f64) / 2.0, (1.0 - canvas.1 as f64) / 2.0);
        let start = (
            column.0 * dx + row.0 * dy + (source.0 as f64 - 1.0) / 2.0,
            column.1 * dx + row.1 * dy + (source.1 as f64 - 1.0) / 2.0,
        );
        let fixed = |(u, v): (f64, f64)| {
            let one = ONE as f64;
            ((u * one).round() as i64, (v * one).round() as i64)
        };
        Self { start: fixed(start), column: fixed(column), row: fixed(row) }
    }

    /// Position of the first pixel of row `y`, moved by `bias`.
    #[must_use]
    pub fn row_start(&self, y: usize, bias: (i64, i64)) -> (i64, i64) {
        let y = y as i64;
        (self.start.0 + y * self.row.0 + bias.0, self.start.1 + y * self.row.1 + bias.1)
    }
}

/// The steps `x` in `0..count` at which `start + x·step` lies in `low..high`.
#[must_use]
pub fn span(start: i64, step: i64, low: i64, high: i64, count: usize) -> Range<usize> {
    let (first, end) = match step {
        0 if (low..high).contains(&start) => (0, count as i64),
        0 => (0, 0),
        1.. => (ceil_div(low - start, step), ceil_div(high - start, step)),
        // Falling positions: below `high` from some step on, below `low` from a later one on.
        _ => ((start - high).div_euclid(-step) + 1, (start - low).div_euclid(-step) + 1),
    };
    let clamp = |x: i64| x.clamp(0, count as i64) as usize;
    clamp(first)..clamp(end).max(clamp(first))
}

fn ceil_div(a: i64, b: i64) -> i64 {
    -(-a).div_euclid(b)
}

/// What two ranges share, empty (and never reversed) where that is nothing.
#[must_use]
pub fn shared(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canvas(degrees: f64, width: usize, height: usize) -> (usize, usize) {
        Geometry::new(degrees, (width, height), (width, height)).canvas
    }

    #[test]
    fn the_canvas_holds_the_turned_picture() {
        assert_eq!(canvas(20.0, 2000, 2000), (2564, 2564));
        assert_eq!(canvas(90.0, 30, 20), (20, 30));
        assert_eq!(canvas(-450.0, 30, 20), (20, 30));
        assert_eq!(canvas(1e-12, 30, 20), (30, 20));
        assert_eq!(canvas(45.0, 100, 100), (142, 142));
        assert_eq!(canvas(1e300, 1, 1).0.clamp(1, 2), canvas(1e300, 1, 1).0);
    }

    #[test]
    fn quarter_turns_are_known_as_such_unless_scaled() {
        let quarters = |degrees| Geometry::new(degrees, (3, 2), (3, 2)).quarters;
        assert_eq!(
            [0.0, 90.0, 180.0, 270.0, 360.0, -90.0].map(quarters),
            [Some(0), Some(1), Some(2), Some(3), Some(0), Some(3)]
        );
        assert_eq!(quarters(90.000_001), None);
        assert_eq!(quarters(-1e-30), Some(0), "rounds to a whole turn");
        assert_eq!(Geometry::new(90.0, (3, 2), (6, 4)).quarters, None);
    }

    #[test]
    fn the_centre_stays_the_centre() {
        let walk = Geometry::new(33.0, (101, 51), (101, 51));
        let (cw, ch) = walk.canvas;
        let at = |n: usize, d: i64| (n as i64 - 1) * d / 2;
        let u = walk.walk.start.0 + at(cw, walk.walk.column.0) + at(ch, walk.walk.row.0);
        let v = walk.walk.start.1 + at(cw, walk.walk.column.1) + at(ch, walk.walk.row.1);
        assert!((u - 50 * ONE).abs() < ONE >> 16 && (v - 25 * ONE).abs() < ONE >> 16, "{u} {v}");
    }

    proptest! {
        #[test]
        fn a_span_is_what_a_search_finds(
            start in -60i64..60, step in -9i64..9, low in -40i64..40, length in 0i64..50,
            count in 0usize..40,
        ) {
            let high = low + length;
            let found: Vec<usize> = (0..count)
                .filter(|&x| (low..high).contains(&(start + x as i64 * step)))
                .collect();
            prop_assert_eq!(span(start, step, low, high, count).collect::<Vec<_>>(), found);
        }
    }
}

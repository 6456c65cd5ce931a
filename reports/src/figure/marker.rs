//! Marks on curves, a shape for each colour, so that curves can be told apart in grey as well.

use plotters::prelude::*;

use super::{Color as Rgb, Line, Panel, SCALE, Stroke, palette::COLORS};

/// Where on a distribution they stand.
const SHARES: [f64; 5] = [0.1, 0.3, 0.5, 0.7, 0.9];
/// Half the size, in canvas pixels.
const HALF: i32 = 4 * SCALE as i32;

/// What a mark looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A circle.
    Circle,
    /// A square.
    Square,
    /// A triangle.
    Triangle,
    /// A diamond.
    Diamond,
}

impl Shape {
    /// By the place of the colour in the palette.
    #[must_use]
    pub fn of(color: Rgb) -> Self {
        let place = COLORS.iter().position(|own| *own == color).unwrap_or(0);
        [Self::Circle, Self::Square, Self::Triangle, Self::Diamond][place % 4]
    }

    /// Its corners around (0, 0).
    fn corners(self) -> Vec<(i32, i32)> {
        let (r, more) = (HALF, HALF * 5 / 4);
        match self {
            Self::Circle => (0..24)
                .map(|k| f64::from(k) / 24.0 * std::f64::consts::TAU)
                .map(|at| ((at.cos() * f64::from(r)) as i32, (at.sin() * f64::from(r)) as i32))
                .collect(),
            Self::Square => vec![(-r, -r), (r, -r), (r, r), (-r, r)],
            Self::Triangle => vec![(0, -more), (more, r), (-more, r)],
            Self::Diamond => vec![(0, -more), (more, 0), (0, more), (-more, 0)],
        }
    }

    /// Its outline at a place, closed.
    pub(super) fn outline(self, (x, y): (i32, i32)) -> Vec<(i32, i32)> {
        let mut corners: Vec<_> = self.corners().iter().map(|own| (x + own.0, y + own.1)).collect();
        corners.push(corners[0]);
        corners
    }
}

/// Where marks stand on a line of a panel: on the plain curves of distributions.
#[must_use]
pub fn places(panel: &Panel, line: &Line) -> Vec<(f64, f64)> {
    if !panel.cdf || line.stroke != Stroke::Solid {
        return Vec::new();
    }
    let reached = |share: &f64| {
        let x = line.points.iter().find(|point| point.1 >= *share)?.0;
        (x < panel.x_max).then_some((x, *share))
    };
    SHARES.iter().filter_map(reached).collect()
}

/// Inside and edge of a mark.
type Elements = (Polygon<(i32, i32)>, PathElement<(i32, i32)>);

/// White inside, so that the curve does not show through.
pub(super) fn elements(outline: Vec<(i32, i32)>, color: RGBColor) -> Elements {
    (
        Polygon::new(outline.clone(), WHITE.filled()),
        PathElement::new(outline, color.stroke_width(2 * SCALE)),
    )
}

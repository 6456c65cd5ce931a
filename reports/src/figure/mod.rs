//! Figures as plain data, and how they are drawn.
//!
//! [`build`] decides what is shown; [`draw`] only puts it on a canvas; [`export`] writes SVG and
//! PNG. So tests can ask a figure what it shows without reading pixels.

pub(crate) mod axis;
mod budget;
pub mod build;
pub mod draw;
pub mod export;
pub mod marker;
pub(crate) mod palette;
pub mod sweep;
pub mod tex;
pub(crate) mod thin;

/// Canvas pixels per unit of length: fine enough that steps keep their place.
pub const SCALE: u32 = 4;

/// A picture: panels side by side, and one legend below them.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Its file name without extension: `fig1`, …
    pub name: String,
    /// Above the panels.
    pub title: String,
    /// What a reader needs beside the picture, in sentences.
    pub caption: String,
    /// From left to right; at least one.
    pub panels: Vec<Panel>,
}

/// A pair of axes and what is drawn on them.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// Label of the horizontal axis, with the unit.
    pub x_label: String,
    /// Label of the vertical axis.
    pub y_label: String,
    /// Left end of the horizontal axis.
    pub x_min: f64,
    /// Right end of the horizontal axis.
    pub x_max: f64,
    /// Upper end of the vertical axis, which begins at 0.
    pub y_max: f64,
    /// Drawn in this order.
    pub lines: Vec<Line>,
    /// Vertical reference lines.
    pub bounds: Vec<Bound>,
    /// Their entry in the legend.
    pub bounds_label: &'static str,
    /// Whether the lines are distribution functions C(x), so that a percentile can be read off.
    pub cdf: bool,
}

/// What a curve is of: by these a reader of the page switches curves on and off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// The task, as the legend writes it.
    pub task: Option<String>,
    /// The case, where the panel has several; or what is shown, where that is not a task.
    pub case: Option<String>,
    /// What makes it more than the plain curve: simulated, stalled samples too.
    pub kind: Option<&'static str>,
    /// Samples behind it.
    pub jobs: Option<u64>,
}

/// A curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What it is of.
    pub about: About,
    /// Its entry in the legend; lines with the same label share one.
    pub label: String,
    /// Red, green and blue.
    pub color: Color,
    /// How it is drawn.
    pub stroke: Stroke,
    /// In axis units.
    pub points: Vec<(f64, f64)>,
}

/// A vertical reference line: what the analysis says.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// Where, in axis units.
    pub x: f64,
    /// Written beside its upper end.
    pub label: String,
    /// Red, green and blue.
    pub color: Color,
}

/// Red, green and blue.
pub type Color = (u8, u8, u8);

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// Broad, to lie under another line.
    Broad,
    /// The usual one.
    Solid,
    /// Narrow with long dashes, over a solid one: the same, simulated.
    Simulated,
    /// Thin and dashed: all jobs, stalled ones included; or a deadline.
    Dashed,
    /// A dot at every point.
    Dots,
}

//! Puts a [`Figure`] on a canvas of the plotters library.

use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{
    Bound, Color as Rgb, Figure, Line, Panel, SCALE, Stroke,
    marker::{self, Shape},
};

const PANEL_WIDTH: u32 = 440;
const LEAST_WIDTH: u32 = 760;
const PANEL_HEIGHT: u32 = 400;
const TITLE_HEIGHT: u32 = 46;
const LEGEND_ROW: u32 = 24;
const LEGEND_GAP: u32 = 8;
const LEGEND_LEFT: u32 = 76;
pub(crate) const TEXT: u32 = 15;
const HEADING: u32 = 20;
pub(crate) const INK: RGBColor = RGBColor(51, 51, 51);
const BOUND_WIDTH: u32 = 3 * SCALE / 2;
const GREY: Rgb = (90, 90, 90);
pub(crate) const GRID: RGBColor = RGBColor(228, 228, 228);

type Canvas<'a, B> = DrawingArea<B, Shift>;
/// What a drawing backend says.
pub type Failure = Box<dyn std::error::Error>;

/// Width and height of the figure, in units; multiply by [`SCALE`] for the canvas.
#[must_use]
pub fn size(figure: &Figure) -> (u32, u32) {
    let width = (figure.panels.len() as u32 * PANEL_WIDTH).max(LEAST_WIDTH);
    let rows = legend_rows(figure, width).len() as u32;
    (width, TITLE_HEIGHT + PANEL_HEIGHT + rows * LEGEND_ROW + 2 * LEGEND_GAP)
}

/// Draws the figure over the whole canvas.
///
/// # Errors
/// What the drawing backend says.
pub fn draw<B: DrawingBackend>(root: &Canvas<'_, B>, figure: &Figure) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    let (width, _) = size(figure);
    root.fill(&WHITE)?;
    let title = ("sans-serif", font_size(HEADING), FontStyle::Bold).into_font().color(&INK);
    let title = title.pos(Pos::new(HPos::Left, VPos::Center));
    root.draw_text(&figure.title, &title, (px(20), px(TITLE_HEIGHT / 2)))?;
    let (_, below) = root.split_vertically(px(TITLE_HEIGHT));
    let (plots, legend) = below.split_vertically(px(PANEL_HEIGHT));
    for (area, panel) in plots.split_evenly((1, figure.panels.len())).iter().zip(&figure.panels) {
        draw_panel(area, panel)?;
    }
    draw_legend(&legend, figure, width)
}

fn draw_panel<B: DrawingBackend>(area: &Canvas<'_, B>, panel: &Panel) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    let mut chart = ChartBuilder::on(area)
        .margin_left(px(12))
        .margin_right(px(24))
        .margin_top(px(if panel.bounds.is_empty() { 8 } else { 24 }))
        .x_label_area_size(px(50))
        .y_label_area_size(px(if panel.y_max >= 10_000.0 { 78 } else { 62 }))
        .build_cartesian_2d(panel.x_min..panel.x_max, 0.0..panel.y_max)?;
    chart
        .configure_mesh()
        .x_desc(&panel.x_label)
        .y_desc(&panel.y_label)
        .x_labels(7)
        .y_labels(if panel.y_max <= 1.0 { 6 } else { 7 })
        .x_label_formatter(&tick)
        .y_label_formatter(&tick)
        .label_style(text(TEXT - 1, INK, HPos::Left, VPos::Top))
        .axis_desc_style(text(TEXT, INK, HPos::Left, VPos::Top))
        .axis_style(INK.stroke_width(SCALE))
        .bold_line_style(GRID.stroke_width(SCALE))
        .light_line_style(TRANSPARENT)
        .set_all_tick_mark_size(px(4))
        .draw()?;
    for bound in &panel.bounds {
        draw_bound(&mut chart, bound, panel.y_max)?;
    }
    for line in &panel.lines {
        draw_line(&mut chart, line)?;
        draw_marks(&mut chart, line, &marker::places(panel, line))?;
    }
    Ok(())
}

/// Axis numbers without needless zeros, thousands apart: `0.2`, `15 000`.
fn tick(value: &f64) -> String {
    let rounded = format!("{value:.2}");
    let short = rounded.trim_end_matches('0').trim_end_matches('.');
    match short.len().checked_sub(3) {
        Some(at) if *value >= 10_000.0 => format!("{}\u{a0}{}", &short[..at], &short[at..]),
        _ => short.to_owned(),
    }
}

type Chart<'a, 'b, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

fn draw_line<B: DrawingBackend>(chart: &mut Chart<'_, '_, B>, line: &Line) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    let style = stroke_style(line.color, line.stroke);
    let points = line.points.iter().copied();
    match line.stroke {
        Stroke::Broad | Stroke::Solid => {
            chart.draw_series(LineSeries::new(points, style))?;
        }
        Stroke::Simulated => {
            chart.draw_series(DashedLineSeries::new(points, 11 * SCALE, 4 * SCALE, style))?;
        }
        Stroke::Dashed => {
            chart.draw_series(DashedLineSeries::new(points, 5 * SCALE, 3 * SCALE, style))?;
        }
        Stroke::Dots => {
            let dot = |point| Circle::new(point, 2 * SCALE, rgb(line.color).filled());
            chart.draw_series(points.map(dot))?;
        }
    }
    Ok(())
}

fn draw_marks<B: DrawingBackend>(
    chart: &mut Chart<'_, '_, B>,
    line: &Line,
    places: &[(f64, f64)],
) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    let mark = |at: &(f64, f64)| {
        let outline = Shape::of(line.color).outline((0, 0));
        let (inside, edge) = marker::elements(outline, rgb(line.color));
        EmptyElement::at(*at) + inside + edge
    };
    chart.draw_series(places.iter().map(mark))?;
    Ok(())
}

/// A dotted line over the whole height, its label above the frame.
fn draw_bound<B: DrawingBackend>(
    chart: &mut Chart<'_, '_, B>,
    bound: &Bound,
    y_max: f64,
) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    let style = rgb(bound.color).stroke_width(BOUND_WIDTH);
    let ends = [(bound.x, 0.0), (bound.x, y_max)];
    chart.draw_series(DashedLineSeries::new(ends, 2 * SCALE, 3 * SCALE, style))?;
    let label = text(TEXT - 1, rgb(bound.color), HPos::Center, VPos::Bottom);
    let area = chart.plotting_area();
    let ((x, y), (left, top)) = (area.map_coordinate(&(bound.x, y_max)), area.get_base_pixel());
    let above = (x - left, y - top - px(4));
    area.strip_coord_spec().draw_text(&bound.label, &label, above)?;
    Ok(())
}

fn stroke_style(color: Rgb, stroke: Stroke) -> ShapeStyle {
    let width = match stroke {
        Stroke::Broad => 6 * SCALE,
        Stroke::Solid | Stroke::Dots => 2 * SCALE,
        Stroke::Simulated => 3 * SCALE / 2,
        Stroke::Dashed => SCALE,
    };
    rgb(color).stroke_width(width)
}

/// What a legend entry shows before its text.
struct Entry<'a> {
    label: &'a str,
    color: Rgb,
    mark: Mark,
    /// Whether the line has marks on it.
    marked: bool,
}

/// What kind of line an entry stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Line(Stroke),
    Bound,
}

/// Legend entries with their left edges, in columns of equal width that fit `width` units.
fn legend_rows(figure: &Figure, width: u32) -> Vec<Vec<(Entry<'_>, u32)>> {
    let entries = entries(figure);
    let longest = entries.iter().map(|entry| entry.label.chars().count()).max().unwrap_or(0);
    let column = 70 + longest as u32 * 15 / 2;
    let columns = ((width - LEGEND_LEFT) / column).clamp(1, 4) as usize;
    // Two cases of two tasks each read best as two rows of two.
    let columns = if entries.len() > columns { columns.min(2) } else { columns };
    let mut rows: Vec<Vec<(Entry, u32)>> = Vec::new();
    for (at, entry) in entries.into_iter().enumerate() {
        if at % columns == 0 {
            rows.push(Vec::new());
        }
        let left = LEGEND_LEFT + (at % columns) as u32 * column;
        rows.last_mut().expect("just pushed").push((entry, left));
    }
    rows
}

/// One entry for each label; dashes and dots are grey, since they stand for several colours.
fn entries(figure: &Figure) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry> = Vec::new();
    let lines =
        figure.panels.iter().flat_map(|panel| panel.lines.iter().map(move |own| (panel, own)));
    for (panel, line) in lines {
        let broken = [Stroke::Dashed, Stroke::Simulated].contains(&line.stroke);
        let color = if broken { GREY } else { line.color };
        if entries.iter().all(|entry| entry.label != line.label) {
            let marked = panel.cdf && line.stroke == Stroke::Solid;
            entries.push(Entry {
                label: &line.label,
                color,
                mark: Mark::Line(line.stroke),
                marked,
            });
        }
    }
    entries.sort_by_key(|entry| match entry.mark {
        Mark::Line(Stroke::Simulated) => 1,
        Mark::Line(Stroke::Dashed) => 2,
        _ => 0,
    });
    if let Some(panel) = figure.panels.iter().find(|panel| !panel.bounds.is_empty()) {
        entries.push(Entry {
            label: panel.bounds_label,
            color: GREY,
            mark: Mark::Bound,
            marked: false,
        });
    }
    entries
}

fn draw_legend<B: DrawingBackend>(
    area: &Canvas<'_, B>,
    figure: &Figure,
    width: u32,
) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    let label = text(TEXT, INK, HPos::Left, VPos::Center);
    for (row, entries) in legend_rows(figure, width).into_iter().enumerate() {
        let y = px(LEGEND_GAP + row as u32 * LEGEND_ROW + LEGEND_ROW / 2);
        for (entry, left) in entries {
            draw_sample(area, &entry, (px(left), y))?;
            // The letters' middle lies a little below that of their box.
            area.draw_text(entry.label, &label, (px(left + 38), y + px(2)))?;
        }
    }
    Ok(())
}

/// A short piece of the line that the entry stands for.
fn draw_sample<B: DrawingBackend>(
    area: &Canvas<'_, B>,
    entry: &Entry,
    (x, y): (i32, i32),
) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    let style = match entry.mark {
        Mark::Line(stroke) => stroke_style(entry.color, stroke),
        Mark::Bound => rgb(entry.color).stroke_width(BOUND_WIDTH),
    };
    let pieces = |length: u32, gap: u32| -> Result<(), Failure> {
        for from in (0..28).step_by((length + gap) as usize) {
            let ends = [from, from + length].map(|at| (x + px(at), y));
            area.draw(&PathElement::new(ends, style))?;
        }
        Ok(())
    };
    match entry.mark {
        Mark::Line(Stroke::Broad | Stroke::Solid) => pieces(28, 2)?,
        Mark::Line(Stroke::Simulated) => pieces(11, 4)?,
        Mark::Line(Stroke::Dashed) => pieces(5, 3)?,
        Mark::Bound => pieces(2, 3)?,
        Mark::Line(Stroke::Dots) => {
            let dot = Circle::new((x + px(14), y), 3 * SCALE, rgb(entry.color).filled());
            area.draw(&dot)?;
        }
    }
    if entry.marked {
        let outline = Shape::of(entry.color).outline((x + px(14), y));
        let (inside, edge) = marker::elements(outline, rgb(entry.color));
        area.draw(&inside)?;
        area.draw(&edge)?;
    }
    Ok(())
}

pub(crate) fn text(size: u32, color: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    ("sans-serif", f64::from(size * SCALE) * 1.24).into_font().color(&color).pos(Pos::new(h, v))
}

/// The library takes the height of a line of text, 1.24 times that of the font.
pub(crate) fn font_size(units: u32) -> f64 {
    f64::from(units * SCALE) * 1.24
}

pub(crate) fn rgb((r, g, b): Rgb) -> RGBColor {
    RGBColor(r, g, b)
}

pub(crate) fn px(units: u32) -> i32 {
    (units * SCALE) as i32
}

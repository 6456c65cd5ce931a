//! Pictures, as SVG.

use std::{collections::BTreeSet, sync::Once};

use model::{Reservation, TaskSet};
use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
};
use thiserror::Error;

use super::{
    Curve,
    series::{self, Line},
};
use crate::{
    grid::cheapest,
    problem::Problem,
    study::Study,
    witness::Witness,
    workload::{Scheduler, Workload, WorkloadError},
};

const SIZE: (u32, u32) = (960, 600);

/// Told apart without colour vision as well (Okabe and Ito's palette).
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// The second line is broad and pale, since the third often lies upon it.
fn style(index: usize) -> ShapeStyle {
    let colour = COLOURS[index % COLOURS.len()];
    if index == 1 { colour.mix(0.45).stroke_width(6) } else { colour.stroke_width(2) }
}

const MISSED: RGBColor = RGBColor(200, 0, 0);

/// Why there is no picture.
#[derive(Debug, Error)]
pub enum PlotError {
    /// The tasks have no demand to draw.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The drawing library.
    #[error("cannot draw it: {message}")]
    Draw {
        /// What was said.
        message: String,
    },
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// As SVG, demand against supply over time since a worst-case start, the instants that decide marked.
///
/// # Errors
/// [`PlotError`].
pub fn demand_and_supply(
    workload: &Workload,
    scheduler: Scheduler,
    studies: &[Study],
) -> Result<String, PlotError> {
    let supplies: Vec<_> = studies.iter().map(|study| study.supply).collect();
    let horizon = series::horizon(workload, &supplies, scheduler);
    let mut lines = series::demands(workload, scheduler, horizon)?;
    let marks = studies.first().map(marks).unwrap_or_default();
    let demands = lines.len();
    for supply in supplies {
        let name = format!("supply, {}", supply.model());
        lines.push(series::supply(name, &Problem::new(workload, &supply, scheduler)?, horizon));
    }
    let budgets: BTreeSet<String> =
        studies.iter().filter_map(|study| study.supply.reservation()).map(in_words).collect();
    let budgets: Vec<String> = budgets.into_iter().collect();
    let title = format!("Demand against supply {}", budgets.join(" and "));
    svg(|area| draw_lines(area, &title, &lines, demands, &marks))
}

/// An instant that decides, and whether it shows a miss.
type Mark = ((f64, f64), bool, String);

/// One mark for each task, if there are few.
fn marks(study: &Study) -> Vec<Mark> {
    let mark = |(index, verdict): (usize, &crate::TaskVerdict)| {
        let (point, missed) = match verdict.witness.as_ref()? {
            Witness::Finishes { point, .. } | Witness::Tightest { point } => (*point, false),
            Witness::Starved { points, .. } => (*points.last()?, true),
            Witness::Overrun { point } => (*point, true),
        };
        let place = (point.at as f64 / 1e6, point.demand as f64 / 1e6);
        Some((place, missed, TaskSet::name(index)))
    };
    let all = study.analysis.tasks.iter().enumerate().filter_map(mark);
    all.take(8).collect()
}

fn in_words(reservation: Reservation) -> String {
    let [budget, period] = [reservation.budget(), reservation.period()].map(super::words::span);
    format!("({budget} in {period})")
}

fn draw_lines(area: &Area, title: &str, lines: &[Line], demands: usize, marks: &[Mark]) -> Drawn {
    let end = lines.iter().filter_map(|line| line.points.last()).map(|point| point.0);
    let end = end.fold(0.0, f64::max);
    let top = lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let top = top.fold(0.0, f64::max) * 1.05;
    let mut chart = axes(area, title, 0.0..end, 0.0..top)?;
    labelled(&mut chart, "time since a worst-case start (ms)", "work (ms)")?;
    let (demands, supplies) = lines.split_at(demands);
    for (index, line) in demands.iter().enumerate() {
        let shade = 60 * (demands.len() - 1 - index) as u8;
        one_line(&mut chart, line, RGBColor(shade, shade, shade).stroke_width(1))?;
    }
    for (index, line) in supplies.iter().enumerate() {
        one_line(&mut chart, line, style(index))?;
    }
    for ((x, y), missed, name) in marks {
        let colour = if *missed { MISSED } else { BLACK };
        chart.draw_series([Circle::new((*x, *y), 5, colour.filled())])?;
        let text = if *missed { format!("{name} missed") } else { name.clone() };
        let font = ("sans-serif", 14).into_font().color(&colour);
        chart.draw_series([Text::new(text, (*x + end / 150.0, *y - top / 60.0), font)])?;
    }
    legend(&mut chart)
}

/// Bandwidth against server period, the minimum of each curve marked.
///
/// # Errors
/// [`PlotError`].
pub fn trade_off(curves: &[Curve]) -> Result<String, PlotError> {
    svg(|area| {
        let cells = || curves.iter().flat_map(|curve| &curve.cells);
        let end = cells().map(|cell| cell.period.as_secs_f64() * 1e3).fold(0.0, f64::max);
        let mut chart = axes(area, "Least bandwidth against server period", 0.0..end, 0.0..1.0)?;
        labelled(&mut chart, "server period P (ms)", "least bandwidth Q / P, overhead included")?;
        for (index, curve) in curves.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let point =
                |cell: &crate::Cell| Some((cell.period.as_secs_f64() * 1e3, cell.bandwidth()?));
            let points = curve.cells.iter().filter_map(point).collect();
            let line = Line { name: curve.model.to_string(), points };
            one_line(&mut chart, &line, style(index))?;
            if let Some((x, y)) = cheapest(&curve.cells).as_ref().and_then(point) {
                chart.draw_series([Circle::new((x, y), 5, colour.filled())])?;
                let font = ("sans-serif", 14).into_font().color(&colour);
                let text = format!("{y:.3} at {x:.3} ms");
                chart.draw_series([Text::new(text, (x + end / 150.0, y - 0.01), font)])?;
            }
        }
        legend(&mut chart)
    })
}

fn svg(draw: impl FnOnce(&Area) -> Drawn) -> Result<String, PlotError> {
    font();
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        draw(&area).and_then(|()| area.present().map_err(Box::from))
    };
    drawn.map_err(|error| PlotError::Draw { message: error.to_string() })?;
    Ok(svg)
}

/// Brings the font along, so that no host needs one.
fn font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let bytes = notosans::REGULAR_TTF;
        let registered = plotters::style::register_font("sans-serif", FontStyle::Normal, bytes);
        assert!(registered.is_ok(), "Noto Sans is a valid font");
    });
}

fn axes<'a, 'b>(
    area: &'a Area<'b>,
    title: &str,
    x: std::ops::Range<f64>,
    y: std::ops::Range<f64>,
) -> Result<Chart<'a, 'b>, Box<dyn std::error::Error>> {
    area.fill(&WHITE)?;
    let chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .margin_right(32)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y)?;
    Ok(chart)
}

fn labelled(chart: &mut Chart, x: &str, y: &str) -> Drawn {
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .axis_desc_style(("sans-serif", 16))
        .label_style(("sans-serif", 14))
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .draw()?;
    Ok(())
}

fn one_line(chart: &mut Chart, line: &Line, style: ShapeStyle) -> Drawn {
    chart
        .draw_series(LineSeries::new(line.points.iter().copied(), style))?
        .label(&line.name)
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    Ok(())
}

fn legend<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>) -> Drawn {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 14))
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .draw()?;
    Ok(())
}

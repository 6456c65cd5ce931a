//! The chart of a history: p50 and p99 of each task from result to result.

use super::{Entry, History};
use crate::{
    figure::{About, Bound, Figure, Line, Panel, Stroke, axis::round_up, palette::nth_color},
    units::count,
};

/// The first change that matters stands out of the other colours.
const CHANGE: (u8, u8, u8) = (90, 90, 90);

pub(super) fn figure(history: &History) -> Figure {
    let tasks: Vec<&Entry> = history
        .points
        .iter()
        .map(|own| &own.entries)
        .max_by_key(|own| own.len())
        .into_iter()
        .flatten()
        .collect();
    let lines: Vec<Line> =
        tasks.iter().enumerate().flat_map(|(at, own)| curves(history, at, &own.task)).collect();
    let most = lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max);
    let change = history.first_change.as_ref().map(|(at, _)| Bound {
        x: (at + 1) as f64,
        label: history.points[*at].folder.clone(),
        color: CHANGE,
    });
    Figure {
        name: format!("history-{}", history.experiment),
        title: format!("{} over {}", history.experiment, count(history.points.len(), "result")),
        caption: String::new(),
        panels: vec![Panel {
            x_label: "result, in the order of time".to_owned(),
            y_label: "response time (ms)".to_owned(),
            x_min: 0.5,
            x_max: history.points.len() as f64 + 0.5,
            y_max: round_up(most * 1.08),
            lines,
            bounds: change.into_iter().collect(),
            bounds_label: "first change that matters",
            cdf: false,
        }],
    }
}

/// p99 solid with dots, p50 dashed.
fn curves(history: &History, at: usize, task: &str) -> [Line; 3] {
    let points = |which: usize| -> Vec<(f64, f64)> {
        let value = |(at, own): (usize, &super::Point)| {
            let entry = own.entries.iter().find(|own| own.task == task)?;
            Some(((at + 1) as f64, entry.percentiles_ns[which]? as f64 / 1e6))
        };
        history.points.iter().enumerate().filter_map(value).collect()
    };
    let line = |label: String, stroke, which| Line {
        about: About { task: Some(task.to_owned()), ..About::default() },
        label,
        color: nth_color(at),
        stroke,
        points: points(which),
    };
    [
        line(format!("{task} p99"), Stroke::Solid, 1),
        line(format!("{task} p99"), Stroke::Dots, 1),
        line("p50".to_owned(), Stroke::Dashed, 0),
    ]
}

//! The figure of a sweep: misses and 99th percentiles against the budget.

use model::{
    duration::in_ms,
    sweep::{Outcome, Point, TaskPoint},
};

use super::{
    About, Bound, Color, Figure, Line, Panel, Stroke,
    axis::round_up,
    palette::{dark, nth_color},
};

const GREY: Color = (90, 90, 90);

/// Share of the judged jobs that missed on the left, p99 on the right; the least budgets by
/// analysis as vertical lines, deadlines as horizontal ones; over them the same simulated, where it
/// was. None where nothing was measured.
#[must_use]
pub fn figure(outcome: &Outcome, simulated: Option<&Outcome>) -> Option<Figure> {
    let measured = || outcome.points.iter().filter(|point| !point.tasks.is_empty());
    let budgets: Vec<f64> = measured().map(|point| to_ms(point.budget_ns)).collect();
    let bounds = bounds(outcome);
    let x_axis = x_axis(budgets.iter().copied().chain(bounds.iter().map(|bound| bound.x)))?;
    let tasks = measured().next()?.tasks.len();
    let lines = |pick: fn(&TaskPoint) -> Option<f64>| -> Vec<Line> {
        let measured = (0..tasks).flat_map(|task| curve(outcome, task, pick));
        let played = simulated.into_iter();
        let played = played.flat_map(|own| (0..tasks).map(move |task| dashes(own, task, pick)));
        measured.chain(played).collect()
    };
    let (missed, slow) = (lines(missed_share), lines(|own| Some(to_ms(own.p99_ns?))));
    let largest = |lines: &[Line]| {
        lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max)
    };
    let deadlines = deadlines(outcome, tasks, x_axis);
    let panel = |y_label: &str, y_max, lines| Panel {
        x_label: format!("budget (ms) in every {}", in_ms(outcome.period_ns)),
        y_label: y_label.to_owned(),
        x_min: x_axis.0,
        x_max: x_axis.1,
        y_max,
        lines,
        bounds: bounds.clone(),
        bounds_label: "least budget by analysis",
        cdf: false,
    };
    let misses_end = round_up(largest(&missed) * 1.08).max(10.0);
    let p99_end = round_up(largest(&slow).max(largest(&deadlines)) * 1.08);
    Some(Figure {
        name: format!("sweep-{}", outcome.experiment),
        title: title(outcome),
        caption: caption(outcome, simulated.is_some()),
        panels: vec![
            panel("jobs that missed their deadline (%)", misses_end, missed),
            panel("99th percentile of response time (ms)", p99_end, [deadlines, slow].concat()),
        ],
    })
}

fn to_ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Per cent of the judged jobs and the unfinished ones.
fn missed_share(own: &TaskPoint) -> Option<f64> {
    let jobs = own.count.judged();
    (jobs > 0).then(|| own.count.missed() as f64 / jobs as f64 * 100.0)
}

/// A value of a task for each budget.
fn points(outcome: &Outcome, task: usize, pick: fn(&TaskPoint) -> Option<f64>) -> Vec<(f64, f64)> {
    let of = |point: &Point| Some((to_ms(point.budget_ns), pick(point.tasks.get(task)?)?));
    outcome.points.iter().filter_map(of).collect()
}

/// The line of a task, simulated.
fn dashes(outcome: &Outcome, task: usize, pick: fn(&TaskPoint) -> Option<f64>) -> Line {
    Line {
        about: About {
            task: Some(format!("τ{}", task + 1)),
            kind: Some("simulated"),
            ..About::default()
        },
        label: "simulated".to_owned(),
        color: dark(nth_color(task)),
        stroke: Stroke::Simulated,
        points: points(outcome, task, pick),
    }
}

/// A line, and a dot on it for each budget measured.
fn curve(outcome: &Outcome, task: usize, pick: fn(&TaskPoint) -> Option<f64>) -> [Line; 2] {
    let points = points(outcome, task, pick);
    let line = |stroke| Line {
        about: About { task: Some(format!("τ{}", task + 1)), ..About::default() },
        label: format!("τ{}", task + 1),
        color: nth_color(task),
        stroke,
        points: points.clone(),
    };
    [line(Stroke::Solid), line(Stroke::Dots)]
}

fn deadlines(outcome: &Outcome, tasks: usize, (left, right): (f64, f64)) -> Vec<Line> {
    let known = outcome.points.iter().find(|point| point.tasks.len() == tasks);
    let of = |(task, own): (usize, &TaskPoint)| Line {
        about: About {
            task: Some(format!("τ{}", task + 1)),
            kind: Some("deadline"),
            ..About::default()
        },
        label: "deadline".to_owned(),
        color: nth_color(task),
        stroke: Stroke::Dashed,
        points: [left, right].map(|x| (x, to_ms(own.deadline_ns))).into(),
    };
    known.iter().flat_map(|point| &point.tasks).enumerate().map(of).collect()
}

/// One line for each budget that the analysis asks for; models that ask for the same share it.
fn bounds(outcome: &Outcome) -> Vec<Bound> {
    let mut bounds: Vec<(u64, Vec<&str>, String)> = Vec::new();
    for own in &outcome.analytic {
        let (Some(ns), Some(text)) = (own.budget_ns, own.text()) else { continue };
        match bounds.iter_mut().find(|(other, ..)| *other == ns) {
            Some((_, models, _)) => models.push(&own.supply),
            None => bounds.push((ns, vec![&own.supply], text)),
        }
    }
    let bound = |(ns, models, text): (u64, Vec<&str>, String)| Bound {
        x: to_ms(ns),
        label: format!("{}: {text}", models.join(", ")),
        color: GREY,
    };
    bounds.into_iter().map(bound).collect()
}

/// From below the least to above the greatest value, far enough for labels above the frame.
fn x_axis(values: impl Iterator<Item = f64> + Clone) -> Option<(f64, f64)> {
    let (least, most) = (values.clone().reduce(f64::min)?, values.reduce(f64::max)?);
    let margin = ((most - least) * 0.2).max(0.02 * most);
    Some(((least - margin).max(0.0), most + margin))
}

fn title(outcome: &Outcome) -> String {
    let found = match outcome.smallest_ns {
        Some(ns) => format!("{} is the smallest budget that holds", in_ms(ns)),
        None => "no budget measured holds".to_owned(),
    };
    format!("Sweep of {}: {found}", outcome.experiment)
}

fn caption(outcome: &Outcome, simulated: bool) -> String {
    let mut text = format!(
        "{} Of the jobs that no stall disturbed; unfinished jobs count as missed.",
        outcome.sentence()
    );
    if !outcome.analytic.is_empty() {
        text += &format!(
            " Dotted: least budgets by analysis ({}). Dashed: deadlines.",
            outcome.analytic_text()
        );
    }
    if simulated {
        text += " Long dashes: simulated.";
    }
    text
}

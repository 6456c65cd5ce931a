//! The measured supply bound function over the promised ones, beside the bursts and gaps.

use std::collections::BTreeMap;

use super::{
    bound::Promise,
    bursts::{Bursts, histogram},
    curve::Point,
};
use crate::{
    figure::{
        About, Color, Figure, Line, Panel, Stroke,
        axis::round_up,
        palette::{nth_color, pale},
    },
    folder::Case,
    units::{count, short},
};

/// The figure shows windows of up to so many periods.
const PERIODS: f64 = 6.0;

/// Bins of the histograms in a period.
const BINS: u64 = 50;

/// `supply-<experiment>`.
#[must_use]
pub fn figure(case: &Case, promise: &Promise, points: &[Point]) -> Figure {
    let reservation = promise.reservation;
    let mechanism = case.reservation().map_or("", |own| own.mechanism.name());
    Figure {
        name: format!("supply-{}", case.name()),
        title: format!("{}: supply under {reservation} by {mechanism}", case.name()),
        caption: caption(case, promise),
        panels: vec![bound_panel(promise, points), burst_panel(case, promise)],
    }
}

fn shown_as(label: &str) -> About {
    About { case: Some(label.to_owned()), ..About::default() }
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn bound_panel(promise: &Promise, points: &[Point]) -> Panel {
    let longest = points.last().map_or(1.0, |point| ms(point.length_ns));
    let x_max = (PERIODS * ms(promise.period_ns())).min(round_up(longest));
    let shown: Vec<&Point> = points.iter().filter(|point| ms(point.length_ns) <= x_max).collect();
    let line = |label: &str, color: Color, stroke, pick: &dyn Fn(&Point) -> Option<u64>| Line {
        about: shown_as(label),
        label: label.to_owned(),
        color,
        stroke,
        points: std::iter::once((0.0, 0.0))
            .chain(shown.iter().filter_map(|point| Some((ms(point.length_ns), ms(pick(point)?)))))
            .collect(),
    };
    let promised = |label: &str, color, of: fn(&Promise, u64) -> u64| {
        let steps = 600_u32;
        let at = |k: u32| f64::from(k) * x_max / f64::from(steps);
        let value = |x: f64| (x, ms(of(promise, (x * 1e6).round() as u64)));
        Line {
            about: shown_as(label),
            label: label.to_owned(),
            color,
            stroke: Stroke::Broad,
            points: (0..=steps).map(|k| value(at(k))).collect(),
        }
    };
    let least = |point: &Point| point.least.map(|(_, window)| window.supplied_ns);
    let mut lines = vec![
        promised("promised, two-gap", pale(nth_color(1)), Promise::two_gap_ns),
        promised("promised, one-gap", pale(nth_color(0)), Promise::one_gap_ns),
        line("measured, least", nth_color(2), Stroke::Solid, &least),
        line("measured, greatest", nth_color(3), Stroke::Solid, &|point| point.greatest_ns),
    ];
    if shown.iter().any(|point| point.least_all_ns != least(point)) {
        let label = "windows with stalls included";
        lines.push(line(label, nth_color(2), Stroke::Dashed, &|point| point.least_all_ns));
    }
    let highest = lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let y_max = round_up(highest.fold(0.0, f64::max));
    Panel {
        x_label: "length of the window (ms)".to_owned(),
        y_label: "CPU time in it (ms)".to_owned(),
        x_min: 0.0,
        x_max,
        y_max,
        lines,
        bounds: Vec::new(),
        bounds_label: "",
        cdf: false,
    }
}

fn burst_panel(case: &Case, promise: &Promise) -> Panel {
    let width_ns = (promise.period_ns() / BINS).max(1);
    let busy: Vec<_> = case.traced.iter().flat_map(|one| one.quiet.clone()).collect();
    let found = Bursts::of(&busy);
    let line = |label: String, color, lengths: &[u64]| Line {
        about: About { jobs: Some(lengths.len() as u64), ..shown_as(&label) },
        label,
        color,
        stroke: Stroke::Solid,
        points: steps(&histogram(lengths, width_ns), lengths.len(), width_ns),
    };
    let lines = vec![
        line(count(found.bursts_ns.len(), "burst"), nth_color(4), &found.bursts_ns),
        line(count(found.gaps_ns.len(), "gap"), nth_color(5), &found.gaps_ns),
    ];
    let highest = |pick: fn(&(f64, f64)) -> f64| {
        lines.iter().flat_map(|line| &line.points).map(pick).fold(0.0, f64::max)
    };
    let (x_max, y_max) = (round_up(highest(|point| point.0)), round_up(highest(|point| point.1)));
    Panel {
        x_label: format!("length (ms), in bins of {}", short(width_ns as f64)),
        y_label: "share".to_owned(),
        x_min: 0.0,
        x_max,
        y_max,
        lines,
        bounds: Vec::new(),
        bounds_label: "",
        cdf: false,
    }
}

/// The outline of a histogram, in ms and shares.
fn steps(bins: &BTreeMap<u64, usize>, total: usize, width_ns: u64) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    for (&from_ns, &n) in bins {
        let (left, right) = (ms(from_ns), ms(from_ns + width_ns));
        let share = n as f64 / total as f64;
        points.extend([(left, 0.0), (left, share), (right, share), (right, 0.0)]);
    }
    points
}

fn caption(case: &Case, promise: &Promise) -> String {
    let quiet: Vec<_> = case.traced.iter().flat_map(|one| &one.quiet).collect();
    let seconds = quiet.iter().map(|one| one.length_ns()).sum::<u64>() as f64;
    let longest = quiet.iter().map(|one| one.length_ns()).max().unwrap_or(0) as f64;
    format!(
        "The least and the greatest CPU time that the vCPU got in any window of each length in \
         which it wanted the CPU all the time and no stall of the machine lies: {} of {} in all, \
         the longest {}. Promised: the two-gap and the one-gap supply bound functions of {}{}.",
        short(seconds),
        count(quiet.len(), "busy interval"),
        short(longest),
        promise.reservation,
        if promise.tick_ns > 0 {
            format!("; the budget is enforced at ticks of {}", short(promise.tick_ns as f64))
        } else {
            String::new()
        }
    )
}

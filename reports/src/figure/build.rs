//! What each figure shows: the CDFs of the paper's figures, and response times over time.

use model::sweep::Outcome;

use super::{
    About, Bound, Color, Figure, Line, Panel, Stroke,
    axis::round_up,
    budget,
    palette::{dark, nth_color, pale},
    sweep,
};
use crate::{
    folder::{Case, Results},
    series::{Run, SERVICE, Selection, Series},
    stats::cdf,
    table1, tenants,
    units::{count, short},
};

/// The curve of all jobs beside that of the undisturbed ones.
const STALLED_TOO: &str = "all jobs, stalled ones included";

/// What a bound on an axis of response times is.
const WORST_CASE: &str = "analytic worst case";

/// A curve shows at most this many samples.
const MOST_STEPS: usize = 3000;

/// Tasks whose 99th percentiles differ by more than this factor get axes of their own.
const APART: f64 = 4.0;

/// The figures of a result folder: fig1, fig2, fig3, fig4 (both cases on one pair of axes), then
/// one for every other measured experiment; after an unbounded case, its responses over time. The
/// experiments of a sweep have one figure together.
#[must_use]
pub fn figures(results: &Results) -> Vec<Figure> {
    let mut figures = Vec::new();
    let own = |case: &&Case| case.is_measured() && !results.is_swept(case);
    let mut rest: Vec<&Case> = results.cases.iter().filter(own).collect();
    while !rest.is_empty() {
        let name = together(results, rest[0]).to_owned();
        let (own, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|case| together(results, case) == name);
        figures.push(cdf_figure(&name, &own, results));
        figures.extend(own.iter().filter(|case| grows(case)).map(|case| over_time(case)));
        rest = others;
    }
    figures.sort_by_key(|figure| !figure.name.starts_with("fig"));
    let simulated = |own: &Outcome| {
        let all = results.simulation.iter().flat_map(|played| &played.sweeps);
        all.into_iter().find(|other| other.experiment == own.experiment)
    };
    let swept = |own| sweep::figure(own, simulated(own));
    figures.extend(results.sweeps.iter().filter_map(swept));
    figures
}

/// As [`figure_name`]; a case beside a wild neighbour is drawn with the one beside a quiet one.
pub(crate) fn together<'a>(results: &'a Results, case: &'a Case) -> &'a str {
    let quiet = tenants::quiet_twin(results, case).filter(|quiet| quiet.is_measured());
    figure_name(quiet.unwrap_or(case).name())
}

/// The figure in which a case is drawn: `fig4-unloaded` and `fig4-loaded` share `fig4`, and the
/// four cases of Table 1 share `table1`.
pub(crate) fn figure_name(case: &str) -> &str {
    match case {
        "fig4-unloaded" | "fig4-loaded" => "fig4",
        name if table1::EXPERIMENTS.contains(&name) => "table1",
        name => name,
    }
}

/// Whether the analysis leaves a periodic task without a bound.
fn grows(case: &Case) -> bool {
    case.judged() == Selection::All && case.series.iter().any(|own| own.deadline_ns.is_some())
}

fn cdf_figure(name: &str, cases: &[&Case], results: &Results) -> Figure {
    let mut curves: Vec<Curve> =
        cases.iter().enumerate().flat_map(|(at, case)| curves(at, case, cases.len())).collect();
    for own in &mut curves {
        own.simulated = results.simulation_of(own.case).and_then(|it| it.task(&own.series.task));
    }
    curves.sort_by(|a, b| a.series.task.cmp(&b.series.task));
    let spread = |pick: fn(f64, f64) -> f64, from| curves.iter().map(Curve::p99).fold(from, pick);
    let apart = spread(f64::max, 0.0) > APART * spread(f64::min, f64::INFINITY);
    let mut panels = Vec::new();
    let mut beyond = Vec::new();
    if apart {
        for own in curves.chunk_by(|a, b| a.series.task == b.series.task) {
            panels.push(cdf_panel(own, &mut beyond));
        }
    } else {
        panels.push(cdf_panel(&curves, &mut beyond));
    }
    Figure {
        name: name.to_owned(),
        title: title(name, cases[0]),
        caption: caption(cases, &beyond, curves.iter().any(|own| own.simulated.is_some())),
        panels,
    }
}

/// One task of one case, ready to be drawn.
struct Curve<'a> {
    case: &'a Case,
    series: &'a Series,
    /// The same task, simulated.
    simulated: Option<&'a Series>,
    label: String,
    /// The task, and which of several cases.
    about: (String, Option<String>),
    color: Color,
    stroke: Stroke,
}

impl Curve<'_> {
    fn sorted(&self, selection: Selection) -> &[u64] {
        self.series.sorted(selection)
    }

    fn about(&self, kind: Option<&'static str>, jobs: usize) -> About {
        let (task, case) = self.about.clone();
        About { task: Some(task), case, kind, jobs: Some(jobs as u64) }
    }

    /// Darker than the measured one, over which it lies.
    fn simulated(&self, end_ns: u64) -> Option<Line> {
        let series = self.simulated?;
        let at = self.case.series.iter().position(|own| own.task == series.task)?;
        let sorted = series.sorted(self.case.judged());
        Some(Line {
            about: self.about(Some("simulated"), sorted.len()),
            label: "simulated".to_owned(),
            color: dark(nth_color(at)),
            stroke: Stroke::Simulated,
            points: clipped(sorted, series.unfinished(), end_ns),
        })
    }

    fn p99(&self) -> f64 {
        model::stats::percentile(self.sorted(Selection::All), 99.0).unwrap_or(0) as f64
    }
}

/// Of two cases the second one is drawn dark and narrow over the pale and broad first one, so that
/// both are seen where they coincide. Of more, each has its own colour.
fn curves<'a>(at: usize, case: &'a Case, cases: usize) -> Vec<Curve<'a>> {
    let of = |(task, series): (usize, &'a Series)| {
        let name = task_label(case, &series.task);
        let condition = if case.workload().load().is_some() { "loaded" } else { "unloaded" };
        let which = match cases {
            1 => None,
            2 => Some(condition.to_owned()),
            _ => Some(case.name().to_owned()),
        };
        let about = (name.clone(), which);
        let (label, color, stroke) = match (cases, at) {
            (1, _) => (name, nth_color(task), Stroke::Solid),
            (2, 0) => (format!("{name}, {condition}"), pale(nth_color(task)), Stroke::Broad),
            (2, _) => (format!("{name}, {condition}"), nth_color(task), Stroke::Solid),
            _ => (format!("{name}, {}", case.name()), nth_color(at), Stroke::Solid),
        };
        Curve { case, series, simulated: None, label, about, color, stroke }
    };
    case.series.iter().filter(|series| !series.is_empty()).enumerate().map(of).collect()
}

/// `τ1 (30 ms, 150 ms)`, as the paper writes a task.
fn task_label(case: &Case, name: &str) -> String {
    let Some(index) = name.strip_prefix("tau").and_then(|digits| digits.parse::<usize>().ok())
    else {
        return if name == SERVICE { "requests".to_owned() } else { name.to_owned() };
    };
    let task = index.checked_sub(1).and_then(|at| case.tasks().get(at));
    let parameters = task.map_or_else(String::new, |task| {
        let text = |duration: std::time::Duration| plain(duration.as_nanos() as f64);
        format!(" ({}, {})", text(task.execution()), text(task.period()))
    });
    format!("τ{index}{parameters}")
}

/// Nanoseconds with the unit and without trailing zeros: `30 ms`.
pub(crate) fn plain(ns: f64) -> String {
    let (value, unit) = if ns < 1e6 { (ns / 1e3, "µs") } else { (ns / 1e6, "ms") };
    let text = format!("{value:.3}");
    format!("{} {unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

fn cdf_panel(curves: &[Curve], beyond: &mut Vec<String>) -> Panel {
    let largest = curves
        .iter()
        .map(|curve| curve.p99().max(curve.case.bound_ns(&curve.series.task).unwrap_or(0) as f64))
        .fold(0.0, f64::max);
    let x_max = round_up(largest / 1e6 * 1.08);
    let end_ns = (x_max * 1e6) as u64;
    let mut dashed = Vec::new();
    let mut solid = Vec::new();
    let mut bounds: Vec<Bound> = Vec::new();
    for curve in curves {
        let judged = curve.case.judged();
        let all = curve.sorted(Selection::All);
        let line = |sorted: &[u64], stroke, label: &str, kind| Line {
            about: curve.about(kind, sorted.len()),
            label: label.to_owned(),
            color: curve.color,
            stroke,
            points: clipped(sorted, curve.series.unfinished(), end_ns),
        };
        solid.push(line(curve.sorted(judged), curve.stroke, &curve.label, None));
        if judged == Selection::Undisturbed && curve.series.disturbed().is_some_and(|n| n > 0) {
            dashed.push(line(all, Stroke::Dashed, STALLED_TOO, Some(STALLED_TOO)));
        }
        let outside = all.len() - all.partition_point(|&sample| sample <= end_ns);
        if outside > 0 {
            let largest = short(all[all.len() - 1] as f64);
            beyond.push(format!(
                "{}: {} beyond the right edge, up to {largest}.",
                curve.label,
                count(outside, "job")
            ));
        }
        if curve.series.unfinished() > 0 {
            let unfinished = count(curve.series.unfinished() as usize, "more job");
            beyond.push(format!("{}: {unfinished} never finished.", curve.label));
        }
        bounds.extend(bound(curve).filter(|own| bounds.iter().all(|other| other.x != own.x)));
    }
    // Pale lines first, then dark ones, then the thin dashes, which would else vanish.
    solid.sort_by_key(|line| line.stroke != Stroke::Broad);
    let mut lines = solid;
    lines.extend(curves.iter().filter_map(|curve| curve.simulated(end_ns)));
    lines.extend(dashed);
    Panel {
        x_label: "response time x (ms)".to_owned(),
        y_label: "C(x) = P{response time < x}".to_owned(),
        x_min: 0.0,
        x_max,
        y_max: 1.0,
        lines,
        bounds,
        bounds_label: WORST_CASE,
        cdf: true,
    }
}

/// The step curve in milliseconds, cut off at the right edge.
fn clipped(sorted: &[u64], unfinished: u64, end_ns: u64) -> Vec<(f64, f64)> {
    let steps = cdf::steps(sorted, unfinished, end_ns, MOST_STEPS);
    let inside = steps.partition_point(|step| step.0 <= end_ns);
    let mut points: Vec<(f64, f64)> =
        steps[..inside].iter().map(|&(ns, share)| (ns as f64 / 1e6, share)).collect();
    if inside < steps.len() {
        points.push((end_ns as f64 / 1e6, points.last().map_or(0.0, |point| point.1)));
    }
    points
}

fn bound(curve: &Curve) -> Option<Bound> {
    let ns = curve.case.bound_ns(&curve.series.task)? as f64;
    let at = curve.case.series.iter().position(|own| own.task == curve.series.task)?;
    Some(Bound { x: ns / 1e6, label: plain(ns), color: nth_color(at) })
}

/// `Figure 3` for `fig3`; other names as they are.
fn heading(name: &str) -> String {
    match name.strip_prefix("fig").map(|number| number.parse::<u32>()) {
        Some(Ok(number)) => format!("Figure {number}"),
        _ => name.to_owned(),
    }
}

fn title(name: &str, case: &Case) -> String {
    match name {
        "table1" => "Table 1: response times of the web service".to_owned(),
        "fig1" => "Figure 1: on the host".to_owned(),
        "fig2" => "Figure 2: in a guest, host unloaded".to_owned(),
        "fig3" => "Figure 3: in a guest, host loaded, no reservation".to_owned(),
        "fig4" => {
            let reservation = case.reservation();
            let pair = reservation.map_or_else(String::new, |own| {
                let ns = |duration: std::time::Duration| plain(duration.as_nanos() as f64);
                format!(" with a ({}, {}) reservation", ns(own.budget), ns(own.period))
            });
            format!("Figure 4: in a guest{pair}")
        }
        other => other.to_owned(),
    }
}

fn caption(cases: &[&Case], beyond: &[String], simulated: bool) -> String {
    let mut sentences = Vec::new();
    for case in cases {
        let series: Vec<String> = case.series.iter().map(|own| sizes(case, own)).collect();
        sentences.push(format!("{}: {}.", case.name(), series.join(", ")));
    }
    if simulated {
        sentences.push("Long dashes: simulated.".to_owned());
    }
    if let Some(bounds) = cases.iter().find_map(|case| case.bounds.as_ref()) {
        sentences.push(format!("Dotted: analytic worst case ({}).", bounds.supply));
    }
    sentences.extend(beyond.iter().cloned());
    sentences.join(" ")
}

fn sizes(case: &Case, series: &Series) -> String {
    let noun = if series.task == SERVICE { "request" } else { "job" };
    let jobs = format!("{} {}", task_short(&series.task), count(series.len(), noun));
    match (case.judged(), series.disturbed()) {
        (Selection::Undisturbed, Some(n)) if n > 0 => {
            format!("{jobs} of which {n} stalled (left out of the solid curve)")
        }
        _ => jobs,
    }
}

fn task_short(name: &str) -> String {
    name.strip_prefix("tau").map_or_else(|| name.to_owned(), |index| format!("τ{index}"))
}

/// Response time against release, a panel for each task: what has no bound shows it here.
fn over_time(case: &Case) -> Figure {
    let budgets = budget::lines(case);
    let granted = budgets.iter().flat_map(|line| &line.points);
    let (last, greatest) =
        granted.fold((0.0_f64, 0.0_f64), |most, own| (most.0.max(own.0), most.1.max(own.1)));
    let y_label =
        if budgets.is_empty() { "response time (ms)" } else { "response time, budget (ms)" };
    let panel = |(at, series): (usize, &Series)| {
        let points: Vec<(f64, f64)> = series.runs.iter().flat_map(run_points).collect();
        let largest = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).fold(0.0, f64::max);
        Panel {
            x_label: "release (s)".to_owned(),
            y_label: y_label.to_owned(),
            x_min: 0.0,
            x_max: round_up(largest(|point| point.0).max(last)),
            y_max: round_up(largest(|point| point.1).max(greatest) * 1.05),
            lines: budgets
                .iter()
                .cloned()
                .chain([Line {
                    about: About {
                        task: Some(task_label(case, &series.task)),
                        jobs: Some(series.len() as u64),
                        ..About::default()
                    },
                    label: task_label(case, &series.task),
                    color: nth_color(at),
                    stroke: Stroke::Dots,
                    points,
                }])
                .collect(),
            bounds: Vec::new(),
            bounds_label: WORST_CASE,
            cdf: false,
        }
    };
    let measured = case.series.iter().filter(|series| !series.is_empty());
    Figure {
        name: format!("{}-time", case.name()),
        title: format!("{}: response times over time", heading(case.name())),
        caption: format!(
            "Every job of {}, by its release within the repetition.{}",
            count(case.counted.len(), "repetition"),
            if case.budgets.is_empty() {
                ""
            } else {
                " The grey line is the budget in each period, which adapts."
            }
        ),
        panels: measured.enumerate().map(panel).collect(),
    }
}

fn run_points(run: &Run) -> Vec<(f64, f64)> {
    let stride = run.samples.len().div_ceil(MOST_STEPS).max(1);
    let point =
        |job: &crate::series::Sample| (job.at_ns as f64 / 1e9, job.response_ns as f64 / 1e6);
    run.samples.iter().step_by(stride).map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_trailing_zeros() {
        assert_eq!(
            (plain(3e7), plain(2.5e6), plain(2.5e5)),
            ("30 ms".into(), "2.5 ms".into(), "250 µs".into())
        );
    }

    #[test]
    fn a_curve_is_cut_at_the_edge() {
        let points = clipped(&[10_000_000, 30_000_000], 0, 20_000_000);
        assert_eq!(points, [(0.0, 0.0), (10.0, 0.0), (10.0, 0.5), (20.0, 0.5)]);
    }
}

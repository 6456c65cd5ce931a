//! Each figure as a table: what a curve shows, in numbers, beside what the paper says of it.

use model::stats::percentile_beyond;

use crate::{
    claims::Claim,
    figure::{Figure, Line},
    folder::{Case, Results},
    grid::Grid,
    series::Series,
    units::{UNKNOWN, ms, ms_or_unknown},
};

/// Percentiles of every table of the page.
pub const PERCENTILES: [(&str, f64); 5] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("p99.99", 99.99)];

/// The table of a figure.
#[must_use]
pub fn grid(results: &Results, figure: &Figure, claims: &[Claim]) -> Grid {
    let cases = drawn(results, figure);
    if cases.is_empty() || !figure.panels.iter().any(|panel| panel.cdf) {
        return of_lines(figure);
    }
    let paper = |case: &Case, task: &str| paper(claims, case.name(), task);
    let with_paper =
        cases.iter().any(|case| case.series.iter().any(|own| paper(case, &own.task).is_some()));
    let mut header = vec!["case", "task"];
    header.extend(with_paper.then_some("the paper"));
    let texts = header.len();
    header.extend(["jobs", "misses"]);
    header.extend(PERCENTILES.map(|(name, _)| name));
    header.extend(["max", "analytic"]);
    let row = |(case, series): (&Case, &Series)| {
        let mut row = vec![case.name().to_owned(), task_name(&series.task)];
        if with_paper {
            row.push(paper(case, &series.task).unwrap_or(UNKNOWN).to_owned());
        }
        row.extend(cells(case, series));
        row
    };
    let each = cases.iter().flat_map(|case| case.series.iter().map(move |own| (*case, own)));
    Grid {
        header: header.into_iter().map(str::to_owned).collect(),
        rows: each.filter(|(_, own)| !own.is_empty()).map(row).collect(),
        texts,
        notes: vec![
            "Response times in milliseconds, of the jobs by which the case is judged; jobs that \
             never finished are the longest."
                .to_owned(),
        ],
    }
}

/// The cases whose curves the figure has.
fn drawn<'a>(results: &'a Results, figure: &Figure) -> Vec<&'a Case> {
    let mine = |case: &&Case| {
        case.is_measured() && crate::figure::build::together(results, case) == figure.name
    };
    results.cases.iter().filter(mine).collect()
}

fn cells(case: &Case, series: &Series) -> Vec<String> {
    let judged = case.judged();
    let sorted = series.sorted(judged);
    let count = series.count(judged);
    let misses = series.deadline_ns.map(|_| count.missed().to_string());
    let mut cells = vec![count.jobs.to_string(), misses.unwrap_or_else(|| UNKNOWN.to_owned())];
    cells.extend(PERCENTILES.map(|(_, p)| {
        percentile_beyond(sorted, series.unfinished(), p)
            .map_or_else(|| UNKNOWN.to_owned(), |ns| ms(ns as f64))
    }));
    cells.push(ms_or_unknown(sorted.last().map(|ns| *ns as f64)));
    cells.push(ms_or_unknown(case.bound_ns(&series.task).map(|ns| ns as f64)));
    cells
}

/// What the paper says of this task in this case: the value of the first claim about it.
fn paper(claims: &[Claim], case: &str, task: &str) -> Option<&'static str> {
    let id = format!("{case}-{task}");
    claims.iter().find(|claim| claim.id.starts_with(&id)).map(|claim| claim.paper)
}

fn task_name(task: &str) -> String {
    task.strip_prefix("tau").map_or_else(|| task.to_owned(), |index| format!("τ{index}"))
}

/// Of curves that are no distribution: where each begins and ends, its least and greatest value.
fn of_lines(figure: &Figure) -> Grid {
    let mut rows = Vec::new();
    for panel in &figure.panels {
        for line in panel.lines.iter().filter(|line| !line.points.is_empty()) {
            let row = line_row(&panel.y_label, line);
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
    }
    let header = ["shown", "curve", "from x", "to x", "least y", "greatest y", "y at the end"];
    Grid { header: header.map(str::to_owned).into(), rows, texts: 2, notes: Vec::new() }
}

fn line_row(shown: &str, line: &Line) -> Vec<String> {
    let fold = |pick: fn(f64, f64) -> f64, of: fn(&(f64, f64)) -> f64| {
        line.points.iter().map(of).reduce(pick).unwrap_or(f64::NAN)
    };
    let (x, y) = (|point: &(f64, f64)| point.0, |point: &(f64, f64)| point.1);
    let last = line.points[line.points.len() - 1].1;
    let numbers =
        [fold(f64::min, x), fold(f64::max, x), fold(f64::min, y), fold(f64::max, y), last];
    let name = match (&line.about.task, line.about.kind) {
        (Some(task), Some(kind)) => format!("{task}, {kind}"),
        _ => line.label.clone(),
    };
    let mut row = vec![shown.to_owned(), name];
    row.extend(numbers.map(|value| format!("{value:.2}")));
    row
}

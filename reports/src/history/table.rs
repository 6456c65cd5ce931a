//! The table of a history, and which change in it matters.

use super::{Entry, History, Point};
use crate::{
    compare::tolerance::Tolerance,
    grid::{Format, Grid},
    units::{UNKNOWN, ms_or_unknown, short, signed_percent},
};

/// Why `now` differs from `first` by what matters: a p99 beyond the tolerance to either side, or a
/// larger share of missed deadlines; none where it does not.
pub(super) fn change(first: &Point, now: &Point, Tolerance(share): Tolerance) -> Option<String> {
    first.entries.iter().find_map(|before| {
        let own = now.entries.iter().find(|own| own.task == before.task)?;
        let missed =
            |entry: &Entry| entry.count.missed() as f64 / (entry.count.judged() as f64).max(1.0);
        if missed(own) > missed(before) {
            let text =
                |entry: &Entry| format!("{} of {}", entry.count.missed(), entry.count.judged());
            return Some(format!(
                "{} missed {} deadlines, {} at first",
                own.task,
                text(own),
                text(before)
            ));
        }
        let ns = |entry: &Entry| entry.percentiles_ns[1].map(|ns| ns as f64);
        let (a, b) = (ns(before)?, ns(own)?);
        ((b / a - 1.0).abs() > share).then(|| {
            format!(
                "p99 of {} is {}, {} at first ({})",
                own.task,
                short(b),
                short(a),
                signed_percent(b / a - 1.0)
            )
        })
    })
}

pub(super) fn grid(history: &History, format: Format) -> Grid {
    let machine = format == Format::Csv;
    let human = [
        "result",
        "started",
        "task",
        "jobs",
        "missed",
        "p50",
        "p99",
        "p99.9",
        "p99.99",
        "against the first",
        "",
    ];
    let columns = [
        "result",
        "started_utc",
        "task",
        "jobs",
        "missed",
        "p50_ns",
        "p99_ns",
        "p99_9_ns",
        "p99_99_ns",
        "p99_change",
        "first_change",
    ];
    let mut rows = Vec::new();
    for (at, point) in history.points.iter().enumerate() {
        rows.extend(point.entries.iter().map(|entry| row(history, at, entry, machine)));
        if point.entries.is_empty() {
            rows.push(unmeasured(point));
        }
    }
    Grid {
        header: if machine { columns } else { human }.map(str::to_owned).into(),
        rows,
        texts: 3,
        notes: notes(history),
    }
}

fn row(history: &History, at: usize, entry: &Entry, machine: bool) -> Vec<String> {
    let point = &history.points[at];
    let is_change = history.first_change.as_ref().is_some_and(|own| own.0 == at);
    let at_first = history.points[0].entries.iter().find(|own| own.task == entry.task);
    let p99 = |own: &Entry| own.percentiles_ns[1].map(|ns| ns as f64);
    let against = at_first.and_then(p99).zip(p99(entry)).map(|(a, b)| b / a - 1.0);
    let mut cells = vec![point.folder.clone(), point.started_utc.clone(), entry.task.clone()];
    cells.extend([entry.count.judged().to_string(), entry.count.missed().to_string()]);
    cells.extend(entry.percentiles_ns.map(|ns| match ns {
        Some(ns) if machine => ns.to_string(),
        ns => ms_or_unknown(ns.map(|ns| ns as f64)),
    }));
    cells.push(against.map_or_else(
        || UNKNOWN.to_owned(),
        |share| {
            if machine { format!("{share:.4}") } else { signed_percent(share) }
        },
    ));
    cells.push(match (is_change, machine) {
        (own, true) => u8::from(own).to_string(),
        (true, false) => "← first change that matters".to_owned(),
        (false, false) => String::new(),
    });
    cells
}

fn unmeasured(point: &Point) -> Vec<String> {
    let mut cells = vec![point.folder.clone(), point.started_utc.clone()];
    cells.resize(11, UNKNOWN.to_owned());
    cells
}

fn notes(history: &History) -> Vec<String> {
    let mut notes = vec![format!(
        "{}: response times in milliseconds, of the jobs by which it is judged.",
        history.experiment
    )];
    let Some((at, why)) = &history.first_change else {
        notes.push("No result differs from the first by what matters.".to_owned());
        return notes;
    };
    let point = &history.points[*at];
    notes.push(format!("The first change that matters is {}: {why}.", point.folder));
    let changed: Vec<String> = point
        .changed
        .iter()
        .map(|own| format!("{} ({} → {})", own.what, own.first, own.second))
        .collect();
    notes.push(match changed.len() {
        0 => "Nothing differs in the circumstances from the result before it.".to_owned(),
        _ => format!("Since the result before it these differ: {}.", changed.join("; ")),
    });
    notes
}

//! A merged report as tables.

use super::{
    facts::{self, Differing},
    merged::{Column, Merged},
};
use crate::{
    claims::Verdict,
    grid::{Format, Grid},
    stats::effects::{self, CUT, LEAST_HOSTS},
    units::{UNKNOWN, count, ms, percent},
};

/// Names in a cell; the rest is counted.
const NAMED: usize = 5;

/// All tables; in CSV only the cells.
pub(super) fn text(merged: &Merged, format: Format) -> String {
    if format == Format::Csv {
        return cells(merged).write(format);
    }
    let all = [
        Some(experiments(merged)),
        Some(hosts(merged)),
        (!merged.claims.is_empty()).then(|| claims(merged)),
        Some(differences(merged, false)),
    ];
    all.into_iter().flatten().map(|grid| grid.write(format)).collect::<Vec<_>>().join("\n")
}

fn titles<const N: usize>(all: [&str; N]) -> Vec<String> {
    all.map(str::to_owned).into()
}

/// A row for each task of each experiment.
pub(super) fn experiments(merged: &Merged) -> Grid {
    let statistic = merged.statistic.name();
    let header = titles([
        "experiment",
        "task",
        "hosts",
        "least",
        "median",
        "most",
        "between hosts",
        "within a host",
        "share between",
        "outliers",
    ]);
    let rows = merged.columns.iter().map(|own| experiment(merged, own)).collect();
    let mut notes = vec![format!(
        "{} in milliseconds, of each host its repetitions' mean. Between hosts, within a host: \
         standard deviations of the hosts and of a host's repetitions (one random effect); share \
         between: the hosts' part of the variance.",
        statistic
    )];
    notes.push(outlier_rule(merged));
    if merged.simulated {
        notes.push("SIMULATED: folders among these were computed, not measured.".to_owned());
    }
    Grid { header, rows, texts: 2, notes }
}

pub(super) fn outlier_rule(merged: &Merged) -> String {
    match merged.hosts.len() {
        hosts if hosts < LEAST_HOSTS => format!(
            "No host is called an outlier: that takes {LEAST_HOSTS} hosts, and there are {hosts}."
        ),
        _ => format!(
            "▲ ▼ outlier: more than {CUT} robust standard deviations above or below the hosts' median."
        ),
    }
}

/// A time in milliseconds, or that it has no end.
pub(super) fn time(value: Option<f64>) -> String {
    match value {
        None => UNKNOWN.to_owned(),
        Some(value) if value.is_finite() => ms(value),
        Some(_) => "never".to_owned(),
    }
}

fn experiment(merged: &Merged, own: &Column) -> Vec<String> {
    let mut known: Vec<f64> = (0..merged.hosts.len()).filter_map(|host| own.value(host)).collect();
    known.sort_by(f64::total_cmp);
    let spread = |pick: fn(effects::Spread) -> f64| time(own.spread.map(pick));
    let share = own.spread.and_then(effects::Spread::share_between);
    vec![
        own.label.clone(),
        own.task.clone(),
        known.len().to_string(),
        time(known.first().copied()),
        time((!known.is_empty()).then(|| effects::median(known.clone()))),
        time(known.last().copied()),
        spread(|own| own.between),
        spread(|own| own.within),
        share.map_or_else(|| UNKNOWN.to_owned(), percent),
        names(merged, own.outliers()),
    ]
}

/// The first names, and how many more there are.
pub(super) fn names(merged: &Merged, hosts: impl Iterator<Item = usize>) -> String {
    let all: Vec<&str> = hosts.map(|host| merged.hosts[host].name.as_str()).collect();
    let shown = all[..all.len().min(NAMED)].join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A row for each host.
pub(super) fn hosts(merged: &Merged) -> Grid {
    let differing = facts::differing(merged);
    let row = |(at, host): (usize, &super::merged::Host)| {
        let measured = merged.columns.iter().filter(|own| own.value(at).is_some()).count();
        let verdicts = |verdict| {
            let own = merged.claims.iter().filter(|own| own.verdicts[at] == Some(verdict));
            own.count().to_string()
        };
        let tally = match host.facts.is_empty() {
            true => UNKNOWN.to_owned(),
            false => {
                [Verdict::Holds, Verdict::Fails, Verdict::NotMeasurable].map(verdicts).join(" / ")
            }
        };
        vec![
            host.name.clone(),
            format!("{measured} of {}", merged.columns.len()),
            tally,
            merged.outliers_of(at).collect::<Vec<_>>().join(", "),
            facts::of_host(&differing, at).join("; "),
            host.states.join("; "),
        ]
    };
    Grid {
        header: titles(["host", "measured", "✓ / ✗ / ?", "stands out in", "differs in", "state"]),
        rows: merged.hosts.iter().enumerate().map(row).collect(),
        texts: 6,
        notes: vec![format!(
            "{} of {}. Measured: tasks of experiments. ✓ / ✗ / ?: claims that hold, fail, are not \
             measurable.",
            count(merged.folders, "folder"),
            count(merged.hosts.len(), "host")
        )],
    }
}

/// A row for each claim.
fn claims(merged: &Merged) -> Grid {
    let row = |own: &super::merged::Scored| {
        let failing = own.verdicts.iter().enumerate();
        let failing = failing.filter(|one| *one.1 == Some(Verdict::Fails)).map(|one| one.0);
        let mut row = vec![own.label.clone()];
        let each = [Verdict::Holds, Verdict::Fails, Verdict::NotMeasurable];
        row.extend(each.map(|verdict| own.count(verdict).to_string()));
        row.push(names(merged, failing));
        row
    };
    Grid {
        header: titles(["claim", "✓ hosts", "✗ hosts", "? hosts", "fails on"]),
        rows: merged.claims.iter().map(row).collect(),
        texts: 1,
        notes: Vec::new(),
    }
}

/// What differs between hosts; `whole` with all names.
pub(super) fn differences(merged: &Merged, whole: bool) -> Grid {
    let found = facts::differing(merged);
    let others = |own: &Differing| {
        let one = |(value, hosts): &(String, Vec<usize>)| {
            let hosts = hosts.iter().copied();
            let names = match whole {
                true => {
                    hosts.map(|host| merged.hosts[host].name.clone()).collect::<Vec<_>>().join(" ")
                }
                false => names(merged, hosts),
            };
            format!("{value} ({names})")
        };
        match own.scattered && !whole {
            true => format!("{} more values", own.others.len()),
            false => own.others.iter().map(one).collect::<Vec<_>>().join("; "),
        }
    };
    let row = |own: &Differing| {
        vec![own.what.clone(), own.usual.0.clone(), own.usual.1.to_string(), others(own)]
    };
    let notes = if found.is_empty() {
        vec!["The manifests say nothing by which the hosts differ.".to_owned()]
    } else {
        Vec::new()
    };
    Grid {
        header: titles(["fact", "most hosts have", "hosts", "others"]),
        rows: found.iter().map(row).collect(),
        texts: 4,
        notes,
    }
}

/// A row for each host, experiment and task.
pub(super) fn cells(merged: &Merged) -> Grid {
    let statistic = merged.statistic.name();
    let mut header = titles(["host", "suite", "experiment", "task", "state", "repetitions"]);
    header.push(format!("{statistic}_ns"));
    header.extend(titles(["jobs", "missed", "robust_distance", "outlier"]));
    let mut rows = Vec::new();
    for (at, host) in merged.hosts.iter().enumerate() {
        let before = rows.len();
        let there = merged.columns.iter().filter(|own| own.value(at).is_some());
        rows.extend(there.map(|own| cell(host, at, own)));
        if rows.len() == before {
            let mut row = vec![host.name.clone(), String::new(), String::new(), String::new()];
            row.push(host.states.join("; "));
            row.resize(header.len(), UNKNOWN.to_owned());
            rows.push(row);
        }
    }
    Grid { header, rows, texts: 5, notes: Vec::new() }
}

fn cell(host: &super::merged::Host, at: usize, own: &Column) -> Vec<String> {
    let finite = own.value(at).filter(|value| value.is_finite());
    let (jobs, missed) = own.counts[at].unwrap_or_default();
    let experiment = own.experiment.clone();
    vec![
        host.name.clone(),
        own.suite.clone(),
        experiment,
        own.task.clone(),
        host.states.join("; "),
        own.values[at].len().to_string(),
        finite.map_or_else(|| UNKNOWN.to_owned(), |value| format!("{value:.0}")),
        jobs.to_string(),
        missed.to_string(),
        own.distances[at].map_or_else(|| UNKNOWN.to_owned(), |distance| format!("{distance:.2}")),
        u8::from(effects::is_outlier(own.distances[at])).to_string(),
    ]
}

/// A row for each host and claim.
pub(super) fn verdicts(merged: &Merged) -> Grid {
    let mut rows = Vec::new();
    for (at, host) in merged.hosts.iter().enumerate() {
        for claim in &merged.claims {
            let verdict = claim.verdicts[at].map_or(UNKNOWN, Verdict::name);
            rows.push(vec![host.name.clone(), claim.label.clone(), verdict.to_owned()]);
        }
    }
    Grid { header: titles(["host", "claim", "verdict"]), rows, texts: 3, notes: Vec::new() }
}

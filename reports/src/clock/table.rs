//! `reports clock`: two tables, gaps and timers, and the same as JSON.

use serde::Serialize;

use super::{Counted, Seen};
use crate::{
    folder::Results,
    grid::{Format, Grid},
    units::{UNKNOWN, ms_or_unknown, short},
};

fn known(ns: Option<u64>) -> String {
    ns.map_or_else(|| UNKNOWN.to_owned(), |ns| short(ns as f64))
}

/// `12, at most 3.4 ms`; what never happened is 0.
fn counted(own: Counted) -> String {
    match own.longest_ns {
        Some(ns) => format!("{}, at most {}", own.count, short(ns as f64)),
        None => own.count.to_string(),
    }
}

/// A row for each probe: gaps by cause, and steps of all clocks.
#[must_use]
pub fn gaps(seen: &[Seen]) -> Grid {
    let header = [
        "experiment",
        "clock source",
        "read for",
        "gaps",
        "longest",
        "scheduling",
        "discontinuity",
        "unknown",
        "steps back",
        "steps",
    ];
    let row = |own: &Seen| {
        let all = |of: &dyn Fn(&super::Steps) -> Option<Counted>| {
            let mut both = Counted::default();
            for one in own.clocks.iter().filter_map(of) {
                both.count += one.count;
                both.longest_ns = both.longest_ns.max(one.longest_ns);
            }
            both
        };
        let measured = own.repetitions > 0;
        let cell = |text: String| if measured { text } else { UNKNOWN.to_owned() };
        vec![
            own.experiment.clone(),
            own.clock_source.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
            cell(short(own.read_ns as f64)),
            cell(own.gaps.all.count.to_string()),
            known(own.gaps.all.longest_ns),
            cell(counted(own.gaps.scheduling)),
            cell(counted(own.gaps.discontinuity)),
            cell(counted(own.gaps.unknown)),
            cell(counted(all(&|one| Some(one.backward)))),
            cell(counted(all(&|one| one.steps))),
        ]
    };
    let mut notes = Vec::new();
    if let Some(threshold) = seen.iter().find_map(|own| own.threshold_ns) {
        notes.push(format!(
            "A gap: two successive reads of CLOCK_MONOTONIC lie further apart than {}. Scheduling: \
             the virtual CPU did not run for at least half of it; discontinuity: it ran.",
            short(threshold as f64)
        ));
    }
    let untraced = seen.iter().filter(|own| own.vm.is_some() && own.traced < own.repetitions);
    let untraced: Vec<&str> = untraced.map(|own| own.experiment.as_str()).collect();
    if !untraced.is_empty() {
        notes.push(format!(
            "Not traced, so that the cause of gaps is not known: {}. `orchestrator run` traces guests \
             where tracefs works.",
            untraced.join(", ")
        ));
    }
    Grid {
        header: header.map(str::to_owned).into(),
        rows: seen.iter().map(row).collect(),
        texts: 2,
        notes,
    }
}

/// A row for each probe: how late timers are, steal time, the offset of the clock.
#[must_use]
pub fn timers(seen: &[Seen]) -> Grid {
    let header = [
        "experiment",
        "idle p50",
        "p99",
        "max",
        "busy p50",
        "p99",
        "max",
        "P − Q + tick",
        "steal seen",
        "held off",
        "drift",
        "offset range",
        "jumps",
    ];
    let row = |own: &Seen| {
        let mut row = vec![own.experiment.clone()];
        for late in [own.timer_ns, own.timer_busy_ns] {
            let of = late.map(|own| [own.p50, own.p99, own.max].map(|ns| ns as f64));
            row.extend((0..3).map(|at| ms_or_unknown(of.map(|of| of[at]))));
        }
        let drifts = own.drifts.iter().filter_map(|own| own.drift);
        let farthest = drifts.max_by(|a, b| a.abs().total_cmp(&b.abs()));
        row.push(ms_or_unknown(own.expected_ns.map(|ns| ns as f64)));
        row.push(known(own.steal_ns));
        row.push(known(own.held_ns));
        row.push(farthest.map_or_else(|| UNKNOWN.to_owned(), parts_per_million));
        row.push(known(own.drifts.iter().map(|one| one.range_ns).max()));
        let jumped = own.drifts.iter().map(|one| one.jumped_ns).max_by_key(|ns| ns.unsigned_abs());
        row.push(ms_or_unknown(jumped.map(|ns| ns as f64)));
        row
    };
    let notes = vec![
        "Timers: wake-up minus due in ms, on an idle CPU and on one that another thread keeps busy. \
         Held off: how long the virtual CPU was runnable and did not run, as the host traced it; the \
         guest should see as much steal time. Jumps: by how much the guest's clock jumped against the \
         host's; of a guest that was paused for 2 s, −2 s."
            .to_owned(),
    ];
    Grid {
        header: header.map(str::to_owned).into(),
        rows: seen.iter().map(row).collect(),
        texts: 1,
        notes,
    }
}

fn parts_per_million(drift: f64) -> String {
    format!("{:+.1} ppm", drift * 1e6)
}

/// Both tables.
#[must_use]
pub fn text(seen: &[Seen]) -> String {
    [gaps(seen), timers(seen)].map(|grid| grid.write(Format::Text)).join("\n")
}

#[derive(Serialize)]
struct Json<'a> {
    suite: &'a str,
    started_utc: &'a str,
    accelerator: Option<&'a str>,
    clocks: &'a [Seen],
}

/// One JSON object.
#[must_use]
pub fn json(results: &Results, seen: &[Seen]) -> String {
    let json = Json {
        suite: &results.manifest.suite.name,
        started_utc: &results.manifest.started_utc,
        accelerator: results.accelerator(),
        clocks: seen,
    };
    serde_json::to_string_pretty(&json).expect("plain data with text keys") + "\n"
}

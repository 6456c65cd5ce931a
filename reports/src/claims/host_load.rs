//! Was the load there? What is said of a loaded host is said of one that carries the paper's load, on
//! the CPU that the guest runs on.

use model::{Task, stats::percentile};

use super::{
    Claim, Finding, Judged, Statement,
    case::{FIG3, FIG4_LOADED, Setup, values},
};
use crate::{
    folder::{Case, Results},
    series::{Selection, Series},
    units::{percent, short},
};

/// How far the CPU time of a load's job may be from its execution time.
const OFF: f64 = 0.10;
/// Load and guest ask for 112 % of the CPU together, so they leave nothing: but for what the fair
/// server gives to others (5 %), the sentinel takes (2 %) and stalls do.
const AT_LEAST: f64 = 0.85;
/// More than one CPU there is not; 2 % for the reading of clocks.
const AT_MOST: f64 = 1.02;

pub(super) fn claims(results: &Results) -> Vec<Claim> {
    let claim = |id, figure, setup: &Setup| {
        Statement {
            id,
            figure,
            says: "The load runs beside the guest, on the same CPU.",
            paper: "τ3 (50 ms, 120 ms) and τ4 (20 ms, 80 ms)",
            rule: format!(
                "in every repetition each task of the load has jobs, their median CPU time is \
                 within {} of the execution time, and load and vCPU together have from {} to {} \
                 of a CPU (they ask for 112 %)",
                percent(OFF),
                percent(AT_LEAST),
                percent(AT_MOST)
            ),
        }
        .judged(there(results, setup))
    };
    vec![claim("fig3-load", "3", &FIG3), claim("fig4-load", "4", &FIG4_LOADED)]
}

fn there(results: &Results, setup: &Setup) -> Finding {
    let case = setup.find(results)?;
    let tasks = case.workload().load().into_iter().flat_map(|load| load.tasks.iter());
    if case.load.is_empty() {
        return Err(format!("`{}` has no load-jobs.csv", case.name()));
    }
    let mut measured = Vec::new();
    let mut holds = true;
    for (series, task) in case.load.iter().zip(tasks) {
        let (is, text) = execution(series, task)?;
        holds &= is;
        measured.push(text);
    }
    let mut shares: Vec<f64> = Vec::new();
    for at in 0..case.load[0].runs.len() {
        shares.push(load_share(case, at)? + vcpu_share(case, at)?);
    }
    holds &= shares.iter().all(|share| (AT_LEAST..=AT_MOST).contains(share));
    let ends = [f64::min, f64::max].map(|pick| shares.iter().copied().reduce(pick).unwrap_or(0.0));
    measured.push(format!("with the vCPU {} to {} of a CPU", percent(ends[0]), percent(ends[1])));
    Ok(Judged {
        holds,
        measured: measured.join("; "),
        values: values([("share_least", ends[0]), ("share_most", ends[1])]),
    })
}

/// Whether every run has jobs of a load's task, of its execution time.
fn execution(series: &Series, task: &Task) -> Result<(bool, String), String> {
    let cpu = series.selected(Selection::All).map(|job| job.cpu_ns());
    let mut cpu: Vec<u64> =
        cpu.collect::<Option<_>>().ok_or("the CPU time of the load's jobs is not known")?;
    cpu.sort_unstable();
    let asked = task.execution().as_nanos() as f64;
    let absent = series.runs.iter().filter(|run| run.samples.is_empty()).count();
    let Some(median) = percentile(&cpu, 50.0).filter(|_| absent == 0) else {
        let all = series.runs.len();
        return Ok((false, format!("{task}: no job in {absent} of {all} repetitions")));
    };
    let is = (median as f64 / asked - 1.0).abs() <= OFF;
    Ok((is, format!("{task}: {} a job", short(median as f64))))
}

/// The load's part of a CPU from its first release to its last finish in a run.
fn load_share(case: &Case, at: usize) -> Result<f64, String> {
    let jobs = || case.load.iter().filter_map(|own| own.runs.get(at)).flat_map(|run| &run.samples);
    let ran: u64 = jobs().filter_map(|job| job.cpu_ns()).sum();
    let end = jobs().map(|job| job.at_ns.saturating_add(job.response_ns)).max().unwrap_or(0);
    Ok(ran as f64 / end.max(1) as f64)
}

fn vcpu_share(case: &Case, at: usize) -> Result<f64, String> {
    let attempt = case.load[0].runs[at].attempt;
    let record = case.counted.iter().find(|record| record.attempt == attempt);
    record
        .and_then(|record| record.facts.vcpu_share)
        .ok_or_else(|| format!("the vCPU's share of the CPU in `{}` is not known", case.name()))
}

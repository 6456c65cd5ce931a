//! What was supplied, and what the VM's threads used, as tables.

use std::collections::BTreeMap;

use model::{
    stats::percentile,
    suite::{Emulator, EmulatorPlace},
};

use super::{
    Traced,
    bound::{Broken, Promise, least},
    bursts::{Bursts, histogram},
    is_vcpu, promise,
    segment::{Segment, Window},
};
use crate::{
    folder::{Case, Results},
    grid::Grid,
    units::{UNKNOWN, ms, percent, short},
};

/// A row for each traced experiment.
#[must_use]
pub fn supplied(results: &Results) -> Grid {
    let cases: Vec<&Case> = traced(results).collect();
    let header = [
        "experiment",
        "mechanism",
        "ran",
        "of busy time",
        "burst p50",
        "burst max",
        "gap p50",
        "gap max",
        "least in 2P − Q",
        "promised",
        "most in P",
        "allowed",
    ];
    let mut notes = Vec::new();
    let rows = cases
        .iter()
        .map(|case| {
            let promise = promise(&results.manifest, case).and_then(Result::ok);
            if let Some(promise) = &promise {
                notes.push(format!("{}: {}", case.name(), verdict(case, promise)));
            }
            row(case, promise)
        })
        .collect();
    if !cases.is_empty() {
        notes.push(
            "Lengths in milliseconds. A vCPU is busy while it runs or could run; windows lie inside \
             busy intervals and outside of stalls. Promised and allowed have what a tick may take \
             or add in them, and 0.2 ms to spare."
                .to_owned(),
        );
    }
    Grid { header: header.map(str::to_owned).into(), rows, texts: 2, notes }
}

/// The measured cases that have a trace.
pub fn traced(results: &Results) -> impl Iterator<Item = &Case> {
    results.cases.iter().filter(|case| !case.traced.is_empty())
}

/// CPU time of the vCPUs as a share of the workload's time.
#[must_use]
pub fn bandwidth(attempts: &[Traced]) -> Option<f64> {
    let (mut ran, mut time) = (0, 0);
    for one in attempts {
        ran += one.busy.iter().map(Segment::supplied_ns).sum::<u64>();
        let (from_ns, to_ns) = one.window();
        time += to_ns.saturating_sub(from_ns);
    }
    (time > 0).then(|| ran as f64 / time as f64)
}

/// CPU time of the vCPUs as a share of the time in which they were busy.
fn of_busy(attempts: &[Traced]) -> Option<f64> {
    let busy = || attempts.iter().flat_map(|one| &one.busy);
    let time: u64 = busy().map(Segment::length_ns).sum();
    let ran: u64 = busy().map(Segment::supplied_ns).sum();
    (time > 0).then(|| ran as f64 / time as f64)
}

fn row(case: &Case, promise: Option<Promise>) -> Vec<String> {
    let own = case.reservation();
    let mechanism = own.map_or_else(
        || "none".to_owned(),
        |own| format!("{} {}", own.mechanism, own.reservation()),
    );
    let quiet: Vec<_> = case.traced.iter().flat_map(|one| one.quiet.clone()).collect();
    let bursts = Bursts::of(&quiet);
    let length = |ns: Option<u64>| ns.map_or_else(|| UNKNOWN.to_owned(), |ns| ms(ns as f64));
    let share = |share: Option<f64>| share.map_or_else(|| UNKNOWN.to_owned(), percent);
    let corner = promise.map(|own| 2 * own.period_ns() - own.budget_ns());
    let most = promise.and_then(|own| most_in_period(&case.traced, &own));
    vec![
        case.name().to_owned(),
        mechanism,
        share(bandwidth(&case.traced)),
        share(of_busy(&case.traced)),
        length(percentile(&bursts.bursts_ns, 50.0)),
        length(bursts.bursts_ns.last().copied()),
        length(percentile(&bursts.gaps_ns, 50.0)),
        length(bursts.gaps_ns.last().copied()),
        length(corner.and_then(|length| Some(least(&quiet, length)?.supplied_ns))),
        length(promise.zip(corner).map(|(own, length)| own.least_ns(length))),
        length(most.map(|(_, window)| window.supplied_ns)),
        length(promise.map(|own| own.most_ns(1))),
    ]
}

/// The window of length P with the most supply, and its attempt.
#[must_use]
pub fn most_in_period(attempts: &[Traced], promise: &Promise) -> Option<(u32, Window)> {
    let of = |one: &Traced| {
        Some((one.attempt, promise.most_in_period(&one.steady(promise.period_ns()))?))
    };
    attempts.iter().filter_map(of).max_by_key(|(_, window)| window.supplied_ns)
}

/// The window that got the most beyond what a hard server lets through, or came nearest to it, and its
/// attempt: of whole periods where they follow each other evenly, or from the begin of a busy interval.
#[must_use]
pub fn fullest(attempts: &[Traced], promise: &Promise) -> Option<(u32, Broken)> {
    let of = |one: &Traced| {
        let steady = promise.fullest(&one.steady(promise.period_ns()));
        let found = steady.into_iter().chain(promise.fullest_begin(&one.from_begin()));
        Some((one.attempt, found.max_by_key(Broken::excess_ns)?))
    };
    attempts.iter().filter_map(of).max_by_key(|(_, broken)| broken.excess_ns())
}

/// The window of length P with the least supply, where periods follow each other evenly, and its
/// attempt.
#[must_use]
pub fn least_in_period(attempts: &[Traced], promise: &Promise) -> Option<(u32, Window)> {
    let period_ns = promise.period_ns();
    let of = |one: &Traced| Some((one.attempt, least(&one.steady(period_ns), period_ns)?));
    attempts.iter().filter_map(of).min_by_key(|(_, window)| window.supplied_ns)
}

/// The shortest window below the promise, and its attempt.
#[must_use]
pub fn first_below(attempts: &[Traced], promise: &Promise) -> Option<(u32, Broken)> {
    let of = |one: &Traced| Some((one.attempt, promise.first_below(&one.quiet)?));
    attempts.iter().filter_map(of).min_by_key(|(_, broken)| broken.window.length_ns)
}

fn verdict(case: &Case, promise: &Promise) -> String {
    match first_below(&case.traced, promise) {
        None => format!("no undisturbed window got less than {} promises.", promise.reservation),
        Some((attempt, broken)) => {
            format!("the first window below the promise: {}.", describe(case, attempt, broken))
        }
    }
}

/// A window in words, its start counted from the workload's.
#[must_use]
pub fn describe(case: &Case, attempt: u32, broken: Broken) -> String {
    let window = broken.window;
    let traced = case.traced.iter().find(|one| one.attempt == attempt);
    let from_ns = traced.map_or(0, |one| one.window().0);
    let others = traced.map(|one| one.others(&window)).unwrap_or_default();
    let others: Vec<String> =
        others.iter().map(|(thread, ns)| format!("{thread} {}", short(*ns as f64))).collect();
    format!(
        "{} from {} of rep-{attempt:03} (at {} ns), promised {}, delivered {}{}",
        short(window.length_ns as f64),
        short(window.start_ns.saturating_sub(from_ns) as f64),
        window.start_ns,
        short(broken.promised_ns as f64),
        short(window.supplied_ns as f64),
        if others.is_empty() {
            String::new()
        } else {
            format!("; meanwhile the CPU had {}", others.join(", "))
        }
    )
}

/// A row for each thread of the VM in each traced experiment: what it used, and on whose budget.
#[must_use]
pub fn threads(results: &Results) -> Grid {
    let header =
        ["experiment", "thread", "budget", "of a CPU", "of the measured CPU", "trace − clock"];
    let mut rows = Vec::new();
    for case in traced(results) {
        for (name, used) in usage(&case.traced) {
            let share = |ns: u64| percent(ns as f64 / used.time_ns.max(1) as f64);
            let apart = |clock: u64| (used.traced_ns as f64 - clock as f64) / clock.max(1) as f64;
            rows.push(vec![
                case.name().to_owned(),
                name.to_owned(),
                budget(case, name),
                share(used.clock_ns.unwrap_or(used.traced_ns)),
                share(used.measured_cpu_ns),
                used.clock_ns.map_or_else(
                    || UNKNOWN.to_owned(),
                    |clock| format!("{:+.2} %", 100.0 * apart(clock)),
                ),
            ]);
        }
    }
    Grid { header: header.map(str::to_owned).into(), rows, texts: 3, notes: Vec::new() }
}

#[derive(Default)]
struct Used {
    time_ns: u64,
    traced_ns: u64,
    measured_cpu_ns: u64,
    clock_ns: Option<u64>,
}

/// By thread, over all attempts, vCPUs first; threads that used less than 0.01 % are left out.
fn usage(attempts: &[Traced]) -> Vec<(&str, Used)> {
    let total: u64 = attempts.iter().map(|one| one.facts.to_ns - one.facts.from_ns).sum();
    let mut all: BTreeMap<(bool, &str), Used> = BTreeMap::new();
    for thread in attempts.iter().flat_map(|one| &one.facts.threads) {
        let used = all.entry((!is_vcpu(&thread.thread), &thread.thread)).or_insert_with(|| Used {
            time_ns: total,
            clock_ns: Some(0),
            ..Used::default()
        });
        used.traced_ns += thread.traced_ns;
        used.measured_cpu_ns += thread.measured_cpu_ns;
        used.clock_ns = used.clock_ns.zip(thread.clock_ns).map(|(sum, own)| sum + own);
    }
    let noticeable = |used: &Used| {
        used.traced_ns.max(used.clock_ns.unwrap_or(0)) as f64 >= 1e-4 * used.time_ns as f64
    };
    all.into_iter()
        .filter(|(_, used)| noticeable(used))
        .map(|((_, name), used)| (name, used))
        .collect()
}

/// Who pays for a thread's CPU time.
fn budget(case: &Case, thread: &str) -> String {
    if is_vcpu(thread) {
        return case.reservation().map_or_else(
            || "none: an ordinary thread on the measured CPU".to_owned(),
            |own| format!("the VM's, {} by {}", own.reservation(), own.mechanism),
        );
    }
    match case.workload().emulator() {
        Emulator::Place(EmulatorPlace::Housekeeping) => "the host's housekeeping CPUs".to_owned(),
        Emulator::Place(EmulatorPlace::Shared) => {
            "none: an ordinary thread on the measured CPU".to_owned()
        }
        Emulator::Reserved(own) if thread == "main-loop" => format!(
            "its own, {}/{} by deadline",
            model::duration::format(own.budget),
            model::duration::format(own.period)
        ),
        Emulator::Reserved(_) => "the host's housekeeping CPUs".to_owned(),
    }
}

/// `bursts.csv`: the histograms of every traced experiment.
#[must_use]
pub fn bursts(results: &Results) -> Grid {
    const WIDTH_NS: u64 = 100_000;
    let mut rows = Vec::new();
    for case in traced(results) {
        let quiet: Vec<_> = case.traced.iter().flat_map(|one| one.quiet.clone()).collect();
        let found = Bursts::of(&quiet);
        for (kind, lengths) in [("burst", &found.bursts_ns), ("gap", &found.gaps_ns)] {
            rows.extend(histogram(lengths, WIDTH_NS).into_iter().map(|(from_ns, n)| {
                let to_ns = from_ns + WIDTH_NS;
                let numbers = [from_ns.to_string(), to_ns.to_string(), n.to_string()];
                let mut row = vec![case.name().to_owned(), kind.to_owned()];
                row.extend(numbers);
                row
            }));
        }
    }
    let header = ["experiment", "kind", "from_ns", "to_ns", "count"];
    Grid { header: header.map(str::to_owned).into(), rows, texts: 2, notes: Vec::new() }
}

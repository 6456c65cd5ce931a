//! Budgets for a measured demand: against brute force, the analysis, the simulator; as a program.

use std::{path::Path, process::Command, time::Duration};

use model::{Reservation, TaskSet, demand::Demand};
use proptest::prelude::*;
use rtplan::{
    Costs, Model, Question, Scheduler, Supply, TaskSpec, Workload,
    demand::{USUAL_MOST, Wish, added_delay, recommended},
    least_budget,
    sim::{Cpu, Done, Observer, Server, Thread, simulate},
};
use serde_json::Value;

use crate::support::{ns, reservation};

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

fn wish(latency: Duration) -> Wish {
    Wish { latency, model: Model::TwoGap, costs: Costs::default(), most: 1.0 }
}

fn question(period: Duration) -> Question {
    let (model, costs) = (Model::TwoGap, Costs::default());
    Question { scheduler: Scheduler::RateMonotonic, model, costs, period }
}

/// What a thread ran, and the work that arrived there.
#[derive(Default)]
struct Seen {
    ran: Vec<(u64, u64)>,
    arrived: Vec<(u64, u64)>,
}

impl Observer for Seen {
    fn done(&mut self, done: &Done) {
        self.arrived.push((done.release_ns, done.cpu_ns));
    }

    fn ran(&mut self, thread: usize, from: u64, to: u64) {
        if thread == 0 {
            self.ran.push((from, to));
        }
    }
}

/// The tasks under a server, and another reservation that always asks for the CPU and has the rest.
fn played(tasks: &TaskSet, server: Server, rest: Option<Reservation>, length: Duration) -> Seen {
    let guest =
        Thread::new(server, &Workload::of(tasks).unwrap(), Scheduler::RateMonotonic).unwrap();
    let rest = rest.map(|own| Thread::hog(Server::HardCbs(own)));
    let cpu = Cpu::new([guest].into_iter().chain(rest).collect(), length);
    let mut seen = Seen::default();
    simulate(&cpu, 1, &mut seen).unwrap();
    seen
}

/// By how much work was done later than with the CPU to itself, at most: by definition, from when
/// each unit of work was done.
fn delayed(seen: &Seen) -> u64 {
    let mut arrived = seen.arrived.clone();
    arrived.sort_unstable();
    let (mut alone, mut free) = (Vec::new(), 0);
    for (at, work) in arrived {
        let start = free.max(at);
        free = start + work;
        alone.push((start, free));
    }
    let done_at = |runs: &[(u64, u64)], work: u64| {
        let mut before = 0;
        for (start, end) in runs {
            if before + (end - start) >= work {
                return start + (work - before);
            }
            before += end - start;
        }
        u64::MAX
    };
    // Lateness grows where a run ends; units are told by how much was done before.
    let ends = |runs: &[(u64, u64)]| -> Vec<u64> {
        let mut sum = 0;
        runs.iter()
            .flat_map(|(start, end)| {
                sum += end - start;
                [sum, sum + 1]
            })
            .collect()
    };
    let total: u64 = alone.iter().map(|(start, end)| end - start).sum();
    ends(&seen.ran)
        .into_iter()
        .chain(ends(&alone))
        .filter(|work| *work <= total)
        .map(|work| done_at(&seen.ran, work).saturating_sub(done_at(&alone, work)))
        .max()
        .unwrap_or(0)
}

fn demand_of(seen: &Seen, length: Duration) -> Demand {
    let end = [(0, 0), (length.as_nanos() as u64, 0)];
    Demand::of(seen.arrived.iter().copied().chain(end))
}

/// The correspondence with the analysis. Alone, tau2 is done 80 ms after its release at worst, and
/// nothing is released for 70 ms from then. So for a latency L of at most 70 ms the VM's work is in
/// time exactly where tau2 meets a deadline of 80 ms + L.
#[test]
fn the_papers_set_needs_the_budget_that_the_analysis_finds() {
    let seen = played(&TaskSet::paper(), Server::Fifo { priority: 1 }, None, ms(60_000));
    let demand = demand_of(&seen, ms(60_000));
    for (latency, period) in [(20, 50), (44, 50), (70, 50), (20, 10), (33, 25), (70, 30), (5, 3)] {
        let tau2 = format!("50ms/200ms/{}ms", 80 + latency);
        let specs = ["30ms/150ms", &tau2].map(|text| text.parse::<TaskSpec>().unwrap());
        let workload = Workload::new(specs.to_vec()).unwrap();
        let analysed = least_budget(&workload, &question(ms(period))).unwrap().unwrap();
        let measured = wish(ms(latency)).least_budget([&demand], ms(period)).unwrap();
        assert_eq!(measured, Some(analysed.least), "latency {latency} ms, period {period} ms");
    }
}

/// Beyond that the work released meanwhile counts, too: tau2 with a deadline of 80 ms + L may be
/// met where the VM's work is late.
#[test]
fn the_budget_for_the_papers_latency_is_the_one_that_can_be_checked_by_hand() {
    let seen = played(&TaskSet::paper(), Server::Fifo { priority: 1 }, None, ms(6_000));
    let demand = demand_of(&seen, ms(6_000));
    let budget = wish(ms(20)).least_budget([&demand], ms(50)).unwrap().unwrap();
    // 80 ms of work, in two budgets, wait for three gaps: 3 (50 − Q) ≤ 20.
    assert_eq!(budget.as_nanos(), 43_333_334);
    // 30 ms at a time, in one budget, wait for two gaps: 2 (50 − Q) ≤ 20 and Q ≥ 30.
    let light = Demand::of((0..40).map(|k| (k * 150_000_000, 30_000_000)));
    assert_eq!(wish(ms(20)).least_budget([&light], ms(50)).unwrap(), Some(ms(40)));
}

/// Under the least budget the simulator delays no work by more than the latency, whatever else runs;
/// with nine tenths of it, it does.
#[test]
fn the_least_budget_holds_in_the_simulator_and_nine_tenths_do_not() {
    let length = ms(12_000);
    for (latency, period) in [(ms(20), ms(50)), (ms(40), ms(50)), (ms(60), ms(80))] {
        let alone = played(&TaskSet::paper(), Server::Fifo { priority: 1 }, None, length);
        let demand = demand_of(&alone, length);
        let budget = wish(latency).least_budget([&demand], period).unwrap().unwrap();
        let worst = |budget: Duration| {
            let server = Server::HardCbs(Reservation::new(budget, period).unwrap());
            let rest = [None, Reservation::new(period - budget, period).ok()];
            let of = |rest| delayed(&played(&TaskSet::paper(), server, rest, length));
            Duration::from_nanos(rest.into_iter().map(of).max().unwrap())
        };
        assert!(worst(budget) <= latency, "{latency:?}: {:?} late", worst(budget));
        // Elsewhere nine tenths are too little for the bound only: this neighbour does not delay the
        // server by as much as another could.
        if latency == ms(20) {
            let less = budget * 9 / 10;
            assert!(worst(less) > latency, "{less:?} of {period:?}: only {:?} late", worst(less));
        }
    }
}

#[test]
fn a_vm_that_takes_all_it_gets_has_no_budget_and_one_with_nothing_to_do_has_the_least() {
    let takes_all = Demand::of([(0, 10_000_000_000), (10_000_000_000, 0)]);
    let usual = Wish { most: USUAL_MOST, ..wish(ms(20)) };
    assert_eq!(usual.least_budget([&takes_all], ms(50)).unwrap(), None);
    let idle = Demand::of([(0, 0), (10_000_000_000, 0)]);
    // Whatever it may once ask for waits for no more than the latency.
    assert_eq!(usual.least_budget([&idle], ms(50)).unwrap(), Some(ms(40)));
    assert_eq!(usual.least_budget([&idle], ms(10)).unwrap(), Some(ns(1)));
    // The vCPU that asks for most decides.
    assert_eq!(usual.least_budget([&idle, &takes_all], ms(50)).unwrap(), None);
    let cells = usual.trade_off(&[&takes_all], rtplan::demand::periods()).unwrap();
    assert_eq!(recommended(&cells), None);
}

/// A tick takes from what is surely supplied, and so does each other reservation's overrun.
#[test]
fn ticks_and_neighbours_cost_budget() {
    let seen = played(&TaskSet::paper(), Server::Fifo { priority: 1 }, None, ms(6_000));
    let demand = demand_of(&seen, ms(6_000));
    let with = |costs: Costs| {
        let wish = Wish { costs, ..wish(ms(30)) };
        wish.least_budget([&demand], ms(50)).unwrap().unwrap()
    };
    let exact = with(Costs::default());
    let ticking = with(Costs { tick: ms(4), ..Costs::default() });
    let beside = with(Costs { tick: ms(4), neighbours: 1, ..Costs::default() });
    assert!(exact < ticking && ticking < beside, "{exact:?} {ticking:?} {beside:?}");
}

prop_compose! {
    /// Up to eight pieces of work, within a span.
    fn demands()(gaps in prop::collection::vec((0_u64..40, 1_u64..20), 1..8), tail in 0_u64..60)
        -> (Demand, Vec<(u64, u64)>)
    {
        let mut at = 0;
        let mut arrivals = vec![(0, 0)];
        for (gap, work) in gaps {
            at += gap;
            arrivals.push((at, work));
        }
        let end = arrivals.iter().fold(0, |free: u64, (at, work)| free.max(*at) + work) + tail;
        arrivals.push((end, 0));
        (Demand::of(arrivals.clone()), arrivals)
    }
}

proptest! {
    /// The distance by its definition, length by length and nanosecond by nanosecond.
    #[test]
    fn the_delay_is_the_largest_horizontal_distance((demand, _) in demands(), q in 1_u64..20, rest in 0_u64..20) {
        let supply = Supply::two_gap(reservation(q, q + rest));
        let beta = |length: u64| supply.provided(ns(length)).as_nanos() as u64;
        let Some(found) = added_delay(&demand, &supply) else { return Ok(()) };
        let one = |length: u64| (0..).find(|d| beta(length + d) >= demand.asked_ns(length)).unwrap();
        let most = (0..=demand.span_ns()).map(one).max().unwrap();
        prop_assert_eq!(found, ns(most));
    }

    /// No server that keeps its promise is later, wherever its budgets lie in their periods.
    #[test]
    fn no_supply_within_the_promise_is_later(
        (demand, arrivals) in demands(), q in 1_u64..9, rest in 0_u64..9, places in prop::collection::vec(0_u64..9, 80),
    ) {
        let supply = Supply::two_gap(reservation(q, q + rest));
        let Some(bound) = added_delay(&demand, &supply) else { return Ok(()) };
        let offset = |k: u64| places[k as usize % places.len()] % (rest + 1);
        let serves = |t: u64| (offset(t / (q + rest))..offset(t / (q + rest)) + q).contains(&(t % (q + rest)));
        let done = |serves: &dyn Fn(u64) -> bool| {
            let (mut left, mut sum, mut done) = (0, 0, vec![0]);
            for t in 0..2000 {
                left += arrivals.iter().filter(|(at, _)| *at == t).map(|(_, work)| work).sum::<u64>();
                let ran = u64::from(left > 0 && serves(t));
                (left, sum) = (left - ran, sum + ran);
                done.push(sum);
            }
            done
        };
        let (alone, served) = (done(&|_| true), done(&serves));
        let bound = bound.as_nanos() as usize;
        for t in 0..1000 {
            prop_assert!(served[t + bound] >= alone[t], "at {}", t);
        }
    }

    #[test]
    fn the_budget_is_least_falls_with_the_latency_and_is_never_below_the_share(
        (demand, _) in demands(), period in 1_u64..40, latency in 1_u64..60,
    ) {
        let least = |latency: u64| wish(ns(latency)).least_budget([&demand], ns(period)).unwrap();
        let budget = least(latency);
        prop_assert!(least(latency + 7).is_some() || budget.is_none());
        if let (Some(budget), Some(other)) = (budget, least(latency + 7)) {
            prop_assert!(other <= budget);
            let share = budget.as_nanos() as f64 / period as f64;
            prop_assert!(share >= demand.share() - 1e-12);
            let q = budget.as_nanos() as u64;
            let holds = |q: u64| {
                let supply = Supply::two_gap(reservation(q, period));
                added_delay(&demand, &supply).is_some_and(|delay| delay <= ns(latency))
            };
            prop_assert!(holds(q) && (q == 1 || !holds(q - 1)));
        }
    }

    /// One periodic task: in time with latency L exactly where it meets the deadline C + L.
    #[test]
    fn one_task_needs_the_budget_of_its_deadline(c in 1_u64..30, idle in 1_u64..60, l in 1_u64..60, period in 1_u64..50) {
        let (t, l) = (c + idle, l.min(idle));
        let demand = Demand::of((0..40).map(|k| (k * t, c)).chain([(40 * t, 0)]));
        let task: TaskSpec = format!("{c}ns/{t}ns/{}ns", c + l).parse().unwrap();
        let workload = Workload::new(vec![task]).unwrap();
        let analysed = least_budget(&workload, &question(ns(period))).unwrap();
        let measured = wish(ns(l)).least_budget([&demand], ns(period)).unwrap();
        prop_assert_eq!(measured, analysed.map(|budget| budget.least));
    }
}

// ---- the program ----

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_rtplan")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn simulated(folder: &Path) -> String {
    let jobs = folder.join("jobs.csv").display().to_string();
    let tasks = ["--task", "30ms/150ms", "--task", "50ms/200ms", "--server", "fifo"];
    let rest = ["--duration", "12s", "--out", &jobs];
    let (code, _, complaints) = run(&[&["simulate"], &tasks[..], &rest].concat());
    assert_eq!(code, Some(0), "{complaints}");
    jobs
}

#[test]
fn the_program_finds_the_same_budget_in_a_simulated_trace_and_by_analysis() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = simulated(folder.path());
    let json = |args: &[&str]| -> Value {
        let (code, said, complaints) = run(args);
        assert_eq!(code, Some(0), "{complaints}");
        serde_json::from_str(&said).unwrap()
    };
    let common = ["--period", "50ms", "--supply", "two-gap", "--summary", "json"];
    let demand = json(&[&["budget", "--demand", &jobs, "--latency", "20ms"], &common[..]].concat());
    let tasks = ["budget", "--task", "30ms/150ms", "--task", "50ms/200ms/100ms"];
    let analysed = json(&[&tasks, &common[..]].concat());
    assert_eq!(demand["budget_ns"], 43_333_334);
    assert_eq!(demand["budget_ns"], analysed["budget_ns"]);
    assert_eq!(demand["points"][0]["budget_ns"], 43_333_334);
    let share = demand["demand_share"].as_f64().unwrap();
    assert!((share - 0.45).abs() < 0.01, "{share}");

    let (code, said, _) = run(&["budget", "--demand", &jobs, "--latency", "20ms"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("50ms       43.333334ms      0.8667"), "{said}");
    assert!(said.contains("the longest period that costs at most 0.02"), "{said}");
}

#[test]
fn bad_demand_is_refused_before_a_file_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = simulated(folder.path());
    let bad = folder.path().join("bad.csv").display().to_string();
    std::fs::write(&bad, "thread,woken_ns,cpu_ns,waited_ns\nvcpu0,0,-5,\n").unwrap();
    let kept = folder.path().join("kept.csv").display().to_string();
    std::fs::write(&kept, "kept").unwrap();
    for (args, said) in [
        (vec!["--demand", &bad, "--latency", "20ms"], "line 2, column `cpu_ns`: `-5`"),
        (vec!["--demand", &jobs, "--latency", "0"], "the latency is 0"),
        (vec!["--demand", &jobs], "--latency"),
        (
            vec!["--demand", &jobs, "--latency", "20ms", "--period", "0"],
            "the reservation period is 0",
        ),
        (vec!["--demand", &jobs, "--latency", "20ms", "--supply", "aligned"], "two-gap or one-gap"),
        (vec!["--demand", &jobs, "--latency", "20ms", "--supply", "dedicated"], "no budget"),
        (vec!["--demand", &jobs, "--latency", "20ms", "--tick", "4ms"], "--neighbours"),
        (vec!["--demand", &jobs, "--latency", "20ms", "--most", "1.5"], "not a share"),
        (vec!["--demand", &jobs, "--latency", "20ms", "--task", "1ms/2ms"], "cannot be used with"),
        (vec!["--demand", "/nowhere.csv", "--latency", "20ms"], "/nowhere.csv"),
    ] {
        let (code, stdout, complaints) = run(&[&["budget", "--csv", &kept], &args[..]].concat());
        assert_eq!(code, Some(2), "{args:?}: {complaints}");
        assert!(complaints.contains(said) && stdout.is_empty(), "{args:?}: {complaints}");
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "kept");
    }
    let all = folder.path().join("all.csv");
    std::fs::write(&all, "thread,woken_ns,cpu_ns,waited_ns\nvcpu0,0,9000000000,0\n").unwrap();
    let all = all.display().to_string();
    let args = ["budget", "--demand", &all, "--latency", "20ms", "--summary", "json"];
    let (code, said, _) = run(&args);
    assert_eq!(code, Some(4), "{said}");
    let answer: Value = serde_json::from_str(&said).unwrap();
    assert!(answer["budget_ns"].is_null() && answer["points"][0]["budget_ns"].is_null(), "{said}");
}

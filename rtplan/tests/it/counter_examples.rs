//! Sets that once got a wrong answer, or none.

use std::{
    process::{Command, Output},
    time::Instant,
};

use model::TaskSet;
use rtplan::{
    Scheduler, Supply, Workload,
    sim::{Cpu, Done, Server, Thread, Tick, simulate},
    wcrt,
};
use serde_json::Value;

fn rtplan(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rtplan")).args(line.split_whitespace()).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Worst-case response times in ms, and the exit code.
fn analysed(line: &str) -> (Vec<Option<f64>>, Option<i32>) {
    let output = rtplan(&format!("analyse --summary json {line}"));
    let answer = json(&output);
    let ms = |task: &Value| task["wcrt_ns"].as_u64().map(|ns| ns as f64 / 1e6);
    (answer["tasks"].as_array().unwrap().iter().map(ms).collect(), output.status.code())
}

/// A SCHED_DEADLINE server that tau2 wakes at 45 ms starts its period there, not at 50 ms: five
/// milliseconds off the grid on which tau1 is released.
#[test]
fn aligned_knows_that_any_task_restarts_the_server() {
    let tasks = "--task 2ms/20ms/5ms --task 9ms/45ms --reservation 5ms/10ms";
    let (bounds, exit) = analysed(&format!("{tasks} --supply aligned"));
    assert_eq!(exit, Some(4));
    let played = json(&rtplan(&format!("simulate {tasks} --summary json")));
    let tau1 = &played["tasks"][0];
    assert_eq!((&tau1["jobs"], &tau1["misses"]), (&3000.into(), &666.into()));
    assert_eq!(tau1["response_ns"]["max"], 7_000_000);
    assert_eq!(bounds[0], Some(7.0));
    // In step with the server nothing is lost: the paper's set.
    let paper = "--task 30ms/150ms --task 50ms/200ms --reservation 28ms/50ms --supply aligned";
    assert_eq!(analysed(paper), (vec![Some(52.0), Some(124.0)], Some(0)));
}

const TICKING: &str = "--task 6ms/50ms/35ms --reservation 10ms/20ms --tick 4ms";

/// The response time of `6ms/50ms` under (10 ms, 20 ms) beside nine servers of (0.5 ms, 10 ms) that
/// always want the CPU, with a tick of 4 ms that first comes at `phase`, in ms.
fn beside_nine(phase: u64, asleep: u64) -> u64 {
    let task = "6ms/50ms/35ms".parse().unwrap();
    let workload = Workload::of(&TaskSet(vec![task])).unwrap();
    let own = Server::HardCbs("10ms/20ms".parse().unwrap());
    let mut vm = Thread::new(own, &workload, Scheduler::RateMonotonic).unwrap();
    vm.tasks[0].offset = asleep * 1_000_000;
    let mut threads = vec![vm];
    threads.extend((0..9).map(|_| Thread::hog(Server::HardCbs("0.5ms/10ms".parse().unwrap()))));
    let mut cpu = Cpu::new(threads, std::time::Duration::from_secs(1));
    cpu.tick = Some(Tick { period: 4_000_000, phase: phase * 500_000 });
    let mut worst = 0;
    let mut see = |done: &Done| worst = worst.max(done.response_ns());
    simulate(&cpu, 0, &mut see).unwrap();
    worst / 1_000_000
}

#[test]
fn two_gap_with_a_tick_asks_for_the_neighbours_and_heeds_them() {
    let output = rtplan(&format!("analyse {TICKING} --supply two-gap"));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("--neighbours N") && error.lines().count() == 1, "{error}");
    assert_eq!(rtplan(&format!("analyse {TICKING}")).status.code(), Some(2));
    let grid = "budget --task 6ms/50ms --grid 1ms..20ms --cells 5 --tick 4ms";
    assert_eq!(rtplan(grid).status.code(), Some(2));
    let budget = "budget --task 6ms/50ms --period 20ms --tick 4ms";
    assert_eq!(rtplan(budget).status.code(), Some(2));

    assert_eq!(analysed(&format!("{TICKING} --neighbours 0 --supply two-gap")).0, [Some(30.0)]);
    let (bounds, exit) = analysed(&format!("{TICKING} --neighbours 9 --supply two-gap"));
    assert_eq!(exit, Some(4), "{bounds:?}");
    let bound = bounds[0].unwrap();
    let all = (0..8).flat_map(|phase| (0..10).map(move |asleep| beside_nine(phase, asleep)));
    let worst = all.max().unwrap();
    assert!(worst > 35 && worst as f64 <= bound, "{worst} ms seen, {bound} ms promised");
}

#[test]
fn models_of_an_undelayed_server_are_refused_beside_neighbours() {
    let tasks = "--task 1ms/20ms --reservation 5ms/10ms --neighbours 2";
    for supply in ["one-gap", "aligned", "dedicated"] {
        let output = rtplan(&format!("analyse {tasks} --supply {supply}"));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{supply}: {error}");
        assert!(error.contains("use two-gap"), "{error}");
    }
    let answer = json(&rtplan(&format!("analyse {tasks} --summary json")));
    assert_eq!((&answer["supply"], &answer["others"]), (&"two-gap".into(), &Value::Array(vec![])));
}

#[test]
fn every_answer_says_when_it_holds() {
    let tasks = "--task 30ms/150ms --task 50ms/200ms";
    for question in ["analyse --reservation 28ms/50ms", "budget --period 50ms"] {
        let text = String::from_utf8(rtplan(&format!("{question} {tasks}")).stdout).unwrap();
        assert_eq!(text.matches("holds if").count(), 3, "{text}");
        let answer = json(&rtplan(&format!("{question} {tasks} --summary json")));
        let all = std::iter::once(&answer).chain(answer["others"].as_array().unwrap());
        for one in all {
            assert!(one["holds_if"].as_str().unwrap().len() > 20, "{one}");
        }
    }
    let ticking = "budget --period 50ms --tick 4ms --neighbours 3 --summary json";
    let said =
        json(&rtplan(&format!("{ticking} {tasks}")))["holds_if"].as_str().unwrap().to_owned();
    assert!(said.contains("4ms apart") && said.contains("at most 3"), "{said}");
}

/// With jitter the demand stays ahead of a supply of the same rate for ever; at 9 ms it shows.
#[test]
fn edf_at_the_utilisation_of_the_supply_is_answered() {
    let start = Instant::now();
    for (rest, budget) in [
        ("--task 5ms/10ms,jitter=1ms --period 50ms", 46_000_000),
        ("--task 5ms/10ms,blocking=1ms --period 50ms", 46_000_000),
    ] {
        let line = format!("budget --scheduler edf --supply one-gap {rest} --summary json");
        let answer = json(&rtplan(&line));
        assert_eq!(answer["budget_ns"], budget, "{rest}");
    }
    // Just as much as is supplied, and in time: the window never closes, and that is no harm.
    let whole = "--scheduler edf --task 5ms/10ms/30ms --task 10ms/20ms/40ms,jitter=5ms";
    assert_eq!(analysed(whole).1, Some(0));
    let late = "--scheduler edf --task 5ms/10ms/10ms --task 10ms/20ms/20ms,jitter=6ms";
    assert_eq!(analysed(late).1, Some(4));
    assert!(start.elapsed().as_secs() < 5);
}

#[test]
fn deadlines_above_the_period_are_analysed() {
    let lehoczky = "--task 26ms/70ms --task 62ms/100ms/120ms";
    assert_eq!(analysed(lehoczky), (vec![Some(26.0), Some(118.0)], Some(0)));
    assert_eq!(analysed(&lehoczky.replace("120ms", "117ms")).1, Some(4));
    let text = String::from_utf8(rtplan(&format!("analyse {lehoczky}")).stdout).unwrap();
    assert!(text.contains("its job 5 of a busy window takes longest"), "{text}");
    let played = json(&rtplan(&format!("simulate {lehoczky} --summary json")));
    assert_eq!(played["tasks"][1]["response_ns"]["max"], 118_000_000);
    // As much as is supplied, always behind: bounded all the same.
    let behind = "--task 5ms/10ms/100ms --reservation 25ms/50ms --supply two-gap";
    let (bounds, exit) = analysed(behind);
    assert_eq!((bounds, exit), (vec![Some(55.0)], Some(0)));
    let set: TaskSet = ["5ms/10ms/100ms"].iter().map(|text| text.parse().unwrap()).collect();
    let supply = Supply::two_gap("25ms/50ms".parse().unwrap());
    assert_eq!(wcrt(&set, &supply, Scheduler::RateMonotonic), wcrt(&set, &supply, Scheduler::Edf));
}

#[test]
fn what_is_not_modelled_is_not_simulated() {
    let dir = tempfile::tempdir().unwrap();
    let suite = dir.path().join("s.toml");
    let of = |mechanism: &str| {
        format!(
            "[[experiment]]\nname = \"{mechanism}\"\nwhere = \"guest\"\ntasks = [\"5ms/50ms\"]\n\
             duration = \"1s\"\nreservation = {{ budget = \"28ms\", period = \"50ms\", mechanism = \
             \"{mechanism}\" }}\n"
        )
    };
    std::fs::write(&suite, format!("name = \"s\"\n{}", of("deadline-reclaim"))).unwrap();
    let line = format!("simulate --suite {} --out {}", suite.display(), dir.path().display());
    let output = rtplan(&line);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("GRUB") && error.contains("nothing to simulate"), "{error}");
    let both = format!("name = \"s\"\n{}{}", of("deadline-reclaim"), of("timer-server"));
    std::fs::write(&suite, both).unwrap();
    assert_eq!(rtplan(&line).status.code(), Some(0));
}

/// `timer-server` ends (3 ms, 5 ms) on time where the tick alone lets 4 ms through.
#[test]
fn timer_server_ends_budgets_on_time() {
    let line = "simulate --task 3.5ms/20ms --reservation 3ms/5ms --tick 4ms --duration 1s \
                --summary json --load 50ms/50ms --server";
    let worst = |server: &str| {
        let answer = json(&rtplan(&format!("{line} {server}")));
        answer["tasks"][0]["response_ns"]["max"].as_u64().unwrap()
    };
    assert_eq!(worst("timer-server"), 5_500_000);
    assert_eq!(worst("hard-cbs"), 3_500_000);
}

//! A made-up trace: what is said about its supply, and what is exported from it.

use std::{collections::BTreeMap, fs, process::Command};

use model::{
    manifest::{ThreadFacts, TraceFacts},
    sample::{self, Ended, Job, Occupied, Stall, Supply},
};
use reports::{
    Results,
    claims::{self, Claim, Verdict},
};
use serde_json::Value;

use crate::made_up::MadeUp;

const SUITE: &str = r#"
name = "made-up-trace"
[[experiment]]
name = "reserved"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
duration = "30s"
reservation = { budget = "28ms", period = "50ms" }
"#;

const MS: u64 = 1_000_000;
/// The workload's start on the host's clock; the guest's clock is 1 s behind.
const ZERO: u64 = 6_000 * MS;
const VCPU: i32 = 7;

/// (28, 50) served at the start of each period, `budget(k)` ms in the k-th, with the sentinel in the
/// middle of every burst, for 2 s; then the vCPU sleeps.
fn traced(budget: impl Fn(u64) -> u64) -> MadeUp {
    let mut folder = MadeUp::empty(SUITE);
    folder.add("reserved", |_, _| 40.0);
    let mut supply = Vec::new();
    let mut others = Vec::new();
    for k in 0..40 {
        // What the sentinel takes is no part of the budget: the burst ends so much later.
        let start = ZERO + k * 50 * MS;
        let end = start + budget(k) * MS + 6000;
        let middle = (start + end) / 2;
        let ended = if k == 39 { Ended::Slept } else { Ended::Runnable };
        supply.push(row("vcpu0", (start, middle - 3000), Ended::Runnable));
        supply.push(row("vcpu0", (middle + 3000, end), ended));
        supply.push(row("main-loop", (end, end + 20_000), Ended::Slept));
        others.push(other("rtvm-sentinel", 90, (middle - 3000, middle + 3000)));
        others.push(other("tau1", 91, (end + 20_000, start + 50 * MS)));
    }
    let place = folder.path().join("reserved/rep-000");
    sample::write_csv(&place.join("supply.csv"), &supply).unwrap();
    sample::write_csv(&place.join("cpu.csv"), &others).unwrap();
    let ran = |name: &str| {
        let own = supply.iter().filter(|row| row.thread == name);
        own.map(|row| row.end_ns - row.start_ns).sum::<u64>()
    };
    let thread = |name: &str, tid| ThreadFacts {
        vm: None,
        thread: name.to_owned(),
        tid,
        traced_ns: ran(name),
        measured_cpu_ns: ran(name),
        clock_ns: Some(ran(name)),
    };
    let facts = &mut folder.manifest.repetitions[0].facts;
    facts.guest_clock_offset_ns = Some(-1_000_000_000);
    facts.trace = Some(TraceFacts {
        from_ns: ZERO - MS,
        to_ns: ZERO + 2500 * MS,
        workload_from_ns: Some(ZERO),
        workload_to_ns: Some(ZERO + 2400 * MS),
        lost_events: 0,
        unpaired: 0,
        threads: vec![thread("vcpu0", VCPU), thread("main-loop", 5)],
    });
    folder.manifest.host.hrtick_dl = Some(true);
    folder.save();
    folder
}

fn row(thread: &str, (start_ns, end_ns): (u64, u64), ended: Ended) -> Supply {
    let (thread, ended) = (thread.to_owned(), Some(ended));
    Supply { start_ns, end_ns, thread, cpu: Some(1), woken_ns: None, ended, vm: None }
}

fn other(thread: &str, tid: i32, (start_ns, end_ns): (u64, u64)) -> Occupied {
    Occupied { start_ns, end_ns, thread: thread.to_owned(), tid, cpu: Some(1) }
}

fn supply_claims(folder: &MadeUp) -> BTreeMap<String, Claim> {
    let results = Results::read(folder.path()).unwrap();
    let all = claims::all(&results).into_iter();
    all.map(|claim| (claim.id.clone().into_owned(), claim))
        .filter(|(id, _)| id.starts_with("supply-"))
        .collect()
}

const MOST: &str = "supply-reserved-capped";
const LEAST: &str = "supply-reserved-at-least";
const EVERY: &str = "supply-reserved-every-period";

#[test]
fn a_server_that_keeps_its_promise_holds_every_claim() {
    let claims = supply_claims(&traced(|_| 28));
    assert_eq!(claims.len(), 3);
    assert_eq!(claims[EVERY].verdict, Verdict::Holds, "{claims:#?}");
    assert_eq!(claims[MOST].verdict, Verdict::Holds, "{claims:#?}");
    assert_eq!(claims[LEAST].verdict, Verdict::Holds, "{claims:#?}");
    let most = claims[MOST].values["most_ns"];
    assert!((most - 28e6).abs() < 1.0, "{most}");
}

#[test]
fn the_first_window_that_breaks_the_promise_is_named() {
    let claims = supply_claims(&traced(|k| if k == 20 { 3 } else { 28 }));
    assert_eq!(claims[MOST].verdict, Verdict::Holds);
    let broken = &claims[LEAST];
    assert_eq!(broken.verdict, Verdict::Fails);
    let values = &broken.values;
    assert!((values["broken_length_ns"] - 72e6).abs() < 1.0, "{values:?}");
    // It closes as the burst behind the short one begins, and opens 6 µs before the one ahead ends.
    assert!((values["broken_start_ns"] - (ZERO + 978 * MS) as f64).abs() < 1.0, "{values:?}");
    assert!((values["broken_delivered_ns"] - 3e6).abs() <= 6000.0, "{values:?}");
    let measured = broken.measured.as_ref().unwrap();
    assert!(measured.contains("72.0 ms from 978 ms of rep-000"), "{measured}");
    assert!(measured.ends_with("; meanwhile the CPU had tau1 68.9 ms"), "{measured}");
    assert_eq!(claims[EVERY].verdict, Verdict::Fails);
    assert!((claims[EVERY].values["least_ns"] - 3e6).abs() <= 6000.0, "{claims:#?}");
}

#[test]
fn a_budget_that_ends_at_ticks_need_not_come_in_every_period() {
    let mut folder = traced(|k| if k % 2 == 0 { 31 } else { 25 });
    assert_eq!(supply_claims(&folder)[EVERY].verdict, Verdict::Fails);
    folder.manifest.host.hrtick_dl = None;
    folder.save();
    assert!(!supply_claims(&folder).contains_key(EVERY));
}

#[test]
fn more_than_the_budget_in_a_period_breaks_the_upper_claim_alone() {
    let claims = supply_claims(&traced(|k| if k == 20 { 31 } else { 28 }));
    assert_eq!(claims[MOST].verdict, Verdict::Fails);
    assert_eq!(claims[LEAST].verdict, Verdict::Holds);
}

#[test]
fn a_tick_is_allowed_for_where_budgets_end_at_ticks() {
    let mut folder = traced(|k| if k % 2 == 0 { 31 } else { 25 });
    assert_eq!(supply_claims(&folder)[MOST].verdict, Verdict::Fails);
    folder.manifest.host.hrtick_dl = None;
    folder.save();
    assert_eq!(supply_claims(&folder)[MOST].verdict, Verdict::Holds);
    assert_eq!(supply_claims(&folder)[LEAST].verdict, Verdict::Holds);
    folder.manifest.host.tick_hz = None;
    folder.save();
    let claim = &supply_claims(&folder)[MOST];
    assert!(claim.reason.as_ref().unwrap().contains("tick"), "{claim:?}");
}

#[test]
fn what_a_stall_touches_is_not_judged() {
    let folder = traced(|k| if k == 20 { 3 } else { 28 });
    let stall = Stall { start_ns: ZERO + 1000 * MS, length_ns: 30 * MS, cpu: None };
    let file = folder.path().join("reserved/rep-000/stalls.csv");
    sample::write_csv(&file, &[stall]).unwrap();
    assert_eq!(supply_claims(&folder)[LEAST].verdict, Verdict::Holds);
}

#[test]
fn a_trace_that_lost_events_or_differs_from_the_clock_proves_nothing() {
    let mut folder = traced(|_| 28);
    folder.manifest.repetitions[0].facts.trace.as_mut().unwrap().lost_events = 4;
    folder.save();
    let claim = &supply_claims(&folder)[LEAST];
    assert_eq!(claim.verdict, Verdict::NotMeasurable);
    assert!(claim.reason.as_ref().unwrap().contains("lost 4 events"));
    let trace = folder.manifest.repetitions[0].facts.trace.as_mut().unwrap();
    (trace.lost_events, trace.threads[0].clock_ns) = (0, Some(2_000 * MS));
    folder.save();
    assert!(supply_claims(&folder)[LEAST].reason.as_ref().unwrap().contains("differ"));
}

#[test]
fn a_vcpu_that_sleeps_asks_for_nothing() {
    let folder = traced(|_| 28);
    let file = folder.path().join("reserved/rep-000/supply.csv");
    let mut rows: Vec<Supply> = sample::read_csv(&file).unwrap();
    rows.iter_mut().for_each(|row| row.ended = Some(Ended::Slept));
    sample::write_csv(&file, &rows).unwrap();
    for claim in supply_claims(&folder).values() {
        assert_eq!(claim.verdict, Verdict::NotMeasurable, "{claim:?}");
        assert!(claim.reason.as_ref().unwrap().contains("never busy"), "{claim:?}");
    }
}

fn reports(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_reports")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

#[test]
fn the_supply_is_shown_as_tables_and_as_a_curve() {
    let folder = traced(|_| 28);
    let dir = folder.path().to_str().unwrap();
    let (code, text, _) = reports(&["supply", dir]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(text, @"
    experiment  mechanism              ran  of busy time  burst p50  burst max  gap p50  gap max  least in 2P − Q  promised  most in P  allowed
    ──────────  ──────────────────  ──────  ────────────  ─────────  ─────────  ───────  ───────  ───────────────  ────────  ─────────  ───────
    reserved    deadline 28ms/50ms  46.7 %        56.6 %      28.01      28.01    21.99    21.99            28.01     27.80      28.00    28.48

    reserved: no undisturbed window got less than 28ms/50ms promises.
    Lengths in milliseconds. A vCPU is busy while it runs or could run; windows lie inside busy intervals and outside of stalls. Promised and allowed have what a tick may take or add in them, and 0.2 ms to spare.

    experiment  thread     budget                           of a CPU  of the measured CPU  trace − clock
    ──────────  ─────────  ───────────────────────────────  ────────  ───────────────────  ─────────────
    reserved    vcpu0      the VM's, 28ms/50ms by deadline    44.8 %               44.8 %        +0.00 %
    reserved    main-loop  the host's housekeeping CPUs       0.03 %               0.03 %        +0.00 %
    ");
    let (_, csv, _) = reports(&["supply", dir, "--experiment", "reserved", "--format", "csv"]);
    let wanted = "experiment,length_ns,least_ns,repetition,start_ns,least_all_ns,greatest_ns,\
                  two_gap_ns,one_gap_ns";
    assert_eq!(csv.lines().next().unwrap(), wanted);
    let at_72 = csv.lines().find(|line| line.starts_with("reserved,72000000,")).unwrap();
    assert!(at_72.ends_with(",28000000,28000000"), "{at_72}");
    let (code, _, err) = reports(&["supply", dir, "--experiment", "nothing"]);
    assert_eq!((code, err.lines().count()), (2, 1), "{err}");
    assert!(err.contains("`nothing`") && err.contains("reserved"), "{err}");
}

#[test]
fn a_folder_without_a_trace_says_so() {
    let folder = MadeUp::as_in_the_paper();
    let (code, _, err) = reports(&["supply", folder.path().to_str().unwrap()]);
    assert!(code == 2 && err.contains("nothing was traced"), "{err}");
}

#[test]
fn the_report_has_the_figure_and_both_files() {
    let folder = traced(|_| 28);
    let results = Results::read(folder.path()).unwrap();
    let rendered = reports::render::render(&results).unwrap();
    for file in ["supply-reserved.svg", "supply-reserved.png", "sbf.csv", "bursts.csv"] {
        assert!(rendered.files.iter().any(|one| one == file), "{file}: {:?}", rendered.files);
    }
    let page = fs::read_to_string(&rendered.index).unwrap();
    assert!(page.contains("What the VM was supplied with") && page.contains("promised, two-gap"));
    let bursts = fs::read_to_string(folder.path().join("report/bursts.csv")).unwrap();
    assert!(bursts.contains("reserved,burst,28000000,28100000,39\n"), "{bursts}");
    assert!(bursts.contains("reserved,gap,21900000,22000000,39\n"), "{bursts}");
}

/// Exports the whole repetition.
fn perfetto(folder: &MadeUp) -> Value {
    let out = folder.path().join("trace.json");
    let dir = folder.path().to_str().unwrap();
    let (code, said, err) = reports(&[
        "export",
        dir,
        "--experiment",
        "reserved",
        "--format",
        "perfetto",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(said.trim(), out.to_str().unwrap());
    serde_json::from_slice(&fs::read(out).unwrap()).unwrap()
}

/// What the Trace Event Format asks of an event of each phase used here.
fn keeps_to_the_format(event: &Value) {
    let is = |key: &str, good: fn(&Value) -> bool| {
        assert!(good(&event[key]), "`{key}` of {event}");
    };
    is("name", Value::is_string);
    is("cat", Value::is_string);
    is("ts", |ts| ts.as_f64().is_some_and(|us| us >= 0.0));
    is("pid", Value::is_u64);
    is("tid", Value::is_u64);
    is("args", Value::is_object);
    match event["ph"].as_str().unwrap() {
        "X" => is("dur", |dur| dur.as_f64().is_some_and(|us| us >= 0.0)),
        "i" => is("s", |scope| matches!(scope.as_str(), Some("t" | "p" | "g"))),
        "M" => {
            let names = ["process_name", "thread_name"];
            assert!(names.contains(&event["name"].as_str().unwrap()), "{event}");
            assert!(event["args"]["name"].is_string(), "{event}");
        }
        other => panic!("phase `{other}` in {event}"),
    }
}

#[test]
fn the_exported_trace_keeps_to_the_format_and_adds_up_to_the_supply() {
    let folder = traced(|_| 28);
    let trace = perfetto(&folder);
    assert_eq!(trace["displayTimeUnit"], "ms");
    let events = trace["traceEvents"].as_array().unwrap();
    events.iter().for_each(keeps_to_the_format);
    let slices = |cat: &str| -> Vec<&Value> {
        events.iter().filter(|event| event["cat"] == cat && event["ph"] == "X").collect()
    };
    let file = folder.path().join("reserved/rep-000/supply.csv");
    let rows: Vec<Supply> = sample::read_csv(&file).unwrap();
    for thread in ["vcpu0", "main-loop"] {
        let own = rows.iter().filter(|row| row.thread == thread);
        let wanted: u64 = own.map(|row| row.end_ns - row.start_ns).sum();
        for cat in ["supply", "vm-on-cpu"] {
            let own = slices(cat).into_iter().filter(|event| event["name"] == thread);
            let ns: f64 = own.map(|event| event["dur"].as_f64().unwrap() * 1000.0).sum();
            assert!((ns - wanted as f64).abs() < 1.0, "{thread} in {cat}: {ns} of {wanted}");
        }
    }
    assert_eq!(slices("host").len(), 80);
    // Jobs are on the host's clock: the guest's 5 s are the host's 6 s, the workload's start.
    let first = slices("job").into_iter().find(|job| job["args"]["job"] == 0).unwrap();
    let workload = trace["otherData"]["workload_us"].as_f64().unwrap();
    assert!((first["ts"].as_f64().unwrap() - workload).abs() < 1e-6, "{first}");
    let jobs: Vec<Job> =
        sample::read_csv(&folder.path().join("reserved/rep-000/jobs.csv")).unwrap();
    assert_eq!(
        (slices("job").len(), slices("supply").len()),
        (jobs.len(), rows.len()),
        "none dropped"
    );
    assert!((first["args"]["response_ms"].as_f64().unwrap() - 40.0).abs() < 1.0);
}

#[test]
fn a_gantt_chart_shows_every_lane_of_its_window() {
    let folder = traced(|_| 28);
    let out = folder.path().join("chart.svg");
    let base = ["export", folder.path().to_str().unwrap(), "--experiment", "reserved"];
    let run = |more: &[&str]| reports(&[&base[..], &["--format", "gantt"], more].concat());
    let window = ["--from", "100ms", "--to", "500ms", "--out", out.to_str().unwrap()];
    let (code, said, err) = run(&window);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(said.lines().count(), 2, "{said}");
    let svg = fs::read_to_string(&out).unwrap();
    for label in ["guest τ1", "guest τ2", "vcpu0", "main-loop", "load τ1", "rtvm-sentinel"] {
        assert!(svg.contains(label), "{label}");
    }
    assert!(fs::read(out.with_extension("png")).unwrap().starts_with(b"\x89PNG"));
    let (code, _, err) = run(&["--from", "1h"]);
    assert!(code == 2 && err.contains("--from 3600s"), "{err}");
    let (code, _, err) = run(&["--from", "2s", "--to", "1s"]);
    assert!(code == 2 && err.contains("--to"), "{err}");
    let (code, _, err) = run(&["--repetition", "7"]);
    assert!(code == 2 && err.contains("--repetition 7"), "{err}");
}

//! A made-up probe of the clock beside a made-up trace: what is said of its gaps, and what changes where
//! the clock jumps or nothing was traced.

use std::{fs, process::Command};

use model::{
    manifest::{ClockFacts, ThreadFacts, TraceFacts},
    sample::{self, ClockName, ClockRow, ClockWhat, Ended, Supply},
};
use serde_json::Value;

use crate::made_up::{MadeUp, record};

const SUITE: &str = r#"
name = "made-up-clock"
[[experiment]]
name = "reserved"
where = "guest"
probe = "clock"
duration = "2s"
reservation = { budget = "28ms", period = "50ms" }
"#;

const MS: u64 = 1_000_000;
const ZERO: u64 = 6_000 * MS;

/// 40 periods, in each of which the vCPU runs for 28 ms; a gap for each hole in the first second, timers
/// that wait for the hole's end in the second one.
fn probed() -> (MadeUp, Vec<ClockRow>) {
    let mut folder = MadeUp::empty(SUITE);
    let (mut supply, mut rows) = (Vec::new(), Vec::new());
    for k in 0..40 {
        let start_ns = ZERO + k * 50 * MS;
        let end_ns = start_ns + 28 * MS;
        supply.push(Supply {
            start_ns,
            end_ns,
            thread: "vcpu0".into(),
            cpu: Some(1),
            woken_ns: None,
            ended: Some(Ended::Runnable),
            vm: Some("vm".into()),
        });
        if k < 20 {
            rows.push(row(ClockWhat::Gap, end_ns - 200, Some(22 * MS + 400)));
        } else {
            rows.extend((0..50).map(|n| {
                let due = start_ns + n * MS;
                let late = if n < 28 { 9_000 } else { (50 - n) * MS };
                row(
                    if k % 2 == 0 { ClockWhat::Timer } else { ClockWhat::TimerBusy },
                    due,
                    Some(late),
                )
            }));
        }
    }
    for (at, offset_ns) in [(0, -1_000), (1_000, 1_500), (2_000, 3_000)] {
        let own = row(ClockWhat::Offset, ZERO + at * MS, None);
        rows.push(ClockRow { offset_ns: Some(offset_ns), ..own });
    }
    let mut attempt = record("reserved", 0);
    attempt.facts.clocks = vec![ClockFacts {
        vm: Some("vm".into()),
        service: "probe".into(),
        clock_source: Some("tsc".into()),
        clock_sources: None,
        reads: 1_000_000,
        read_ns: 1_000 * MS,
        threshold_ns: 20_000,
        timer_period_ns: MS,
        steal_ns: Some(0),
    }];
    attempt.facts.trace = Some(TraceFacts {
        from_ns: ZERO - MS,
        to_ns: ZERO + 2_100 * MS,
        workload_from_ns: Some(ZERO),
        workload_to_ns: Some(ZERO + 2_000 * MS),
        lost_events: 0,
        unpaired: 0,
        threads: Vec::new(),
    });
    folder.manifest.repetitions = vec![attempt];
    folder.save();
    let place = folder.path().join("reserved/rep-000");
    fs::create_dir_all(&place).unwrap();
    sample::write_csv(&place.join("supply.csv"), &supply).unwrap();
    write(&folder, &rows);
    (folder, rows)
}

fn write(folder: &MadeUp, rows: &[ClockRow]) {
    sample::write_csv(&folder.path().join("reserved/rep-000/clock.csv"), rows).unwrap();
}

fn row(what: ClockWhat, start_ns: u64, length_ns: Option<u64>) -> ClockRow {
    ClockRow {
        experiment: Some("reserved".into()),
        repetition: Some(0),
        vm: Some("vm".into()),
        service: Some("probe".into()),
        what,
        clock: ClockName::Monotonic,
        start_ns,
        length_ns,
        offset_ns: None,
        uncertainty_ns: Some(30_000),
    }
}

fn reports(folder: &MadeUp, rest: &[&str]) -> (i32, String, String) {
    let dir = folder.path().to_str().unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_reports"))
        .args(["clock", dir])
        .args(rest)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

/// Numbers of gaps: scheduling, discontinuity, unknown.
fn causes(folder: &MadeUp) -> [u64; 3] {
    let (code, out, err) = reports(folder, &["--summary", "json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let said: Value = serde_json::from_str(&out).unwrap();
    let gaps = &said["clocks"][0]["gaps"];
    ["scheduling", "discontinuity", "unknown"].map(|cause| gaps[cause]["count"].as_u64().unwrap())
}

#[test]
fn gaps_timers_and_steal_stand_beside_the_supply() {
    let (folder, _) = probed();
    let (code, out, err) = reports(&folder, &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    insta::assert_snapshot!(out, @"
    experiment  clock source  read for  gaps  longest           scheduling  discontinuity  unknown  steps back  steps
    ──────────  ────────────  ────────  ────  ───────  ───────────────────  ─────────────  ───────  ──────────  ─────
    reserved    tsc             1.00 s    20  22.0 ms  20, at most 22.0 ms              0        0           0      0

    A gap: two successive reads of CLOCK_MONOTONIC lie further apart than 20.0 µs. Scheduling: the virtual CPU did not run for at least half of it; discontinuity: it ran.

    experiment  idle p50    p99    max  busy p50    p99    max  P − Q + tick  steal seen  held off     drift  offset range  jumps
    ──────────  ────────  ─────  ─────  ────────  ─────  ─────  ────────────  ──────────  ────────  ────────  ────────────  ─────
    reserved        0.01  22.00  22.00      0.01  22.00  22.00         26.00     0.00 µs    858 ms  +2.0 ppm       4.00 µs   0.00

    Timers: wake-up minus due in ms, on an idle CPU and on one that another thread keeps busy. Held off: how long the virtual CPU was runnable and did not run, as the host traced it; the guest should see as much steal time. Jumps: by how much the guest's clock jumped against the host's; of a guest that was paused for 2 s, −2 s.
    ");
    let (_, out, _) = reports(&folder, &["--summary", "json"]);
    let said: Value = serde_json::from_str(&out).unwrap();
    let own = &said["clocks"][0];
    assert_eq!((own["experiment"].as_str(), own["vm"].as_str()), (Some("reserved"), Some("vm")));
    assert_eq!(own["gaps"]["scheduling"]["longest_ns"], 22 * MS + 400);
    // P − Q and a tick of 4 ms.
    assert_eq!(own["expected_ns"], 26 * MS);
    assert_eq!(
        (own["timer_ns"]["count"].as_u64(), own["timer_ns"]["max"].as_u64()),
        (Some(500), Some(22 * MS))
    );
    // 39 holes of 22 ms are known to end.
    assert_eq!(own["held_ns"], 39 * 22 * MS);
    assert_eq!(own["drifts"][0]["range_ns"], 4_000);
    let drift = own["drifts"][0]["drift"].as_f64().unwrap();
    assert!((drift - 2e-6).abs() < 1e-12, "{drift}");
    assert_eq!(own["drifts"][0]["jumped_ns"], 0);
}

#[test]
fn a_guest_that_stood_still_has_a_jump_and_no_drift_of_it() {
    let (folder, mut rows) = probed();
    let offsets = rows.iter_mut().filter(|row| row.what == ClockWhat::Offset);
    let last = offsets.max_by_key(|row| row.start_ns).unwrap();
    *last.offset_ns.as_mut().unwrap() -= 500_000_000;
    write(&folder, &rows);
    let (_, out, _) = reports(&folder, &["--summary", "json"]);
    let said: Value = serde_json::from_str(&out).unwrap();
    let own = &said["clocks"][0]["drifts"][0];
    assert_eq!(own["jumped_ns"], 1_500 - 500_000_000);
    // Of the first second alone.
    let drift = own["drift"].as_f64().unwrap();
    assert!((drift - 2.5e-6).abs() < 1e-12, "{drift}");
}

#[test]
fn a_clock_that_jumps_while_the_vcpu_runs_is_told_from_one_whose_vcpu_was_away() {
    let (folder, mut rows) = probed();
    assert_eq!(causes(&folder), [20, 0, 0]);
    // The broken system: the clock jumps by 22 ms, 3 ms after the vCPU came back.
    for (row, k) in rows[..5].iter_mut().zip(0..) {
        row.start_ns = ZERO + k * 50 * MS + 3 * MS;
    }
    write(&folder, &rows);
    assert_eq!(causes(&folder), [15, 5, 0]);
    // The clocks are not known well enough to tell.
    for row in &mut rows[5..9] {
        row.uncertainty_ns = Some(40 * MS);
    }
    write(&folder, &rows);
    assert_eq!(causes(&folder), [11, 5, 4]);
}

#[test]
fn without_a_trace_causes_are_unknown_and_it_is_said() {
    let (mut folder, _) = probed();
    folder.manifest.repetitions[0].facts.trace = None;
    folder.save();
    fs::remove_file(folder.path().join("reserved/rep-000/supply.csv")).unwrap();
    assert_eq!(causes(&folder), [0, 0, 20]);
    let (_, out, _) = reports(&folder, &[]);
    assert!(out.contains("Not traced, so that the cause of gaps is not known: reserved."), "{out}");
}

#[test]
fn a_trace_that_misses_what_ran_makes_nothing_scheduling() {
    let (mut folder, _) = probed();
    let trace = folder.manifest.repetitions[0].facts.trace.as_mut().unwrap();
    trace.threads = vec![ThreadFacts {
        vm: Some("vm".into()),
        thread: "vcpu0".into(),
        tid: 7,
        traced_ns: 1_000 * MS,
        measured_cpu_ns: 1_000 * MS,
        clock_ns: Some(1_200 * MS),
    }];
    folder.save();
    assert_eq!(causes(&folder), [0, 0, 20]);
    let (_, out, _) = reports(&folder, &["--summary", "json"]);
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(said["clocks"][0]["held_ns"], Value::Null);
}

#[test]
fn the_page_has_a_section_where_there_was_a_probe() {
    let (folder, _) = probed();
    let dir = folder.path().to_str().unwrap();
    let page = || {
        let out =
            Command::new(env!("CARGO_BIN_EXE_reports")).args(["render", dir]).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        fs::read_to_string(folder.path().join("report/index.html")).unwrap()
    };
    let with = page();
    assert!(
        with.contains("What time it is in there") && with.contains("Timers, steal time, drift")
    );
}

#[test]
fn a_folder_without_a_probe_and_one_with_a_malformed_row_are_refused() {
    let plain = MadeUp::as_in_the_paper();
    let (code, _, said) = reports(&plain, &[]);
    assert!(code == 2 && said.contains("no probe of the clock"), "{code} {said}");
    let (folder, _) = probed();
    let file = folder.path().join("reserved/rep-000/clock.csv");
    let text = fs::read_to_string(&file).unwrap().replacen(",gap,", ",gasp,", 1);
    fs::write(&file, text).unwrap();
    let (code, _, said) = reports(&folder, &[]);
    assert!(
        code == 2 && said.contains("clock.csv, line 2: unknown variant `gasp`"),
        "{code} {said}"
    );
    // A file that should be there and is not is a gap, and nothing is made up in its place.
    fs::remove_file(&file).unwrap();
    let (code, out, _) = reports(&folder, &[]);
    assert!(code == 0 && out.contains('–'), "{code} {out}");
}

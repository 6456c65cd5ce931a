//! `rtload clock`: what it tells of the system that it runs on, how it ends, what it refuses.

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use model::{
    sample::{ClockRow, ClockWhat, read_csv},
    stats::Summary,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

#[path = "it/common.rs"]
#[expect(dead_code, reason = "not every test program needs all of it")]
mod common;

use common::{alone, json};

fn clock(folder: &Path, rest: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtload"));
    command.current_dir(folder).args("clock --policy other".split(' '));
    command.args(rest.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn rows(folder: &Path) -> Vec<ClockRow> {
    read_csv(&folder.join("clock.csv")).unwrap()
}

/// A process that never waits; it ends when dropped.
struct Rival(Child);

impl Rival {
    fn on(cpu: u32) -> Self {
        let mut rival = Command::new("sh");
        let child = rival.args(["-c", "while :; do :; done"]).spawn().unwrap();
        kernel::affinity::set(child.id() as i32, &[cpu]).unwrap();
        Self(child)
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_summary_is_what_the_rows_say() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let rest = "--duration 1200ms --threshold 50us --period 2ms --out clock.csv --experiment x \
                --repetition 3 --summary json";
    let output = clock(folder.path(), rest).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let (said, rows) = (json(&output), rows(folder.path()));
    let lengths = |what: ClockWhat| -> Vec<u64> {
        let mine = rows.iter().filter(|row| row.what == what);
        mine.map(|row| row.length_ns.unwrap()).collect()
    };
    for (what, key) in [(ClockWhat::Timer, "timer_ns"), (ClockWhat::TimerBusy, "timer_busy_ns")] {
        let mut late = lengths(what);
        // A quarter of 1.2 s each, a timer every 2 ms, none at the begin.
        assert_eq!(late.len(), 149, "{key}");
        let own = Summary::of(&mut late).unwrap();
        assert_eq!(
            (said[key]["count"].as_u64(), said[key]["max"].as_u64()),
            (Some(149), Some(own.max))
        );
        let p50 = said[key]["p50"].as_u64().unwrap();
        assert!(p50.abs_diff(own.p50) <= own.p50 / 500 + 2, "{key}: {p50} {}", own.p50);
    }
    let gaps = lengths(ClockWhat::Gap);
    assert!(gaps.iter().all(|ns| *ns > 50_000));
    assert_eq!(said["gaps"]["count"].as_u64(), Some(gaps.len() as u64));
    assert_eq!(said["gaps"]["longest_ns"].as_u64(), gaps.iter().max().copied());
    let (reads, read_ns) = (said["reads"].as_u64().unwrap(), said["read_ns"].as_u64().unwrap());
    // Half of the time, at a read a millisecond at the very least.
    assert!(read_ns >= 500_000_000 && reads > 600, "{reads} reads in {read_ns} ns");
    assert!(
        rows.iter().all(|row| row.experiment.as_deref() == Some("x") && row.repetition == Some(3))
    );
    assert_eq!(
        said["clocks"][0]["backward"]["count"], 0,
        "CLOCK_MONOTONIC never goes back: {said}"
    );
    assert!(said["clocks"][0]["steps"].is_null());
}

#[test]
fn who_loses_the_cpu_sees_gaps() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let cpu = kernel::affinity::get(kernel::affinity::SELF).unwrap()[0];
    let measure = || {
        let rest = format!("--cpu {cpu} --duration 1s --threshold 1ms --summary json");
        json(&clock(folder.path(), &rest).output().unwrap())
    };
    let quiet = measure();
    // Two that never wait, on the same CPU: a third of it is left.
    let rivals = [Rival::on(cpu), Rival::on(cpu)];
    let beset = measure();
    drop(rivals);
    let share = |said: &Value| {
        let lost: f64 = said["gaps_ns"].as_f64().unwrap();
        lost / said["read_ns"].as_f64().unwrap()
    };
    let (before, with) = (share(&quiet), share(&beset));
    assert!(with > 0.4 && with > before, "lost {before} of the time, with rivals {with}");
}

#[test]
fn a_signal_ends_it_with_what_was_seen_until_then() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let rest = "--duration 60s --out clock.csv --summary json";
    let mut child = clock(folder.path(), rest).spawn().unwrap();
    let _stderr = common::wait_for_ready(&mut child);
    std::thread::sleep(Duration::from_millis(400));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let said = json(&output);
    assert_eq!(said["interrupted"], true);
    assert!(said["reads"].as_u64().unwrap() > 0 && folder.path().join("clock.csv").exists());
    rows(folder.path());
}

#[test]
fn people_get_a_line_for_each_thing() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut child = clock(folder.path(), "--duration 200ms").spawn().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    let titles: Vec<&str> = text.lines().map(|line| line[..18].trim_end()).collect();
    let wanted = [
        "clock source",
        "reads",
        "gaps",
        "monotonic",
        "monotonic-raw",
        "realtime",
        "timers, CPU idle",
        "timers, CPU busy",
        "steal",
    ];
    assert_eq!(titles, wanted, "{text}");
}

#[test]
fn nonsense_is_refused_with_its_option_and_touches_no_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("clock.csv"), "precious\n").unwrap();
    for (rest, wrong) in [
        ("--duration 0", "--duration 0: must be above zero"),
        ("--threshold 0", "--threshold 0: must be above zero"),
        ("--period 9us", "--period 9us: must be at least 10us"),
        ("--period 0", "--period 0"),
        ("--cpu 900", "--cpu 900: no such CPU"),
        ("--priority 0", "0 is not in 1..=98"),
        ("--policy other --priority 50", "--priority is for --policy fifo only"),
        ("--duration 1s --period 300ms", "no timer falls into 250ms"),
        ("--duration 3ms", "no timer falls into"),
        ("--start-at 1", "--start-at 1: has passed"),
        ("--out nowhere/clock.csv", "--out nowhere/clock.csv: cannot be written"),
        ("--policy deadline", "possible values: fifo, other"),
    ] {
        let rest = format!("--out clock.csv {rest}");
        let rest = if rest.matches("--out").count() > 1 { &rest[16..] } else { &rest };
        let mut command = Command::new(env!("CARGO_BIN_EXE_rtload"));
        command.current_dir(folder.path()).arg("clock").args(rest.split_whitespace());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(wrong), "{rest}: {said}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("clock.csv")).unwrap(), "precious\n");
}

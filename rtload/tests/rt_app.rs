//! Files of rt-app: as `rtload run --rt-app` plays them, and beside rt-app itself.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with a calibration that was not measured, so that tests start at once; paced work makes
/// up for its error.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = "{\"schema_version\":1,\"ns_per_iteration\":1.7,\"undisturbed_ns_per_iteration\":1.6,\
                \"spread\":0.0,\"length_difference\":0.0,\"pieces\":1,\"cpu\":0,\"cpu_model\":null}";
    fs::write(folder.path().join("calibration.json"), text).unwrap();
    folder
}

fn rtload(folder: &Path, rest: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rtload"))
        .current_dir(folder)
        .args("run --summary json --calibration calibration.json --check off".split(' '))
        .args(rest.split_whitespace())
        .output()
        .unwrap()
}

fn summary(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A row of `jobs.csv`, by column.
type Row = BTreeMap<String, String>;

fn rows(path: &Path) -> Vec<Row> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(|line| line.split(','));
    let header: Vec<&str> = lines.next().unwrap().collect();
    let row = |cells: std::str::Split<'_, char>| {
        header.iter().map(|title| (*title).to_owned()).zip(cells.map(str::to_owned)).collect()
    };
    lines.map(row).collect()
}

fn number(row: &Row, column: &str) -> u64 {
    row[column].parse().unwrap_or_else(|error| panic!("{column}: {error}: {row:?}"))
}

fn play(text: &str, rest: &str) -> (Output, TempDir) {
    let folder = folder();
    fs::write(folder.path().join("w.json"), text).unwrap();
    (rtload(folder.path(), &format!("--rt-app w.json --work paced {rest}")), folder)
}

#[test]
fn every_loop_with_work_has_a_row_with_its_phase() {
    let (output, folder) = play(
        r#"{ "tasks": {
            "a": { "loop": 2, "phases": {
                "light": { "loop": 3, "run": 500, "timer": { "ref": "unique", "period": 10000 } },
                "pause": { "sleep": 1000 },
                "heavy": { "run": 500, "sleep": 3000, "run": 1500 } } },
            "b": { "instance": 2, "delay": 5000, "loop": 4, "run": 300,
                "timer": { "ref": "uniqueB", "period": 20000, "mode": "absolute" } } } }"#,
        "--out jobs.csv --experiment e --repetition 3 --hist-log jobs.hlog",
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let summary = summary(&output);
    let rows = rows(&folder.path().join("jobs.csv"));
    let of = |task: &str| rows.iter().filter(|row| row["task"] == task).collect::<Vec<_>>();
    for (index, (task, loops, jobs)) in
        [("a-0", 10, 8), ("b-1", 4, 4), ("b-2", 4, 4)].into_iter().enumerate()
    {
        let own = &summary["tasks"][index];
        assert_eq!((own["task"].as_str(), own["loops"].as_u64()), (Some(task), Some(loops)));
        assert_eq!((own["jobs"].as_u64(), of(task).len() as u64), (Some(jobs), jobs));
        for (row, job) in of(task).iter().zip(0..) {
            assert_eq!((number(row, "job"), row["experiment"].as_str()), (job, "e"));
            assert_eq!(
                number(row, "response_ns"),
                number(row, "finish_ns") - number(row, "release_ns")
            );
            assert!(number(row, "release_ns") <= number(row, "start_ns"));
        }
    }
    let phases: Vec<&str> = of("a-0").iter().map(|row| row["phase"].as_str()).collect();
    let once = ["light", "light", "light", "heavy"];
    assert_eq!(phases, [once, once].concat());
    let heavy = of("a-0")[3];
    assert_eq!((heavy["deadline_ns"].as_str(), heavy["missed"].as_str()), ("", ""));
    // The pause between its two pieces of work is part of its response, and no CPU time.
    assert!(number(heavy, "response_ns") >= 5_000_000, "{heavy:?}");
    assert!((1_950_000..3_000_000).contains(&number(heavy, "cpu_ns")), "{heavy:?}");
    let first = summary["first_release_ns"].as_u64().unwrap();
    for (row, job) in of("b-1").iter().zip(0..) {
        assert_eq!(number(row, "release_ns"), first + 5_000_000 + job * 20_000_000);
        assert_eq!(number(row, "deadline_ns"), 20_000_000);
    }
    let log = fs::read_to_string(folder.path().join("jobs.hlog")).unwrap();
    assert!(log.contains("Tag=b-2-cpu,"));
}

#[test]
fn an_absolute_timer_makes_up_for_an_overrun_and_a_relative_one_begins_anew() {
    for (mode, releases) in [("absolute", [0, 10, 20, 30]), ("relative", [0, 25, 35, 45])] {
        let timer = format!(r#""timer": {{ "ref": "unique", "period": 10000, "mode": "{mode}" }}"#);
        let (output, folder) = play(
            &format!(
                r#"{{ "tasks": {{ "a": {{ "loop": 1, "phases": {{
                    "long": {{ "runtime": 25000, {timer} }},
                    "short": {{ "loop": 3, "run": 100, {timer} }} }} }} }} }}"#
            ),
            "--out jobs.csv",
        );
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let first = summary(&output)["first_release_ns"].as_u64().unwrap();
        for (row, ms) in rows(&folder.path().join("jobs.csv")).iter().zip(releases) {
            let release = number(row, "release_ns") - first;
            // What is put off, is put off to where the overrun ended, which is 25 ms or more.
            let exact = mode == "absolute" || ms == 0;
            let expected = ms * 1_000_000;
            assert!(
                if exact { release == expected } else { release >= expected },
                "{mode} {row:?}"
            );
        }
    }
}

#[test]
fn what_is_not_played_touches_nothing_and_names_its_place() {
    let text = "{ \"tasks\": { \"a\": {\n  \"run\": 1000, \"lock\": \"m\" } } }";
    let folder = folder();
    fs::write(folder.path().join("w.json"), text).unwrap();
    fs::write(folder.path().join("jobs.csv"), "precious").unwrap();
    let output = rtload(folder.path(), "--rt-app w.json --out jobs.csv");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("w.json:2:16: tasks.a.lock: rtload does not play `lock` (locks)"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(folder.path().join("jobs.csv")).unwrap(), "precious");
    for (rest, wrong) in [
        ("--rt-app none.json", "none.json: No such file"),
        ("--rt-app w.json --task 1ms/2ms", "cannot be used with"),
        ("--rt-app w.json --policy fifo", "cannot be used with"),
    ] {
        let output = rtload(folder.path(), rest);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(wrong), "{rest}: {said}");
    }
    let text = "{ \"tasks\": { \"a\": { \"run\": 1000, \"cpus\": [900] } } }";
    fs::write(folder.path().join("w.json"), text).unwrap();
    let output = rtload(folder.path(), "--rt-app w.json");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("tasks.a: cpus: 900"), "{said}");
}

#[test]
fn the_duration_ends_tasks_without_an_end_and_misses_count() {
    let (output, _folder) = play(
        r#"{ "tasks": { "a": { "runtime": 3000,
                "timer": { "ref": "unique", "period": 2000, "mode": "absolute" } } },
            "global": { "duration": 60, "calibration": 30 } }"#,
        "--duration 200ms --fail-on-miss",
    );
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let summary = summary(&output);
    let own = &summary["tasks"][0];
    assert_eq!(own["misses"], own["jobs"]);
    assert!((5..=67).contains(&own["jobs"].as_u64().unwrap()), "{own}");
    assert_eq!(summary["duration_ns"], 200_000_000);
    assert!(summary["warnings"].to_string().contains("rt-app's loop"), "{summary}");
}

#[test]
fn a_job_whose_loop_is_cut_short_keeps_its_deadline() {
    let (output, folder) = play(
        r#"{ "tasks": { "a": { "loop": 1, "run": 100, "sleep": 60000000,
            "timer": { "ref": "unique", "period": 1000 } } } }"#,
        "--duration 200ms --out jobs.csv",
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let rows = rows(&folder.path().join("jobs.csv"));
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(number(&rows[0], "deadline_ns"), 1_000_000);
    let missed = u64::from(number(&rows[0], "response_ns") > 1_000_000);
    assert_eq!(number(&rows[0], "missed"), missed);
    assert_eq!(summary(&output)["tasks"][0]["misses"], missed);
}

/// SCHED_DEADLINE runs on all CPUs only; a phase before it may be on one.
#[test]
fn cpus_and_policies_are_tried_in_the_order_of_the_phases() {
    let test = "cpus_and_policies_are_tried_in_the_order_of_the_phases";
    let cpus = kernel::affinity::get(kernel::affinity::SELF).unwrap();
    if cpus.len() < 2 {
        eprintln!("SKIPPED: {test}: one CPU only");
        return;
    }
    let phase = |cpus: &[u32], policy: &str| {
        format!(r#"{{ "loop": 2, "cpus": {cpus:?}, {policy}, "run": 500, "sleep": 5000 }}"#)
    };
    let deadline = r#""policy": "SCHED_DEADLINE", "dl-runtime": 2000, "dl-period": 10000"#;
    let (one, all) = (phase(&cpus[..1], r#""policy": "SCHED_OTHER""#), phase(&cpus, deadline));
    let of = |phases: String| {
        let text =
            format!(r#"{{ "tasks": {{ "a": {{ "loop": 1, "phases": {{ {phases} }} }} }} }}"#);
        play(&text, "").0
    };
    if of(format!(r#""all": {all}"#)).status.code() == Some(3) {
        eprintln!("SKIPPED: {test}: no SCHED_DEADLINE here");
        return;
    }
    for phases in [
        format!(r#""one": {one}, "all": {all}"#),
        format!(
            r#""all": {all}, "other": {}, "one": {one}"#,
            phase(&cpus, r#""policy": "SCHED_OTHER""#)
        ),
    ] {
        let output = of(phases);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}

/// What one program made of a task, all its threads together.
#[derive(Debug, Default)]
struct Made {
    /// Loops of each thread.
    loops: BTreeMap<String, u64>,
    /// By task: from release to the end of the work, where there is a timer, in microseconds.
    responses: BTreeMap<String, Vec<f64>>,
    /// By task: the time on the wall of the work itself.
    works: BTreeMap<String, Vec<f64>>,
    /// Jobs after their deadline.
    misses: u64,
    /// Of rt-app: how many times longer the last thread's work took.
    slow: f64,
}

fn task(thread: &str) -> String {
    thread.rsplit_once('-').unwrap().0.to_owned()
}

fn median(samples: &[f64]) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// What rt-app makes of the file, with its loop taking `ns`.
fn by_rt_app(file: &Path, ns: f64) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(file).unwrap();
    let text = text.replace("\"CPU1\"", &format!("{ns:.0}"));
    fs::write(folder.path().join("w.json"), text).unwrap();
    let output = Command::new("rt-app").arg("w.json").current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{file:?}: {output:?}");
    let mut made = Made::default();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let Some(thread) = name.strip_prefix("rt-app-") else { continue };
        // idx perf run period start end rel_st slack c_duration c_period wu_lat
        let log = fs::read_to_string(&path).unwrap();
        let cells = |line: &str| -> Vec<f64> {
            line.split_whitespace().map(|cell| cell.parse().unwrap()).collect()
        };
        let lines: Vec<Vec<f64>> =
            log.lines().filter(|line| !line.starts_with('#')).map(cells).collect();
        let slow = slow_down(&lines);
        made.slow = slow;
        for cells in lines {
            let [run, slack, c_duration, c_period] = [2, 7, 8, 9].map(|column| cells[column]);
            let more = (slow - 1.0) * c_duration;
            *made.loops.entry(thread.to_owned()).or_default() += 1;
            made.works.entry(task(thread)).or_default().push(run - more);
            if c_period > 0.0 {
                made.responses.entry(task(thread)).or_default().push(c_period - slack - more);
                made.misses += u64::from(slack < 0.0);
            }
        }
    }
    made
}

/// How many times longer rt-app's work took than it was to take, where nothing held it up. Its loop
/// takes 22 ns or 33 ns on the machines of the tests, from one second to the next.
fn slow_down(lines: &[Vec<f64>]) -> f64 {
    let mut all: Vec<f64> = lines.iter().map(|cells| cells[2] / cells[8]).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 4]
}

fn by_rtload(file: &Path, calibration: &Path) -> Made {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(calibration, folder.path().join("calibration.json")).unwrap();
    let output = rtload(folder.path(), &format!("--rt-app {} --out jobs.csv", file.display()));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut made = Made::default();
    for own in summary(&output)["tasks"].as_array().unwrap() {
        let name = own["task"].as_str().unwrap().to_owned();
        made.loops.insert(name, own["loops"].as_u64().unwrap());
        made.misses += own["misses"].as_u64().unwrap();
    }
    for row in rows(&folder.path().join("jobs.csv")) {
        let us = |column: &str| number(&row, column) as f64 / 1e3;
        let work = us("finish_ns") - us("start_ns");
        made.works.entry(task(&row["task"])).or_default().push(work);
        if !row["deadline_ns"].is_empty() {
            made.responses.entry(task(&row["task"])).or_default().push(us("response_ns"));
        }
    }
    made
}

/// What one of rt-app's loops takes here, in nanoseconds: its own calibration takes seconds, and is
/// a tenth off.
fn rt_app_loop() -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("probe.json");
    let text = r#"{ "tasks": { "a": { "cpus": [1], "policy": "SCHED_FIFO", "loop": 1, "phases": {
        "p": { "loop": 40, "run": 10000, "sleep": 100 } } } },
        "global": { "duration": -1, "calibration": "CPU1" } }"#;
    fs::write(&file, text).unwrap();
    let made = by_rt_app(&file, 40.0);
    40.0 * made.slow
}

/// Whether all that is needed is here.
fn can_compare(test: &str) -> bool {
    let allowed = kernel::affinity::get(kernel::affinity::SELF).unwrap();
    let lacks = match () {
        () if !nix::unistd::geteuid().is_root() => "real-time priorities need root",
        () if Command::new("rt-app").arg("--help").output().is_err() => {
            "no rt-app (scripts/setup.sh test installs it)"
        }
        () if ![0, 1].iter().all(|cpu| allowed.contains(cpu)) => {
            "the files are for CPUs 0 and 1, and this process may not use both"
        }
        () => return true,
    };
    eprintln!("SKIPPED: {test}: {lacks}");
    false
}

/// Whether two figures agree: within a quarter, as fast as this machine changes its speed, and a
/// millisecond.
fn agree(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= 1_000.0 + theirs / 4.0
}

fn compare(names: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let calibration = folder.path().join("calibration.json");
    let calibrate = Command::new(env!("CARGO_BIN_EXE_rtload"))
        .args(["calibrate", "--cpu", "1", "--for", "1s", "--save"])
        .arg(&calibration)
        .env("XDG_CACHE_HOME", folder.path())
        .output()
        .unwrap();
    assert!(calibrate.status.success(), "{calibrate:?}");
    let ns = rt_app_loop();
    eprintln!("file task: loops, medians in us of response and work, ours and rt-app's");
    for name in names {
        let file = files().join(format!("{name}.json"));
        let (theirs, ours) = (by_rt_app(&file, ns), by_rtload(&file, &calibration));
        assert_eq!(ours.loops, theirs.loops, "{name}");
        for (task, works) in &theirs.works {
            let [our_response, their_response] =
                [&ours, &theirs].map(|made| made.responses.get(task).map(|all| median(all)));
            let [our_work, their_work] = [median(&ours.works[task]), median(works)];
            eprintln!(
                "{name} {task}: {} loops, {our_response:.0?} {their_response:.0?}, \
                 {our_work:.0} {their_work:.0}",
                works.len()
            );
            match (our_response, their_response) {
                (Some(ours), Some(theirs)) => {
                    assert!(agree(ours, theirs), "{name} {task}: {ours:.0} and {theirs:.0} us");
                }
                (None, None) => assert!(agree(our_work, their_work), "{name} {task}: work"),
                _ => panic!("{name} {task}: {our_response:?} {their_response:?}"),
            }
        }
        let misses = (ours.misses, theirs.misses);
        assert!(ours.misses.abs_diff(theirs.misses) <= 3, "{name}: misses {misses:?}");
    }
}

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rt-app")
}

#[test]
fn rt_app_makes_the_same_of_some_files() {
    if can_compare("rt_app_makes_the_same_of_some_files") {
        // Those whose times are told in time: of what is told in work, rt-app's own loop decides, whose
        // speed changes by half from one second to the next here.
        compare(&["runtime", "overrun-relative", "overrun-absolute"]);
    }
}

#[test]
#[ignore = "a minute"]
fn rt_app_makes_the_same_of_all_files() {
    if can_compare("rt_app_makes_the_same_of_all_files") {
        let mut names: Vec<String> = fs::read_dir(files())
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        compare(&names.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

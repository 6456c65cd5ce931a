//! The program under rough treatment: without privilege, without readers, with odd outputs.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Read},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt, symlink},
        process::{CommandExt, ExitStatusExt},
    },
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use model::sample::{Job, read_csv};
use nix::{
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::{Pid, geteuid, mkfifo},
};
use serde_json::Value;
use tempfile::TempDir;

/// The user and group `nobody`.
const NOBODY: u32 = 65_534;

/// A folder with a calibration that was not measured, which everybody may write to.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = "{\"schema_version\":1,\"ns_per_iteration\":1.7,\"undisturbed_ns_per_iteration\":1.6,\
                \"spread\":0.0,\"length_difference\":0.0,\"pieces\":1,\"cpu\":0,\"cpu_model\":null}";
    fs::write(folder.path().join("calibration.json"), text).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    folder
}

/// `rtload` in `folder`, without looking at the calibration.
fn rtload(folder: &Path, command: &str, rest: &str) -> Command {
    let mut rtload = Command::new(env!("CARGO_BIN_EXE_rtload"));
    rtload.current_dir(folder).env("XDG_CACHE_HOME", folder).arg(command);
    rtload.args("--calibration calibration.json --check off --work paced".split(' '));
    rtload.args(rest.split_whitespace());
    rtload.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    rtload
}

fn run(folder: &Path, rest: &str) -> Output {
    rtload(folder, "run", &format!("--policy other {rest}")).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn rows(folder: &Path) -> usize {
    read_csv::<Job>(&folder.join("jobs.csv")).unwrap().len()
}

/// Ends within `limit`; else it is killed and the test fails.
fn ends(child: &mut Child, limit: Duration) -> ExitStatus {
    let since = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if since.elapsed() > limit {
            child.kill().unwrap();
            panic!("still running after {limit:?}");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

/// Whether this process may start others as `nobody`; says that `test` is skipped where not.
fn may_drop_privilege(test: &str) -> bool {
    let root = geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: {test}: changing the user needs root");
    }
    root
}

#[test]
fn an_ordinary_user_under_a_small_memory_limit_keeps_all_rows() {
    if !may_drop_privilege("an_ordinary_user_under_a_small_memory_limit_keeps_all_rows") {
        return;
    }
    let folder = folder();
    // The program's own folder may be closed to others.
    let program = folder.path().join("rtload");
    fs::copy(env!("CARGO_BIN_EXE_rtload"), &program).unwrap();
    // The limit that distributions set.
    let mut ordinary = Command::new("sh");
    ordinary.args(["-c", "ulimit -l 8192; exec \"$@\"", "sh"]).arg(&program);
    let line = "run --policy other --calibration calibration.json --check off --work paced \
                --task 100us/1ms --duration 6s --out jobs.csv --summary json";
    ordinary.current_dir(folder.path()).args(line.split_whitespace());
    ordinary.env("XDG_CACHE_HOME", folder.path()).uid(NOBODY).gid(NOBODY);
    let output = ordinary.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["tasks"][0]["jobs"], 6000);
    assert_eq!(rows(folder.path()), 6000);
    assert!(summary["warnings"].to_string().contains("ulimit -l"), "{summary}");
}

#[test]
fn messages_that_nobody_hears_lose_no_rows() {
    for closed in ["full", "pipe"] {
        let folder = folder();
        let mut command = rtload(
            folder.path(),
            "run",
            "--policy other --task 1ms/10ms --duration 100ms --out jobs.csv",
        );
        if closed == "full" {
            command.stderr(OpenOptions::new().write(true).open("/dev/full").unwrap());
        }
        let mut child = command.spawn().unwrap();
        drop(child.stderr.take());
        assert_eq!(ends(&mut child, Duration::from_secs(20)).code(), Some(0), "{closed}");
        assert_eq!(rows(folder.path()), 10, "{closed}");
    }
}

#[test]
fn a_load_hears_signals_where_nobody_hears_it() {
    for policy in ["fifo", "other"] {
        for which in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let folder = folder();
            let rest = format!("--policy {policy} --task 1ms/10ms --duration 60s --out jobs.csv");
            let mut command = rtload(folder.path(), "load", &rest);
            command.stderr(OpenOptions::new().write(true).open("/dev/full").unwrap());
            let mut child = command.spawn().unwrap();
            thread::sleep(Duration::from_millis(500));
            if child.try_wait().unwrap().and_then(|status| status.code()) == Some(3) {
                eprintln!(
                    "SKIPPED: a_load_hears_signals_where_nobody_hears_it: no SCHED_FIFO here"
                );
                break;
            }
            signal(&child, which);
            assert_eq!(
                ends(&mut child, Duration::from_secs(5)).code(),
                Some(0),
                "{policy} {which}"
            );
            assert!(rows(folder.path()) > 5, "{policy} {which}");
        }
    }
}

#[test]
fn a_closed_standard_output_is_a_quiet_end_and_a_full_one_an_error() {
    let folder = folder();
    let rest = "--policy other --task 1ms/10ms --duration 50ms";
    for format in ["text", "json"] {
        let line = format!("{rest} --summary {format}");
        let mut child = rtload(folder.path(), "run", &line).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let heard = text(&output.stderr);
        assert!(heard.starts_with("ready\n") && !heard.contains("error"), "{heard}");
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = rtload(folder.path(), "run", &line).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("standard output"), "{}", text(&output.stderr));
    }
}

#[test]
fn a_fifo_takes_all_rows() {
    let folder = folder();
    let path = folder.path().join("fifo");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let rest = "--policy other --task 1ms/10ms --duration 100ms --out fifo --summary json";
    let mut child = rtload(folder.path(), "run", rest).spawn().unwrap();
    let mut all = String::new();
    File::open(&path).unwrap().read_to_string(&mut all).unwrap();
    assert_eq!(ends(&mut child, Duration::from_secs(20)).code(), Some(0));
    assert_eq!(all.lines().count(), 11, "{all}");
    assert!(fs::metadata(&path).unwrap().file_type().is_fifo());
}

#[test]
fn a_fifo_that_nobody_reads_does_not_outlive_a_signal() {
    let folder = folder();
    mkfifo(&folder.path().join("fifo"), Mode::S_IRWXU).unwrap();
    let mut command =
        rtload(folder.path(), "run", "--policy other --task 50us/1ms --duration 3s --out fifo");
    // Nobody has opened it: the program waits, and a signal ends it as any other.
    let mut child = command.spawn().unwrap();
    thread::sleep(Duration::from_millis(200));
    signal(&child, Signal::SIGTERM);
    assert_eq!(ends(&mut child, Duration::from_secs(5)).signal(), Some(15));
    // Somebody has opened it, and does not read.
    let mut child = command.spawn().unwrap();
    let _reader = File::open(folder.path().join("fifo")).unwrap();
    thread::sleep(Duration::from_secs(4));
    assert!(child.try_wait().unwrap().is_none(), "3000 rows do not fit into a pipe");
    signal(&child, Signal::SIGTERM);
    assert_eq!(ends(&mut child, Duration::from_secs(10)).code(), Some(130));
}

#[test]
fn sighup_keeps_rows_and_nohup_ignores_it() {
    let rest = "--policy other --task 1ms/10ms --duration 700ms --out jobs.csv";
    let folder = folder();
    let start = |command: &mut Command| {
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while line != "ready\n" {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "ended before it was ready");
        }
        thread::sleep(Duration::from_millis(300));
        signal(&child, Signal::SIGHUP);
        (ends(&mut child, Duration::from_secs(10)), stderr)
    };
    let (status, _stderr) = start(&mut rtload(folder.path(), "run", rest));
    assert_eq!(status.code(), Some(130));
    assert!((5..70).contains(&rows(folder.path())), "{}", rows(folder.path()));
    let plain = rtload(folder.path(), "run", rest);
    let mut ignoring = Command::new("sh");
    ignoring.current_dir(folder.path()).args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    ignoring.arg(plain.get_program()).args(plain.get_args());
    ignoring.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let (status, _stderr) = start(&mut ignoring);
    assert_eq!(status.code(), Some(0));
    assert_eq!(rows(folder.path()), 70);
}

#[test]
fn outputs_that_would_overwrite_each_other_are_refused() {
    let folder = folder();
    let rest = "--task 1ms/10ms --duration 50ms";
    let refused = |output: Output| {
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let same = refused(run(folder.path(), &format!("{rest} --out x --hist-log ./x")));
    assert!(same.contains("--hist-log ./x") && same.contains("--out"), "{same}");
    let same = refused(run(folder.path(), &format!("{rest} --out /dev/stdout")));
    assert!(same.contains("standard output"), "{same}");
    let file = File::create(folder.path().join("all")).unwrap();
    let line = format!("--policy other {rest} --out /dev/stdout");
    refused(rtload(folder.path(), "run", &line).stdout(file).output().unwrap());
    assert!(!folder.path().join("x").exists());
    let both = format!("{rest} --out /dev/null --hist-log /dev/null");
    assert_eq!(run(folder.path(), &both).status.code(), Some(0));
}

#[test]
fn what_is_no_regular_file_stays_what_it_is() {
    let folder = folder();
    fs::write(folder.path().join("target"), "old").unwrap();
    symlink("target", folder.path().join("link")).unwrap();
    let rest = "--task 1ms/10ms --duration 50ms";
    assert_eq!(
        run(folder.path(), &format!("{rest} --save link --out jobs.csv")).status.code(),
        Some(0)
    );
    assert!(fs::symlink_metadata(folder.path().join("link")).unwrap().is_symlink());
    assert!(fs::read_to_string(folder.path().join("target")).unwrap().contains("ns_per_iteration"));
    // A node of our own: where this fails, the machine keeps its /dev/null.
    let null = folder.path().join("null");
    let made = Command::new("mknod").arg(&null).args(["c", "1", "3"]).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: what_is_no_regular_file_stays_what_it_is: no device node can be made");
        return;
    }
    assert_eq!(run(folder.path(), &format!("{rest} --save null")).status.code(), Some(0));
    assert!(fs::metadata(&null).unwrap().file_type().is_char_device());
}

#[test]
fn the_summary_is_printed_also_where_a_file_cannot_be_written() {
    let folder = folder();
    let output = run(
        folder.path(),
        "--task 1ms/10ms --duration 50ms --out /dev/full --hist-log log --summary json",
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/dev/full"), "{}", text(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["tasks"][0]["jobs"], 5);
    assert!(fs::read_to_string(folder.path().join("log")).unwrap().contains("Tag=tau1"));
}

#[test]
fn a_wrong_line_leaves_files_as_they_were() {
    let folder = folder();
    let csv = folder.path().join("jobs.csv");
    fs::write(&csv, "precious").unwrap();
    for wrong in ["--cpu 4000", "--priority 5", "--hist-log nowhere/log", "--start-at 1"] {
        let output =
            run(folder.path(), &format!("--task 1ms/10ms --duration 50ms --out jobs.csv {wrong}"));
        assert_eq!(output.status.code(), Some(2), "{wrong}: {}", text(&output.stderr));
        assert_eq!(fs::read_to_string(&csv).unwrap(), "precious", "{wrong}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left lying about");
}

#[test]
fn what_cannot_go_as_asked_is_told() {
    let folder = folder();
    let mut refused = rtload(folder.path(), "run", "--task 1ms/20ms --task 1ms/10ms --duration 1s");
    let output = refused.args(["--priority", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--priority 2 to 98"), "{}", text(&output.stderr));
    let output = run(folder.path(), "--task 5us/1ms --duration 20ms --summary json");
    assert!(text(&output.stdout).contains("paced work of 5us"), "{}", text(&output.stdout));
}

#[test]
fn a_cpu_that_changes_in_the_middle_is_told() {
    let test = "a_cpu_that_changes_in_the_middle_is_told";
    let cpus = kernel::affinity::get(kernel::affinity::SELF).unwrap();
    let [first, second, ..] = cpus[..] else {
        eprintln!("SKIPPED: {test}: there is one CPU only");
        return;
    };
    let folder = folder();
    let rest = format!("--policy other --task 1ms/10ms --duration 1s --cpu {first} --summary json");
    let child = rtload(folder.path(), "run", &rest).spawn().unwrap();
    thread::sleep(Duration::from_millis(500));
    let threads = kernel::procfs::Proc::default().threads(child.id() as i32).unwrap();
    threads.iter().for_each(|&tid| kernel::affinity::set(tid, &[second]).unwrap());
    let output = child.wait_with_output().unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let warnings = summary["warnings"].to_string();
    assert!(warnings.contains(&format!("another CPU than {first}")), "{warnings}");
}

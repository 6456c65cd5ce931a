//! The program: exit codes, files, standard output, signals.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::common::{answering, head, ok, server};
use model::sample::{self, Request};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

fn webload() -> Command {
    Command::new(env!("CARGO_BIN_EXE_webload"))
}

fn run(args: &[&str]) -> Output {
    webload().args(args).output().expect("the program starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn writes_rows_histograms_and_one_json_object() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, log) = (folder.path().join("requests.csv"), folder.path().join("requests.hlog"));
    let spectrum = folder.path().join("spectrum.txt");
    let url = format!("http://{}/", answering(ok("body"), true));
    let output = webload()
        .args(["--url", &url, "--clients", "2", "--requests", "5", "--repetitions", "2"])
        .args(["--warm-up", "1", "--timeout", "5s", "--experiment", "e1", "--summary", "json"])
        .args([Path::new("--out"), &csv, Path::new("--hist-log"), &log])
        .args([Path::new("--spectrum"), &spectrum])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!((&summary["requests"], &summary["failures"]), (&20.into(), &0.into()));
    for key in ["min", "mean", "stddev", "p50", "p90", "p99", "p99_9", "p99_99", "max"] {
        assert!(summary["response_ns"][key].is_number(), "{key}: {summary}");
    }
    assert_eq!(summary["warm_up"]["requests"], 2);
    // A busy machine adds its warning; it is not progress.
    let progress = stderr(&output).lines().filter(|line| !line.contains("warning:")).count();
    assert_eq!(progress, 2, "a line of progress a repetition: {}", stderr(&output));
    let rows: Vec<Request> = sample::read_csv(&csv).unwrap();
    assert_eq!(rows.len(), 20);
    assert!(rows.iter().all(|row| row.experiment.as_deref() == Some("e1")));
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("Tag=response,") && log.contains("Tag=uncorrected,"), "{log}");
    let spectrum = fs::read_to_string(&spectrum).unwrap();
    assert!(spectrum.contains("     1.000000           20          inf\n"), "{spectrum}");
}

#[test]
fn too_many_failures_are_exit_code_4() {
    let address = answering("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", true);
    let good = format!("http://{}/", answering(ok("body"), true));
    let bad = format!("http://{address}/");
    let code = |args: &[&str]| run(&[args, &["--requests", "2", "--clients", "2"]].concat());
    assert_eq!(code(&["--url", &good]).status.code(), Some(0));
    let both = ["--url", &good, "--url", &bad];
    assert_eq!(code(&both).status.code(), Some(4), "by default none may fail");
    let limit = |share| [&both[..], &["--max-failures", share]].concat();
    assert_eq!(code(&limit("0.4")).status.code(), Some(4));
    assert_eq!(code(&limit("0.5")).status.code(), Some(0));
    let all_bad = code(&["--url", &bad, "--max-failures", "1", "--summary", "json"]);
    assert_eq!(all_bad.status.code(), Some(0), "a share of 1 is never exceeded");
    assert_eq!(code(&["--url", &bad]).status.code(), Some(4));
    let summary: Value = serde_json::from_slice(&all_bad.stdout).unwrap();
    assert!(summary["response_ns"].is_null(), "unknown is null, not 0: {summary}");
}

#[test]
fn bad_input_is_exit_code_2_with_the_reason() {
    let url = ["--url", "http://127.0.0.1:9/"];
    for (args, reason) in [
        (&["--url", "https://127.0.0.1/"][..], "only http is supported"),
        (&["--url", "127.0.0.1:80"], "not a URL"),
        (&[&url[..], &["--clients", "0"]].concat(), "`clients` is 0"),
        (&[&url[..], &["--requests", "-1"]].concat(), "-1"),
        (&[&url[..], &["--timeout", "120"]].concat(), "has no unit"),
        (&[&url[..], &["--timeout", "0"]].concat(), "timeout is 0"),
        (&[&url[..], &["--timeout", "900us"]].concat(), "at least 1ms"),
        (&[&url[..], &["--rate", "0.0000001/h"]].concat(), "at least 0.000001/s"),
        (&[&url[..], &["--header", "X"]].concat(), "is not a header"),
        (&[&url[..], &["--body", "/nonexistent"]].concat(), "--body /nonexistent"),
        (&[&url[..], &["--out", "/tmp/x", "--hist-log", "/tmp/../tmp/x"]].concat(), "same file"),
        (&[&url[..], &["--out", "/dev/stdout"]].concat(), "standard output"),
        (&[&url[..], &["--rate", "50"]].concat(), "for example `50/s`"),
        (&[&url[..], &["--max-failures", "5%"]].concat(), "not a share"),
        (&[&url[..], &["--cpu", "4096"]].concat(), "CPU 4096"),
        (&[&url[..], &["--out", "/nonexistent/x.csv"]].concat(), "/nonexistent/x.csv"),
        (&[][..], "--url"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(reason), "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn bad_input_leaves_files_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("requests.csv");
    fs::write(&csv, "precious").unwrap();
    let url = ["--url", "http://127.0.0.1:9/", "--out", csv.to_str().unwrap()];
    for wrong in [["--cpu", "4096"], ["--clients", "0"], ["--url", "ftp://127.0.0.1/"]] {
        assert_eq!(run(&[&url[..], &wrong].concat()).status.code(), Some(2), "{wrong:?}");
        assert_eq!(fs::read_to_string(&csv).unwrap(), "precious", "{wrong:?}");
    }
}

#[test]
fn an_output_is_replaced_at_the_end_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("requests.csv");
    fs::write(&csv, "precious").unwrap();
    let url = format!("http://{}/", answering(ok("body"), true));
    let line = ["--url", &url, "--out", csv.to_str().unwrap(), "--hist-log", "/nonexistent/log"];
    assert_eq!(run(&line).status.code(), Some(2));
    assert_eq!(fs::read_to_string(&csv).unwrap(), "precious");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(run(&line[..4]).status.code(), Some(0));
    assert_eq!(sample::read_csv::<Request>(&csv).unwrap().len(), 100);
}

#[test]
fn what_cannot_be_printed_loses_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("requests.csv");
    let url = format!("http://{}/", answering(ok("body"), true));
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let start = || {
        let mut webload = webload();
        webload.args(["--url", &url, "--clients", "2", "--requests", "2", "--repetitions", "2"]);
        webload.arg("--out").arg(&csv).stdout(Stdio::piped()).stderr(Stdio::piped());
        let _before = fs::remove_file(&csv);
        webload
    };
    let rows = || sample::read_csv::<Request>(&csv).unwrap().len();
    assert_eq!(start().stderr(full()).output().unwrap().status.code(), Some(0));
    assert_eq!(rows(), 8, "a full standard error");
    let mut child = start().spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(rows(), 8, "both closed");
    let output = start().stdout(full()).output().unwrap();
    assert_eq!((output.status.code(), rows()), (Some(1), 8), "a full standard output");
    assert!(stderr(&output).contains("standard output"));
    let output = start().args(["--hist-log", "/dev/full"]).output().unwrap();
    assert_eq!((output.status.code(), rows()), (Some(1), 8));
    assert!(String::from_utf8_lossy(&output.stdout).contains("8 requests"), "{output:?}");
}

#[test]
fn few_descriptors_are_raised_or_named() {
    let url = format!("http://{}/", answering(ok("body"), true));
    let limited = |limits: &str| {
        let line = format!("ulimit {limits}; exec \"$@\"");
        let mut sh = Command::new("sh");
        sh.args(["-c", &line, "sh", env!("CARGO_BIN_EXE_webload"), "--url", &url]);
        sh.args(["--clients", "100", "--requests", "1"]).output().unwrap()
    };
    let raised = limited("-S -n 64");
    assert_eq!(raised.status.code(), Some(0), "{}", stderr(&raised));
    let refused = limited("-n 64");
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("ulimit -n"), "{}", stderr(&refused));
}

#[test]
fn help_documents_the_exit_codes() {
    let output = run(&["--help"]);
    let help = String::from_utf8_lossy(&output.stdout).replace('\n', " ");
    assert!(help.contains("130 interrupted"), "{help}");
}

/// A run that is interrupted while a server hangs on one of its clients.
fn interrupted(csv: &Path, signal: Signal) -> Output {
    let hanging = server(|mut stream| {
        head(&mut stream);
        thread::sleep(Duration::from_secs(60));
    });
    let good = answering(ok("body"), true);
    let child: Child = webload()
        .args(["--url", &format!("http://{hanging}/"), "--url", &format!("http://{good}/")])
        .args(["--clients", "2", "--requests", "5", "--summary", "json", "--out"])
        .arg(csv)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(700));
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_signal_stops_it_and_what_was_measured_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let csv = folder.path().join("requests.csv");
        let began = Instant::now();
        let output = interrupted(&csv, signal);
        assert!(began.elapsed() < Duration::from_secs(20), "did not wait for the server");
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&summary["requests"], &summary["interrupted"]), (&5.into(), &true.into()));
        let rows: Vec<Request> = sample::read_csv(&csv).unwrap();
        assert_eq!(rows.len(), 5);
        assert!(rows.iter().all(|row| row.client == 1 && row.error.is_none()));
    }
}

#[test]
fn a_long_run_is_counted_in_constant_memory_and_its_rows_are_written_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("requests.csv");
    let url = format!("http://{}/", answering(ok("body"), true));
    let output = webload()
        .args(["--url", &url, "--clients", "2", "--requests", "500", "--keep-alive"])
        .args(["--most-records", "999", "--summary", "json"])
        .args([Path::new("--out"), &csv])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let rows: Vec<Request> = sample::read_csv(&csv).unwrap();
    assert_eq!((summary["requests"].as_u64(), rows.len()), (Some(1000), 1000));
    let mut exact: Vec<u64> = rows.iter().filter_map(|row| row.response_ns).collect();
    let exact = model::stats::Summary::of(&mut exact).unwrap();
    let counted = &summary["response_ns"];
    assert_eq!((&counted["min"], &counted["max"]), (&exact.min.into(), &exact.max.into()));
    let p50 = counted["p50"].as_u64().unwrap();
    assert!(p50.abs_diff(exact.p50) <= exact.p50 / 1000 + 1, "{p50} for {}", exact.p50);
}

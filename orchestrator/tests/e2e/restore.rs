//! The host is as it was before: after success, error, panic, SIGINT, SIGTERM, and, by `restore`,
//! after `kill -9`.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Stdio},
};

use crate::support::{HostState, orchestrator, stdout, turn};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Starts a drill and waits until it holds a partition, policies and processes.
fn drill(state: &Path, end: &str) -> Child {
    let mut child = orchestrator(state)
        .args(["helper", "drill", "--end", end])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said: Vec<String> = lines.map_while(Result::ok).take_while(|line| line != "held").collect();
    assert_eq!(said.len(), 2, "the drill did not come to hold: {said:?}");
    child
}

fn journals(state: &Path) -> usize {
    let entries = std::fs::read_dir(state).unwrap();
    let journal = |name: &str| name.ends_with(".jsonl");
    entries.filter(|one| journal(&one.as_ref().unwrap().file_name().to_string_lossy())).count()
}

fn is_undone_after(test: &str, end: &str, signal: Option<Signal>, code: i32) {
    let Some(_turn) = turn(test) else { return };
    let state = tempfile::tempdir().unwrap();
    let before = HostState::now();
    let mut child = drill(state.path(), end);
    if let Some(signal) = signal {
        assert!(!before.changes().is_empty(), "the drill changed nothing");
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
    }
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(code));
    before.is_back();
    assert_eq!(journals(state.path()), 0, "the journal is gone");
}

#[test]
fn after_success() {
    is_undone_after("after_success", "success", None, 0);
}

#[test]
fn after_an_error() {
    is_undone_after("after_an_error", "error", None, 1);
}

#[test]
fn after_a_panic() {
    is_undone_after("after_a_panic", "panic", None, 101);
}

#[test]
fn after_sigint() {
    is_undone_after("after_sigint", "wait", Some(Signal::SIGINT), 130);
}

#[test]
fn after_sigterm() {
    is_undone_after("after_sigterm", "wait", Some(Signal::SIGTERM), 130);
}

#[test]
fn after_kill_9_by_restore() {
    let Some(_turn) = turn("after_kill_9_by_restore") else { return };
    let state = tempfile::tempdir().unwrap();
    let before = HostState::now();
    let mut child = drill(state.path(), "wait");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    assert!(!before.changes().is_empty(), "nothing was left to undo");
    let restored = orchestrator(state.path()).arg("restore").output().unwrap();
    assert!(restored.status.success());
    assert!(stdout(&restored).contains("that 1 killed runs had left"), "{}", stdout(&restored));
    before.is_back();
    let again = orchestrator(state.path()).arg("restore").output().unwrap();
    assert_eq!(stdout(&again), "nothing to restore\n");
}

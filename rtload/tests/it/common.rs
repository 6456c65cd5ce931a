//! The program, ready to be started.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a calibration that was not measured, so that tests start at once; paced work makes
/// up for its error.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = "{\"schema_version\":1,\"ns_per_iteration\":1.7,\"undisturbed_ns_per_iteration\":1.6,\
                \"spread\":0.0,\"length_difference\":0.0,\"pieces\":1,\"cpu\":0,\"cpu_model\":null}";
    fs::write(folder.path().join("calibration.json"), text).unwrap();
    folder
}

/// `rtload` in `folder`, as an ordinary task, without looking at the calibration.
pub fn rtload(folder: &Path, command: &str, rest: &str) -> Command {
    let mut rtload = Command::new(env!("CARGO_BIN_EXE_rtload"));
    rtload.current_dir(folder).env("XDG_CACHE_HOME", folder).arg(command);
    rtload.args("--policy other --calibration calibration.json --check off".split(' '));
    rtload.args(["--work", "paced"]).args(rest.split_whitespace());
    rtload.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    rtload
}

/// For tests that count what gets done in a time: one of real-time priority would take the CPU.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn run(folder: &Path, rest: &str) -> Output {
    rtload(folder, "run", rest).output().unwrap()
}

pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

pub fn wait_for_ready(child: &mut Child) -> BufReader<ChildStderr> {
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while line != "ready\n" {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "ended before it was ready");
    }
    stderr
}

pub fn signal(child: &mut Child, signal: Signal) -> ExitStatus {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
    child.wait().unwrap()
}

//! What the end-to-end tests share: the program, the host as it is, and turns on it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::panicking,
};

pub use crate::host_state::HostState;

/// Tests that change the host or measure on it do so one at a time.
static TURN: Mutex<()> = Mutex::new(());

/// A test's turn. As it ends, the host has to be as it was when it began.
pub struct Turn {
    before: HostState,
    _alone: MutexGuard<'static, ()>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !panicking() {
            self.before.is_back();
        }
    }
}

/// Without any other test beside: two guests at once would be measured by each other.
pub fn alone() -> Turn {
    let alone = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    Turn { before: HostState::now(), _alone: alone }
}

/// A turn on the host; none, and said so, where the test cannot run here.
pub fn turn(test: &str) -> Option<Turn> {
    let turn = alone();
    let lacks = if !nix::unistd::geteuid().is_root() {
        "it needs root"
    } else if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        "it needs two CPUs"
    } else {
        return Some(turn);
    };
    eprintln!("SKIPPED: {test}: {lacks}");
    None
}

/// The program, with its state below `state`.
pub fn orchestrator(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestrator"));
    command.env("RTVM_STATE_DIR", state);
    command
}

/// Another program of the project, built as this test was: now, unless RTVM_BUILT says that it is.
pub fn sibling(name: &str) -> PathBuf {
    built(name, &[]).join(name)
}

/// One of the project's examples, likewise.
pub fn example(name: &str) -> PathBuf {
    built(name, &["--examples"]).join("examples").join(name)
}

/// The folder in which programs are.
fn built(name: &str, what: &[&str]) -> PathBuf {
    let own = Path::new(env!("CARGO_BIN_EXE_orchestrator"));
    let profile = own.parent().unwrap();
    if std::env::var_os("RTVM_BUILT").is_none() {
        let mut cargo = Command::new(env!("CARGO"));
        // All of it: one package alone would be built with other features than in the workspace.
        cargo.args(["build", "--quiet", "--workspace"]).args(what).arg("--target-dir");
        cargo.arg(profile.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "building {name}");
    }
    profile.to_owned()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

//! Readers that have gone, and streams that take nothing.

use std::{
    fs::{File, OpenOptions},
    process::{Command, Output, Stdio},
};

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A command whose reader has gone before it prints.
fn unread(mut command: Command) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer).stderr(Stdio::piped()).output().unwrap()
}

/// A command that touches nothing on the host.
fn dry_run() -> Command {
    let suite = concat!(env!("CARGO_MANIFEST_DIR"), "/../experiments/quick.toml");
    let mut orchestrator = Command::new(env!("CARGO_BIN_EXE_orchestrator"));
    orchestrator.args(["run", suite, "--dry-run"]);
    orchestrator
}

#[test]
fn a_reader_that_has_gone_is_a_quiet_end_and_a_full_stream_an_error() {
    let output = unread(dry_run());
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    let output = dry_run().stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let mut wrong = Command::new(env!("CARGO_BIN_EXE_orchestrator"));
    let refused = wrong.args(["run", "/nonexistent.toml"]).stderr(full()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

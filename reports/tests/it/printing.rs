//! Readers that have gone, and streams that take nothing.

use std::{
    fs::{File, OpenOptions},
    process::{Command, Output, Stdio},
};

use crate::made_up::MadeUp;

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

#[test]
fn a_reader_that_has_gone_is_a_quiet_end_and_a_full_stream_an_error() {
    let folder = MadeUp::as_in_the_paper();
    let asked = |subcommand: &str| {
        let mut reports = Command::new(env!("CARGO_BIN_EXE_reports"));
        reports.arg(subcommand).arg(folder.path());
        reports
    };
    let plain = asked("claims").output().unwrap().status.code();
    let output = unread(asked("claims"));
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (plain, ""));
    let output = unread(asked("table"));
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    let output = asked("table").stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("standard output"), "{output:?}");
    let mut nowhere = Command::new(env!("CARGO_BIN_EXE_reports"));
    let refused = nowhere.args(["table", "/nonexistent"]).stderr(full()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

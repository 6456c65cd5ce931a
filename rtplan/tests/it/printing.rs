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

#[test]
fn a_reader_that_has_gone_is_a_quiet_end_and_a_full_stream_an_error() {
    let asked = |more: &[&str]| {
        let mut rtplan = Command::new(env!("CARGO_BIN_EXE_rtplan"));
        rtplan.args(more).args(["--task", "30ms/150ms"]);
        rtplan
    };
    for line in [
        &["budget", "--period", "50ms"][..],
        &["budget", "--period", "50ms", "--summary", "json"],
        &["analyse"],
        &["simulate", "--duration", "1s"],
        &["--help"],
    ] {
        let output = unread(asked(line));
        assert_eq!(
            (output.status.code(), text(&output.stderr).as_str()),
            (Some(0), ""),
            "{line:?}"
        );
        if line != ["--help"] {
            let output = asked(line).stdout(full()).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{line:?}");
            assert!(text(&output.stderr).contains("standard output"), "{output:?}");
        }
    }
    let refused = asked(&["budget", "--period", "0"]).stderr(full()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "what cannot be said is still an error");
}

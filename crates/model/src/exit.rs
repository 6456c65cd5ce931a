//! The exit codes of every program here.

use std::process::ExitCode;

/// How a program ends; the numbers are promised in `docs/formats.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed on the way.
    Failed = 1,
    /// Wrong usage or input; nothing on the host was touched.
    Usage = 2,
    /// The host lacks a capability or a privilege.
    Lacking = 3,
    /// Done, but a claim or a deadline did not hold.
    NotHeld = 4,
    /// Interrupted by SIGINT, SIGTERM or SIGHUP.
    Interrupted = 130,
}

/// The text that `--help` of every program shows below its options.
pub const EXIT_HELP: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 the host lacks \
a capability or privilege, 4 done, but a claim or deadline did not hold, 130 interrupted.";

/// The text below the options of a command: how it is used, then [`EXIT_HELP`].
#[must_use]
pub fn example(line: &str) -> String {
    format!("Example: {line}\n\n{EXIT_HELP}")
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

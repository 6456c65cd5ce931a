//! Programs that are asked something: for so long and no longer, and not beyond a signal.

use std::{
    io::{Read, Seek, Write},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use kernel::process;

use super::{Stop, pause};

/// Waits for a child that leads a process group (`name` says what it does); it is killed with its
/// group where it takes longer than `limit`, or a signal comes.
///
/// # Errors
/// The time-out, or [`crate::error::Refusal::Interrupted`].
pub fn finish(mut child: Child, name: &str, limit: Duration, stop: &Stop) -> Result<ExitStatus> {
    let give_up = Instant::now() + limit;
    // Short at first: the round trip of a short command is the uncertainty of a clock.
    let mut look = Duration::from_millis(1);
    loop {
        if let Some(status) = process::ended(&mut child)? {
            return Ok(status);
        }
        let waited = pause(look, stop);
        look = (look * 2).min(Duration::from_millis(10));
        if waited.is_err() || Instant::now() > give_up {
            process::kill_group(&mut child)?;
            waited?;
            bail!("{name}: timed out after {limit:?}");
        }
    }
}

/// Runs a command to its end, as [`finish`] does; what it printed.
///
/// # Errors
/// An [`std::io::Error`] in the chain where it cannot be started; those of [`finish`].
pub fn output(command: &mut Command, limit: Duration, stop: &Stop) -> Result<Output> {
    command.stdin(Stdio::null());
    printed(command, limit, stop)
}

/// The same, with `input` on its standard input.
///
/// # Errors
/// Those of [`output`].
pub fn output_given(
    command: &mut Command,
    input: &[u8],
    limit: Duration,
    stop: &Stop,
) -> Result<Output> {
    let mut file = tempfile::tempfile()?;
    file.write_all(input)?;
    file.rewind()?;
    command.stdin(file);
    printed(command, limit, stop)
}

fn printed(command: &mut Command, limit: Duration, stop: &Stop) -> Result<Output> {
    // Files, not pipes: what it starts may outlive it and hold a pipe open.
    let (mut out, mut errors) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdout(out.try_clone()?).stderr(errors.try_clone()?);
    let name = command.get_program().to_string_lossy().into_owned();
    let status = finish(process::spawn_bound(command)?, &name, limit, stop)?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    for (file, bytes) in [(&mut out, &mut stdout), (&mut errors, &mut stderr)] {
        file.rewind()?;
        file.read_to_end(bytes)?;
    }
    Ok(Output { status, stdout, stderr })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::error::Refusal;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_is_printed_comes_back() {
        let output = output(&mut sh("echo a; echo b >&2; exit 3"), SOON, &Stop::default()).unwrap();
        assert_eq!((&*output.stdout, &*output.stderr), (&b"a\n"[..], &b"b\n"[..]));
        assert_eq!(output.status.code(), Some(3));
    }

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn one_that_hangs_is_killed_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
        let limit = Duration::from_millis(300);
        let error = output(&mut sh(&script), limit, &Stop::default()).unwrap_err();
        assert_eq!(error.to_string(), "sh: timed out after 300ms");
        assert_gone(&pid);
    }

    #[test]
    fn what_it_leaves_behind_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}", pid.display());
        assert!(output(&mut sh(&script), SOON, &Stop::default()).unwrap().status.success());
        assert_gone(&pid);
    }

    #[test]
    fn a_signal_ends_the_wait_at_once() {
        let stop = Stop::default();
        stop.flag().store(true, Ordering::Relaxed);
        let start = Instant::now();
        let error = output(&mut sh("sleep 600"), SOON, &stop).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Refusal::Interrupted)), "{error}");
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    /// The process whose id is in the file has ended, or will have in a moment.
    fn assert_gone(file: &std::path::Path) {
        let pid: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        let alive = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
        };
        let give_up = Instant::now() + Duration::from_secs(5);
        while alive() && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!alive(), "process {pid} survived");
    }
}

//! A process that runs beside the measurement, with its messages in a file.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use kernel::process;
use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        statvfs::statvfs,
    },
    unistd::Pid,
};

use super::{Guard, Stop, pause};

/// How long a process may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// The same where the user waits for the end of the run.
const GRACE_INTERRUPTED: Duration = Duration::from_millis(500);

/// A child with a name and a log; killed when dropped.
#[derive(Debug)]
pub struct Background {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Background {
    /// Starts `command`; what it prints on standard output and error goes to `log`.
    ///
    /// # Errors
    /// Where the log cannot be made or the program not be started.
    pub fn start(guard: &Guard, name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        Self::start_apart(guard, name, command, log, log)
    }

    /// Like [`Background::start`], with standard output in a file of its own, `out`.
    ///
    /// # Errors
    /// Where a file cannot be made or the program not be started.
    pub fn start_apart(
        guard: &Guard,
        name: &str,
        command: &mut Command,
        out: &Path,
        log: &Path,
    ) -> Result<Self> {
        let create = |path: &Path| File::create(path).with_context(|| path.display().to_string());
        let errors = create(log)?;
        let output = if out == log { errors.try_clone()? } else { create(out)? };
        let child = guard.spawn(command.stdin(Stdio::null()).stdout(output).stderr(errors))?;
        Ok(Self { name: name.to_owned(), log: log.to_owned(), child })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Waits until `line` stands in the log.
    ///
    /// # Errors
    /// Where the process ends first, the limit passes, or a signal comes.
    pub fn wait_for_line(&mut self, line: &str, limit: Duration, stop: &Stop) -> Result<()> {
        let end = Instant::now() + limit;
        loop {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            if log.lines().any(|one| one == line) {
                return Ok(());
            }
            self.check()?;
            if Instant::now() > end {
                bail!("{} did not say `{line}` within {limit:?}: {}", self.name, log.trim());
            }
            pause(Duration::from_millis(10), stop)?;
        }
    }

    /// Fails once the process has ended by itself.
    ///
    /// # Errors
    /// With its exit status and the end of its log.
    pub fn check(&mut self) -> Result<()> {
        match process::ended(&mut self.child)? {
            None => Ok(()),
            Some(status) => bail!("{} ended early ({status}): {}", self.name, self.last_lines()),
        }
    }

    /// The last lines of the log, on one line; where it could not be written, that.
    fn last_lines(&self) -> String {
        if let Some(full) = full_disk(&self.log) {
            return full;
        }
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// Where it fails, takes longer than `limit`, or a signal comes (which is passed on to it).
    pub fn finish(mut self, limit: Duration, stop: &Stop) -> Result<()> {
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = process::ended(&mut self.child)? {
                break status;
            }
            if Instant::now() > end {
                bail!("{} did not end within {limit:?}", self.name);
            }
            if let Err(interrupted) = pause(Duration::from_millis(20), stop) {
                self.terminate(GRACE_INTERRUPTED)?;
                return Err(interrupted.into());
            }
        };
        if !status.success() {
            bail!("{} failed ({status}): {}", self.name, self.last_lines());
        }
        Ok(())
    }

    /// Ends the process with SIGTERM, and with SIGKILL where it takes too long.
    ///
    /// # Errors
    /// Where it had ended with an error of its own.
    pub fn stop(mut self) -> Result<()> {
        let status = self.terminate(GRACE)?;
        let by_us = std::os::unix::process::ExitStatusExt::signal(&status).is_some()
            || matches!(status.code(), Some(0 | 130));
        if by_us { Ok(()) } else { bail!("{} failed ({status}): {}", self.name, self.last_lines()) }
    }

    /// Like [`Background::stop`], of a program that is not ours: what it makes of SIGTERM is its own.
    ///
    /// # Errors
    /// Where it had ended by itself.
    pub fn end(mut self) -> Result<()> {
        self.check()?;
        self.terminate(GRACE)?;
        Ok(())
    }

    fn terminate(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        if let Some(status) = process::ended(&mut self.child)? {
            return Ok(status);
        }
        kill(Pid::from_raw(self.pid()), Signal::SIGTERM)?;
        let end = Instant::now() + grace;
        while Instant::now() < end {
            if let Some(status) = process::ended(&mut self.child)? {
                return Ok(status);
            }
            sleep(Duration::from_millis(5));
        }
        process::kill_group(&mut self.child)
    }
}

/// What to say where an empty file stands on a full disk.
fn full_disk(log: &Path) -> Option<String> {
    let empty = fs::metadata(log).is_ok_and(|found| found.len() == 0);
    let disk = statvfs(log).ok()?;
    (empty && disk.blocks_available() == 0)
        .then(|| format!("its messages are lost: {}: {}", log.display(), Errno::ENOSPC.desc()))
}

impl Drop for Background {
    fn drop(&mut self) {
        // After `stop` or `finish` it has ended, and this does nothing.
        let _ = process::kill_group(&mut self.child);
    }
}

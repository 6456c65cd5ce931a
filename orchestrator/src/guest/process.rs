//! Starting QEMU, watching whether it lives, and quoting what it said.

use std::{
    fmt, fs, io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::atomic::{AtomicBool, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use kernel::procfs::Proc;

use crate::{error::Refusal, host::Guard};

/// How processes are started: by the host's guard in a run, so that none survives it.
pub trait Launch {
    /// Starts `command`.
    ///
    /// # Errors
    /// Where it cannot be started, with its name.
    fn spawn(&self, command: &mut Command) -> io::Result<Child>;
}

impl Launch for Guard {
    fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        Self::spawn(self, command)
    }
}

/// Starts processes that end with the calling thread, and journals nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

impl Launch for Plain {
    fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        kernel::process::spawn_bound(command)
    }
}

/// An error once the user or the system asked the run to end.
pub(super) fn check(stop: &AtomicBool) -> Result<(), Refusal> {
    if stop.load(Ordering::Relaxed) { Err(Refusal::Interrupted) } else { Ok(()) }
}

/// What became of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It still ran when the time was up.
    None,
    /// It ended after the guest's kernel had panicked.
    Panic,
    /// It ended by itself.
    Code(i32),
    /// A signal ended it: a failed assertion, for example.
    Signal(i32),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("the guest did not answer in time"),
            Self::Panic => f.write_str("the guest's kernel panicked"),
            Self::Code(code) => write!(f, "QEMU ended with exit code {code}"),
            Self::Signal(signal) => write!(f, "QEMU crashed with signal {signal}"),
        }
    }
}

/// A QEMU process and the files that it writes to. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    ended: Option<ExitStatus>,
    qemu_log: PathBuf,
    console_log: PathBuf,
}

impl Process {
    /// Starts QEMU, with its messages in `qemu.log`; on its standard output is the guest's console.
    pub fn start(launch: &dyn Launch, command: &mut Command, logs: &Path) -> anyhow::Result<Self> {
        let (qemu_log, console_log) = (logs.join("qemu.log"), logs.join("console.log"));
        let create = |path: &Path| {
            fs::File::create(path)
                .map_err(|error| anyhow!(error).context(path.display().to_string()))
        };
        let (console, log) = (create(&console_log)?, create(&qemu_log)?);
        command.stdin(std::process::Stdio::null()).stdout(console).stderr(log);
        let child = launch.spawn(command)?;
        Ok(Self { child, ended: None, qemu_log, console_log })
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = kernel::process::ended(&mut self.child).ok().flatten();
        }
        self.ended
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let give_up = Instant::now() + limit;
        loop {
            let ended = self.ended();
            if ended.is_some() || Instant::now() > give_up {
                return ended;
            }
            sleep(Duration::from_millis(2));
        }
    }

    /// Ends it without asking.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            self.ended = kernel::process::kill_group(&mut self.child).ok();
        }
    }

    /// Adds to an error what explains it: QEMU's end, its messages, and the console's last lines.
    pub fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        // A closed socket is seen some moments before the process can be waited for.
        let ended = self.wait(Duration::from_millis(500));
        let text = match ended {
            Some(status) => format!("QEMU (process {}) ended with {}", self.pid(), how(status)),
            None if self.is_stopped() => {
                let pid = self.pid();
                format!(
                    "QEMU (process {pid}) is stopped: somebody sent it SIGSTOP (`kill -CONT {pid}`)"
                )
            }
            None => format!("QEMU (process {}) still runs", self.pid()),
        };
        error.context(text + &self.last_words())
    }

    /// Whether a signal stopped it, so that nothing in it runs.
    pub fn is_stopped(&self) -> bool {
        let status = Proc::default().text(&format!("{}/status", self.pid())).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:\tT"))
    }

    /// How a guest that did not boot ended, as of now.
    pub fn end(&mut self) -> End {
        let panicked = self.console().contains(PANIC);
        match self.ended.map(|status| (status.code(), status.signal())) {
            None => End::None,
            Some((_, Some(signal))) => End::Signal(signal),
            Some((Some(0), None)) if panicked => End::Panic,
            Some((code, None)) => End::Code(code.unwrap_or(0)),
        }
    }

    /// What the guest has said on its console.
    pub fn console(&self) -> String {
        let console = fs::read(&self.console_log).unwrap_or_default();
        String::from_utf8_lossy(&console).into_owned()
    }

    /// The last lines of QEMU's messages and of the console.
    pub fn last_words(&self) -> String {
        quote("QEMU", &self.qemu_log) + &quote("console", &self.console_log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What the guest's kernel says on the console before it stops, and QEMU with it.
const PANIC: &str = "Kernel panic";

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The last lines of a log, in one line; empty where there are none. A kernel's panic counts as the
/// beginning of the end: behind it stand registers.
fn quote(name: &str, path: &Path) -> String {
    const LINES: usize = 5;
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let panic = lines.iter().position(|line| line.contains(PANIC));
    let first = panic.unwrap_or(lines.len().saturating_sub(LINES));
    let quoted: Vec<_> = lines.into_iter().skip(first).take(LINES).collect();
    if quoted.is_empty() { String::new() } else { format!("; {name}: {}", quoted.join(" | ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_explained_at_once() {
        let logs = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", r"printf '1\n2\n3\n4\n5\n\n6\r\n'; echo unhappy >&2; exit 3"]);
        let mut process = Process::start(&Plain, &mut command, logs.path()).unwrap();
        let begin = Instant::now();
        let text = format!("{:#}", process.explain(anyhow!("no hello")));
        assert!(begin.elapsed() < Duration::from_millis(450), "waited for nothing");
        assert!(text.contains("exit code 3; QEMU: unhappy; console: 2 | 3 | 4 | 5 | 6"), "{text}");
        assert!(text.ends_with("no hello"), "{text}");
    }

    #[test]
    fn how_a_guest_ended_is_told_apart() {
        let ended = |script: &str, console: &str| {
            let logs = tempfile::tempdir().unwrap();
            let mut command = Command::new("sh");
            command.args(["-c", &format!("echo '{console}'; {script}")]);
            let mut process = Process::start(&Plain, &mut command, logs.path()).unwrap();
            process.wait(Duration::from_millis(500));
            process.end()
        };
        assert_eq!(ended("kill -ABRT $$", ""), End::Signal(6));
        assert_eq!(ended("exit 1", ""), End::Code(1));
        assert_eq!(ended("exit 0", "Kernel panic - not syncing"), End::Panic);
        assert_eq!(ended("exit 0", ""), End::Code(0));
        assert_eq!(ended("exec sleep 60", ""), End::None);
    }

    #[test]
    fn dropping_kills() {
        let logs = tempfile::tempdir().unwrap();
        let process = Process::start(&Plain, Command::new("sleep").arg("60"), logs.path()).unwrap();
        let path = format!("/proc/{}", process.pid());
        assert!(Path::new(&path).exists());
        drop(process);
        assert!(!Path::new(&path).exists());
    }
}

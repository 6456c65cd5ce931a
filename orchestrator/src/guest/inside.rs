//! What is done inside a virtual machine in which the bench's agent answers, however it got there.

use std::{fmt, fs, path::Path, sync::atomic::AtomicBool, time::Duration};

use anyhow::Context;

use super::{Agent, ClockOffset, Hello, Output, Running, Status, Stream, seed};

/// Answers that take no work.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// The exchanges that a clock offset rests on.
const CLOCK_EXCHANGES: u32 = 50;

/// Where the bench's programs are in a guest, and where its files may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The agent, which is also the built-in guest's first process.
    pub agent: String,
    /// The load generator.
    pub rtload: String,
    /// The folder for files.
    pub folder: String,
}

impl Programs {
    /// In a built-in guest, or on the drive by which they entered a system on a disk of the user's.
    pub(super) fn of(own_disk: bool) -> Self {
        let folder = "/tmp".to_owned();
        if own_disk {
            let on_drive = |name: &str| format!("{}/{name}", seed::FOLDER);
            Self { agent: on_drive(seed::AGENT), rtload: on_drive(seed::RTLOAD), folder }
        } else {
            Self { agent: "/init".to_owned(), rtload: "/bin/rtload".to_owned(), folder }
        }
    }

    /// In this folder, with all that they write.
    #[must_use]
    pub fn below(folder: &str) -> Self {
        let path = |name: &str| format!("{folder}/{name}");
        Self { agent: path(seed::AGENT), rtload: path(seed::RTLOAD), folder: folder.to_owned() }
    }

    /// The path of a file of this name.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }
}

/// Knows why an agent does not answer any more.
pub trait Explain: fmt::Debug + Send + Sync {
    /// Adds the reason, where it explains the error.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error;
}

/// The inside of a virtual machine. May be used from several threads.
#[derive(Debug)]
pub struct Inside {
    agent: Agent,
    outside: Box<dyn Explain>,
    /// What the agent said when it came up.
    pub hello: Hello,
    /// Where the bench's programs are in it.
    pub programs: Programs,
}

impl Inside {
    /// Of an agent that said hello.
    #[must_use]
    pub fn new(agent: Agent, hello: Hello, programs: Programs, outside: Box<dyn Explain>) -> Self {
        Self { agent, outside, hello, programs }
    }

    /// Writes a file in the guest.
    ///
    /// # Errors
    /// The guest's refusal, a time-out, or its end.
    pub fn put(
        &self,
        path: &str,
        mode: u32,
        content: &[u8],
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        self.explained(self.agent.put(path, mode, content, ANSWER_LIMIT, stop))
    }

    /// Fetches a file of the guest into a file of the host.
    ///
    /// # Errors
    /// The guest's refusal, a time-out, its end, or that of the host's file system.
    pub fn get(&self, path: &str, to: &Path, stop: &AtomicBool) -> anyhow::Result<()> {
        let content = self.read(path, stop)?;
        fs::write(to, content).with_context(|| to.display().to_string())
    }

    /// Reads a file in the guest.
    ///
    /// # Errors
    /// The guest's refusal, a time-out, or its end.
    pub fn read(&self, path: &str, stop: &AtomicBool) -> anyhow::Result<Vec<u8>> {
        self.explained(self.agent.get(path, ANSWER_LIMIT, stop))
    }

    /// Runs a command to its end, at most `limit`.
    ///
    /// # Errors
    /// It cannot be started, a time-out (the command is then killed), or the guest's end. An exit code
    /// other than 0 is no error.
    pub fn run(
        &self,
        argv: &[impl AsRef<str>],
        limit: Duration,
        stop: &AtomicBool,
    ) -> anyhow::Result<Output> {
        let running = self.start(argv, &[], stop)?;
        self.wait(&running, limit, stop, |_, _| ())
    }

    /// Starts a command, with variables set beside PATH and HOME.
    ///
    /// # Errors
    /// It cannot be started, a time-out, or the guest's end.
    pub fn start(
        &self,
        argv: &[impl AsRef<str>],
        env: &[(&str, &str)],
        stop: &AtomicBool,
    ) -> anyhow::Result<Running<'_>> {
        self.start_in("/", argv, env, stop)
    }

    /// Like [`Inside::start`], in the folder `cwd`.
    ///
    /// # Errors
    /// Those of [`Inside::start`].
    pub fn start_in(
        &self,
        cwd: &str,
        argv: &[impl AsRef<str>],
        env: &[(&str, &str)],
        stop: &AtomicBool,
    ) -> anyhow::Result<Running<'_>> {
        let argv: Vec<&str> = argv.iter().map(AsRef::as_ref).collect();
        self.explained(self.agent.start(cwd, &argv, env, ANSWER_LIMIT, stop))
    }

    /// Waits for a command's end, at most `limit`; `on_output` sees what it writes as it comes.
    ///
    /// # Errors
    /// A time-out (the command is then killed), or the guest's end.
    pub fn wait(
        &self,
        running: &Running<'_>,
        limit: Duration,
        stop: &AtomicBool,
        on_output: impl FnMut(Stream, &[u8]),
    ) -> anyhow::Result<Output> {
        self.explained(running.wait(limit, stop, on_output))
    }

    /// Like [`Inside::wait`], and keeps nothing of what the command writes.
    ///
    /// # Errors
    /// Those of [`Inside::wait`].
    pub fn follow(
        &self,
        running: &Running<'_>,
        limit: Duration,
        stop: &AtomicBool,
        on_output: impl FnMut(Stream, &[u8]),
    ) -> anyhow::Result<Status> {
        self.explained(running.follow(limit, stop, on_output))
    }

    /// As [`Inside::follow`], but leaves the command running where the stop flag is set.
    ///
    /// # Errors
    /// The stop flag, or the guest's end.
    pub fn watch(
        &self,
        running: &Running<'_>,
        limit: Duration,
        stop: &AtomicBool,
        on_output: impl FnMut(Stream, &[u8]),
    ) -> anyhow::Result<Status> {
        self.explained(running.watch(limit, stop, on_output))
    }

    /// The guest's clock against the host's. Works while a command runs.
    ///
    /// # Errors
    /// A time-out, or the guest's end.
    pub fn clock_offset(&self, stop: &AtomicBool) -> anyhow::Result<ClockOffset> {
        self.clock_offset_by(CLOCK_EXCHANGES, stop)
    }

    /// The same by so many exchanges, at least one: fewer disturb less, and tell less exactly.
    ///
    /// # Errors
    /// A time-out, or the guest's end.
    pub fn clock_offset_by(
        &self,
        exchanges: u32,
        stop: &AtomicBool,
    ) -> anyhow::Result<ClockOffset> {
        self.explained(ClockOffset::measure(&self.agent, exchanges, ANSWER_LIMIT, stop))
    }

    /// Has the agent end what it serves: the guest, or, in one that it entered, itself.
    ///
    /// # Errors
    /// A time-out, or that it had ended before.
    pub fn end(&self, limit: Duration) -> anyhow::Result<()> {
        self.explained(self.agent.shutdown(limit, &AtomicBool::new(false)))
    }

    fn explained<T>(&self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        result.map_err(|error| self.outside.explain(error))
    }
}

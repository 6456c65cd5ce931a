//! A command in a guest: its output as it comes, its end, and signals to it.

use std::{
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use anyhow::bail;
use guest_agent::message::{Reply, Request, Status, Stream};

use super::agent::{Agent, Closed, Replies};

/// What a command wrote and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: Status,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// A command that runs in the guest. Dropping it leaves the command alone.
#[derive(Debug)]
pub struct Running<'a> {
    agent: &'a Agent,
    replies: Replies<'a>,
    /// Its process, in the guest.
    pub pid: i32,
}

impl Agent {
    /// Starts a command in the folder `cwd`.
    ///
    /// # Errors
    /// The guest's refusal, a time-out, or [`Closed`].
    pub fn start(
        &self,
        cwd: &str,
        argv: &[&str],
        env: &[(&str, &str)],
        limit: Duration,
        stop: &AtomicBool,
    ) -> anyhow::Result<Running<'_>> {
        let request = Request::Run {
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            env: env.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
            cwd: Some(cwd.to_owned()),
        };
        let replies = self.ask(&request, &[])?;
        match replies.next("the start of a command", limit, stop)?.reply()? {
            Reply::Started { pid } => Ok(Running { agent: self, replies, pid }),
            other => bail!("the guest answered {other:?} instead of starting a command"),
        }
    }
}

impl Running<'_> {
    /// Waits for the command's end; `on_output` sees what it writes as it comes. `limit` holds for
    /// the whole.
    ///
    /// # Errors
    /// A time-out or the stop flag, after either of which the command is killed; or [`Closed`].
    pub fn follow(
        &self,
        limit: Duration,
        stop: &AtomicBool,
        mut on_output: impl FnMut(Stream, &[u8]),
    ) -> anyhow::Result<Status> {
        let ended = self.receive(limit, stop, &mut on_output);
        if ended.as_ref().is_err_and(|error| !error.is::<Closed>()) {
            // The first error is the one to report.
            let _ = self.signal(9, Duration::from_secs(2), &AtomicBool::new(false));
        }
        ended
    }

    /// Waits for the command's end as [`Running::follow`] does, but leaves it running where the stop
    /// flag is set.
    ///
    /// # Errors
    /// The stop flag, or [`Closed`].
    pub fn watch(
        &self,
        limit: Duration,
        stop: &AtomicBool,
        mut on_output: impl FnMut(Stream, &[u8]),
    ) -> anyhow::Result<Status> {
        self.receive(limit, stop, &mut on_output)
    }

    /// Like [`Running::follow`], and keeps what the command writes.
    ///
    /// # Errors
    /// Those of [`Running::follow`].
    pub fn wait(
        &self,
        limit: Duration,
        stop: &AtomicBool,
        mut on_output: impl FnMut(Stream, &[u8]),
    ) -> anyhow::Result<Output> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let status = self.follow(limit, stop, |stream, bytes| {
            on_output(stream, bytes);
            let kept = if stream == Stream::Stdout { &mut stdout } else { &mut stderr };
            kept.extend_from_slice(bytes);
        })?;
        Ok(Output { status, stdout, stderr })
    }

    fn receive(
        &self,
        limit: Duration,
        stop: &AtomicBool,
        on_output: &mut impl FnMut(Stream, &[u8]),
    ) -> anyhow::Result<Status> {
        let give_up = Instant::now() + limit;
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            let received = self.replies.next("the end of the command", left, stop)?;
            let payload = received.frame.payload.clone();
            match received.reply()? {
                Reply::Output { stream } => on_output(stream, &payload),
                Reply::Exited { status } => return Ok(status),
                other => bail!("the guest answered {other:?} while a command ran"),
            }
        }
    }

    /// Sends a signal to the command's process group, for example 15.
    ///
    /// # Errors
    /// The command is over already, a time-out, or [`Closed`].
    pub fn signal(&self, signal: i32, limit: Duration, stop: &AtomicBool) -> anyhow::Result<()> {
        let request = Request::Signal { run: self.replies.number, signal };
        self.agent.call(&request, &[], limit, stop).map(|_done| ())
    }
}

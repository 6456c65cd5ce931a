//! The host's side of the control channel: requests out, replies sorted to those who wait for them.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use guest_agent::{
    message::{Hello, Reply, Request, VERSION},
    protocol::{self, Frame, MAX_PAYLOAD},
};
use kernel::clock::monotonic_ns;
use thiserror::Error;

use super::process::check;

/// How often a wait looks at the stop flag.
const SLICE: Duration = Duration::from_millis(50);

/// How long a write may wait for the guest to read.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// The channel is closed: the guest powered off or died.
#[derive(Debug, Clone, Error)]
#[error("the guest closed its control channel{}", .0.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
pub struct Closed(Option<String>);

/// A reply and when it came.
#[derive(Debug)]
pub(super) struct Received {
    /// CLOCK_MONOTONIC of the host, in ns.
    pub at_ns: u64,
    pub frame: Frame<Reply>,
}

#[derive(Debug)]
struct Shared {
    /// Who waits for the replies to each request; none once the channel is closed.
    waiting: Mutex<Result<HashMap<u32, Sender<Received>>, Closed>>,
    log: Mutex<File>,
}

/// A client of the agent in a guest. May be used from several threads.
#[derive(Debug)]
pub struct Agent {
    out: Mutex<UnixStream>,
    shared: Arc<Shared>,
    next: AtomicU32,
}

/// The replies to one request.
#[derive(Debug)]
pub(super) struct Replies<'a> {
    agent: &'a Agent,
    pub(super) number: u32,
    inbox: Receiver<Received>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Agent {
    /// Waits for the agent's hello on `stream`. Every message is noted in `log`.
    ///
    /// # Errors
    /// No hello within `limit`, one of another protocol version, or [`Closed`].
    pub fn greet(
        stream: UnixStream,
        log: &Path,
        limit: Duration,
        stop: &AtomicBool,
    ) -> anyhow::Result<(Self, Hello)> {
        stream.set_write_timeout(Some(WRITE_LIMIT))?;
        let log = File::create(log).with_context(|| log.display().to_string())?;
        let (sender, inbox) = mpsc::channel();
        let shared = Arc::new(Shared {
            waiting: Mutex::new(Ok(HashMap::from([(0, sender)]))),
            log: Mutex::new(log),
        });
        let input = stream.try_clone()?;
        let agent =
            Self { out: Mutex::new(stream), shared: Arc::clone(&shared), next: AtomicU32::new(1) };
        thread::Builder::new().name("agent-reader".into()).spawn(move || shared.receive(input))?;
        let replies = Replies { agent: &agent, number: 0, inbox };
        let reply = replies.next("the agent's hello", limit, stop)?.frame.message;
        drop(replies);
        match reply {
            Reply::Hello(hello) if hello.version == VERSION => Ok((agent, hello)),
            Reply::Hello(hello) => bail!(
                "the guest's agent speaks version {} of the protocol, this program version \
                 {VERSION}; build both anew with `cargo build --release`",
                hello.version
            ),
            other => bail!("the guest's agent began with {other:?} instead of a hello"),
        }
    }

    pub(super) fn ask(&self, request: &Request, payload: &[u8]) -> anyhow::Result<Replies<'_>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, inbox) = mpsc::channel();
        match &mut *lock(&self.shared.waiting) {
            Ok(waiting) => waiting.insert(number, sender),
            Err(closed) => return Err(closed.clone().into()),
        };
        let replies = Replies { agent: self, number, inbox };
        self.shared.note('>', number, &format!("{request:?}"), payload.len());
        protocol::write(&mut *lock(&self.out), number, request, payload)
            .map_err(|error| self.closed().map_or_else(|| error.into(), anyhow::Error::from))?;
        Ok(replies)
    }

    /// Why the channel is closed, if it is.
    fn closed(&self) -> Option<Closed> {
        lock(&self.shared.waiting).as_ref().err().cloned()
    }

    /// Sends a request that has one reply.
    pub(super) fn call(
        &self,
        request: &Request,
        payload: &[u8],
        limit: Duration,
        stop: &AtomicBool,
    ) -> anyhow::Result<Reply> {
        let what = name(request);
        self.ask(request, payload)?.next(what, limit, stop)?.reply()
    }

    /// Writes a file in the guest; `limit` holds for each of its parts.
    ///
    /// # Errors
    /// The guest's refusal, a time-out, or [`Closed`].
    pub fn put(
        &self,
        path: &str,
        mode: u32,
        content: &[u8],
        limit: Duration,
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        let mut parts = content.chunks(MAX_PAYLOAD);
        let mut part = parts.next().unwrap_or_default();
        let mut append = false;
        loop {
            let request = Request::Put { path: path.to_owned(), mode, append };
            self.call(&request, part, limit, stop)?;
            append = true;
            match parts.next() {
                Some(next) => part = next,
                None => return Ok(()),
            }
        }
    }

    /// Reads a file in the guest; `limit` holds for each of its parts.
    ///
    /// # Errors
    /// The guest's refusal, a time-out, or [`Closed`].
    pub fn get(&self, path: &str, limit: Duration, stop: &AtomicBool) -> anyhow::Result<Vec<u8>> {
        let replies = self.ask(&Request::Get { path: path.to_owned() }, &[])?;
        let mut content = Vec::new();
        loop {
            let received = replies.next(path, limit, stop)?;
            content.extend_from_slice(&received.frame.payload);
            match received.reply()? {
                Reply::File { last: true } => return Ok(content),
                Reply::File { last: false } => {}
                other => bail!("the guest answered {other:?} instead of a file"),
            }
        }
    }

    /// Has the guest power off; returns when it has said that it will.
    ///
    /// # Errors
    /// A time-out, or [`Closed`].
    pub fn shutdown(&self, limit: Duration, stop: &AtomicBool) -> anyhow::Result<()> {
        self.call(&Request::Shutdown, &[], limit, stop).map(|_done| ())
    }

    /// Reads the guest's clock: (host before, guest, host after), CLOCK_MONOTONIC in ns.
    pub(super) fn clock(
        &self,
        limit: Duration,
        stop: &AtomicBool,
    ) -> anyhow::Result<(u64, u64, u64)> {
        let before = monotonic_ns();
        let received = self.ask(&Request::Clock, &[])?.next("the clock", limit, stop)?;
        let after = received.at_ns;
        match received.reply()? {
            Reply::Clock { monotonic_ns } => Ok((before, monotonic_ns, after)),
            other => bail!("the guest answered {other:?} instead of its clock"),
        }
    }
}

impl Drop for Agent {
    /// Ends the reading thread.
    fn drop(&mut self) {
        let _ = lock(&self.out).shutdown(std::net::Shutdown::Both);
    }
}

impl Shared {
    fn receive(&self, input: UnixStream) {
        let mut input = BufReader::new(input);
        let why = loop {
            match protocol::read::<Reply>(&mut input) {
                Ok(Some(frame)) => self.sort(Received { at_ns: monotonic_ns(), frame }),
                Ok(None) => break None,
                Err(error) => break Some(format!("{:#}", anyhow::Error::from(error))),
            }
        };
        let closed = Closed(why);
        self.note('<', 0, &closed.to_string(), 0);
        // Dropping the senders wakes all who wait.
        *lock(&self.waiting) = Err(closed);
    }

    fn sort(&self, received: Received) {
        let Frame { number, message, payload } = &received.frame;
        self.note('<', *number, &format!("{message:?}"), payload.len());
        if let Ok(waiting) = &*lock(&self.waiting)
            && let Some(inbox) = waiting.get(number)
        {
            // Whoever gave up waiting does not want it any more.
            let _ = inbox.send(received);
        }
    }

    /// A line of the log; a log that cannot be written must not fail the measurement.
    fn note(&self, direction: char, number: u32, message: &str, bytes: usize) {
        let now = monotonic_ns();
        let seconds = now / 1_000_000_000;
        let rest = now % 1_000_000_000 / 1000;
        let _ = writeln!(
            lock(&self.log),
            "{seconds}.{rest:06} {direction} {number} {message} +{bytes} bytes"
        );
    }
}

impl Received {
    /// The message, unless it is the guest's refusal.
    pub(super) fn reply(self) -> anyhow::Result<Reply> {
        match self.frame.message {
            Reply::Error { message } => bail!("in the guest: {message}"),
            reply => Ok(reply),
        }
    }
}

impl Replies<'_> {
    /// The next reply.
    pub(super) fn next(
        &self,
        what: &str,
        limit: Duration,
        stop: &AtomicBool,
    ) -> anyhow::Result<Received> {
        let give_up = Instant::now() + limit;
        loop {
            check(stop)?;
            let left = give_up.saturating_duration_since(Instant::now());
            match self.inbox.recv_timeout(left.min(SLICE)) {
                Ok(received) => return Ok(received),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                    bail!("{what} did not come within {limit:?}")
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.agent.closed().unwrap_or(Closed(None)).into());
                }
            }
        }
    }
}

impl Drop for Replies<'_> {
    fn drop(&mut self) {
        if let Ok(waiting) = &mut *lock(&self.agent.shared.waiting) {
            waiting.remove(&self.number);
        }
    }
}

/// What a time-out calls the answer to a request.
fn name(request: &Request) -> &'static str {
    match request {
        Request::Put { .. } => "the answer to a file sent",
        Request::Signal { .. } => "the answer to a signal",
        Request::Shutdown => "the answer to the shutdown",
        _ => "the guest's answer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest that sends `bytes` and then listens in silence.
    fn guest(bytes: &[u8]) -> (UnixStream, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(bytes).unwrap();
        (ours, theirs)
    }

    fn hello(version: u32) -> Vec<u8> {
        let hello = Hello {
            version,
            kernel: "k".into(),
            cpus: 1,
            clock_source: None,
            init_ns: 0,
            hello_ns: 0,
            network: None,
            warnings: vec![],
        };
        let mut bytes = Vec::new();
        protocol::write(&mut bytes, 0, &Reply::Hello(hello), &[]).unwrap();
        bytes
    }

    fn greet(stream: UnixStream) -> anyhow::Result<(Agent, Hello)> {
        let log = tempfile::NamedTempFile::new().unwrap();
        let limit = Duration::from_millis(200);
        Agent::greet(stream, log.path(), limit, &AtomicBool::new(false))
    }

    fn refusal(bytes: &[u8]) -> String {
        let (ours, _theirs) = guest(bytes);
        format!("{:#}", greet(ours).unwrap_err())
    }

    #[test]
    fn an_agent_of_another_version_is_refused() {
        assert!(refusal(&hello(VERSION + 1)).contains("build both anew"));
    }

    #[test]
    fn silence_is_a_time_out_and_garbage_an_error() {
        assert_eq!(refusal(b""), "the agent's hello did not come within 200ms");
        let text = refusal(b"GRUB loading, please wait");
        assert!(text.contains("where a frame should begin"), "{text}");
    }

    #[test]
    fn a_closed_channel_ends_every_wait_at_once() {
        let (ours, theirs) = guest(&hello(VERSION));
        let (agent, _) = greet(ours).unwrap();
        let (limit, stop) = (Duration::from_secs(30), AtomicBool::new(false));
        let begin = Instant::now();
        thread::scope(|scope| {
            let waits = [(); 3].map(|()| scope.spawn(|| agent.get("/file", limit, &stop)));
            thread::sleep(Duration::from_millis(100));
            drop(theirs);
            for wait in waits {
                assert!(wait.join().unwrap().unwrap_err().is::<Closed>());
            }
        });
        assert!(agent.clock(limit, &stop).unwrap_err().is::<Closed>(), "and every one after it");
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}

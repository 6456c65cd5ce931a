//! QMP, QEMU's control protocol: JSON objects, one a line.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
    sync::atomic::AtomicBool,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::{
    errno::Errno,
    sys::socket::{
        self, AddressFamily, SockFlag, SockType, UnixAddr, getsockopt, socket,
        sockopt::PeerCredentials,
    },
};
use serde_json::{Value, json};

use super::process::check;

/// How often a wait looks at the stop flag.
const SLICE: Duration = Duration::from_millis(50);

/// A connection to QEMU, past the greeting.
#[derive(Debug)]
pub struct Qmp {
    stream: BufReader<UnixStream>,
    /// A line of which only the beginning has come.
    partial: Vec<u8>,
    limit: Duration,
}

impl Qmp {
    /// Connects to a QMP socket of any virtual machine.
    ///
    /// # Errors
    /// Nobody listens, or what listens does not speak QMP within `limit`.
    pub fn connect(socket: &Path, limit: Duration, stop: &AtomicBool) -> anyhow::Result<Self> {
        let name = || format!("QMP socket {}", socket.display());
        let stream = connect(socket, limit, stop).with_context(name)?;
        Self::new(stream, limit, stop).with_context(name)
    }

    /// The process at the other end: the one that listened on the socket. 0 where it is in a PID
    /// namespace that ours does not see.
    ///
    /// # Errors
    /// None on Linux in practice.
    pub fn peer(&self) -> io::Result<i32> {
        Ok(getsockopt(self.stream.get_ref(), PeerCredentials)?.pid())
    }

    /// Takes the greeting and agrees on no capabilities. `limit` holds for each answer.
    ///
    /// # Errors
    /// What is at the other end does not speak QMP.
    pub fn new(stream: UnixStream, limit: Duration, stop: &AtomicBool) -> anyhow::Result<Self> {
        stream.set_read_timeout(Some(SLICE))?;
        stream.set_write_timeout(Some(limit))?;
        let mut qmp = Self { stream: BufReader::new(stream), partial: Vec::new(), limit };
        let greeting = qmp.message("the greeting", stop)?;
        if greeting.get("QMP").is_none() {
            bail!("not a QMP greeting: {greeting}");
        }
        qmp.execute("qmp_capabilities", stop)?;
        Ok(qmp)
    }

    /// Executes a command without arguments; its `return`.
    ///
    /// # Errors
    /// QEMU's refusal, a time-out, or the end of QEMU.
    pub fn execute(&mut self, command: &str, stop: &AtomicBool) -> anyhow::Result<Value> {
        let request = json!({ "execute": command });
        writeln!(self.stream.get_mut(), "{request}").with_context(|| format!("QMP {command}"))?;
        loop {
            let mut message = self.message(command, stop)?;
            if let Some(error) = message.get("error") {
                let text = error.get("desc").and_then(Value::as_str).unwrap_or("unknown error");
                bail!("QMP {command}: {text}");
            }
            if let Some(value) = message.get_mut("return") {
                return Ok(value.take());
            }
            // Anything else is an event: not asked for, not needed.
        }
    }

    /// QEMU's version, for example 7.2.22.
    ///
    /// # Errors
    /// Those of [`Qmp::execute`].
    pub fn version(&mut self, stop: &AtomicBool) -> anyhow::Result<String> {
        let answer = self.execute("query-version", stop)?;
        let part = |name| answer["qemu"][name].as_u64().context("QMP query-version: no number");
        Ok(format!("{}.{}.{}", part("major")?, part("minor")?, part("micro")?))
    }

    /// Whether the guest runs (`running`), and if not, why.
    ///
    /// # Errors
    /// Those of [`Qmp::execute`].
    pub fn status(&mut self, stop: &AtomicBool) -> anyhow::Result<String> {
        let answer = self.execute("query-status", stop)?;
        Ok(answer["status"].as_str().unwrap_or("unknown").to_owned())
    }

    /// The vCPUs' threads on the host, in the order of the vCPUs, each once: under TCG with one
    /// thread all vCPUs have the same.
    ///
    /// # Errors
    /// Those of [`Qmp::execute`].
    pub fn vcpu_threads(&mut self, stop: &AtomicBool) -> anyhow::Result<Vec<i32>> {
        vcpu_threads(&self.execute("query-cpus-fast", stop)?)
    }

    /// The next message of any kind.
    fn message(&mut self, awaited: &str, stop: &AtomicBool) -> anyhow::Result<Value> {
        let give_up = Instant::now() + self.limit;
        loop {
            check(stop)?;
            match self.stream.read_until(b'\n', &mut self.partial) {
                Ok(0) => bail!("QEMU closed its QMP socket before {awaited} was answered"),
                Ok(_) if self.partial.ends_with(b"\n") => {
                    let message = serde_json::from_slice(&self.partial);
                    self.partial.clear();
                    return message.with_context(|| format!("QMP {awaited}: not JSON"));
                }
                Ok(_) => {}
                Err(error) if is_timeout(&error) && Instant::now() < give_up => {}
                Err(error) if is_timeout(&error) => {
                    bail!("QMP {awaited} was not answered within {:?}", self.limit)
                }
                Err(error) => return Err(error).with_context(|| format!("QMP {awaited}")),
            }
        }
    }
}

/// Connects to a socket whose owner may be too busy to accept, or stopped: then its queue is full,
/// and a plain connect would wait for ever.
fn connect(path: &Path, limit: Duration, stop: &AtomicBool) -> anyhow::Result<UnixStream> {
    let give_up = Instant::now() + limit;
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let address = UnixAddr::new(path)?;
    loop {
        check(stop)?;
        let stream = UnixStream::from(socket(AddressFamily::Unix, SockType::Stream, flags, None)?);
        match socket::connect(stream.as_raw_fd(), &address) {
            Ok(()) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(Errno::EAGAIN) if Instant::now() < give_up => sleep(SLICE),
            Err(Errno::EAGAIN) => bail!("timed out after {limit:?} waiting for a connection"),
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
    }
}

/// The vCPUs' threads in QEMU's answer to `query-cpus-fast`.
///
/// # Errors
/// It is no such answer.
pub fn vcpu_threads(answer: &Value) -> anyhow::Result<Vec<i32>> {
    let mut cpus: Vec<(u64, i32)> = Vec::new();
    for cpu in answer.as_array().context("QMP query-cpus-fast: not a list")? {
        let thread = cpu["thread-id"].as_i64().and_then(|id| i32::try_from(id).ok());
        let thread = thread.context("QMP query-cpus-fast: a vCPU without a thread")?;
        cpus.push((cpu["cpu-index"].as_u64().unwrap_or(u64::MAX), thread));
    }
    cpus.sort_unstable();
    let mut threads: Vec<i32> = cpus.into_iter().map(|(_, thread)| thread).collect();
    threads.dedup();
    Ok(threads)
}

fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const GREETING: &str = r#"{"QMP": {"version": {}, "capabilities": []}}"#;
    const EVENT: &str = r#"{"event": "RESUME", "timestamp": {}}"#;

    /// A QEMU that answers each command with the next of `answers`.
    fn fake(answers: &'static [&'static str]) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            let mut input = BufReader::new(theirs.try_clone().unwrap());
            let mut out = theirs;
            writeln!(out, "{GREETING}").unwrap();
            for answer in [r#"{"return": {}}"#].iter().chain(answers) {
                let mut line = String::new();
                input.read_line(&mut line).unwrap();
                writeln!(out, "{EVENT}").unwrap();
                let (first, rest) = answer.split_at(answer.len() / 2);
                write!(out, "{first}").unwrap();
                thread::sleep(Duration::from_millis(60));
                writeln!(out, "{rest}").unwrap();
            }
        });
        ours
    }

    fn connected(answers: &'static [&'static str]) -> Qmp {
        Qmp::new(fake(answers), Duration::from_secs(5), &AtomicBool::new(false)).unwrap()
    }

    #[test]
    fn finds_the_threads_whatever_events_come_between() {
        let mut qmp = connected(&[
            r#"{"return": [{"cpu-index": 1, "thread-id": 12}, {"cpu-index": 0, "thread-id": 15}]}"#,
            r#"{"return": {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": ""}}"#,
        ]);
        let stop = AtomicBool::new(false);
        assert_eq!(qmp.vcpu_threads(&stop).unwrap(), [15, 12]);
        assert_eq!(qmp.version(&stop).unwrap(), "7.2.22");
        let end = qmp.status(&stop).unwrap_err();
        assert!(format!("{end:#}").contains("query-status"), "{end:#}");
    }

    #[test]
    fn a_refusal_is_quoted() {
        let mut qmp = connected(&[r#"{"error": {"class": "GenericError", "desc": "no such"}}"#]);
        let error = qmp.execute("nonsense", &AtomicBool::new(false)).unwrap_err();
        assert_eq!(error.to_string(), "QMP nonsense: no such");
    }

    /// A stopped QEMU accepts nobody, and its queue fills up.
    #[test]
    fn a_full_queue_is_a_time_out_and_no_hang() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qmp");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let (stop, limit) = (AtomicBool::new(false), Duration::from_millis(100));
        let mut queue = Vec::new();
        let error = loop {
            match connect(&path, limit, &stop) {
                Ok(stream) => queue.push(stream),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("timed out after 100ms"), "{error}");
    }

    #[test]
    fn the_peer_is_who_listens() {
        let qmp = connected(&[]);
        assert_eq!(qmp.peer().unwrap(), std::process::id() as i32);
    }

    #[test]
    fn silence_is_a_time_out_that_says_what_was_awaited() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let error =
            Qmp::new(ours, Duration::from_millis(120), &AtomicBool::new(false)).unwrap_err();
        assert!(error.to_string().contains("the greeting was not answered"), "{error}");
    }

    #[test]
    fn mutated_replies_are_answers_or_errors_and_no_hang() {
        let vcpus = r#"{"return": [{"cpu-index": 1, "thread-id": 12}]}"#;
        let version = r#"{"return": {"qemu": {"major": 7, "minor": 2, "micro": 22}}}"#;
        let said = format!("{GREETING}\n{{\"return\": {{}}}}\n{EVENT}\n{vcpus}\n{version}\n");
        let begin = Instant::now();
        let count = mutate::inputs(&[said.into_bytes()], |bytes| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            // All that is ever said, whatever is asked; then nobody is there.
            theirs.write_all(bytes).unwrap();
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
            let stop = AtomicBool::new(false);
            let Ok(mut qmp) = Qmp::new(ours, Duration::from_secs(60), &stop) else { return };
            let threads = qmp.vcpu_threads(&stop).unwrap_or_default();
            assert!(threads.len() <= bytes.len());
            let _version = qmp.version(&stop);
        });
        let spent = begin.elapsed().as_secs();
        assert!(spent < 120 + count / 50, "{count} took {spent} s");
    }
}

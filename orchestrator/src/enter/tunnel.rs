//! A stream through two files in the VM: what goes in is appended to one, what comes out is read from
//! the other's end. QEMU's guest agent tells nobody that a file has grown, so it is asked: at once
//! after something was sent or came, and ever less often while nothing does, for each question wakes a
//! process beside what is measured.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use guest_agent::entered::{REPLIES, REQUESTS};
use serde_json::{Value, json};

use super::{
    channel::{NoAnswer, is_timeout},
    client::{CHUNK, Client, bytes, command, write},
};
use crate::host::Stop;

/// From one question to the next, at first and at most.
const SOON: Duration = Duration::from_millis(1);
const SELDOM: Duration = Duration::from_millis(500);

/// As much as is read at once; it comes back in base64.
const MOST: usize = 256 << 10;

/// After so many questions to which nothing came the agent is looked after: one that cannot run is told
/// of after a quarter of a second, later about once in 8 s.
const FIRST_LOOK: u32 = 8;
const LOOK: u32 = 16;

/// How long the guest agent may not answer: in a VM whose tasks take all that it gets, nobody else runs.
/// The bench's agent waits longer than that (`guest_agent::entered::LEASE`).
const PATIENCE: Duration = Duration::from_secs(150);
const AGAIN: Duration = Duration::from_millis(200);

/// The bench's agent as a process of the guest agent's, the handles of the two files, and how far they
/// are written and read.
#[derive(Debug)]
pub(super) struct Tunnel {
    agent: Client,
    process: i64,
    requests: i64,
    replies: i64,
    sent: u64,
    taken: u64,
    /// The files' positions are these: every command was answered.
    in_step: bool,
}

impl Tunnel {
    /// Opens both files of `folder`, in which the bench's agent runs as `process`.
    ///
    /// # Errors
    /// The guest agent's refusal.
    pub fn open(agent: &Client, process: i64, folder: &str, stop: &Stop) -> Result<Self> {
        let requests = agent.open(&format!("{folder}/{REQUESTS}"), "r+", stop)?;
        let replies = agent.open(&format!("{folder}/{REPLIES}"), "r", stop)?;
        let agent = agent.clone();
        Ok(Self { agent, process, requests, replies, sent: 0, taken: 0, in_step: true })
    }

    /// Carries what is written to the stream that it returns, and what comes back, until that is
    /// closed.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn carry(mut self) -> Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let carry = move || {
            if let Err(error) = self.run(&theirs) {
                self.agent.broke(format!("{error:#}"));
            }
            let _ = theirs.shutdown(std::net::Shutdown::Both);
            let close = |handle: i64| command("guest-file-close", &json!({ "handle": handle }));
            let (requests, replies) = (close(self.requests), close(self.replies));
            let _ = self.agent.ask(&[requests, replies], &Stop::default());
            // The guest agent keeps what it knows of a process until it has told of its end.
            let _ = self.agent.ended(self.process, &Stop::default());
        };
        thread::Builder::new().name("tunnel".into()).spawn(carry)?;
        Ok(ours)
    }

    fn run(&mut self, stream: &UnixStream) -> Result<()> {
        let (mut buffer, mut wait, mut idle) = (vec![0; CHUNK], SOON, 0);
        loop {
            stream.set_read_timeout(Some(wait))?;
            let sent = match (&*stream).read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => &buffer[..length],
                Err(error) if is_timeout(&error) => &[],
                Err(error) => return Err(error.into()),
            };
            let came = self.exchange(sent)?;
            let nothing = sent.is_empty() && came.is_empty();
            (wait, idle) = if nothing { ((wait * 2).min(SELDOM), idle + 1) } else { (SOON, 0) };
            if idle == FIRST_LOOK || (idle > 0 && idle % LOOK == 0) {
                self.look()?;
            }
            match (&*stream).write_all(&came) {
                // Nobody wants it any more.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written?,
            }
        }
    }

    /// Fails once the bench's agent has ended.
    fn look(&self) -> Result<()> {
        let ended = match self.agent.ended(self.process, &Stop::default()) {
            Err(error) if error.is::<NoAnswer>() => return Ok(()),
            ended => ended?,
        };
        let Some(ended) = ended else { return Ok(()) };
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        bail!("the bench's agent ended in the VM with {}: {}", ended.status, said.trim())
    }

    /// Appends `sent`, and takes what has come until now; again, where no answer comes.
    fn exchange(&mut self, sent: &[u8]) -> Result<Vec<u8>> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            match self.once(sent) {
                Ok(came) => {
                    self.in_step = true;
                    self.sent += sent.len() as u64;
                    self.taken += came.len() as u64;
                    return Ok(came);
                }
                Err(error) if error.is::<NoAnswer>() && Instant::now() < give_up => {
                    self.in_step = false;
                    thread::sleep(AGAIN);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What was done without an answer is done once more in the same places.
    fn once(&self, sent: &[u8]) -> Result<Vec<u8>> {
        let mut commands: Vec<Value> = Vec::new();
        let seek = |handle: i64, offset: u64, commands: &mut Vec<Value>| {
            if !self.in_step {
                let to = json!({ "handle": handle, "offset": offset, "whence": 0 });
                commands.push(command("guest-file-seek", &to));
            }
        };
        if !sent.is_empty() {
            seek(self.requests, self.sent, &mut commands);
            commands.push(write(self.requests, sent));
            commands.push(command("guest-file-flush", &json!({ "handle": self.requests })));
        }
        seek(self.replies, self.taken, &mut commands);
        let read = json!({ "handle": self.replies, "count": MOST });
        commands.push(command("guest-file-read", &read));
        // The end of the run closes the stream; until then what was begun is finished.
        let answers = self.agent.ask(&commands, &Stop::default())?;
        bytes(answers.last().context("the guest agent gave no answer")?, "buf-b64")
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::atomic::AtomicBool};

    use guest_agent::{
        message::{Hello, Reply, Request, VERSION},
        protocol,
    };

    use super::*;
    use crate::{enter::fake::Fake, guest::Agent};

    /// A process of which the fake says that it runs.
    const RUNS: i64 = -1;

    /// Answers each request for the clock in the files, as the bench's agent does.
    fn answer(folder: &std::path::Path, requests: usize) {
        let reply = |number, reply: &Reply| {
            let mut bytes = Vec::new();
            protocol::write(&mut bytes, number, reply, &[]).unwrap();
            let file = fs::OpenOptions::new().append(true).open(folder.join(REPLIES));
            file.unwrap().write_all(&bytes).unwrap();
        };
        let hello = Hello {
            version: VERSION,
            kernel: "k".into(),
            cpus: 1,
            clock_source: None,
            init_ns: 0,
            hello_ns: 0,
            network: None,
            warnings: vec![],
        };
        reply(0, &Reply::Hello(hello));
        let mut answered = 0;
        while answered < requests {
            let bytes = fs::read(folder.join(REQUESTS)).unwrap();
            let mut input = bytes.as_slice();
            let mut seen = 0;
            while let Ok(Some(frame)) = protocol::read::<Request>(&mut input) {
                seen += 1;
                if seen > answered {
                    assert_eq!(frame.message, Request::Clock);
                    reply(frame.number, &Reply::Clock { monotonic_ns: 7 });
                    answered = seen;
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// A folder with the two files, and a guest agent that reaches it.
    fn guest() -> (tempfile::TempDir, Fake, Client) {
        let folder = tempfile::tempdir().unwrap();
        for file in [REQUESTS, REPLIES] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let fake = Fake::default();
        let agent = Client::on(Box::new(fake.clone()), &Stop::default()).unwrap();
        (folder, fake, agent)
    }

    fn opened(folder: &tempfile::TempDir, agent: &Client) -> Tunnel {
        Tunnel::open(agent, RUNS, folder.path().to_str().unwrap(), &Stop::default()).unwrap()
    }

    #[test]
    fn the_protocol_travels_through_files_and_its_end_is_told() {
        let (folder, fake, agent) = guest();
        let stream = opened(&folder, &agent).carry().unwrap();
        let at = folder.path().to_owned();
        let answers = thread::spawn(move || answer(&at, 3));
        let (limit, flag) = (Duration::from_secs(20), AtomicBool::new(false));
        let log = folder.path().join("log");
        let (inside, hello) = Agent::greet(stream, &log, limit, &flag).unwrap();
        assert_eq!(hello.kernel, "k");
        // Of some commands the answers are lost, and nothing else.
        fake.0.lock().unwrap().mute = 2;
        let offset = crate::guest::ClockOffset::measure(&inside, 3, limit, &flag).unwrap();
        assert!(offset.uncertainty_ns > 0 && offset.uncertainty_ns < 5_000_000_000);
        answers.join().unwrap();
        // The VM ends: whoever waits hears why.
        fake.0.lock().unwrap().dead = true;
        let error =
            crate::guest::ClockOffset::measure(&inside, 1, limit, &flag).map(drop).unwrap_err();
        let said = format!("{:#}", agent.explain(error));
        assert!(said.contains("QEMU closed the socket"), "{said}");
        drop(inside);
    }

    #[test]
    fn an_agent_that_ends_is_told_with_its_last_words() {
        let (folder, fake, agent) = guest();
        let tunnel = opened(&folder, &agent);
        fake.0.lock().unwrap().pretends =
            Some(json!({ "exited": true, "exitcode": 126, "err-data": "bm9leGVj" }));
        let stream = tunnel.carry().unwrap();
        let (limit, flag) = (Duration::from_secs(20), AtomicBool::new(false));
        let error = Agent::greet(stream, &folder.path().join("log"), limit, &flag).unwrap_err();
        let said = format!("{:#}", agent.explain(error));
        assert!(
            said.starts_with("the bench's agent ended in the VM with exit code 126: noexec"),
            "{said}"
        );
    }

    #[test]
    fn closing_the_stream_closes_the_files() {
        let (folder, fake, agent) = guest();
        let tunnel = opened(&folder, &agent);
        assert_eq!(fake.open_files(), 2);
        drop(tunnel.carry().unwrap());
        let give_up = Instant::now() + Duration::from_secs(10);
        while fake.open_files() > 0 {
            assert!(Instant::now() < give_up, "they stay open");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

//! QEMU's guest agent behind a socket of QEMU's: JSON objects, one a line (QEMU Guest Agent Protocol
//! Reference).

use std::{
    fmt,
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use thiserror::Error;

use crate::host::Stop;

/// How long the agent may take for an answer: an ordinary process in a VM that has little of the CPU.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How long it may take for its first: one that is not there never answers.
const SYNC_LIMIT: Duration = Duration::from_secs(5);
/// How often a wait looks at the stop flag.
const SLICE: Duration = Duration::from_millis(50);

/// Carries commands to the guest agent.
pub(super) trait Channel: fmt::Debug + Send {
    /// Executes commands one after the other, up to the first that is refused: what they return.
    fn ask(&mut self, commands: &[Value], stop: &Stop) -> Result<Vec<Value>>;
}

/// The agent's refusal of a command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the guest agent refused `{command}`: {said}")]
pub(super) struct Refused {
    pub command: String,
    pub said: String,
}

/// The agent did not answer in time: it is an ordinary process, and may get no CPU time for a while.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub(super) struct NoAnswer(pub String);

/// A socket of QEMU's that leads to the agent.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    stream: BufReader<UnixStream>,
    /// A line of which only the beginning has come.
    partial: Vec<u8>,
    /// No answer is awaited that was given up.
    in_step: bool,
    number: u32,
}

impl Socket {
    /// Connects; whether the agent answers is seen at the first command.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn connect(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path)
            .with_context(|| format!("key `agent`: {}: nobody listens there", path.display()))?;
        Self::on(stream, path)
    }

    fn on(stream: UnixStream, path: &Path) -> Result<Self> {
        stream.set_read_timeout(Some(SLICE))?;
        stream.set_write_timeout(Some(SYNC_LIMIT))?;
        let (stream, partial) = (BufReader::new(stream), Vec::new());
        let number = std::process::id();
        Ok(Self { path: path.to_owned(), stream, partial, in_step: false, number })
    }

    fn send(&mut self, command: &Value) -> Result<()> {
        let line = format!("{command}\n");
        let sent = self.stream.get_mut().write_all(line.as_bytes());
        sent.with_context(|| format!("{}: the guest agent takes no command", self.path.display()))
    }

    /// Brings agent and client into step: its parser is flushed by a byte that is none of JSON's, and
    /// so are the answers to commands that were given up (`guest-sync-delimited`).
    fn synchronise(&mut self, stop: &Stop) -> Result<()> {
        self.number = self.number.wrapping_add(1);
        self.stream.get_mut().write_all(&[0xff])?;
        self.send(&json!({
            "execute": "guest-sync-delimited", "arguments": { "id": self.number }
        }))?;
        let give_up = Instant::now() + SYNC_LIMIT;
        loop {
            let answer = self.answer(give_up, stop).with_context(|| {
                format!(
                    "{}: the guest agent does not answer: it does not run in the VM, or another \
                     program (libvirt?) holds this socket",
                    self.path.display()
                )
            })?;
            if answer["return"].as_u64() == Some(self.number.into()) {
                self.in_step = true;
                return Ok(());
            }
        }
    }

    fn answer(&mut self, give_up: Instant, stop: &Stop) -> Result<Value> {
        loop {
            stop.check()?;
            match self.stream.read_until(b'\n', &mut self.partial) {
                Ok(0) => bail!("QEMU closed the socket"),
                Ok(_) if self.partial.ends_with(b"\n") => {
                    let line = std::mem::take(&mut self.partial);
                    let begin = line.iter().rposition(|byte| *byte == 0xff).map_or(0, |at| at + 1);
                    if line[begin..].iter().all(u8::is_ascii_whitespace) {
                        continue;
                    }
                    return serde_json::from_slice(&line[begin..]).context("it is no JSON");
                }
                Ok(_) => {}
                Err(error) if is_timeout(&error) && Instant::now() < give_up => {}
                Err(error) if is_timeout(&error) => {
                    return Err(NoAnswer("timed out waiting for an answer".to_owned()).into());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn execute(&mut self, command: &Value, stop: &Stop) -> Result<Value> {
        self.send(command)?;
        let name = command["execute"].as_str().unwrap_or_default();
        let answer = self.answer(Instant::now() + ANSWER_LIMIT, stop);
        let mut answer = answer.with_context(|| format!("the guest agent, asked for `{name}`"))?;
        if let Some(error) = answer.get("error") {
            let said = error["desc"].as_str().unwrap_or("unknown error").to_owned();
            return Err(Refused { command: name.to_owned(), said }.into());
        }
        answer
            .get_mut("return")
            .map(Value::take)
            .context("the guest agent's answer has no `return`")
    }
}

impl Channel for Socket {
    fn ask(&mut self, commands: &[Value], stop: &Stop) -> Result<Vec<Value>> {
        if !self.in_step {
            self.synchronise(stop)?;
        }
        // Only an agent that has answered everything is in step.
        self.in_step = false;
        let mut answers = Vec::new();
        for command in commands {
            match self.execute(command, stop) {
                Ok(answer) => answers.push(answer),
                Err(error) => {
                    self.in_step = error.is::<Refused>();
                    return Err(error);
                }
            }
        }
        self.in_step = true;
        Ok(answers)
    }
}

/// Whether a read ended with nothing, and may be tried again.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::{io::Read, thread};

    use super::*;

    /// Speaks as an agent does that has a stale answer to give first, and says each of `answers`.
    fn speak(mut own: UnixStream, answers: Vec<&'static str>) -> thread::JoinHandle<Vec<String>> {
        thread::spawn(move || {
            let mut begin = [0];
            own.read_exact(&mut begin).unwrap();
            assert_eq!(begin, [0xff]);
            let mut lines = BufReader::new(own.try_clone().unwrap());
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            let sync: Value = serde_json::from_str(&line).unwrap();
            own.write_all(b"{\"return\": \"stale\"}\n\xff").unwrap();
            writeln!(own, "{}", json!({ "return": sync["arguments"]["id"] })).unwrap();
            let mut heard = Vec::new();
            for answer in answers {
                let mut line = String::new();
                lines.read_line(&mut line).unwrap();
                heard.push(line);
                // In pieces, as a virtio-serial port delivers.
                let (first, second) = answer.split_at(answer.len() / 2);
                own.write_all(first.as_bytes()).unwrap();
                thread::sleep(Duration::from_millis(80));
                writeln!(own, "{second}").unwrap();
            }
            heard
        })
    }

    fn command(name: &str) -> Value {
        json!({ "execute": name })
    }

    #[test]
    fn commands_are_answered_in_turn_after_what_is_stale() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let refused = r#"{"error": {"class": "CommandNotFound", "desc": "it has been disabled"}}"#;
        let agent = speak(theirs, vec![r#"{"return": 1}"#, r#"{"return": {}}"#, refused]);
        let mut socket = Socket::on(ours, Path::new("/s")).unwrap();
        let stop = Stop::default();
        let answers = socket.ask(&[command("a"), command("b")], &stop).unwrap();
        assert_eq!(answers, [json!(1), json!({})]);
        let error = socket.ask(&[command("guest-exec"), command("d")], &stop).unwrap_err();
        assert_eq!(error.to_string(), "the guest agent refused `guest-exec`: it has been disabled");
        assert!(socket.in_step, "a refusal is an answer");
        let heard = agent.join().unwrap();
        assert_eq!(heard[0], "{\"execute\":\"a\"}\n");
    }

    #[test]
    fn one_that_hangs_up_or_says_no_json_is_told() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut socket = Socket::on(ours, Path::new("/s")).unwrap();
        let agent = speak(theirs, vec!["nonsense"]);
        let error = socket.ask(&[command("a")], &Stop::default()).unwrap_err();
        assert!(format!("{error:#}").contains("no JSON"), "{error:#}");
        agent.join().unwrap();
        let error = socket.ask(&[command("a")], &Stop::default()).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("Broken pipe") || text.contains("closed"), "{text}");
        let nobody = Socket::connect(Path::new("/no/such/socket")).unwrap_err();
        assert!(format!("{nobody:#}").contains("nobody listens there"), "{nobody:#}");
    }
}

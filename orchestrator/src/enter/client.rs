//! A client of QEMU's guest agent: its commands, and what their answers say.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{SCRIPT_LIMIT, channel::Channel};
use crate::{
    guest::{Closed, Output, Status},
    host::Stop,
};

/// As much as fits, in base64, into one word of a command line of virsh.
pub(super) const CHUNK: usize = 60 << 10;

/// What has to be allowed: an agent can be told to refuse commands.
const NEEDED: [&str; 8] = [
    "guest-exec",
    "guest-exec-status",
    "guest-file-open",
    "guest-file-write",
    "guest-file-read",
    "guest-file-seek",
    "guest-file-flush",
    "guest-file-close",
];

/// The agent in one VM.
#[derive(Debug, Clone)]
pub(super) struct Client {
    channel: Arc<Mutex<Box<dyn Channel>>>,
    /// Why the tunnel ended, once it did by itself.
    broken: Arc<Mutex<Option<String>>>,
}

impl Client {
    /// Of an agent that answers on this channel.
    ///
    /// # Errors
    /// It does not answer, or refuses what is needed.
    pub fn on(channel: Box<dyn Channel>, stop: &Stop) -> Result<Self> {
        let own = Self { channel: Arc::new(Mutex::new(channel)), broken: Arc::default() };
        allowed(&own.one("guest-info", &json!({}), stop)?)?;
        Ok(own)
    }

    fn channel(&self) -> MutexGuard<'_, Box<dyn Channel>> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Executes commands one after the other.
    pub fn ask(&self, commands: &[Value], stop: &Stop) -> Result<Vec<Value>> {
        self.channel().ask(commands, stop)
    }

    fn one(&self, name: &str, arguments: &Value, stop: &Stop) -> Result<Value> {
        let answers = self.ask(&[command(name, arguments)], stop)?;
        answers.into_iter().next().context("the guest agent gave no answer")
    }

    /// Opens a file: its handle.
    pub fn open(&self, path: &str, mode: &str, stop: &Stop) -> Result<i64> {
        let answer = self.one("guest-file-open", &json!({ "path": path, "mode": mode }), stop)?;
        answer.as_i64().with_context(|| format!("guest-file-open: no handle but {answer}"))
    }

    /// Says why the tunnel ended.
    pub fn broke(&self, why: String) {
        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Starts a program: its process.
    pub fn start(&self, program: &str, arguments: &[&str], stop: &Stop) -> Result<i64> {
        let asked = json!({ "path": program, "arg": arguments, "capture-output": true });
        let answer = self.one("guest-exec", &asked, stop)?;
        answer["pid"].as_i64().with_context(|| format!("guest-exec: no process but {answer}"))
    }

    /// Writes a file in parts.
    pub fn write(&self, path: &str, content: &[u8], stop: &Stop) -> Result<()> {
        let handle = self.open(path, "w", stop)?;
        let written = content.chunks(CHUNK).try_for_each(|part| {
            let answers = self.ask(&[write(handle, part)], stop)?;
            let count = answers[0]["count"].as_u64();
            ensure!(count == Some(part.len() as u64), "{path}: only {count:?} bytes were written");
            Ok(())
        });
        // Closing writes what is left, and frees the handle in any case.
        let closed = self.one("guest-file-close", &json!({ "handle": handle }), stop);
        written.and(closed.map(drop)).with_context(|| path.to_owned())
    }

    /// What a process that was started came to; none while it runs.
    pub fn ended(&self, pid: i64, stop: &Stop) -> Result<Option<Output>> {
        ended(&self.one("guest-exec-status", &json!({ "pid": pid }), stop)?)
    }

    /// Runs a shell script to its end.
    pub fn run(&self, script: &str, stop: &Stop) -> Result<Output> {
        let pid = self.start("/bin/sh", &["-c", script], stop)?;
        self.finish(pid, stop)
    }

    /// Adds to the error of a closed stream why the tunnel ended.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match broken.filter(|_| error.is::<Closed>()) {
            Some(why) => error.context(why),
            None => error,
        }
    }

    fn finish(&self, pid: i64, stop: &Stop) -> Result<Output> {
        let (give_up, mut wait) = (Instant::now() + SCRIPT_LIMIT, Duration::from_millis(2));
        loop {
            if let Some(output) = self.ended(pid, stop)? {
                return Ok(output);
            }
            ensure!(
                Instant::now() < give_up,
                "a script in the VM took longer than {SCRIPT_LIMIT:?}"
            );
            stop.check()?;
            sleep(wait);
            wait = (wait * 2).min(Duration::from_millis(200));
        }
    }
}

/// A command as it is sent.
pub(super) fn command(name: &str, arguments: &Value) -> Value {
    json!({ "execute": name, "arguments": arguments })
}

/// Writes `part` to an open file.
pub(super) fn write(handle: i64, part: &[u8]) -> Value {
    let encoded = STANDARD.encode(part);
    command("guest-file-write", &json!({ "handle": handle, "buf-b64": encoded }))
}

/// The bytes that a field has in base64; none where it is absent.
pub(super) fn bytes(answer: &Value, field: &str) -> Result<Vec<u8>> {
    let Some(text) = answer.get(field) else { return Ok(Vec::new()) };
    let text = text.as_str().with_context(|| format!("the guest agent's `{field}` is no text"))?;
    STANDARD.decode(text.trim()).with_context(|| format!("the guest agent's `{field}`"))
}

/// What `guest-info` says is allowed.
fn allowed(info: &Value) -> Result<()> {
    let known = info["supported_commands"].as_array().context("guest-info lists no commands")?;
    let enabled = |name: &str| {
        known.iter().any(|own| own["name"] == name && own["enabled"].as_bool() != Some(false))
    };
    let refused: Vec<_> = NEEDED.into_iter().filter(|name| !enabled(name)).collect();
    if refused.is_empty() {
        return Ok(());
    }
    bail!(
        "the guest agent in the VM refuses {}; allow it there (`--block-rpcs`, `--blacklist` or \
         `--allow-rpcs` of qemu-ga, in /etc/sysconfig/qemu-ga or /etc/qemu/qemu-ga.conf), or use key \
         `ssh`",
        refused.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    )
}

/// What `guest-exec-status` says of a process that has ended; none while it runs.
fn ended(answer: &Value) -> Result<Option<Output>> {
    if !answer["exited"].as_bool().context("guest-exec-status: no `exited`")? {
        return Ok(None);
    }
    for field in ["out-truncated", "err-truncated"] {
        ensure!(answer[field].as_bool() != Some(true), "guest-exec-status: {field}");
    }
    let number = |field: &str| answer[field].as_i64().and_then(|own| i32::try_from(own).ok());
    let status = match (number("signal"), number("exitcode")) {
        (Some(signal), _) => Status::Signal(signal),
        (None, Some(code)) => Status::Code(code),
        (None, None) => bail!("guest-exec-status: neither `exitcode` nor `signal`"),
    };
    let (stdout, stderr) = (bytes(answer, "out-data")?, bytes(answer, "err-data")?);
    Ok(Some(Output { status, stdout, stderr }))
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::atomic::Ordering};

    use super::*;
    use crate::enter::{fake::Fake, script};

    fn agent(fake: &Fake) -> Client {
        Client::on(Box::new(fake.clone()), &Stop::default()).unwrap()
    }

    #[test]
    fn scripts_run_and_what_they_say_comes_back() {
        let (fake, stop) = (Fake::default(), Stop::default());
        let own = agent(&fake);
        let output = own.run("echo out; echo err >&2; exit 3", &stop).unwrap();
        assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!(output.status, Status::Code(3));
        assert!(
            script::suits(&script::succeeded(own.run(script::LOOK, &stop).unwrap()).unwrap())
                .is_ok()
                || !nix::unistd::geteuid().is_root()
        );
        for (pretends, what) in [
            (json!({ "exited": true, "exitcode": 0, "out-data": "!!" }), "`out-data`"),
            (json!({ "exited": true, "exitcode": 0, "out-data": 7 }), "is no text"),
            (json!({ "exited": true, "exitcode": 0, "out-truncated": true }), "out-truncated"),
            (json!({ "exited": true }), "neither `exitcode` nor `signal`"),
            (json!({}), "no `exited`"),
        ] {
            fake.0.lock().unwrap().pretends = Some(pretends);
            let said = format!("{:#}", own.run("true", &stop).unwrap_err());
            assert!(said.contains(what), "{what}: {said}");
        }
        fake.0.lock().unwrap().pretends = Some(json!({ "exited": true, "signal": 9 }));
        assert_eq!(own.run("true", &stop).unwrap().status, Status::Signal(9));
        // One that goes on is waited for, but not beyond a signal.
        fake.0.lock().unwrap().pretends = Some(json!({ "exited": false }));
        stop.flag().store(true, Ordering::Relaxed);
        assert!(own.run("true", &stop).unwrap_err().to_string().contains("interrupted"));
    }

    #[test]
    fn files_travel_in_parts_and_are_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let path = path.to_str().unwrap();
        let content: Vec<u8> = (0..CHUNK * 2 + 7).map(|n| (n * 7 % 251) as u8).collect();
        let (fake, stop) = (Fake::default(), Stop::default());
        let own = agent(&fake);
        fs::write(path, "old").unwrap();
        own.write(path, &content, &stop).unwrap();
        assert!(fs::read(path).unwrap() == content);
        let nowhere = own.write("/no/such/folder/file", &content, &stop).unwrap_err();
        assert!(format!("{nowhere:#}").contains("refused `guest-file-open`"), "{nowhere:#}");
        fake.0.lock().unwrap().blocked = vec!["guest-file-write"];
        assert!(own.write(path, &content, &stop).is_err());
        assert_eq!(fake.open_files(), 0);
    }

    #[test]
    fn an_agent_that_refuses_commands_is_no_way_in() {
        let fake = Fake::default();
        fake.0.lock().unwrap().blocked = vec!["guest-exec", "guest-file-open"];
        let error = Client::on(Box::new(fake), &Stop::default()).unwrap_err().to_string();
        assert!(error.contains("refuses `guest-exec`, `guest-file-open`; allow it"), "{error}");
        assert!(allowed(&json!({})).unwrap_err().to_string().contains("lists no commands"));
    }
}

//! A guest agent as QEMU's behaves, in this process: it runs programs and opens files of the host. For
//! tests.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    process::Command,
    sync::{Arc, Mutex},
};

use anyhow::{Result, anyhow};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::channel::{Channel, NoAnswer, Refused};
use crate::host::Stop;

/// What it has open, and what it did.
#[derive(Debug, Default)]
pub(super) struct State {
    files: HashMap<i64, File>,
    /// What programs came to, by their numbers; `guest-exec-status` says at first that they run.
    ended: HashMap<i64, Value>,
    running: HashMap<i64, u32>,
    next: i64,
    /// Commands that it refuses.
    pub blocked: Vec<&'static str>,
    /// It answers nothing any more.
    pub dead: bool,
    /// So many commands are done, and no answer to them comes.
    pub mute: u32,
    /// What it answers to `guest-exec-status`, in place of the truth.
    pub pretends: Option<Value>,
}

/// The agent; a clone is the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Fake(pub Arc<Mutex<State>>);

impl Fake {
    pub fn open_files(&self) -> usize {
        self.0.lock().unwrap().files.len()
    }
}

impl Channel for Fake {
    fn ask(&mut self, commands: &[Value], _stop: &Stop) -> Result<Vec<Value>> {
        let mut state = self.0.lock().unwrap();
        let answers = commands.iter().map(|command| state.execute(command)).collect();
        if state.mute > 0 {
            state.mute -= 1;
            return Err(NoAnswer("timed out".to_owned()).into());
        }
        answers
    }
}

impl State {
    fn execute(&mut self, command: &Value) -> Result<Value> {
        if self.dead {
            return Err(anyhow!("QEMU closed the socket"));
        }
        let name = command["execute"].as_str().unwrap();
        let refuse = |said: &str| Refused { command: name.to_owned(), said: said.to_owned() };
        if self.blocked.contains(&name) {
            return Err(refuse("the command has been disabled").into());
        }
        let own = &command["arguments"];
        let handle = own["handle"].as_i64();
        let unknown = || refuse("handle not found");
        Ok(match name {
            "guest-info" => self.info(),
            "guest-exec" => self.exec(own),
            "guest-exec-status" => self.status(own["pid"].as_i64().unwrap()),
            "guest-file-open" => {
                let (path, mode) = (own["path"].as_str().unwrap(), own["mode"].as_str().unwrap());
                let mut options = OpenOptions::new();
                match mode {
                    "r" => options.read(true),
                    "w" => options.write(true).create(true).truncate(true),
                    "r+" => options.read(true).write(true),
                    other => panic!("{other}"),
                };
                let file = options.open(path).map_err(|error| refuse(&error.to_string()))?;
                self.next += 1;
                self.files.insert(self.next, file);
                json!(self.next)
            }
            "guest-file-write" => {
                let part = STANDARD.decode(own["buf-b64"].as_str().unwrap()).unwrap();
                let file = handle.and_then(|handle| self.files.get_mut(&handle));
                file.ok_or_else(unknown)?.write_all(&part).unwrap();
                json!({ "count": part.len(), "eof": false })
            }
            "guest-file-read" => {
                let file = handle.and_then(|handle| self.files.get_mut(&handle));
                let mut part = vec![0; own["count"].as_u64().unwrap() as usize];
                let count = file.ok_or_else(unknown)?.read(&mut part).unwrap();
                let encoded = STANDARD.encode(&part[..count]);
                json!({ "count": count, "buf-b64": encoded, "eof": count == 0 })
            }
            "guest-file-seek" => {
                let file = handle.and_then(|handle| self.files.get_mut(&handle));
                let offset = own["offset"].as_u64().unwrap();
                file.ok_or_else(unknown)?.seek(SeekFrom::Start(offset)).unwrap();
                json!({ "position": offset, "eof": false })
            }
            "guest-file-flush" => json!({}),
            "guest-file-close" => {
                handle.and_then(|handle| self.files.remove(&handle)).ok_or_else(unknown)?;
                json!({})
            }
            other => panic!("{other}"),
        })
    }

    fn info(&self) -> Value {
        let all = [
            "guest-exec",
            "guest-exec-status",
            "guest-file-open",
            "guest-file-write",
            "guest-file-read",
            "guest-file-close",
            "guest-file-flush",
            "guest-file-seek",
        ];
        let one = |name: &&str| json!({ "name": name, "enabled": !self.blocked.contains(name) });
        json!({ "supported_commands": all.iter().map(one).collect::<Vec<_>>() })
    }

    fn exec(&mut self, own: &Value) -> Value {
        self.next += 1;
        let program = own["path"].as_str().unwrap();
        let arguments = own["arg"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
        let output = Command::new(program).args(arguments).output().unwrap();
        let ended = json!({
            "exited": true,
            "exitcode": output.status.code(),
            "out-data": STANDARD.encode(output.stdout),
            "err-data": STANDARD.encode(output.stderr),
        });
        self.ended.insert(self.next, ended);
        json!({ "pid": self.next })
    }

    fn status(&mut self, pid: i64) -> Value {
        if let Some(own) = &self.pretends {
            return own.clone();
        }
        let asked = self.running.entry(pid).or_default();
        *asked += 1;
        match self.ended.get(&pid).filter(|_| *asked > 1) {
            Some(ended) => ended.clone(),
            None => json!({ "exited": false }),
        }
    }
}

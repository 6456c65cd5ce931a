//! The agent at work: each request is answered at once or by a thread of its own, so that the clock
//! can be read while a command runs.

use std::{
    collections::HashMap,
    io::{Read, Write},
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::{
    command, facts, files,
    message::{Hello, Reply, Request},
    protocol::{self, Frame, ProtocolError},
    reaper::Reaper,
};

/// What the threads share.
struct Agent<W> {
    out: Mutex<W>,
    reaper: Reaper,
    /// The process group of each command that runs, by its request's number.
    running: Mutex<HashMap<u32, i32>>,
}

/// Says hello and serves until the host asks for the end or closes the port.
///
/// # Errors
/// The port failed, or the host sent what is no request.
pub fn serve<P>(port: P, hello: Hello) -> Result<(), ProtocolError>
where
    P: Read + Write + Copy + Send,
{
    let agent = Agent { out: Mutex::new(port), reaper: Reaper::start(), running: Mutex::default() };
    protocol::write(&mut *agent.out(), 0, &Reply::Hello(hello), &[])?;
    thread::scope(|scope| {
        let mut input = port;
        let served = loop {
            match protocol::read::<Request>(&mut input) {
                Ok(Some(Frame { number, message: Request::Shutdown, .. })) => {
                    agent.send(number, &Reply::Done, &[]);
                    break Ok(());
                }
                Ok(Some(frame)) if is_slow(&frame.message) => {
                    let agent = &agent;
                    scope.spawn(move || agent.answer(frame));
                }
                Ok(Some(frame)) => agent.answer(frame),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        agent.end_commands();
        served
    })
}

/// Whether a request is answered by a thread of its own.
fn is_slow(request: &Request) -> bool {
    matches!(request, Request::Run { .. } | Request::Get { .. })
}

impl<W: Write> Agent<W> {
    fn out(&self) -> std::sync::MutexGuard<'_, W> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<u32, i32>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reply that cannot be sent is dropped: the reading side sees the closed port as well.
    fn send(&self, number: u32, reply: &Reply, payload: &[u8]) {
        if let Err(error) = protocol::write(&mut *self.out(), number, reply, payload) {
            eprintln!("guest-agent: replying: {error}");
        }
    }

    fn answer(&self, frame: Frame<Request>) {
        let number = frame.number;
        let answer = match frame.message {
            Request::Clock => Ok(Reply::Clock { monotonic_ns: facts::monotonic_ns() }),
            Request::Put { path, mode, append } => {
                files::put(Path::new(&path), mode, append, &frame.payload)
                    .map(|()| Reply::Done)
                    .map_err(|error| format!("{path}: {error}"))
            }
            Request::Get { path } => {
                let sent = files::get(Path::new(&path), |part, bytes| {
                    self.send(number, &part, bytes);
                });
                match sent {
                    Ok(()) => return,
                    Err(error) => Err(format!("{path}: {error}")),
                }
            }
            Request::Signal { run, signal } => self.signal(run, signal).map(|()| Reply::Done),
            Request::Run { argv, env, cwd } => self.run(number, &argv, &env, cwd.as_deref()),
            Request::Shutdown => Ok(Reply::Done),
        };
        let reply = answer.unwrap_or_else(|message| Reply::Error { message });
        self.send(number, &reply, &[]);
    }

    fn run(
        &self,
        number: u32,
        argv: &[String],
        env: &[(String, String)],
        cwd: Option<&str>,
    ) -> Result<Reply, String> {
        let command =
            command::start(&self.reaper, argv, env, cwd).map_err(|error| error.to_string())?;
        self.running().insert(number, command.pid);
        self.send(number, &Reply::Started { pid: command.pid }, &[]);
        let status = command.follow(|output, bytes| self.send(number, &output, bytes));
        self.running().remove(&number);
        let status = status.ok_or("the reaper is gone")?;
        Ok(Reply::Exited { status })
    }

    fn signal(&self, run: u32, signal: i32) -> Result<(), String> {
        let signal =
            Signal::try_from(signal).map_err(|error| format!("signal {signal}: {error}"))?;
        let running = self.running();
        let pid = running.get(&run).ok_or_else(|| format!("command {run} does not run"))?;
        killpg(Pid::from_raw(*pid), signal).map_err(|error| format!("process {pid}: {error}"))
    }

    /// The guest is about to end; threads that follow commands must not hold it up.
    fn end_commands(&self) {
        for pid in self.running().values() {
            let _ = killpg(Pid::from_raw(*pid), Signal::SIGKILL);
        }
    }
}

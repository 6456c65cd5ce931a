//! The way into a virtual machine that runs already: the bench's programs go into a temporary folder
//! there, its agent answers from it, and the folder is removed on every way out.
//!
//! A [`Way`] runs shell scripts in the VM and writes files there, which is enough to bring the
//! programs in; then it carries the agent's protocol. From there on nothing is different from a guest
//! that was booted, but that round trips take longer.

mod channel;
mod client;
#[cfg(test)]
mod fake;
mod guest_agent;
mod programs;
mod script;
mod ssh;
mod tunnel;
mod virsh;

use std::{
    ops::Deref,
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use model::suite::{Found, WayIn};

use self::{guest_agent::GuestAgent, programs::Files, ssh::Login};
use crate::{
    error::Refusal,
    guest::{Agent, Explain, Inside, Output, Programs},
    host::Stop,
};

/// How long a short script may take: an ordinary process in a VM that has little of the CPU.
const SCRIPT_LIMIT: Duration = Duration::from_secs(30);
/// How long the agent may take until it says hello.
const HELLO_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to end when it is asked to.
const END_LIMIT: Duration = Duration::from_secs(10);
/// How often the agent hears of us at least: well within its lease (`guest_agent::entered::LEASE`).
const HEARTBEAT: Duration = Duration::from_secs(20);

/// A way into a VM.
trait Way: Explain {
    /// Runs a shell script as root to its end; its exit code is no error.
    fn run(&self, script: &str, stop: &Stop) -> Result<Output>;

    /// Writes a file, which is there afterwards with this content alone.
    fn write(&self, path: &str, content: &[u8], stop: &Stop) -> Result<()>;

    /// Starts the agent that was put into `folder`: the stream on which it speaks. What it complains of
    /// is in `logs`.
    fn connect(&self, folder: &str, logs: &Path, stop: &Stop) -> Result<UnixStream>;
}

/// The way that a suite names.
fn way(found: &Found, way_in: &WayIn, stop: &Stop) -> Result<Arc<dyn Way>> {
    Ok(match (way_in, found) {
        (WayIn::Ssh(own), _) => Arc::new(Login::new(own.clone())),
        (WayIn::GuestAgent(Some(socket)), _) => Arc::new(GuestAgent::at(socket, stop)?),
        (WayIn::GuestAgent(None), Found::Libvirt(domain)) => {
            Arc::new(GuestAgent::of_domain(domain, stop)?)
        }
        (WayIn::GuestAgent(None), _) => bail!("checked by suite::parse"),
    })
}

/// Whether programs could enter, as far as asking tells: nothing is written there.
///
/// # Errors
/// [`Refusal::Usage`] that says *no way in* and why; [`Refusal::Lacking`] where this host lacks the
/// programs that would enter.
pub(crate) fn knock(found: &Found, way_in: &WayIn, stop: &Stop) -> Result<()> {
    programs::paths()?;
    let asked = || -> Result<()> {
        let way = way(found, way_in, stop)?;
        script::suits(&script::succeeded(way.run(script::LOOK, stop)?)?)
    };
    asked().map_err(|error| {
        if stop.check().is_err() || error.downcast_ref().is_some_and(is_lacking) {
            return error;
        }
        Refusal::Usage(format!("no way in by {}: {error:#}", way_in.name())).into()
    })
}

fn is_lacking(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Lacking(_))
}

/// The bench's programs in a VM of somebody else's. Dropping it takes them out.
#[derive(Debug)]
pub(crate) struct Entered {
    inside: Arc<Inside>,
    folder: Folder,
    heart: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Deref for Entered {
    type Target = Inside;

    fn deref(&self) -> &Inside {
        &self.inside
    }
}

impl Entered {
    /// Brings the programs in and starts the agent; messages are noted in `logs`.
    ///
    /// # Errors
    /// What did not work; nothing is left in the VM.
    pub fn enter(found: &Found, way_in: &WayIn, logs: &Path, stop: &Stop) -> Result<Self> {
        let files = Files::read()?;
        let way = way(found, way_in, stop)?;
        Self::by(way, &files, logs, stop)
            .with_context(|| format!("entering {found} by {}", way_in.name()))
    }

    fn by(way: Arc<dyn Way>, files: &Files, logs: &Path, stop: &Stop) -> Result<Self> {
        let folder = Folder::make(Arc::clone(&way), stop)?;
        let programs = Programs::below(&folder.path);
        way.write(&programs.agent, &files.agent, stop)?;
        way.write(&programs.rtload, &files.rtload, stop)?;
        let executable = format!("chmod 700 {} {}", programs.agent, programs.rtload);
        script::succeeded(way.run(&executable, stop)?)?;
        let stream = way.connect(&folder.path, logs, stop)?;
        let log = logs.join("agent.log");
        let (agent, hello) = Agent::greet(stream, &log, HELLO_LIMIT, stop.flag())
            .map_err(|error| way.explain(error))?;
        let inside = Arc::new(Inside::new(agent, hello, programs, Box::new(Outside(way))));
        let heart = Some(beat(Arc::clone(&inside))?);
        Ok(Self { inside, folder, heart })
    }

    /// Takes the programs out again.
    ///
    /// # Errors
    /// The folder could not be removed: it is named.
    pub fn leave(mut self) -> Result<()> {
        self.end();
        self.folder.remove()
    }

    /// Ends the agent and all that it started.
    fn end(&mut self) {
        let Some((over, heart)) = self.heart.take() else { return };
        over.store(true, Ordering::Relaxed);
        heart.thread().unpark();
        let _ = heart.join();
        // Where it does not answer, it ends as its stream is closed, or nothing is heard of us.
        let _ = self.inside.end(END_LIMIT);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.end();
    }
}

/// Lets the agent hear of us now and then, until the flag is set and the thread woken.
fn beat(inside: Arc<Inside>) -> Result<(Arc<AtomicBool>, JoinHandle<()>)> {
    let over = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&over);
    let beat = move || {
        while !flag.load(Ordering::Relaxed) {
            thread::park_timeout(HEARTBEAT);
            // One that does not answer is told elsewhere.
            let _ = inside.clock_offset_by(1, &flag);
        }
    };
    let heart = thread::Builder::new().name("heartbeat".into()).spawn(beat)?;
    Ok((over, heart))
}

/// What lies around the inside.
#[derive(Debug)]
struct Outside(Arc<dyn Way>);

impl Explain for Outside {
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        self.0.explain(error)
    }
}

/// The temporary folder in the VM; removed when dropped.
#[derive(Debug)]
struct Folder {
    path: String,
    way: Arc<dyn Way>,
    there: bool,
}

impl Folder {
    /// Makes one in which programs may run.
    fn make(way: Arc<dyn Way>, stop: &Stop) -> Result<Self> {
        let said = script::succeeded(way.run(&script::folder(), stop)?)?;
        Ok(Self { path: script::made(&said)?, way, there: true })
    }

    /// The agent has removed it where all went well; then nothing is left to do.
    fn remove(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.there) {
            return Ok(());
        }
        // Not cut short by the signal that ends the run.
        let removed = self.way.run(&script::remove(&self.path), &Stop::default());
        let removed = removed.and_then(script::succeeded);
        removed.map(drop).with_context(|| format!("{} was left in the VM", self.path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            model::say!("warning: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests;

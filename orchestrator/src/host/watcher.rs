//! Watches, in a thread of its own, whether what was set on the host lasts, and tells of what somebody
//! else changes while a run or a reservation goes on.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use super::{Actions, Linux, members::Members, settings::Shared};

/// How often it looks. What its own programs do to themselves is believed at the second look, so a
/// change is told within two intervals.
const INTERVAL: Duration = Duration::from_millis(500);

/// Told of each change at once, a sentence.
pub type Listener = Box<dyn Fn(&str) + Send>;

/// A watcher; it ends when it is dropped.
pub(super) struct Watcher {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    eyes: Arc<Mutex<Eyes>>,
}

/// What is looked at, and what was seen.
struct Eyes {
    settings: Vec<Shared>,
    /// Of each CPU on which nothing but ours is.
    members: Vec<Members>,
    listener: Listener,
    /// Since the last [`Watcher::take`].
    seen: BTreeSet<String>,
}

impl Watcher {
    /// Watches what these guards set, and who is on the measured CPUs.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn start(
        settings: Vec<Shared>,
        members: Vec<Members>,
        listener: Listener,
    ) -> io::Result<Self> {
        let seen = BTreeSet::new();
        let eyes = Arc::new(Mutex::new(Eyes { settings, members, listener, seen }));
        let (end, ended) = channel();
        let own = Arc::clone(&eyes);
        let thread = Builder::new().name("rtvm-watcher".into()).spawn(move || {
            let host = Linux::default();
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                own.lock().unwrap_or_else(PoisonError::into_inner).look(&host);
            }
        })?;
        Ok(Self { end: Some(end), thread: Some(thread), eyes })
    }

    /// Looks now: what is watched is about to end.
    pub fn look(&self) {
        self.eyes().look(&Linux::default());
    }

    /// What was seen since this was asked last, this moment included.
    pub fn take(&self) -> Vec<String> {
        self.look();
        std::mem::take(&mut self.eyes().seen).into_iter().collect()
    }

    fn eyes(&self) -> MutexGuard<'_, Eyes> {
        self.eyes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Eyes {
    fn look(&mut self, host: &dyn Actions) {
        let changes = self.settings.iter().flat_map(|settings| settings.lock().changed(host));
        let mut changes: Vec<String> = changes.collect();
        for members in &mut self.members {
            let is_ours = |tid| self.settings.iter().any(|one| one.lock().concern(tid));
            changes.extend(members.look(host, is_ours));
        }
        for change in changes {
            if !self.seen.contains(&change) {
                (self.listener)(&change);
                self.seen.insert(change);
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.end = None;
        // One that panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

//! The first process inherits every orphan: one thread reaps them all, and passes on the status of
//! those that somebody waits for.

use std::{
    collections::HashMap,
    io::{self, PipeReader, PipeWriter},
    process::{Child, Command},
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc},
    thread,
};

use nix::{
    errno::Errno,
    sys::wait::{WaitStatus, waitpid},
};

use crate::message::Status;

/// Starts commands and reaps every process.
#[derive(Debug, Clone, Default)]
pub struct Reaper {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    awaited: Mutex<HashMap<i32, (mpsc::Sender<Status>, PipeWriter)>>,
    /// Signalled at each new child: there was none to wait for before.
    born: Condvar,
}

/// The end of one child.
#[derive(Debug)]
pub struct Ending {
    status: mpsc::Receiver<Status>,
    /// Hangs up when the status is there: something to poll for.
    pub hangup: PipeReader,
}

impl Ending {
    /// The status; waits for it.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.status.recv().ok()
    }
}

impl Reaper {
    /// Starts the reaping thread.
    #[must_use]
    pub fn start() -> Self {
        let reaper = Self::default();
        let shared = Arc::clone(&reaper.shared);
        thread::spawn(move || {
            loop {
                shared.reap();
            }
        });
        reaper
    }

    /// Starts `command`; nobody but the reaper may wait for the child.
    ///
    /// # Errors
    /// The command could not be started.
    pub fn spawn(&self, command: &mut Command) -> io::Result<(Child, Ending)> {
        let (hangup, writer) = io::pipe()?;
        let (sender, status) = mpsc::channel();
        // Held over the start, so that a child that ends at once is not reaped as unknown.
        let mut awaited = self.shared.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        awaited.insert(child.id() as i32, (sender, writer));
        self.shared.born.notify_one();
        Ok((child, Ending { status, hangup }))
    }
}

impl Shared {
    fn reap(&self) {
        let (pid, status) = match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, Status::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Status::Signal(signal as i32)),
            Ok(_) | Err(Errno::EINTR) => return,
            Err(_no_child) => {
                let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
                // A child born between the two calls is in the map already.
                if awaited.is_empty() {
                    drop(self.born.wait(awaited));
                }
                return;
            }
        };
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((sender, writer)) = awaited.remove(&pid.as_raw()) {
            let _ = sender.send(status);
            drop(writer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, since the reaper would take the children of any other.
    #[test]
    fn passes_on_each_status() {
        let reaper = Reaper::start();
        let shell = |script: &str| {
            let (_, ending) = reaper.spawn(Command::new("/bin/sh").args(["-c", script])).unwrap();
            ending
        };
        let (slow, quick) = (shell("sleep 0.2; exit 5"), shell("exit 3"));
        let killed = shell("kill -9 $$");
        assert_eq!(quick.status(), Some(Status::Code(3)));
        assert_eq!(killed.status(), Some(Status::Signal(9)));
        assert_eq!(slow.status(), Some(Status::Code(5)));
        assert!(reaper.spawn(&mut Command::new("/nowhere")).is_err());
        assert_eq!(shell("exit 0").status(), Some(Status::Code(0)));
    }
}

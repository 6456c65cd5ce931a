//! SIGINT, SIGTERM and SIGHUP as something to wait for, instead of something that strikes.

use std::{
    io::PipeReader,
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

use kernel::process::ignores;
use model::Exit;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

use crate::Error;

/// How long writing the results may take once a signal has come.
const GRACE: Duration = Duration::from_secs(2);

/// SIGINT, SIGTERM and, where it is not ignored (nohup), SIGHUP, blocked for this thread and those that it starts from now on.
#[derive(Debug)]
pub struct Signals(SignalFd);

/// Why [`Signals::wait`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// A signal asks us to stop.
    Signal,
    /// Every writer of the pipe is gone.
    Done,
    /// The time is over.
    Timeout,
}

impl Signals {
    /// Blocks the signals; call it before any thread is started.
    ///
    /// # Errors
    /// None in practice: too many open files.
    pub fn block() -> Result<Self, Error> {
        let mut set = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
        // A signal that is blocked is never ignored.
        if !ignores(Signal::SIGHUP) {
            set.add(Signal::SIGHUP);
        }
        set.thread_block()
            .and_then(|()| {
                SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            })
            .map(Self)
            .map_err(|errno| Error::system("cannot wait for signals")(errno.into()))
    }

    /// Whether one of them has come since the last look.
    #[must_use]
    pub fn pending(&self) -> bool {
        matches!(self.0.read_signal(), Ok(Some(_)))
    }

    /// From now on a signal ends the process, though not at once: results that are being written
    /// have two seconds to get there. A pipe that nobody reads takes for ever.
    pub fn give_up_on_writing(self) {
        thread::spawn(move || {
            let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            while !matches!(poll(&mut fds, PollTimeout::NONE), Ok(1..)) {}
            thread::sleep(GRACE);
            std::process::exit(Exit::Interrupted as i32);
        });
    }

    /// Waits for a signal, for the end of `pipe`, or for `deadline` (none: for ever).
    ///
    /// # Errors
    /// What poll(2) says.
    pub fn wait(&self, pipe: &PipeReader, deadline: Option<Instant>) -> Result<Woken, Error> {
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(Woken::Timeout);
            }
            let mut fds = [
                PollFd::new(self.0.as_fd(), PollFlags::POLLIN),
                PollFd::new(pipe.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, timeout(left)) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) if self.pending() => return Ok(Woken::Signal),
                Ok(_) if fds[1].any() == Some(true) => return Ok(Woken::Done),
                Ok(_) => {}
                Err(errno) => return Err(Error::system("cannot wait")(errno.into())),
            }
        }
    }
}

/// Rounded up to a millisecond, in slices of at most a minute.
fn timeout(left: Option<Duration>) -> PollTimeout {
    let millis = left.map_or(60_000, |left| left.as_millis().min(59_999) as u16 + 1);
    PollTimeout::from(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_pipe_and_of_the_time_are_told_apart() {
        let signals = Signals::block().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let soon = Some(Instant::now() + Duration::from_millis(20));
        assert_eq!(signals.wait(&reader, soon).unwrap(), Woken::Timeout);
        drop(writer);
        assert_eq!(signals.wait(&reader, None).unwrap(), Woken::Done);
    }

    #[test]
    fn a_signal_is_seen_once() {
        let signals = Signals::block().unwrap();
        let (reader, _writer) = std::io::pipe().unwrap();
        nix::sys::signal::raise(Signal::SIGTERM).unwrap();
        assert_eq!(signals.wait(&reader, None).unwrap(), Woken::Signal);
        assert!(!signals.pending());
    }
}

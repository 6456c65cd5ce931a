//! Waiting for connections and for the timer.
//!
//! A connection is told of once for each change (EPOLLET), and registered once: a request that is
//! answered at once costs no system call but the one that sends it, the one that reads the answer,
//! and its share of one that waits for all clients.

use std::{io, os::fd::AsFd};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

/// The most events that are told of at once.
const MOST_EVENTS: usize = 256;

/// Who waits for a connection: a client, and which of its connections that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) client: u32,
    /// A client's connections are numbered, so that an event of an earlier one is known as such.
    pub(crate) connection: u32,
}

/// What happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) token: Token,
    /// It can be read from, or is at its end.
    pub(crate) readable: bool,
    /// It can be written to.
    pub(crate) writable: bool,
    /// The service has closed or reset it, or it could not be opened.
    pub(crate) closed: bool,
}

/// What the kernel is asked to tell of.
pub(crate) struct Poller {
    epoll: Epoll,
    events: Vec<EpollEvent>,
    /// How many of `events` the last wait brought.
    ready: usize,
}

/// Of the timer, which is no client.
const TIMER: u64 = u64::MAX;

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); MOST_EVENTS], ready: 0 })
    }

    /// Tells of `connection` from now on, until it is dropped.
    pub(crate) fn add(&self, connection: impl AsFd, token: Token) -> io::Result<()> {
        let Token { client, connection: number } = token;
        let of = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP;
        let data = u64::from(client) | u64::from(number) << 32;
        Ok(self.epoll.add(connection, EpollEvent::new(of | EpollFlags::EPOLLET, data))?)
    }

    /// Wakes up whenever `timer` rings, which nobody has to read.
    pub(crate) fn add_timer(&self, timer: impl AsFd) -> io::Result<()> {
        let of = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        Ok(self.epoll.add(timer, EpollEvent::new(of, TIMER))?)
    }

    /// Waits until something happens, at most `most_ms` milliseconds.
    pub(crate) fn wait(&mut self, most_ms: u16) -> io::Result<()> {
        self.ready = match self.epoll.wait(&mut self.events, EpollTimeout::from(most_ms)) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }

    /// What the last wait brought, by number; none past the last one.
    pub(crate) fn event(&self, number: usize) -> Option<Event> {
        let event = self.events[..self.ready].get(number)?;
        let (flags, data) = (event.events(), event.data());
        let closed = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        let closed = flags.intersects(closed);
        Some(Event {
            token: Token { client: data as u32, connection: (data >> 32) as u32 },
            readable: closed || flags.contains(EpollFlags::EPOLLIN),
            writable: flags.contains(EpollFlags::EPOLLOUT),
            closed,
        })
    }
}

//! One connection of one client.

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket},
};

use crate::Target;

/// The addresses of a service, with the one that took the last connection.
#[derive(Debug)]
pub(crate) struct Addresses<'a> {
    all: &'a [SocketAddr],
    preferred: usize,
}

impl<'a> Addresses<'a> {
    pub(crate) fn new(target: &'a Target) -> Self {
        Self { all: &target.addresses, preferred: 0 }
    }

    /// The one to be tried after `step` others, beginning with the one that took the last connection;
    /// none where all have been tried.
    pub(crate) fn at(&self, step: usize) -> Option<SocketAddr> {
        (step < self.all.len()).then(|| self.all[(self.preferred + step) % self.all.len()])
    }

    /// The one tried after `step` others took the connection.
    pub(crate) fn prefer(&mut self, step: usize) {
        self.preferred = (self.preferred + step) % self.all.len();
    }
}

/// A TCP connection that never blocks.
#[derive(Debug)]
pub(crate) struct Link(TcpStream);

impl Link {
    /// Begins to connect to `address`; [`outcome`](Self::outcome) tells what came of it.
    pub(crate) fn begin(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let stream = TcpStream::from(socket(family, SockType::Stream, flags, None)?);
        stream.set_nodelay(true)?;
        match connect(stream.as_raw_fd(), &SockaddrStorage::from(address)) {
            // What a signal interrupts goes on by itself.
            Ok(()) | Err(Errno::EINPROGRESS | Errno::EINTR) => Ok(Self(stream)),
            Err(error) => Err(error.into()),
        }
    }

    /// Why there is no connection.
    pub(crate) fn outcome(&self) -> io::Result<()> {
        self.0.take_error()?.map_or(Ok(()), Err)
    }

    /// Sends what it takes of `head` and `body` together, without their first `from` bytes; none where
    /// it takes nothing at the moment.
    pub(crate) fn send(&self, head: &[u8], body: &[u8], from: usize) -> io::Result<Option<usize>> {
        let body = &body[from.saturating_sub(head.len())..];
        let head = &head[from.min(head.len())..];
        let mut stream = &self.0;
        when_ready(|| match body {
            [] => stream.write(head),
            body => stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]),
        })
    }

    /// Reads what has arrived: 0 bytes at the end of the stream, none where nothing has.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        when_ready(|| (&self.0).read(buffer))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The outcome of `act`, done again where a signal came; none where it would block.
fn when_ready(mut act: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match act() {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

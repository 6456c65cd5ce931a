//! A socket that notes when bytes arrived.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use kernel::clock::monotonic_ns;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// When the bytes of one answer arrived (0: not yet).
#[derive(Debug, Default)]
pub(crate) struct Stamps {
    first: Cell<u64>,
    last: Cell<u64>,
    end: Cell<u64>,
}

impl Stamps {
    /// Forgets the answer before.
    pub(crate) fn reset(&self) {
        self.first.set(0);
        self.last.set(0);
        self.end.set(0);
    }

    /// The first read that brought bytes.
    pub(crate) fn first_byte_ns(&self) -> Option<u64> {
        known(&self.first)
    }

    /// The latest read that brought bytes.
    pub(crate) fn last_byte_ns(&self) -> Option<u64> {
        known(&self.last)
    }

    /// The read that found the end of the stream.
    pub(crate) fn end_ns(&self) -> Option<u64> {
        known(&self.end)
    }

    fn note(&self, bytes: usize) {
        let now = monotonic_ns();
        if bytes == 0 {
            self.end.set(now);
            return;
        }
        if self.first.get() == 0 {
            self.first.set(now);
        }
        self.last.set(now);
    }
}

fn known(cell: &Cell<u64>) -> Option<u64> {
    (cell.get() != 0).then(|| cell.get())
}

/// A TCP stream whose reads leave their [`Stamps`].
#[derive(Debug)]
pub(crate) struct Stamped {
    stream: TcpStream,
    stamps: Rc<Stamps>,
}

impl Stamped {
    pub(crate) fn new(stream: TcpStream, stamps: Rc<Stamps>) -> Self {
        Self { stream, stamps }
    }

    /// Whether bytes have arrived that nobody has read.
    pub(crate) fn has_bytes(&self) -> bool {
        matches!(self.stream.try_read(&mut [0]), Ok(1..))
    }
}

impl AsyncRead for Stamped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.stamps.note(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

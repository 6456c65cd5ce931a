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

/// When the bytes of one answer arrived (0: not yet). Interim answers (1xx, RFC 9110 section 15.2)
/// before it are none of its bytes.
#[derive(Debug, Default)]
pub(crate) struct Stamps {
    first: Cell<u64>,
    last: Cell<u64>,
    end: Cell<u64>,
    /// Within an interim answer: how much of the blank line at its end has come.
    interim: Cell<Option<usize>>,
}

/// How an interim answer begins.
const INTERIM: &[u8] = b"HTTP/1.1 1";
/// One that is final: the connection speaks another protocol from here.
const SWITCHING: &[u8] = b"HTTP/1.1 101";
/// How every head ends.
const BLANK_LINE: &[u8] = b"\r\n\r\n";

impl Stamps {
    /// Forgets the answer before.
    pub(crate) fn reset(&self) {
        self.first.set(0);
        self.last.set(0);
        self.end.set(0);
        self.interim.set(None);
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

    fn note(&self, bytes: &[u8], now: u64) {
        if bytes.is_empty() {
            self.end.set(now);
            return;
        }
        self.last.set(now);
        if self.first.get() == 0 && self.is_past_interim(bytes) {
            self.first.set(now);
        }
    }

    /// Whether `bytes` hold some of the final answer.
    fn is_past_interim(&self, mut bytes: &[u8]) -> bool {
        loop {
            let Some(mut matched) = self.interim.get() else {
                if !bytes.starts_with(INTERIM) || bytes.starts_with(SWITCHING) {
                    return !bytes.is_empty();
                }
                self.interim.set(Some(0));
                continue;
            };
            let Some((&byte, rest)) = bytes.split_first() else { return false };
            bytes = rest;
            matched = match byte {
                _ if byte == BLANK_LINE[matched] => matched + 1,
                b'\r' => 1,
                _ => 0,
            };
            self.interim.set((matched < BLANK_LINE.len()).then_some(matched));
        }
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
        self.stamps.note(&buffer.filled()[before..], monotonic_ns());
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The read that the first byte of the final answer came with, counted from 1.
    fn first(reads: &[&str]) -> Option<u64> {
        let stamps = Stamps::default();
        for (read, at) in reads.iter().zip(1..) {
            stamps.note(read.as_bytes(), at);
        }
        stamps.first_byte_ns()
    }

    #[test]
    fn interim_answers_are_no_first_byte() {
        let (hint, ok) = ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "HTTP/1.1 200 OK\r\n");
        assert_eq!(first(&[ok]), Some(1));
        assert_eq!(first(&[hint]), None);
        assert_eq!(first(&[hint, ok]), Some(2));
        assert_eq!(first(&[&[hint, ok].concat()]), Some(1));
        assert_eq!(
            first(&[&hint[..20], &hint[20..hint.len() - 1], &hint[hint.len() - 1..], ok]),
            Some(4)
        );
        assert_eq!(first(&["HTTP/1.1 100 Continue\r\n\r\n", hint, ok]), Some(3));
        assert_eq!(first(&["HTTP/1.1 101 Switching Protocols\r\n"]), Some(1));
    }
}

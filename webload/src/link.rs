//! One connection of one client, driven by that client alone.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
};

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Body, Bytes, Incoming},
    client::conn::http1::{Builder, Connection, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{
    Failure, Target,
    stamp::{Stamped, Stamps},
};

/// What is sent.
pub(crate) type Ask = Request<Full<Bytes>>;

/// The addresses of a service, with the one that took the last connection.
pub(crate) struct Addresses<'a> {
    all: &'a [SocketAddr],
    preferred: Cell<usize>,
}

impl<'a> Addresses<'a> {
    pub(crate) fn new(target: &'a Target) -> Self {
        Self { all: &target.addresses, preferred: Cell::new(0) }
    }

    /// Connects to the first that takes it, beginning with the one that did the last time.
    ///
    /// # Errors
    /// What the last one tried said.
    async fn connect(&self) -> io::Result<TcpStream> {
        let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for step in 0..self.all.len() {
            let index = (self.preferred.get() + step) % self.all.len();
            match TcpStream::connect(self.all[index]).await {
                Ok(stream) => {
                    self.preferred.set(index);
                    return Ok(stream);
                }
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

/// An HTTP/1.1 connection. Its protocol machine is polled together with the request that waits for
/// it, so that a request costs no switch between tasks.
pub(crate) struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// Boxed, since a link moves with every request and this part is large.
    connection: Box<Connection<TokioIo<Stamped>, Full<Bytes>>>,
    /// How the connection ended, once it has; it must not be polled again.
    ended: Option<Result<(), hyper::Error>>,
}

impl Link {
    /// Connects to one of `addresses`.
    pub(crate) async fn open(
        addresses: &Addresses<'_>,
        stamps: Rc<Stamps>,
    ) -> Result<Self, Failure> {
        let fail = |error: io::Error| Failure::of_connect(&error);
        let stream = addresses.connect().await.map_err(fail)?;
        stream.set_nodelay(true).map_err(fail)?;
        let io = TokioIo::new(Stamped::new(stream, stamps));
        let (sender, connection) =
            Builder::new().handshake(io).await.map_err(|error| Failure::of_exchange(&error))?;
        Ok(Self { sender, connection: Box::new(connection), ended: None })
    }

    /// Lets the connection do what it can.
    fn turn(&mut self, cx: &mut Context<'_>) {
        if self.ended.is_none()
            && let Poll::Ready(end) = self.connection.poll_without_shutdown(cx)
        {
            self.ended = Some(end);
        }
    }

    /// Whether the connection can take another request; notices what the service did since.
    pub(crate) async fn is_usable(&mut self) -> bool {
        poll_fn(|cx| {
            self.turn(cx);
            Poll::Ready(self.ended.is_none())
        })
        .await
    }

    /// Waits until a request can be sent.
    pub(crate) async fn ready(&mut self) -> Result<(), Failure> {
        poll_fn(|cx| {
            self.turn(cx);
            self.sender.poll_ready(cx)
        })
        .await
        .map_err(|error| self.explain(&error))
    }

    /// Sends a request, once it is [`ready`](Self::ready), and waits for the head of its answer.
    pub(crate) async fn send(&mut self, ask: Ask) -> Result<Response<Incoming>, Failure> {
        let mut answer = pin!(self.sender.send_request(ask));
        poll_fn(|cx| {
            self.turn(cx);
            answer.as_mut().poll(cx)
        })
        .await
        .map_err(|error| self.explain(&error))
    }

    /// Waits for the next piece of `body`: `None` at its end.
    pub(crate) async fn frame(
        &mut self,
        body: &mut Incoming,
    ) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            let next = poll_fn(|cx| {
                if let ready @ Poll::Ready(_) = std::pin::Pin::new(&mut *body).poll_frame(cx) {
                    return ready;
                }
                self.turn(cx);
                std::pin::Pin::new(&mut *body).poll_frame(cx)
            });
            match next.await? {
                // Trailers are none of the body's bytes.
                Ok(frame) => match frame.into_data() {
                    Ok(bytes) => return Some(Ok(bytes)),
                    Err(_trailers) => {}
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Of a connection that has ended: whether bytes arrived that belong to no answer.
    pub(crate) fn has_unread_bytes(self) -> bool {
        let parts = self.connection.into_parts();
        !parts.read_buf.is_empty() || parts.io.into_inner().has_bytes()
    }

    /// The connection's own error says more than that the request was dropped because of it.
    fn explain(&self, error: &hyper::Error) -> Failure {
        match &self.ended {
            Some(Err(end)) if error.is_canceled() || error.is_closed() => Failure::of_exchange(end),
            Some(Ok(())) if error.is_canceled() => Failure::Closed,
            _ => Failure::of_exchange(error),
        }
    }
}

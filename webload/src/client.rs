//! One client: its connection, and the request that is under way.

use std::{io, mem, time::Duration};

use kernel::clock::monotonic_ns;

use crate::{
    Config, Failure,
    asked::Asked,
    link::{Addresses, Link},
    poller::{Event, Poller, Token},
    protocol::{answer::Answer, request::Template},
    record::Sample,
    stamp::Stamps,
};

/// Reads in a row before others have their turn: a service that sends without a pause would otherwise
/// keep everybody from looking at the clock.
const READS_IN_A_ROW: u32 = 32;

/// A client with its connection, if it has one at the moment.
pub(crate) struct Client<'a> {
    id: u32,
    addresses: Addresses<'a>,
    template: &'a Template,
    keep_alive: bool,
    link: Option<Link>,
    /// How many connections it has opened.
    connections: u32,
    /// Whether the connection may have bytes, or be at its end.
    readable: bool,
    /// Whether the service has closed it: its end can be read, once its bytes have been.
    closed: bool,
    stage: Stage,
    /// What is under way.
    asked: Asked,
    answer: Answer,
    stamps: Stamps,
}

/// What a client is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    /// It tries an address, after some others.
    Connecting {
        step: usize,
    },
    /// So many bytes of the request have been sent.
    Sending(usize),
    Receiving,
}

/// How far a client has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Its connection has to be waited for.
    Waits,
    /// There is more to be read, when others have had their turn.
    ReadsOn,
    /// It is done, well or not.
    Ends(Result<(), Failure>),
}

impl<'a> Client<'a> {
    /// The client numbered `id`.
    pub(crate) fn new(config: &'a Config, id: u32, templates: &'a [Template]) -> Self {
        let number = id as usize % config.targets.len();
        Self {
            id,
            addresses: Addresses::new(&config.targets[number]),
            template: &templates[number],
            keep_alive: config.keep_alive,
            link: None,
            connections: 0,
            readable: false,
            closed: false,
            stage: Stage::Idle,
            asked: Asked::default(),
            answer: Answer::default(),
            stamps: Stamps::default(),
        }
    }

    /// Whether it should connect ahead, where connections are kept, so that no measured request pays
    /// for it. Where that fails, the request will find out and say so.
    pub(crate) fn should_connect(&self) -> bool {
        self.keep_alive && self.link.is_none()
    }

    /// When what is under way is given up.
    pub(crate) fn deadline_ns(&self, timeout_ns: u64) -> Option<u64> {
        (self.stage != Stage::Idle).then(|| self.asked.start_ns.saturating_add(timeout_ns))
    }

    /// Begins what is asked.
    pub(crate) fn begin(&mut self, asked: Asked, buffer: &mut [u8], poller: &Poller) -> Step {
        self.asked = asked;
        self.answer.reset();
        self.stamps = Stamps::default();
        self.look_at_idle(buffer);
        if self.link.is_none() {
            return self.open(0, io::ErrorKind::AddrNotAvailable.into(), poller);
        }
        self.stage = Stage::Sending(0);
        self.go_on(buffer)
    }

    /// Something happened to one of its connections.
    pub(crate) fn notice(&mut self, event: Event, buffer: &mut [u8], poller: &Poller) -> Step {
        if event.token.connection != self.connections {
            return Step::Waits;
        }
        self.readable |= event.readable;
        self.closed |= event.closed;
        match self.stage {
            Stage::Idle => {
                self.look_at_idle(buffer);
                Step::Waits
            }
            Stage::Connecting { step } => self.connect(step, event.writable, buffer, poller),
            Stage::Sending(_) | Stage::Receiving => self.go_on(buffer),
        }
    }

    /// Reads on, after [`Step::ReadsOn`].
    pub(crate) fn read_on(&mut self, buffer: &mut [u8]) -> Step {
        match self.stage {
            Stage::Sending(_) | Stage::Receiving => self.go_on(buffer),
            Stage::Idle | Stage::Connecting { .. } => Step::Waits,
        }
    }

    /// Tries the addresses from the one after `step` others on; `refused` is what the last one said.
    fn open(&mut self, mut step: usize, mut refused: io::Error, poller: &Poller) -> Step {
        while let Some(address) = self.addresses.at(step) {
            self.connections = self.connections.wrapping_add(1);
            let token = Token { client: self.id, connection: self.connections };
            let begun =
                Link::begin(address).and_then(|link| poller.add(&link, token).map(|()| link));
            match begun {
                Ok(link) => {
                    (self.link, self.readable, self.closed) = (Some(link), false, false);
                    self.stage = Stage::Connecting { step };
                    return Step::Waits;
                }
                Err(error) => refused = error,
            }
            step += 1;
        }
        Step::Ends(Err(Failure::of_connect(&refused)))
    }

    /// Sends the request where the connection has been opened, else tries the next address.
    fn connect(&mut self, step: usize, opened: bool, buffer: &mut [u8], poller: &Poller) -> Step {
        let outcome = self.link.as_ref().map_or(Ok(()), Link::outcome);
        match outcome {
            Err(error) => {
                self.link = None;
                self.open(step + 1, error, poller)
            }
            Ok(()) if !opened => Step::Waits,
            Ok(()) => {
                self.addresses.prefer(step);
                if self.asked.ahead {
                    return Step::Ends(Ok(()));
                }
                self.asked.connect_ns = Some(monotonic_ns() - self.asked.start_ns);
                self.stage = Stage::Sending(0);
                self.go_on(buffer)
            }
        }
    }

    /// Of a connection that waits for the next request: whatever arrives there ends it.
    fn look_at_idle(&mut self, buffer: &mut [u8]) {
        if let Some(link) = self.link.as_ref().filter(|_| self.readable) {
            match link.receive(buffer) {
                Ok(None) => self.readable = false,
                Ok(Some(_)) | Err(_) => self.link = None,
            }
        }
    }

    /// Reads, and sends what is left of the request. What has arrived is read first: a service may
    /// answer, and close the connection, before it has the whole request.
    fn go_on(&mut self, buffer: &mut [u8]) -> Step {
        if let Stage::Sending(from) = self.stage {
            let early = if from > 0 { self.receive(buffer) } else { Step::Waits };
            if early != Step::Waits {
                return early;
            }
            if let Err(failure) = self.send(from) {
                return Step::Ends(Err(failure));
            }
        }
        self.receive(buffer)
    }

    fn send(&mut self, mut from: usize) -> Result<(), Failure> {
        let Template { head, body, .. } = self.template;
        let Some(link) = &self.link else { return Err(Failure::Closed) };
        while let Some(sent) = link.send(head, body, from).map_err(|e| Failure::of_exchange(&e))? {
            from += sent;
            if from == head.len() + body.len() {
                self.stage = Stage::Receiving;
                return Ok(());
            }
            self.stage = Stage::Sending(from);
        }
        Ok(())
    }

    /// Reads what has arrived.
    fn receive(&mut self, buffer: &mut [u8]) -> Step {
        for _ in 0..READS_IN_A_ROW {
            let Some(link) = self.link.as_ref().filter(|_| self.readable) else {
                return Step::Waits;
            };
            let bytes = match link.receive(buffer) {
                Ok(Some(bytes)) => &buffer[..bytes],
                Ok(None) => {
                    self.readable = false;
                    return Step::Waits;
                }
                Err(error) => return Step::Ends(Err(Failure::of_exchange(&error))),
            };
            self.stamps.note(bytes, monotonic_ns());
            if bytes.is_empty() {
                self.link = None;
                return Step::Ends(self.answer.close().and_then(|()| self.answer.judge(0)));
            }
            // Less than there was room for: that was all, until the poller tells of more.
            self.readable = self.closed || bytes.len() == buffer.len();
            match self.answer.feed(bytes, &self.template.method) {
                Ok(None) => {}
                Ok(Some(after)) => return Step::Ends(self.end(after, buffer)),
                Err(failure) => return Step::Ends(Err(failure)),
            }
        }
        Step::ReadsOn
    }

    /// The answer is whole, and so many bytes came after it.
    fn end(&mut self, mut after: usize, buffer: &mut [u8]) -> Result<(), Failure> {
        let mut kept = self.keep_alive && self.answer.keeps && self.stage == Stage::Receiving;
        if let Some(link) = self.link.as_ref().filter(|_| after == 0 && self.readable) {
            match link.receive(buffer) {
                Ok(None) => self.readable = false,
                Ok(Some(0)) | Err(_) => kept = false,
                Ok(Some(more)) => after = more,
            }
        }
        if !kept {
            self.link = None;
        }
        self.answer.judge(after)
    }

    /// The request has ended so; none where there was none. A connection whose request failed is not
    /// used again.
    pub(crate) fn finish(&mut self, outcome: Result<(), Failure>) -> Option<Sample> {
        self.stage = Stage::Idle;
        if outcome.is_err() {
            self.link = None;
        }
        let asked = mem::take(&mut self.asked);
        (!asked.ahead).then(|| asked.sample(self.id, &self.answer, &self.stamps, outcome.err()))
    }

    /// Nothing came of it in time.
    pub(crate) fn give_up(&mut self, timeout: Duration) -> Option<Sample> {
        self.finish(Err(Failure::Timeout(timeout)))
    }
}

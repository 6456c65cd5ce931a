//! All clients of a run, driven by one thread.
//!
//! A turn waits until something happens, reads all answers that have arrived, gives up what took too
//! long, and then lets free clients send: sending takes longer than reading, and answers that have
//! arrived would age meanwhile.

use std::{
    collections::VecDeque,
    io, mem,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use kernel::clock::monotonic_ns;
use model::duration::as_ns;

use crate::{
    Config,
    asked::Asked,
    client::{Client, Step},
    deadlines::Deadlines,
    log::Log,
    pace::{Next, Pace},
    poller::Poller,
    protocol::request::Template,
    record::Sample,
};

/// How soon a request to stop is noticed.
const STOP_POLL: Duration = Duration::from_millis(20);

/// Bytes that are read at once.
const BUFFER: usize = 64 << 10;

/// The clients, and what they share.
pub(crate) struct Crew<'a> {
    clients: Vec<Client<'a>>,
    /// By client, the requests that it has begun in this phase.
    begun: Vec<u64>,
    pub(crate) poller: Poller,
    buffer: Vec<u8>,
    /// Those who have nothing to do, in the order in which they became free.
    free: VecDeque<u32>,
    /// Those who have not read all that had arrived.
    unread: Vec<u32>,
    /// How many have something under way.
    busy: usize,
    deadlines: Deadlines,
    timeout: Duration,
    /// When deadlines were looked at the last time.
    now_ns: u64,
}

impl<'a> Crew<'a> {
    /// The clients of `config`, who send `templates`, one for each target.
    pub(crate) fn new(config: &'a Config, templates: &'a [Template]) -> io::Result<Self> {
        let count = config.clients as usize;
        Ok(Self {
            clients: (0..config.clients).map(|id| Client::new(config, id, templates)).collect(),
            begun: vec![0; count],
            poller: Poller::new()?,
            buffer: vec![0; BUFFER],
            free: VecDeque::with_capacity(count),
            unread: Vec::new(),
            busy: 0,
            deadlines: Deadlines::of(count),
            timeout: config.timeout,
            now_ns: monotonic_ns(),
        })
    }

    /// One phase of a run, until all is done or `stop` is set; returns whether all was done.
    pub(crate) fn run(
        &mut self,
        pace: &mut Pace,
        repetition: u32,
        log: &mut Log<'_>,
        stop: &AtomicBool,
    ) -> io::Result<bool> {
        self.begun.fill(0);
        self.free.extend(0..self.clients.len() as u32);
        while !stop.load(Ordering::Relaxed) {
            self.wait(pace)?;
            self.read(log);
            self.give_up(log);
            self.begin(pace, repetition, log);
            if self.busy == 0 && self.free.is_empty() && !pace.is_waited_for() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until something happens or something has to be done.
    fn wait(&mut self, pace: &mut Pace) -> io::Result<()> {
        if !self.free.is_empty() || !self.unread.is_empty() {
            return self.poller.wait(0);
        }
        pace.set_alarm()?;
        let deadline = self.deadlines.next_ns().unwrap_or(u64::MAX);
        let left = Duration::from_nanos(deadline.saturating_sub(self.now_ns)).min(STOP_POLL);
        self.poller.wait(left.as_nanos().div_ceil(1_000_000) as u16)
    }

    /// Everything that has happened.
    fn read(&mut self, log: &mut Log<'_>) {
        for id in mem::take(&mut self.unread) {
            let step = self.clients[id as usize].read_on(&mut self.buffer);
            self.settle(id, step, log);
        }
        let mut number = 0;
        while let Some(event) = self.poller.event(number) {
            number += 1;
            let id = event.token.client;
            // The timer is no client: that it rang has woken us up, which is all that it is for.
            if let Some(client) = self.clients.get_mut(id as usize) {
                let step = client.notice(event, &mut self.buffer, &self.poller);
                self.settle(id, step, log);
            }
        }
    }

    /// What has taken too long.
    fn give_up(&mut self, log: &mut Log<'_>) {
        self.now_ns = monotonic_ns();
        while let Some(id) = self.deadlines.take(self.now_ns) {
            let client = &mut self.clients[id as usize];
            match client.deadline_ns(as_ns(self.timeout)) {
                Some(deadline) if deadline > self.now_ns => self.deadlines.set(id, deadline),
                Some(_) => {
                    let sample = client.give_up(self.timeout);
                    self.ended(id, sample, log);
                }
                None => {}
            }
        }
    }

    /// What free clients have to do next.
    fn begin(&mut self, pace: &mut Pace, repetition: u32, log: &mut Log<'_>) {
        // Those who become free meanwhile have their turn after the next look at the clock.
        for _ in 0..self.free.len() {
            let Some(id) = self.free.pop_front() else { break };
            match pace.next(id, self.begun[id as usize]) {
                Next::Ask(due) => self.ask(id, repetition, due, false, log),
                Next::Connect if self.clients[id as usize].should_connect() => {
                    self.start(id, Asked::connection(), log);
                }
                Next::Connect | Next::Nothing => {}
            }
        }
        while let Some((due_ns, id)) = pace.due() {
            self.ask(id, repetition, Some(due_ns), true, log);
        }
    }

    fn ask(
        &mut self,
        id: u32,
        repetition: u32,
        due: Option<u64>,
        was_free: bool,
        log: &mut Log<'_>,
    ) {
        log.begin();
        let request = self.begun[id as usize];
        self.start(id, Asked::now(repetition, request, due, was_free), log);
    }

    fn start(&mut self, id: u32, asked: Asked, log: &mut Log<'_>) {
        self.begun[id as usize] += 1;
        self.busy += 1;
        self.deadlines.set(id, asked.start_ns.saturating_add(as_ns(self.timeout)));
        let client = &mut self.clients[id as usize];
        let step = client.begin(asked, &mut self.buffer, &self.poller);
        self.settle(id, step, log);
    }

    fn settle(&mut self, id: u32, step: Step, log: &mut Log<'_>) {
        match step {
            Step::Waits => {}
            Step::ReadsOn => self.unread.push(id),
            Step::Ends(outcome) => {
                let sample = self.clients[id as usize].finish(outcome);
                self.ended(id, sample, log);
            }
        }
    }

    fn ended(&mut self, id: u32, sample: Option<Sample>, log: &mut Log<'_>) {
        self.busy -= 1;
        self.free.push_back(id);
        if let Some(sample) = sample {
            log.end(sample);
        }
    }
}

//! One client: it sends its requests one after the other.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use kernel::clock::monotonic_ns;
use model::duration::as_ns;
use tokio::time::{Instant, Sleep, sleep};

use crate::{
    Config, Failure, Rate,
    alarm::Alarm,
    exchange::{Answer, Template, exchange},
    link::{Addresses, Link},
    log::Log,
    record::Sample,
    stamp::Stamps,
    yielding::others_first,
};

/// A client with its connection, if it has one at the moment.
pub(crate) struct Client<'a> {
    id: u32,
    addresses: Addresses<'a>,
    template: Template,
    timeout: Duration,
    keep_alive: bool,
    link: Option<Link>,
    stamps: Rc<Stamps>,
    /// Set anew for each request: cheaper than a timer for each.
    timer: Pin<Box<Sleep>>,
}

/// The schedule of an open loop, shared by all clients of a repetition.
pub(crate) struct Schedule {
    pub(crate) rate: Rate,
    pub(crate) start_ns: u64,
    pub(crate) total: u64,
    /// The next request that nobody has taken.
    pub(crate) next: Cell<u64>,
    pub(crate) alarm: Alarm,
}

impl Schedule {
    /// Takes the next request: the instant at which it is due.
    fn take(&self) -> Option<u64> {
        let index = self.next.get();
        self.next.set(index + 1);
        (index < self.total).then(|| self.start_ns.saturating_add(self.rate.offset_ns(index)))
    }

    /// How many requests are due at `now_ns`.
    pub(crate) fn due(&self, now_ns: u64) -> u64 {
        let passed = now_ns.saturating_sub(self.start_ns);
        let mut count = (passed as f64 * self.rate.as_per_second() / 1e9) as u64;
        // The instants are rounded: settle it with them.
        while count > 0 && self.rate.offset_ns(count - 1) > passed {
            count -= 1;
        }
        while self.rate.offset_ns(count) <= passed && count < self.total {
            count += 1;
        }
        count.min(self.total)
    }
}

impl<'a> Client<'a> {
    /// The client numbered `id`; needs a runtime.
    pub(crate) fn new(config: &'a Config, id: u32) -> Self {
        let target = &config.targets[id as usize % config.targets.len()];
        Self {
            id,
            addresses: Addresses::new(target),
            template: Template::new(config, target),
            timeout: config.timeout,
            keep_alive: config.keep_alive,
            link: None,
            stamps: Rc::default(),
            timer: Box::pin(sleep(config.timeout)),
        }
    }

    /// Connects ahead where connections are kept, so that no measured request pays for it. Where
    /// that fails, the request will find out and say so.
    pub(crate) async fn connect_ahead(&mut self) {
        if self.keep_alive && self.link.is_none() {
            let open = pin!(Link::open(&self.addresses, Rc::clone(&self.stamps)));
            self.link = tokio::time::timeout(self.timeout, open).await.ok().and_then(Result::ok);
        }
    }

    /// `requests` requests without a pause.
    pub(crate) async fn closed(&mut self, repetition: u32, requests: u64, log: &Log<'_>) {
        for request in 0..requests {
            log.begin();
            let mut sample = self.request(None).await;
            sample.repetition = repetition;
            sample.request = request;
            log.end(sample);
            // Sending takes longer than reading: answers that have arrived would age meanwhile.
            others_first().await;
        }
    }

    /// Requests at their due instants, until the schedule has no more.
    pub(crate) async fn open(
        &mut self,
        repetition: u32,
        schedule: &Schedule,
        log: &Log<'_>,
    ) -> io::Result<()> {
        let mut request = 0;
        while let Some(due) = schedule.take() {
            let was_free = schedule.alarm.until(due, self.id).await?;
            log.begin();
            let mut sample = self.request(Some(due)).await;
            sample.repetition = repetition;
            sample.request = request;
            sample.was_free = was_free;
            log.end(sample);
            request += 1;
            others_first().await;
        }
        Ok(())
    }

    /// One request, with its time-out.
    async fn request(&mut self, due: Option<u64>) -> Sample {
        self.timer.as_mut().reset(Instant::now() + self.timeout);
        self.stamps.reset();
        let mut answer = Answer::default();
        let start_ns = monotonic_ns();
        let give_up_ns = start_ns.saturating_add(as_ns(self.timeout));
        let outcome = {
            let stamps = &self.stamps;
            let mut work = pin!(exchange(
                &mut self.link,
                &self.addresses,
                &self.template,
                stamps,
                &mut answer
            ));
            let timer = &mut self.timer;
            let timeout = self.timeout;
            poll_fn(|cx| match work.as_mut().poll(cx) {
                // Where the work wakes itself all the time, the timer's turn may never come.
                Poll::Pending if monotonic_ns() >= give_up_ns => {
                    Poll::Ready(Err(Failure::Timeout(timeout)))
                }
                Poll::Pending => timer.as_mut().poll(cx).map(|()| Err(Failure::Timeout(timeout))),
                ready => ready,
            })
            .await
        };
        if !self.keep_alive {
            self.link = None;
        }
        self.sample(due.unwrap_or(start_ns), start_ns, &answer, outcome.err())
    }

    fn sample(
        &self,
        intended_ns: u64,
        start_ns: u64,
        answer: &Answer,
        failure: Option<Failure>,
    ) -> Sample {
        // A body that only the end of the connection delimits is whole when that end is seen.
        let whole =
            if answer.delimited { self.stamps.last_byte_ns() } else { self.stamps.end_ns() };
        let finish_ns = whole.filter(|_| failure.is_none()).unwrap_or_else(monotonic_ns);
        Sample {
            repetition: 0,
            client: self.id,
            request: 0,
            intended_ns,
            start_ns,
            connect_ns: answer.connect_ns,
            first_byte_ns: self.stamps.first_byte_ns(),
            finish_ns,
            status: answer.status,
            bytes: answer.bytes,
            delimited: answer.delimited,
            was_free: false,
            failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_counted_up_to_now() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let schedule = Schedule {
            rate: "3/s".parse().unwrap(),
            start_ns: 1_000,
            total: 10,
            next: Cell::new(0),
            alarm: Alarm::new().unwrap(),
        };
        let second = 1_000_000_000;
        for (after, due) in
            [(0, 1), (333_333_332, 1), (333_333_333, 2), (second, 4), (60 * second, 10)]
        {
            assert_eq!(schedule.due(1_000 + after), due, "after {after}");
        }
    }
}

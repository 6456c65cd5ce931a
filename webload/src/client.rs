//! One client: it sends its requests one after the other.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use kernel::clock::monotonic_ns;
use tokio::time::{Instant, Sleep, sleep};

use crate::{
    Config, Failure, Rate, Target,
    alarm::Alarm,
    exchange::{Answer, Template, exchange},
    link::Link,
    record::Sample,
    stamp::Stamps,
};

/// A client with its connection, if it has one at the moment.
pub(crate) struct Client<'a> {
    id: u32,
    target: &'a Target,
    template: Template,
    timeout: Duration,
    keep_alive: bool,
    link: Option<Link>,
    stamps: Rc<Stamps>,
    /// Set anew for each request: cheaper than a timer for each.
    timer: Pin<Box<Sleep>>,
    alarm: Alarm,
}

/// The schedule of an open loop, shared by all clients of a repetition.
pub(crate) struct Schedule {
    pub(crate) rate: Rate,
    pub(crate) start_ns: u64,
    pub(crate) total: u64,
    /// The next request that nobody has taken.
    pub(crate) next: Cell<u64>,
}

impl Schedule {
    /// Takes the next request: the instant at which it is due.
    fn take(&self) -> Option<u64> {
        let index = self.next.get();
        self.next.set(index + 1);
        (index < self.total).then(|| self.start_ns + self.rate.offset_ns(index))
    }
}

impl<'a> Client<'a> {
    /// The client numbered `id`; needs a runtime.
    pub(crate) fn new(config: &'a Config, id: u32) -> io::Result<Self> {
        let target = &config.targets[id as usize % config.targets.len()];
        Ok(Self {
            id,
            target,
            template: Template::new(target, config.keep_alive),
            timeout: config.timeout,
            keep_alive: config.keep_alive,
            link: None,
            stamps: Rc::default(),
            timer: Box::pin(sleep(config.timeout)),
            alarm: Alarm::new()?,
        })
    }

    /// Connects ahead where connections are kept, so that no measured request pays for it. Where
    /// that fails, the request will find out and say so.
    pub(crate) async fn connect_ahead(&mut self) {
        if self.keep_alive && self.link.is_none() {
            let open = pin!(Link::open(self.target, Rc::clone(&self.stamps)));
            self.link = tokio::time::timeout(self.timeout, open).await.ok().and_then(Result::ok);
        }
    }

    /// `requests` requests without a pause.
    pub(crate) async fn closed(
        &mut self,
        repetition: u32,
        requests: u64,
        samples: &RefCell<Vec<Sample>>,
    ) {
        for request in 0..requests {
            let mut sample = self.request(None).await;
            sample.repetition = repetition;
            sample.request = request;
            samples.borrow_mut().push(sample);
            others_first().await;
        }
    }

    /// Requests at their due instants, until the schedule has no more.
    pub(crate) async fn open(
        &mut self,
        repetition: u32,
        schedule: &Schedule,
        samples: &RefCell<Vec<Sample>>,
    ) -> io::Result<()> {
        let mut request = 0;
        while let Some(due) = schedule.take() {
            self.alarm.until(due).await?;
            let mut sample = self.request(Some(due)).await;
            sample.repetition = repetition;
            sample.request = request;
            samples.borrow_mut().push(sample);
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
        let outcome = {
            let stamps = &self.stamps;
            let mut work =
                pin!(exchange(&mut self.link, self.target, &self.template, stamps, &mut answer));
            let timer = &mut self.timer;
            let timeout = self.timeout;
            poll_fn(|cx| match work.as_mut().poll(cx) {
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
            failure,
        }
    }
}

/// Lets the clients whose answers have arrived read them before this one sends again: sending takes
/// longer than reading, and their answers would age meanwhile.
async fn others_first() {
    let mut waited = false;
    poll_fn(|cx| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

//! Waiting for instants with the kernel's high-resolution timer.
//!
//! The runtime's own timers count in milliseconds, too coarse for a schedule of requests. All clients
//! share one timer, set for the earliest instant that anybody waits for, and one expiry wakes all
//! whose instant has come. A timer for each client costs three system calls a request, more than
//! sending it: at 40,000 requests a second that filled a CPU which sends 80,000 a second where
//! nobody has to wait.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::poll_fn,
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    task::{Poll, Waker},
    time::Duration,
};

use kernel::clock::monotonic_ns;
use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use tokio::io::unix::AsyncFd;

/// One timer on CLOCK_MONOTONIC for all clients.
pub(crate) struct Alarm {
    timer: AsyncFd<Timer>,
    /// Who waits, by instant and client.
    waiting: RefCell<BTreeMap<(u64, u32), Waker>>,
    /// What the timer is set for; [`u64::MAX`] where it is not.
    set_for: Cell<u64>,
}

/// A timerfd as the runtime wants to see it.
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Alarm {
    /// A timer for the current runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        #[expect(deprecated, reason = "its successor is unsafe; `Timer` owns its descriptor")]
        let timer = AsyncFd::new(Timer(timer))?;
        Ok(Self { timer, waiting: RefCell::default(), set_for: Cell::new(u64::MAX) })
    }

    /// Waits as `client` until CLOCK_MONOTONIC reads `instant_ns`; returns at once, with `false`,
    /// where that has passed. Needs [`ring`](Self::ring) beside it.
    pub(crate) async fn until(&self, instant_ns: u64, client: u32) -> io::Result<bool> {
        let mut waited = false;
        poll_fn(|cx| {
            if monotonic_ns() >= instant_ns {
                return Poll::Ready(Ok(waited));
            }
            waited = true;
            self.waiting.borrow_mut().insert((instant_ns, client), cx.waker().clone());
            self.set(instant_ns).map_or_else(|error| Poll::Ready(Err(error)), |()| Poll::Pending)
        })
        .await
    }

    /// Wakes whose instant has come, for as long as it is polled; only an error ends it.
    pub(crate) async fn ring(&self) -> io::Error {
        loop {
            match self.timer.readable().await {
                // Setting the timer anew clears its count, so nothing has to be read.
                Ok(mut ready) => ready.clear_ready(),
                Err(error) => return error,
            }
            self.set_for.set(u64::MAX);
            let now = monotonic_ns();
            let mut waiting = self.waiting.borrow_mut();
            while let Some(first) = waiting.first_entry().filter(|first| first.key().0 <= now) {
                first.remove().wake();
            }
            if let Some((&(next, _), _)) = waiting.first_key_value()
                && let Err(error) = self.set(next)
            {
                return error;
            }
        }
    }

    /// Sets the timer, unless it is set for an earlier instant.
    fn set(&self, instant_ns: u64) -> io::Result<()> {
        if instant_ns >= self.set_for.get() {
            return Ok(());
        }
        self.set_for.set(instant_ns);
        let due = Expiration::OneShot(TimeSpec::from_duration(Duration::from_nanos(instant_ns)));
        Ok(self.timer.get_ref().0.set(due, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::future::{join, select};

    use super::*;

    #[test]
    fn everybody_is_woken_at_their_instant_and_nobody_before() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let alarm = Alarm::new().unwrap();
            let start = monotonic_ns();
            let one = async |client: u32, ms: u64| {
                let instant = start + ms * 1_000_000;
                assert!(alarm.until(instant, client).await.unwrap());
                assert!(monotonic_ns() >= instant);
            };
            // The later one is set first, and two wait for the same instant.
            let all = join(join(one(0, 30), one(1, 10)), join(one(2, 10), one(3, 20)));
            select(pin!(alarm.ring()), pin!(all)).await;
            assert!(monotonic_ns() >= start + 30_000_000);
            assert!(!alarm.until(start, 0).await.unwrap());
        });
    }
}

//! The kernel's high-resolution timer, for schedules.
//!
//! Waiting for events can be limited in whole milliseconds, too coarse for a schedule of requests. All
//! clients share one timer, set for the earliest instant that anybody waits for. A timer for each
//! client costs three system calls a request, more than sending it.

use std::{io, os::fd::AsFd, time::Duration};

use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};

/// One timer on CLOCK_MONOTONIC, which a [`Poller`](crate::poller::Poller) can wait for.
pub(crate) struct Alarm {
    timer: TimerFd,
    /// What the timer is set for; [`u64::MAX`] where it is not.
    set_for: u64,
}

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Self { timer, set_for: u64::MAX })
    }

    /// Sets the timer for when CLOCK_MONOTONIC reads `instant_ns`, unless that is done.
    pub(crate) fn set(&mut self, instant_ns: u64) -> io::Result<()> {
        if instant_ns == self.set_for {
            return Ok(());
        }
        self.set_for = instant_ns;
        let due = Expiration::OneShot(TimeSpec::from_duration(Duration::from_nanos(instant_ns)));
        Ok(self.timer.set(due, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

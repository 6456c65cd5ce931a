//! Waiting for an instant with the kernel's high-resolution timer.
//!
//! The runtime's own timers count in milliseconds, too coarse for a schedule of requests.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    time::Duration,
};

use kernel::clock::monotonic_ns;
use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use tokio::io::unix::AsyncFd;

/// A timer on CLOCK_MONOTONIC.
pub(crate) struct Alarm(AsyncFd<Timer>);

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
        let registered = AsyncFd::new(Timer(timer))?;
        Ok(Self(registered))
    }

    /// Waits until CLOCK_MONOTONIC reads `instant_ns`; returns at once where that has passed.
    pub(crate) async fn until(&self, instant_ns: u64) -> io::Result<()> {
        if monotonic_ns() >= instant_ns {
            return Ok(());
        }
        let due = Expiration::OneShot(TimeSpec::from_duration(Duration::from_nanos(instant_ns)));
        self.0.get_ref().0.set(due, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(read) = ready.try_io(|timer| Ok(timer.get_ref().0.wait()?)) {
                return read;
            }
        }
    }
}

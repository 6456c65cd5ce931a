//! Clocks, in nanoseconds, and sleeping until an instant.

use std::{
    io,
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    sys::time::{TimeSpec, TimeValLike},
    time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep},
};

/// CLOCK_MONOTONIC in nanoseconds: the time base of every instant in the results.
#[must_use]
#[inline]
pub fn monotonic_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// CLOCK_MONOTONIC_RAW in nanoseconds: the clock source, never slewed.
#[must_use]
#[inline]
pub fn monotonic_raw_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC_RAW)
}

/// CLOCK_REALTIME in nanoseconds since 1970: slewed, and set.
#[must_use]
#[inline]
pub fn realtime_ns() -> u64 {
    read(ClockId::CLOCK_REALTIME)
}

/// The wall-clock time of an instant of CLOCK_MONOTONIC that has passed.
#[must_use]
pub fn wall_of(instant_ns: u64) -> SystemTime {
    SystemTime::now() - Duration::from_nanos(monotonic_ns().saturating_sub(instant_ns))
}

/// CPU time of the calling thread in nanoseconds.
#[must_use]
#[inline]
pub fn thread_cpu_ns() -> u64 {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

fn read(clock: ClockId) -> u64 {
    let now = clock_gettime(clock).expect("these clocks exist on every Linux");
    now.num_nanoseconds() as u64
}

/// Sleeps until CLOCK_MONOTONIC reads `instant_ns`; returns at once where that has passed.
///
/// # Errors
/// EINTR where a signal came first.
pub fn sleep_until(instant_ns: u64) -> io::Result<()> {
    let instant = TimeSpec::from_duration(Duration::from_nanos(instant_ns));
    match clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &instant) {
        Ok(_) => Ok(()),
        Err(errno) => Err(Errno::into(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeping_reaches_the_instant_and_costs_little_cpu() {
        let (start, cpu) = (monotonic_ns(), thread_cpu_ns());
        sleep_until(start + 20_000_000).unwrap();
        assert!(monotonic_ns() >= start + 20_000_000);
        assert!(thread_cpu_ns() - cpu < 10_000_000);
    }
}

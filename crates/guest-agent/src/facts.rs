//! Facts about the running guest.

use std::fs;

use nix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC in nanoseconds.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists on Linux");
    let seconds = u64::try_from(now.tv_sec()).expect("time since boot is not negative");
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec()).expect("below 10^9")
}

/// The kernel's release, as `uname -r` prints it.
#[must_use]
pub fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_unknown| String::new(), |text| text.trim().to_owned())
}

/// The clock source in use, where the kernel tells.
#[must_use]
pub fn clock_source() -> Option<String> {
    fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource")
        .ok()
        .map(|text| text.trim().to_owned())
}

/// CPUs online.
#[must_use]
pub fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32)
}

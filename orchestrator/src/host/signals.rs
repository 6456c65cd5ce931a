//! SIGINT, SIGTERM and SIGHUP (unless it is ignored, as under nohup) as a flag that every wait looks at.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::error::Refusal;

/// Set when the user or the system asks the run to end.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A flag that the three signals set.
    ///
    /// # Errors
    /// Where the handlers cannot be installed.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        let hang_up = (!kernel::process::ignores(Signal::SIGHUP)).then_some(Signal::SIGHUP);
        for signal in [Signal::SIGINT, Signal::SIGTERM].into_iter().chain(hang_up) {
            signal_hook::flag::register(signal as i32, Arc::clone(&stop.0))?;
        }
        Ok(stop)
    }

    /// The bare flag.
    #[must_use]
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }

    /// An error once the flag is set.
    ///
    /// # Errors
    /// [`Refusal::Interrupted`].
    pub fn check(&self) -> Result<(), Refusal> {
        if self.0.load(Ordering::Relaxed) { Err(Refusal::Interrupted) } else { Ok(()) }
    }
}

/// Waits, but not beyond a signal.
///
/// # Errors
/// [`Refusal::Interrupted`].
pub fn pause(length: Duration, stop: &Stop) -> Result<(), Refusal> {
    let end = Instant::now() + length;
    loop {
        stop.check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        sleep(left.min(Duration::from_millis(50)));
    }
}

//! Keeps its CPU out of idle, below everything else that wants to run.

use std::hint::spin_loop;

use anyhow::Result;
use kernel::{affinity::SELF, process, sched};

/// Spins in SCHED_IDLE until it is killed.
///
/// # Errors
/// Where the policy is refused.
pub fn run() -> Result<()> {
    process::set_name("rtvm-spinner")?;
    sched::set(SELF, sched::Policy::Idle)?;
    forever()
}

/// Spins under whatever policy it has until it is killed.
pub fn forever() -> ! {
    loop {
        spin_loop();
    }
}

//! How a virtual machine gets its share of the measured CPU: one small file for each mechanism.

mod deadline;
mod emulator;
mod none;

use anyhow::Result;
use kernel::affinity::Tid;
use model::{Mechanism, Reservation};

pub use deadline::explain;
pub use emulator::place_emulator;

use crate::host::Stage;

/// The threads of a virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// QEMU's process, whose first thread is the main loop.
    pub pid: i32,
    /// The threads that execute the guest.
    pub vcpus: Vec<Tid>,
}

/// A way to enforce a reservation. What it changes is undone by the stage's guard.
pub trait Enforce {
    /// Puts the vCPU threads on the measured CPU, under the reservation.
    ///
    /// # Errors
    /// What the kernel refused, and what to do about it.
    fn attach(&self, stage: &mut Stage, vm: &Vm, reservation: Option<Reservation>) -> Result<()>;
}

/// The code behind a mechanism's name.
#[must_use]
pub fn of(mechanism: Mechanism) -> &'static dyn Enforce {
    match mechanism {
        Mechanism::None => &none::None,
        Mechanism::Deadline => &deadline::Deadline,
    }
}

/// Moves a thread onto the measured CPU, inside its partition.
///
/// # Errors
/// What the kernel refused.
pub fn place(stage: &mut Stage, pid: i32, tid: Tid) -> Result<()> {
    let group = stage.measured_group();
    stage.guard.join_group(&stage.cpusets, &group, pid, tid)?;
    stage.guard.set_affinity(tid, &[stage.cpus.measured])
}

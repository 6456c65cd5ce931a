//! Where QEMU's threads other than the vCPUs run: its main loop delivers the guest's timers.

use anyhow::Result;
use model::{
    Reservation,
    suite::{Emulator, EmulatorPlace},
};

use super::{Request, Vm, deadline, place};
use crate::host::Stage;

/// Places the main loop and the helper threads; where they are measured, on the first vCPU's `cpu`.
///
/// # Errors
/// What the kernel refused.
pub fn place_emulator(
    stage: &mut Stage,
    vm: &Vm,
    emulator: Emulator,
    cpu: Option<u32>,
) -> Result<()> {
    let request = Request { cpu, ..Request::default() };
    match emulator {
        // They inherited the housekeeping CPUs from us.
        Emulator::Place(EmulatorPlace::Housekeeping) => Ok(()),
        Emulator::Place(EmulatorPlace::Shared) => {
            let threads = stage.roots.proc.threads(vm.pid)?;
            threads
                .into_iter()
                .filter(|tid| !vm.vcpus.contains(tid))
                .try_for_each(|tid| place(stage, &request, vm.pid, tid))
        }
        Emulator::Reserved(own) => {
            let reservation = Reservation::new(own.budget, own.period)?;
            place(stage, &request, vm.pid, vm.pid)?;
            let cpu = stage.cpus.of(cpu);
            deadline::reserve(stage, (vm.pid, cpu), reservation)
        }
    }
}

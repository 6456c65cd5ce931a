//! SCHED_FIFO above or below the host's own real-time tasks: a priority, and no budget.

use anyhow::{Context, Result};
use kernel::sched::Policy;

use super::{Attached, Enforce, Request, Vm, place};
use crate::{
    error::Refusal,
    host::{Roots, Stage},
};

pub(super) struct Fifo {
    priority: u8,
}

/// rtload's tasks have at most 98; 99 is for threads that control others.
pub(super) const ABOVE: Fifo = Fifo { priority: 98 };
/// The lowest there is; still above everything ordinary.
pub(super) const BELOW: Fifo = Fifo { priority: 1 };

impl Enforce for Fifo {
    fn check(&self, _: &Request) -> Result<(), Refusal> {
        Ok(())
    }

    fn probe(&self, _: &Request, _: &Roots) -> Result<(), Refusal> {
        Ok(())
    }

    fn attach(&self, stage: &mut Stage, vm: &Vm, request: &Request) -> Result<Attached> {
        for &tid in &vm.vcpus {
            place(stage, request, vm.pid, tid)?;
            stage.guard.set_scheduling(tid, Policy::Fifo { priority: self.priority }).context(
                "where real-time bandwidth is given to groups (CONFIG_RT_GROUP_SCHED), SCHED_FIFO \
                 works in the root group of the cpu controller only; see docs/host-setup.md",
            )?;
        }
        let facts = request.reservation.map(|asked| {
            format!("SCHED_FIFO {} has no budget: {asked} is not enforced", self.priority)
        });
        Ok(Attached { facts: facts.into_iter().collect(), ..Attached::default() })
    }
}

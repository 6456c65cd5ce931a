//! No reservation: the vCPUs are ordinary Linux tasks.

use anyhow::Result;
use model::Reservation;

use super::{Enforce, Vm, place};
use crate::host::Stage;

pub(super) struct None;

impl Enforce for None {
    fn attach(&self, stage: &mut Stage, vm: &Vm, _: Option<Reservation>) -> Result<()> {
        vm.vcpus.iter().try_for_each(|&tid| place(stage, vm.pid, tid))
    }
}

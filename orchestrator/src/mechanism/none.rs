//! No reservation: the vCPUs are ordinary Linux tasks.

use anyhow::Result;

use super::{Attached, Enforce, Request, Vm, place};
use crate::{
    error::Refusal,
    host::{Roots, Stage},
};

pub(super) struct None;

impl Enforce for None {
    fn check(&self, _: &Request) -> Result<(), Refusal> {
        Ok(())
    }

    fn probe(&self, _: &Request, _: &Roots) -> Result<(), Refusal> {
        Ok(())
    }

    fn attach(&self, stage: &mut Stage, vm: &Vm, request: &Request) -> Result<Attached> {
        vm.vcpus.iter().try_for_each(|&tid| place(stage, request, vm.pid, tid))?;
        Ok(Attached::default())
    }
}

//! Real-time bandwidth of a group: one server for all vCPU threads, as AQuoSA's servers could hold
//! several tasks.
//!
//! On cgroup v1 the kernel gives a group `cpu.rt_runtime_us` in every `cpu.rt_period_us`
//! (CONFIG_RT_GROUP_SCHED). Where the kernel has the hierarchical constant bandwidth server, groups
//! of v2 have it in `cpu.rt.max`. Both count on each CPU, and the threads run in SCHED_FIFO.

use std::io;

use anyhow::Result;
use kernel::{cgroup::Version, cpu_group::Limit, sched::Policy};

use super::{Attached, Enforce, Request, Vm, cfs::in_us, group};
use crate::{
    error::Refusal,
    host::{Roots, Stage},
};

pub(super) struct RtGroup;

/// Above the host's real-time tasks: within its budget the group goes first.
const PRIORITY: u8 = 98;

impl Enforce for RtGroup {
    fn check(&self, request: &Request) -> Result<(), Refusal> {
        let reservation = request.reservation()?;
        if in_us(reservation.budget()) && in_us(reservation.period()) {
            return Ok(());
        }
        Err(Refusal::Usage(format!(
            "{reservation}: a group's real-time bandwidth is counted in whole microseconds"
        )))
    }

    fn probe(&self, _: &Request, roots: &Roots) -> Result<(), Refusal> {
        let hierarchy = group::hierarchy(roots)?;
        let file = match hierarchy.version {
            Version::V1 => "cpu.rt_runtime_us",
            Version::V2 => "cpu.rt.max",
        };
        if hierarchy.root.join(file).exists() {
            return Ok(());
        }
        Err(Refusal::Lacking(format!(
            "the groups of this kernel have no real-time bandwidth ({} has no {file}); it needs \
             cgroup v1 with CONFIG_RT_GROUP_SCHED, or v2 with the hierarchical constant bandwidth \
             server; use `deadline`",
            hierarchy.root.display()
        )))
    }

    fn attach(&self, stage: &mut Stage, vm: &Vm, request: &Request) -> Result<Attached> {
        let reservation = request.reservation()?;
        let (budget, period) = (reservation.budget(), reservation.period());
        let limits = [Limit::RealTime { budget, period }];
        let policy = Policy::Fifo { priority: PRIORITY };
        let groups = group::attach(stage, vm, request, &limits, policy).map_err(|error| {
            let refused = error.downcast_ref::<io::Error>().map(io::Error::kind);
            if refused == Some(io::ErrorKind::InvalidInput) {
                return error.context(format!(
                    "{reservation} is more real-time bandwidth than the root group has left \
                     (kernel.sched_rt_runtime_us of sched_rt_period_us, less other groups')"
                ));
            }
            error
        })?;
        let fact = "the group's budget ends at the kernel's tick".to_owned();
        let facts = groups.into_iter().chain([fact]).collect();
        Ok(Attached { facts, ..Attached::default() })
    }
}

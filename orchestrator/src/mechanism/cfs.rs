//! What the scheduler of ordinary threads offers to a group: a quota (a cap and no guarantee), a
//! weight (a proportional share and no cap), and both, as PlanetLab's slices have them.

use std::time::Duration;

use anyhow::Result;
use kernel::{cpu_group::Limit, sched::Policy};
use model::Reservation;

use super::{Attached, Enforce, Request, Vm, group};
use crate::{
    error::Refusal,
    host::{Roots, Stage},
};

pub(super) struct Cfs {
    quota: bool,
    weight: bool,
}

pub(super) const QUOTA: Cfs = Cfs { quota: true, weight: false };
pub(super) const WEIGHT: Cfs = Cfs { quota: false, weight: true };
pub(super) const QUOTA_WEIGHT: Cfs = Cfs { quota: true, weight: true };

/// The kernel's bounds (`min_cfs_quota_period`, `max_cfs_quota_period`).
const LEAST: Duration = Duration::from_millis(1);
const MOST: Duration = Duration::from_secs(1);

impl Cfs {
    fn check_quota(reservation: Reservation, burst: Duration) -> Result<(), Refusal> {
        let wrong = |text: &str| Err(Refusal::Usage(format!("{reservation}: {text}")));
        if reservation.budget() < LEAST {
            return wrong("the kernel takes a quota of at least 1ms");
        }
        if reservation.period() > MOST {
            return wrong("the kernel takes a quota's period of at most 1s");
        }
        if burst > reservation.budget() {
            return wrong("the burst is greater than the budget");
        }
        if [reservation.budget(), reservation.period(), burst].iter().any(|time| !in_us(*time)) {
            return wrong("a quota is counted in whole microseconds");
        }
        Ok(())
    }

    fn limits(&self, reservation: Reservation, burst: Duration) -> Vec<Limit> {
        let (budget, period) = (reservation.budget(), reservation.period());
        let quota = self.quota.then_some(Limit::Quota { budget, period, burst });
        let weight = self.weight.then_some(Limit::Weight { share: reservation.bandwidth() });
        quota.into_iter().chain(weight).collect()
    }
}

/// Whether a duration is a whole number of microseconds.
pub(super) fn in_us(time: Duration) -> bool {
    time.subsec_nanos().is_multiple_of(1000)
}

impl Enforce for Cfs {
    fn check(&self, request: &Request) -> Result<(), Refusal> {
        let reservation = request.reservation()?;
        if self.weight && reservation.bandwidth() >= 1.0 {
            return Err(Refusal::Usage(format!(
                "{reservation}: a share is below the whole CPU; give a budget below the period"
            )));
        }
        if self.quota { Self::check_quota(reservation, request.burst) } else { Ok(()) }
    }

    fn probe(&self, _: &Request, roots: &Roots) -> Result<(), Refusal> {
        group::hierarchy(roots).map(drop)
    }

    fn attach(&self, stage: &mut Stage, vm: &Vm, request: &Request) -> Result<Attached> {
        let reservation = request.reservation()?;
        let limits = self.limits(reservation, request.burst);
        let groups = group::attach(stage, vm, request, &limits, Policy::Other { nice: 0 })?;
        let fact = match (self.quota, self.weight) {
            (true, false) => {
                "cfs-quota caps and does not guarantee: real-time tasks of the host \
                              go first, and ordinary ones share"
            }
            (false, _) => {
                "cfs-weight is a share against one ordinary rival: real-time tasks of \
                           the host go first, and an idle CPU is all the VM's"
            }
            (true, true) => {
                "cfs-quota-weight is a share against one ordinary rival, capped: \
                             real-time tasks of the host go first"
            }
        };
        let facts = groups.into_iter().chain([fact.to_owned()]).collect();
        Ok(Attached { facts, ..Attached::default() })
    }
}

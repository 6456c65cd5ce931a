//! What the VM was supplied with, from the kernel's trace (`supply.csv`): delivered bandwidth, bursts
//! and gaps, and the measured supply bound function against the promised one.
//!
//! Everything here is a function of the rows, the stalls and the manifest.

pub mod asked;
pub mod bound;
pub mod bursts;
pub mod curve;
pub mod figure;
pub mod table;

use model::{Manifest, manifest::HostFacts, suite::ReservationSettings};

pub use model::{busy::is_vcpu, segment};

use self::bound::Promise;
use crate::folder::Case;
pub use crate::traced::Traced;

/// What an experiment's mechanism promises; none without a hard one, and none of a budget that adapts.
///
/// # Errors
/// Why it cannot be told: the tick is not known.
pub fn promise(manifest: &Manifest, case: &Case) -> Option<Result<Promise, String>> {
    let settings = case.reservation()?;
    let neighbours = rtplan::experiment::deadlines_beside(case.workload());
    let promised = || of_host(&manifest.host, settings).map(|own| Promise { neighbours, ..own });
    (settings.mechanism.is_hard() && settings.control.is_none()).then(promised)
}

/// What (Q, P) comes to on this host: with its tick, where the mechanism is bound to that.
///
/// # Errors
/// Why it cannot be told: the tick is not known.
pub(crate) fn of_host(host: &HostFacts, own: &ReservationSettings) -> Result<Promise, String> {
    let Some(tick_ns) = host.budget_tick_ns(own.mechanism) else {
        return Err("the host does not say how long its tick is".to_owned());
    };
    let by_clock = !own.mechanism.is_deadline();
    Ok(Promise { reservation: own.reservation(), tick_ns, by_clock, neighbours: 0 })
}

//! Bandwidth of SCHED_DEADLINE that no thread has and the kernel still counts.
//!
//! A thread that sleeps when it leaves SCHED_DEADLINE can leave its bandwidth behind; then a later
//! reservation is refused although there is room for it. Rebuilding the root domains, which counts
//! the threads anew, gives it back.

use anyhow::{Context, Result};
use kernel::{
    affinity::{self, Tid},
    sched::{self, Policy},
};
use model::Reservation;

use crate::host::{Roots, Stage, deadline_bandwidth_limit};

/// Whether EBUSY for `wanted` must come from leaked bandwidth: what threads have leaves room for it.
fn is_leak(reserved: f64, wanted: f64, limit: f64) -> bool {
    reserved + wanted <= limit
}

/// Repairs a leak on a measured CPU, if there is one. Returns what was done, in a sentence.
///
/// # Errors
/// What the kernel refused.
pub(super) fn repair(stage: &Stage, cpu: u32, wanted: Reservation) -> Result<Option<String>> {
    // Without a partition of ours the root domains are not ours to rebuild.
    let Some(domain) = &stage.domain else { return Ok(None) };
    let reserved = reserved(&stage.roots, &[], |cpus| cpus.contains(&cpu));
    if !is_leak(reserved, wanted.bandwidth(), deadline_bandwidth_limit(&stage.roots)) {
        return Ok(None);
    }
    for (path, value) in domain.rebuild() {
        // Not journalled: it ends where it began, and where it is cut off half-way, what undoes the
        // partition undoes it.
        stage.guard.host().write(&path, &value).context("rebuilding the root domains")?;
    }
    domain.verify()?;
    Ok(Some(format!(
        "SCHED_DEADLINE bandwidth had leaked on CPU {cpu} (threads have {reserved:.3} of it, and \
         {wanted} was refused): the root domains were rebuilt"
    )))
}

/// The bandwidth of all SCHED_DEADLINE threads, without `except`, on CPUs that `counts`.
pub(super) fn reserved(roots: &Roots, except: &[Tid], counts: impl Fn(&[u32]) -> bool) -> f64 {
    // The sum of none is -0.
    shares(roots, except, counts).sum::<f64>() + 0.0
}

/// How many of them there are.
pub(super) fn neighbours(roots: &Roots, except: &[Tid], counts: impl Fn(&[u32]) -> bool) -> usize {
    shares(roots, except, counts).count()
}

/// The share of each.
fn shares(
    roots: &Roots,
    except: &[Tid],
    counts: impl Fn(&[u32]) -> bool,
) -> impl Iterator<Item = f64> {
    let processes = std::fs::read_dir(roots.proc.path("")).into_iter().flatten();
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .flat_map(|pid: i32| roots.proc.threads(pid).unwrap_or_default())
        .filter(|tid| !except.contains(tid))
        .filter_map(move |tid| match sched::get(tid).ok()?.policy {
            Policy::Deadline { runtime, period, .. } => {
                let here = counts(&affinity::get(tid).ok()?);
                here.then(|| runtime.as_secs_f64() / period.as_secs_f64())
            }
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_leak_where_there_is_room() {
        assert!(is_leak(0.05, 0.56, 0.95));
        assert!(!is_leak(0.6, 0.56, 0.95));
    }
}

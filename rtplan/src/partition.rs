//! Several vCPUs, each with a reservation of its own, and the tasks dealt out among them.
//!
//! Decreasing utilisation, then first, best or worst fit, as in bin packing; whether a task still
//! fits is decided by the exact test, not by its utilisation.

use crate::{
    analysis::{AnalysisError, schedulable},
    supply::Supply,
    workload::{Scheduler, TaskSpec, Workload},
};

/// Larger sets are not dealt out: each task costs an analysis of those dealt out before.
pub const MOST_TASKS: usize = 5000;

/// How tasks are placed on vCPUs: on the first that fits, or the one left with least (best) or most
/// (worst) room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fit {
    /// The first.
    #[default]
    First,
    /// The fullest.
    Best,
    /// The emptiest.
    Worst,
}

/// Tasks by vCPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// For each vCPU the indices of its tasks, ascending.
    pub vcpus: Vec<Vec<usize>>,
    /// The tasks that fit nowhere, ascending.
    pub left_over: Vec<usize>,
}

/// Deals the tasks out among `vcpus` vCPUs that each supply `supply`.
///
/// # Errors
/// [`AnalysisError`] where it cannot be told whether a task fits.
pub fn partition(
    workload: &Workload,
    supply: &Supply,
    scheduler: Scheduler,
    vcpus: usize,
    fit: Fit,
) -> Result<Partition, AnalysisError> {
    let tasks = workload.tasks();
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(share(&tasks[index])));
    let mut partition = Partition { vcpus: vec![Vec::new(); vcpus], left_over: Vec::new() };
    let mut loads = vec![0_u128; vcpus];
    for index in order {
        let mut chosen = None;
        for vcpu in candidates(&loads, fit) {
            let with_it = partition.vcpus[vcpu].iter().copied().chain([index]);
            let together = Workload::new(with_it.map(|index| tasks[index]).collect())?;
            if schedulable(&together, supply, scheduler)? {
                chosen = Some(vcpu);
                break;
            }
        }
        match chosen {
            Some(vcpu) => {
                loads[vcpu] += share(&tasks[index]);
                partition.vcpus[vcpu].push(index);
            }
            None => partition.left_over.push(index),
        }
    }
    partition.vcpus.iter_mut().for_each(|tasks| tasks.sort_unstable());
    partition.left_over.sort_unstable();
    Ok(partition)
}

/// The vCPUs in the order in which they are tried.
fn candidates(loads: &[u128], fit: Fit) -> Vec<usize> {
    let mut vcpus: Vec<usize> = (0..loads.len()).collect();
    match fit {
        Fit::First => {}
        Fit::Best => vcpus.sort_by_key(|&vcpu| std::cmp::Reverse(loads[vcpu])),
        Fit::Worst => vcpus.sort_by_key(|&vcpu| loads[vcpu]),
    }
    vcpus
}

/// C / T in units of 2^-64: for the order only, no verdict rests on it.
fn share(spec: &TaskSpec) -> u128 {
    (spec.task.execution().as_nanos() << 64) / spec.task.period().as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deal(fit: Fit, texts: &[&str], vcpus: usize) -> Partition {
        let specs = texts.iter().map(|text| text.parse().unwrap()).collect();
        let workload = Workload::new(specs).unwrap();
        partition(&workload, &Supply::dedicated(), Scheduler::Edf, vcpus, fit).unwrap()
    }

    #[test]
    fn each_fit_deals_as_it_says() {
        // Utilisations 0.6, 0.5, 0.3, 0.1 on three vCPUs.
        let tasks = ["6ms/10ms", "5ms/10ms", "3ms/10ms", "1ms/10ms"];
        assert_eq!(deal(Fit::First, &tasks, 3).vcpus, [vec![0, 2, 3], vec![1], vec![]]);
        assert_eq!(deal(Fit::Best, &tasks, 3).vcpus, [vec![0, 2, 3], vec![1], vec![]]);
        assert_eq!(deal(Fit::Worst, &tasks, 3).vcpus, [vec![0], vec![1], vec![2, 3]]);
        // Best fit seeks the fullest: 0.2 goes to 0.7, not to the first, 0.6.
        let tasks = ["7ms/10ms", "6ms/10ms", "4ms/10ms", "2ms/10ms"];
        assert_eq!(deal(Fit::Best, &tasks, 3).vcpus, [vec![0, 3], vec![1, 2], vec![]]);
    }

    #[test]
    fn what_fits_nowhere_is_left_over() {
        let partition = deal(Fit::First, &["6ms/10ms", "6ms/10ms"], 1);
        assert_eq!((partition.vcpus, partition.left_over), (vec![vec![0]], vec![1]));
    }
}

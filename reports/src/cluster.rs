//! Which jobs belong together: the clusters of the bootstrap.

use std::time::Duration;

use model::TaskSet;

use crate::series::{Run, Selection, Series};

/// Pieces into which a run is cut that has fewer hyperperiods.
const PIECES: usize = 10;

/// Response times of the selected jobs, run by run, those of one cluster together.
///
/// A cluster is a hyperperiod, since the schedule repeats in it. Where a run has fewer than
/// `PIECES` of them (or the hyperperiod overflows, or there is no period), it is one of
/// `PIECES` consecutive pieces of the run. Jobs that never finished are a cluster together.
#[must_use]
pub fn clusters(series: &Series, tasks: &TaskSet, selection: Selection) -> Vec<Vec<Vec<u64>>> {
    let per_hyperperiod = jobs_per_hyperperiod(tasks, &series.task);
    let of = |run| of_run(run, per_hyperperiod, selection);
    series.runs.iter().map(of).filter(|run| !run.is_empty()).collect()
}

fn of_run(run: &Run, per_hyperperiod: Option<u64>, selection: Selection) -> Vec<Vec<u64>> {
    let n = run.samples.len();
    let per = per_hyperperiod
        .and_then(|jobs| usize::try_from(jobs).ok())
        .filter(|jobs| n / jobs >= PIECES)
        .unwrap_or_else(|| n.div_ceil(PIECES).max(1));
    let chosen = |sample: &&crate::series::Sample| selection.takes(sample.disturbed());
    let unfinished = vec![run.length_ns; run.unfinished() as usize];
    run.samples
        .chunks(per)
        .map(|chunk| chunk.iter().filter(chosen).map(|sample| sample.response_ns).collect())
        .chain([unfinished])
        .filter(|cluster: &Vec<u64>| !cluster.is_empty())
        .collect()
}

/// lcm of all periods / the task's period; none where the lcm overflows or the task is unknown.
fn jobs_per_hyperperiod(tasks: &TaskSet, name: &str) -> Option<u64> {
    let ns = |period: Duration| u64::try_from(period.as_nanos()).ok();
    let index = (0..tasks.len()).find(|index| TaskSet::name(*index) == name)?;
    let hyperperiod = tasks.iter().try_fold(1_u64, |lcm, task| {
        let period = ns(task.period())?;
        lcm.checked_mul(period / gcd(lcm, period))
    })?;
    Some(hyperperiod / ns(tasks[index].period())?)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Sample;

    fn run(stalled: &[u64]) -> Run {
        let sample = |(index, &stalled): (usize, &u64)| {
            let own = Sample::new(0, index as u64).with(None, false, Some(stalled));
            own.with_own_stalled(Some(stalled))
        };
        let samples = stalled.iter().enumerate().map(sample).collect();
        Run { attempt: 0, samples, released: None, length_ns: 0 }
    }

    #[test]
    fn the_papers_tasks_repeat_after_four_and_three_jobs() {
        let tasks = TaskSet::paper();
        assert_eq!(jobs_per_hyperperiod(&tasks, "tau1"), Some(4));
        assert_eq!(jobs_per_hyperperiod(&tasks, "tau2"), Some(3));
        assert_eq!(jobs_per_hyperperiod(&tasks, "service"), None);
    }

    #[test]
    fn a_hyperperiod_that_overflows_is_none() {
        let primes = ["1ms/1000000007ns", "1ms/1000000009ns", "1ms/1000000021ns"];
        let tasks = primes.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(jobs_per_hyperperiod(&tasks, "tau1"), None);
    }

    #[test]
    fn disturbed_jobs_leave_their_cluster_and_shift_no_other() {
        let mut stalled = [0; 40];
        stalled[1] = 9_000_000;
        let clusters = of_run(&run(&stalled), Some(4), Selection::Undisturbed);
        assert_eq!(clusters.len(), 10);
        assert_eq!((&clusters[0], &clusters[1]), (&vec![0, 2, 3], &vec![4, 5, 6, 7]));
    }

    #[test]
    fn jobs_that_never_finished_are_there() {
        let mut starved = run(&[0; 40]);
        (starved.released, starved.length_ns) = (Some(42), 99);
        assert_eq!(of_run(&starved, Some(4), Selection::Undisturbed)[10], [99, 99]);
    }

    #[test]
    fn too_few_hyperperiods_are_cut_into_batches() {
        assert_eq!(of_run(&run(&[0; 25]), Some(4), Selection::All).len(), 9);
        assert_eq!(of_run(&run(&[0; 25]), None, Selection::All)[0].len(), 3);
    }
}

//! Which stalls may have delayed a job itself, and not only others that are less urgent.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{jobs::TaskJobs, sample::Sample};

/// Fills in [`Sample::own_stalled_ns`] of all jobs of a run, whose instants are on one clock.
///
/// `stalled_ns` counts from the begin of the busy period of all tasks. What a job that was finished
/// before this one's release has counted in the same busy period is over by then.
pub(crate) fn own_stalls(tasks: &mut [TaskJobs]) {
    let mut next: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut places = vec![0_usize; tasks.len()];
    for (at, own) in tasks.iter().enumerate() {
        next.extend(own.samples.first().map(|first| Reverse((first.at_ns, at))));
    }
    let mut busy = Busy::new(tasks.len());
    while let Some(Reverse((_, at))) = next.pop() {
        let samples = &mut tasks[at].samples;
        let sample = &mut samples[places[at]];
        *sample = sample.with_own_stalled(busy.own_stalled(at, sample));
        places[at] += 1;
        next.extend(samples.get(places[at]).map(|sample| Reverse((sample.at_ns, at))));
    }
}

/// What the busy period so far says of the next job.
struct Busy {
    until_ns: u64,
    /// Finish and stalled time of its jobs that were not finished at the last release.
    running: BinaryHeap<Reverse<(u64, u64)>>,
    /// The largest stalled time of those that were.
    over_ns: u64,
    /// Of each task the finish of its last job and what was over when its chain of jobs began.
    chains: Vec<Option<(u64, u64)>>,
}

impl Busy {
    fn new(tasks: usize) -> Self {
        let (running, chains) = (BinaryHeap::new(), vec![None; tasks]);
        Self { until_ns: 0, running, over_ns: 0, chains }
    }

    fn own_stalled(&mut self, task: usize, sample: &Sample) -> Option<u64> {
        let release_ns = sample.at_ns;
        let finish_ns = release_ns.saturating_add(sample.response_ns);
        if release_ns >= self.until_ns {
            self.running.clear();
            self.over_ns = 0;
            self.chains.fill(None);
        }
        self.until_ns = self.until_ns.max(finish_ns);
        while let Some(Reverse((finish, stalled))) = self.running.peek().copied() {
            if finish > release_ns {
                break;
            }
            self.over_ns = self.over_ns.max(stalled);
            self.running.pop();
        }
        let base = match self.chains[task] {
            Some((finish, base)) if finish > release_ns => base,
            _ => self.over_ns,
        };
        self.chains[task] = Some((finish_ns, base));
        self.running.push(Reverse((finish_ns, sample.stalled_ns().unwrap_or(0))));
        Some(sample.stalled_ns()?.saturating_sub(base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn task(name: &str, rows: &[[u64; 3]]) -> TaskJobs {
        let sample = |[release, finish, stalled]: &[u64; 3]| {
            Sample::new(release * MS, (finish - release) * MS).with(None, false, Some(stalled * MS))
        };
        let samples = rows.iter().map(sample).collect();
        TaskJobs { task: name.into(), deadline_ns: 150 * MS, samples }
    }

    #[test]
    fn a_backlog_of_others_disturbs_no_job_of_the_most_urgent_task() {
        // tau2 is busy all along; a stall of 5 ms falls into tau1's first job, none into the others.
        let tau1 = [
            [0, 30, 5],
            [150, 180, 5],
            [300, 480, 5],
            // Released while the one before is unfinished: its stalls are this one's.
            [450, 510, 9],
            [600, 630, 9],
            // Another busy period.
            [900, 930, 2],
        ];
        let mut tasks = [task("tau1", &tau1), task("tau2", &[[0, 900, 5]])];
        own_stalls(&mut tasks);
        let own = |at: usize| -> Vec<u64> {
            tasks[at].samples.iter().map(|sample| sample.own_stalled_ns().unwrap() / MS).collect()
        };
        assert_eq!((own(0), own(1)), (vec![5, 0, 0, 4, 0, 2], vec![5]));
    }
}

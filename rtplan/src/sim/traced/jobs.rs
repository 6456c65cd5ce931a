//! What jobs took of the CPU.

use model::{
    Task, TaskSet,
    sample::{Ended, Job},
};

use super::{LEAST, Traced, untouched};
use crate::sim::{chance::Times, experiment::TaskTimes, setup::Entry};

/// A vCPU that has slept for so long has no work left.
const IDLE_NS: u64 = 300_000;

/// A start that comes later than this after its release waited for budget.
const MOST_LATENCY_NS: u64 = 3_000_000;

/// What a job that no stall touched had of the CPU.
struct Taken {
    /// CPU time before its start: from the vCPU's waking up for it, where it had been idle,
    woken: Option<u64>,
    /// from the usual delay on, where the vCPU was running as the job was released,
    preempting: Option<u64>,
    /// from the end of the more urgent job that it waited for.
    queued: Option<u64>,
    /// How many more urgent jobs came between its start and its finish.
    preempted: u64,
    /// CPU time from start to finish, that of more urgent tasks left out.
    execution: u64,
}

impl Traced {
    /// When the vCPU woke up for a job released at `release`, where it had been idle before.
    fn woken(&self, job: &Job) -> Option<u64> {
        let next = self.supply.partition_point(|row| row.start_ns < job.release_ns);
        let (last, row) = (self.supply.get(next.checked_sub(1)?)?, self.supply.get(next)?);
        let idle = last.ended == Some(Ended::Slept) && last.end_ns + IDLE_NS < job.release_ns;
        (idle && job.start_ns.saturating_sub(job.release_ns) < MOST_LATENCY_NS)
            .then_some(row.start_ns)
    }

    /// CPU time from the usual delay after its release to the job's start, where the vCPU was
    /// running then.
    fn preempting(&self, job: &Job, delay: u64) -> Option<u64> {
        let from = job.release_ns + delay;
        let next = self.supply.partition_point(|row| row.start_ns <= job.release_ns);
        let row = self.supply.get(next.checked_sub(1)?)?;
        (row.end_ns > job.release_ns && job.start_ns.saturating_sub(from) < MOST_LATENCY_NS)
            .then(|| self.between(from, job.start_ns))
    }

    /// CPU time from the end of the last more urgent job before its start, where that was released
    /// meanwhile.
    fn queued(&self, job: &Job, more_urgent: &[String]) -> Option<u64> {
        let ends = self.jobs.iter().filter(|other| more_urgent.contains(&other.task));
        let waited = job.release_ns..=job.start_ns;
        let last = ends.map(|other| other.finish_ns).filter(|end| waited.contains(end)).max()?;
        Some(self.between(last, job.start_ns))
    }

    /// From a release to the vCPU's waking up for it, on average: so long a running task goes on as
    /// well.
    fn usual_delay(&self) -> u64 {
        let delay = |job: &Job| Some(self.woken(job)? - job.release_ns);
        let delays: Vec<u64> =
            self.jobs.iter().filter(|job| untouched(job)).filter_map(delay).collect();
        delays.iter().sum::<u64>() / delays.len().max(1) as u64
    }

    /// Jobs of `task` that no stall touched, where `more_urgent` go first.
    fn taken(&self, task: &str, more_urgent: &[String]) -> Vec<Taken> {
        let quiet = |job: &&Job| job.task == task && untouched(job);
        let delay = self.usual_delay();
        let of = |job: &Job| {
            let between: Vec<&Job> = self
                .jobs
                .iter()
                .filter(|other| more_urgent.contains(&other.task))
                .filter(|other| (job.start_ns..job.finish_ns).contains(&other.release_ns))
                .collect();
            let others: u64 = between
                .iter()
                .map(|other| self.between(other.release_ns + delay, other.finish_ns))
                .sum();
            Taken {
                woken: self.woken(job).map(|woken| self.between(woken, job.start_ns)),
                preempting: self.preempting(job, delay),
                queued: self.queued(job, more_urgent),
                preempted: between.len() as u64,
                execution: self.between(job.start_ns, job.finish_ns).saturating_sub(others),
            }
        };
        self.jobs.iter().filter(quiet).map(of).collect()
    }

    /// What the jobs of the task at `index` took of the CPU; none where too few tell.
    pub fn times(&self, tasks: &[Task], index: usize) -> Option<TaskTimes> {
        let rank = |index: usize| (tasks[index].period(), index);
        let more_urgent: Vec<String> = (0..tasks.len())
            .filter(|&other| rank(other) < rank(index))
            .map(TaskSet::name)
            .collect();
        let taken = self.taken(&TaskSet::name(index), &more_urgent);
        let samples = |of: fn(&Taken) -> Option<u64>| {
            let samples: Vec<u64> = taken.iter().filter_map(of).collect();
            (samples.len() >= LEAST).then(|| Times::Samples(samples.into()))
        };
        let none = || Times::Constant(0);
        let woken = samples(|taken| taken.woken)?;
        // Where there are jobs that were not preempted, switching back is no part of the job.
        let alone = samples(|taken| (taken.preempted == 0).then_some(taken.execution));
        let resumed = alone.as_ref().and_then(|alone| {
            let once = samples(|taken| (taken.preempted == 1).then_some(taken.execution))?;
            Some(Times::Constant(once.median().saturating_sub(alone.median())))
        });
        let execution = match alone {
            Some(alone) => alone,
            None => samples(|taken| Some(taken.execution))?,
        };
        Some(TaskTimes {
            // The same for all, since tasks that are released together wake up together.
            delay: Some(Times::Constant(self.usual_delay())),
            entry: Some(Entry {
                preempting: samples(|taken| taken.preempting).unwrap_or_else(|| woken.clone()),
                queued: samples(|taken| taken.queued).unwrap_or_else(none),
                resumed: resumed.unwrap_or_else(none),
                woken,
            }),
            execution: Some(execution),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::traced::tests::{MS, US, job, reserved, run};

    fn tasks<const N: usize>(texts: [&str; N]) -> TaskSet {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_job_took_what_the_vcpu_ran_from_its_start_to_its_finish() {
        let times = reserved().times(&tasks(["30ms/200ms"]), 0).unwrap();
        assert_eq!(times.delay, Some(Times::Constant(180 * US)));
        let entry = times.entry.unwrap();
        // Whether the vCPU had been idle before the first is not known.
        assert_eq!(entry.woken, Times::Samples(vec![320 * US; 19].into()));
        // 28 ms less the entry and the nap, and 2 ms in the second burst.
        assert_eq!(times.execution, Some(Times::Samples(vec![29_650 * US; 20].into())));
    }

    #[test]
    fn too_few_jobs_or_stalled_ones_tell_nothing() {
        let mut traced = reserved();
        traced.jobs.iter_mut().skip(9).for_each(|job| job.stalled_ns = Some(1));
        assert!(traced.times(&tasks(["30ms/200ms"]), 0).is_none());
    }

    /// A long job that every 100 ms is preempted by a short one once, after the usual 180 µs and
    /// 100 µs of switching; going on costs 50 µs.
    #[test]
    fn what_preempts_a_job_is_not_the_jobs() {
        let (mut supply, mut jobs) = (Vec::new(), Vec::new());
        for k in 1..=40 {
            let at = k * 100 * MS;
            let preempted = k % 2 == 0;
            let end = if preempted { 50_150 } else { 40_000 };
            supply.push(run(at + 180 * US, at + (500 + end) * US, Ended::Slept));
            jobs.push(job("tau2", k - 1, [at, at + 500 * US, at + (500 + end) * US]));
            if preempted {
                let times = [at + 20 * MS, at + 20_280 * US, at + 30_280 * US];
                jobs.push(job("tau1", k / 2 - 1, times));
            }
        }
        let traced = Traced::new("x", supply, 1_000_000, Vec::new(), jobs);
        let long = traced.times(&tasks(["10ms/50ms", "40ms/100ms"]), 1).unwrap();
        assert_eq!(long.execution, Some(Times::Samples(vec![40 * MS; 20].into())));
        // 50 150 less 40 000, the 10 000 of the other and its 100 of switching.
        assert_eq!(long.entry.unwrap().resumed, Times::Constant(50 * US));
    }
}

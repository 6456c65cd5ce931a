//! The thread of one task.

use std::sync::atomic::{AtomicBool, Ordering};

use kernel::{
    affinity::{self, SELF},
    clock::{monotonic_ns, thread_cpu_ns},
    memory, sched,
};
use model::{duration::as_ns, load::Backlog};

use super::{
    crew::{Member, sleep_until},
    record::{JobFeed, Record, Recorder},
};
use crate::{
    Error,
    plan::{Plan, PlannedTask, releases},
    policy::refused,
    traffic::Traffic,
    work::{Work, burn},
};

/// The absolute schedule of a task.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    first_ns: u64,
    period_ns: u64,
    jobs: u64,
}

impl Schedule {
    fn release(self, job: u64) -> u64 {
        self.first_ns + job * self.period_ns
    }

    /// The job to run after `job` was finished at `now_ns`.
    fn next(self, job: u64, now_ns: u64, backlog: Backlog) -> u64 {
        match backlog {
            Backlog::Keep => job + 1,
            Backlog::Drop => {
                let to_come = now_ns.saturating_sub(self.first_ns).div_ceil(self.period_ns);
                to_come.clamp(job + 1, self.jobs.max(job + 1))
            }
        }
    }

    /// Jobs released up to and including `now_ns`.
    fn released(self, now_ns: u64) -> u64 {
        let since = now_ns.checked_sub(self.first_ns);
        since.map_or(0, |since| (since / self.period_ns + 1).min(self.jobs))
    }
}

pub(super) struct Worker<'a> {
    pub planned: &'a PlannedTask,
    pub plan: &'a Plan,
    /// Where records go, and the task's index there.
    pub feed: Option<(&'a JobFeed, usize)>,
    pub stop: &'a AtomicBool,
}

impl<'a> Member for Worker<'a> {
    type Kit = (Recorder<'a>, Option<Traffic>);
    type Done = Recorder<'a>;

    fn name(&self) -> &str {
        &self.planned.name
    }

    fn set_up(&self) -> Result<Self::Kit, Error> {
        let longest_ns = as_ns(self.plan.duration.saturating_add(self.plan.drain));
        let recorder = Recorder::new(self.plan.keep, self.jobs(), longest_ns, self.feed);
        if let Some(cpu) = self.plan.pin {
            affinity::set(SELF, &[cpu])
                .map_err(|error| Error::pin(&format!("--cpu {cpu}"), &error))?;
        }
        // Thousands of pages are touched here: not as a real-time task.
        let traffic = self.planned.traffic.map(Traffic::new).transpose()?;
        sched::set(SELF, self.planned.policy)
            .map_err(|error| refused(&self.planned.name, error))?;
        memory::touch_stack();
        // Code and clocks are paged in before they count.
        burn(1_000, self.stop);
        let _warm = (monotonic_ns(), thread_cpu_ns());
        Ok((recorder, traffic))
    }

    fn run(self, (mut recorder, mut traffic): Self::Kit, first_ns: u64) -> Recorder<'a> {
        let period_ns = as_ns(self.planned.task.period());
        let schedule = Schedule { first_ns, period_ns, jobs: self.jobs() };
        self.run_jobs(schedule, &mut recorder, &mut traffic);
        recorder.tally.moved = traffic.map_or_else(Default::default, |traffic| traffic.moved);
        recorder
    }
}

impl Worker<'_> {
    fn jobs(&self) -> u64 {
        releases(self.planned.task, self.plan.duration)
    }

    fn run_jobs(
        &self,
        schedule: Schedule,
        recorder: &mut Recorder<'_>,
        traffic: &mut Option<Traffic>,
    ) {
        let deadline_ns = as_ns(self.planned.task.deadline());
        let stop_ns = self.plan.stop_above.map_or(u64::MAX, |above| above.of(self.planned.task));
        let mut job = 0;
        while job < schedule.jobs {
            let release_ns = schedule.release(job);
            if !sleep_until(release_ns, self.stop) {
                break;
            }
            let work = self.planned.work_of(job);
            let moved = self.is_elsewhere();
            let start_ns = monotonic_ns();
            let cpu_ns = thread_cpu_ns();
            if !self.toil(work, traffic) {
                break;
            }
            let cpu_ns = thread_cpu_ns() - cpu_ns;
            let finish_ns = monotonic_ns();
            let late = finish_ns - release_ns > deadline_ns;
            recorder.add(release_ns, Record { job, start_ns, finish_ns, cpu_ns }, late);
            recorder.tally.elsewhere += u64::from(moved || self.is_elsewhere());
            let next = schedule.next(job, finish_ns, self.plan.backlog);
            recorder.tally.skipped += next - job - 1;
            job = next;
            if finish_ns - release_ns > stop_ns {
                // The first to stop it is the reason; the others end with it.
                recorder.tally.stopped = !self.stop.swap(true, Ordering::Relaxed);
                break;
            }
        }
        // Jobs before `job` were run or skipped; what else has been released is left over.
        recorder.tally.unfinished = schedule.released(monotonic_ns()).saturating_sub(job);
    }

    /// Does the work, as traffic where the task has it; `false` where the thread shall stop.
    fn toil(&self, work: Work, traffic: &mut Option<Traffic>) -> bool {
        match (traffic, work.execution()) {
            (Some(traffic), Some(execution)) => traffic.run(execution, self.stop),
            _ => work.run(self.stop),
        }
    }

    /// Whether the thread runs on another CPU than the one that it was bound to.
    fn is_elsewhere(&self) -> bool {
        self.plan.pin.is_some_and(|cpu| affinity::current_cpu().is_some_and(|now| now != cpu))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule { first_ns: 1_000, period_ns: 100, jobs: 10 };

    #[test]
    fn a_kept_backlog_runs_every_job() {
        assert_eq!(SCHEDULE.next(0, 5_000, Backlog::Keep), 1);
    }

    #[test]
    fn a_dropped_backlog_goes_on_with_the_next_release_to_come() {
        for (now, next) in [(1_050, 1), (1_100, 1), (1_101, 2), (1_350, 4), (9_999, 10)] {
            assert_eq!(SCHEDULE.next(0, now, Backlog::Drop), next, "at {now}");
        }
        assert_eq!(SCHEDULE.next(9, 9_999, Backlog::Drop), 10);
    }

    #[test]
    fn releases_are_counted_up_to_now() {
        for (now, released) in [(0, 0), (999, 0), (1_000, 1), (1_099, 1), (1_100, 2), (9_000, 10)] {
            assert_eq!(SCHEDULE.released(now), released, "at {now}");
        }
    }
}

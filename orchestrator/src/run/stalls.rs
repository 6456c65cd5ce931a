//! Which stalls may have delayed which jobs.

use model::sample::{Job, Stall};

use super::guest_clock::JobsClock;

/// Fills in `stalled_ns` of every job: the stalls from the start of the busy period that the job
/// belongs to until its finish. A backlog outlasts its stall, so a stall counts for every job that
/// follows it without a pause, and, where a guest's clock is known to within so much, for those that it
/// may have been as near to as that.
pub(super) fn mark(jobs: &mut [Job], stalls: &[Stall], clock: JobsClock) {
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|&index| jobs[index].release_ns);
    let mut busy: Option<(u64, u64)> = None;
    for index in order {
        let job = &mut jobs[index];
        let (start, end) = match busy {
            Some((start, end)) if job.release_ns < end => (start, end.max(job.finish_ns)),
            _ => (job.release_ns, job.finish_ns),
        };
        busy = Some((start, end));
        let from = clock.map.host_ns(start).saturating_sub(clock.uncertainty_ns);
        let to = clock.map.host_ns(job.finish_ns) + clock.uncertainty_ns;
        job.stalled_ns = Some(overlap(stalls, from, to));
    }
}

/// The time in `from..to` that stalls (ascending, disjoint) take.
fn overlap(stalls: &[Stall], from: u64, to: u64) -> u64 {
    let first = stalls.partition_point(|stall| stall.start_ns + stall.length_ns <= from);
    stalls[first..]
        .iter()
        .take_while(|stall| stall.start_ns < to)
        .map(|stall| (stall.start_ns + stall.length_ns).min(to) - stall.start_ns.max(from))
        .sum()
}

/// The share of `from..to` in which the CPU ran no thread.
#[must_use]
pub fn share(stalls: &[Stall], from: u64, to: u64) -> f64 {
    overlap(stalls, from, to) as f64 / to.saturating_sub(from).max(1) as f64
}

#[cfg(test)]
mod tests {
    use model::clock::ClockMap;

    use super::*;

    fn job(release_ns: u64, finish_ns: u64) -> Job {
        Job {
            experiment: None,
            repetition: None,
            task: "tau1".into(),
            job: 0,
            release_ns,
            start_ns: release_ns,
            finish_ns,
            response_ns: finish_ns - release_ns,
            cpu_ns: None,
            deadline_ns: 100,
            missed: false,
            stalled_ns: None,
            vm: None,
            service: None,
        }
    }

    fn marked(jobs: &[(u64, u64)], stalls: &[(u64, u64)], clock: JobsClock) -> Vec<u64> {
        let mut jobs: Vec<Job> = jobs.iter().map(|&(r, f)| job(r, f)).collect();
        let stalls: Vec<Stall> = stalls
            .iter()
            .map(|&(start_ns, length_ns)| Stall { start_ns, length_ns, cpu: None })
            .collect();
        mark(&mut jobs, &stalls, clock);
        jobs.iter().map(|job| job.stalled_ns.unwrap()).collect()
    }

    #[test]
    fn a_stall_counts_for_the_rest_of_its_busy_period_only() {
        // Busy 100..180 (the second job is released before the first is done), then 300..330.
        let jobs = [(100, 150), (140, 180), (300, 330)];
        assert_eq!(marked(&jobs, &[(110, 20)], JobsClock::HOST), [20, 20, 0]);
        assert_eq!(marked(&jobs, &[(160, 10)], JobsClock::HOST), [0, 10, 0]);
        assert_eq!(marked(&jobs, &[(200, 50)], JobsClock::HOST), [0, 0, 0]);
    }

    #[test]
    fn a_stall_across_the_release_counts_for_its_part() {
        assert_eq!(marked(&[(100, 150)], &[(90, 20), (145, 50)], JobsClock::HOST), [15]);
    }

    #[test]
    fn jobs_of_a_guest_are_put_on_the_hosts_clock() {
        let map = ClockMap { offset_ns: -1000, since_ns: 1100, drift: 0.0 };
        let clock = JobsClock { map, uncertainty_ns: 0 };
        assert_eq!(marked(&[(100, 150)], &[(1110, 20)], clock), [20]);
    }

    #[test]
    fn what_may_have_been_a_stall_of_a_job_is_one() {
        let clock = JobsClock { uncertainty_ns: 30, ..JobsClock::HOST };
        let jobs = [(100, 150), (300, 330)];
        assert_eq!(marked(&jobs, &[(160, 10)], clock), [10, 0]);
        assert_eq!(marked(&jobs, &[(60, 15)], clock), [5, 0]);
        assert_eq!(marked(&jobs, &[(200, 50)], clock), [0, 0]);
    }

    #[test]
    fn the_share_is_of_the_window() {
        let stalls = [Stall { start_ns: 50, length_ns: 100, cpu: None }];
        assert!((share(&stalls, 100, 200) - 0.5).abs() < 1e-12);
        assert!(share(&stalls, 200, 200).abs() < 1e-12);
    }
}

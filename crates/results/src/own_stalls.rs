//! Which stalls may have delayed a job itself, and not only others that are less urgent.

use model::sample::Job;

/// [`crate::Sample::own_stalled_ns`] of each of `jobs`, which ascend by release.
///
/// `stalled_ns` counts from the begin of the busy period of all tasks. What a job that was finished
/// before this one's release has counted in the same busy period is over by then.
pub(crate) fn own_stalls(jobs: &[Job]) -> Vec<Option<u64>> {
    let mut before: Vec<(u64, u64)> = Vec::new(); // (finish, stalled) in this busy period
    let mut busy_until = 0;
    let mut chains: Vec<(&str, u64, u64)> = Vec::new(); // task, finish of its last job, its base
    jobs.iter()
        .map(|job| {
            if job.release_ns >= busy_until {
                before.clear();
                chains.clear();
            }
            busy_until = busy_until.max(job.finish_ns);
            let over = before.iter().filter(|(finish, _)| *finish <= job.release_ns);
            let over = over.map(|(_, stalled)| *stalled).max().unwrap_or(0);
            let at = chains.iter().position(|(task, ..)| *task == job.task);
            let base = match at.map(|at| chains[at]) {
                Some((_, finish, base)) if finish > job.release_ns => base,
                _ => over,
            };
            match at {
                Some(at) => chains[at] = (&job.task, job.finish_ns, base),
                None => chains.push((&job.task, job.finish_ns, base)),
            }
            before.push((job.finish_ns, job.stalled_ns.unwrap_or(0)));
            Some(job.stalled_ns?.saturating_sub(base))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn job(task: &str, [release_ms, finish_ms, stalled_ms]: [u64; 3]) -> Job {
        let (release_ns, finish_ns) = (release_ms * MS, finish_ms * MS);
        Job {
            experiment: None,
            repetition: None,
            task: task.into(),
            job: 0,
            release_ns,
            start_ns: release_ns,
            finish_ns,
            response_ns: finish_ns - release_ns,
            cpu_ns: None,
            deadline_ns: 150 * MS,
            missed: false,
            stalled_ns: Some(stalled_ms * MS),
        }
    }

    #[test]
    fn a_backlog_of_others_disturbs_no_job_of_the_most_urgent_task() {
        // tau2 is busy all along; a stall of 5 ms falls into tau1's first job, none into the others.
        let jobs = [
            job("tau1", [0, 30, 5]),
            job("tau2", [0, 900, 5]),
            job("tau1", [150, 180, 5]),
            job("tau1", [300, 480, 5]),
            // Released while the one before is unfinished: its stalls are this one's.
            job("tau1", [450, 510, 9]),
            job("tau1", [600, 630, 9]),
            // Another busy period.
            job("tau1", [900, 930, 2]),
        ];
        let own: Vec<u64> = own_stalls(&jobs).into_iter().map(|own| own.unwrap() / MS).collect();
        assert_eq!(own, [5, 5, 0, 0, 4, 0, 2]);
    }
}

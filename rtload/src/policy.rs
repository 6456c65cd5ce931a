//! Scheduling policies of the tasks, by name, and what to do where the kernel refuses one.

use std::{path::Path, time::Duration};

use clap::ValueEnum;
use kernel::sched::{Policy, SchedError};
use model::{Task, TaskSet};
use nix::errno::Errno;
use serde::Serialize;

use crate::Error;

/// The policy that all tasks of a set share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// SCHED_FIFO, rate-monotonic priorities
    #[default]
    Fifo,
    /// SCHED_RR, rate-monotonic priorities
    Rr,
    /// SCHED_OTHER: an ordinary task
    Other,
    /// SCHED_DEADLINE with the task's own C (plus a margin of 5 %), D and T
    Deadline,
}

impl PolicyKind {
    /// Whether tasks under it come before all ordinary ones.
    #[must_use]
    pub fn is_real_time(self) -> bool {
        self != Self::Other
    }
}

/// The highest priority of a task; 99 is kept for the thread that controls them.
pub(crate) const HIGHEST: u8 = 98;

/// There where the kernel groups real-time tasks (RT_GROUP_SCHED), which cgroup v1 alone does.
const RT_GROUPS: &str = "/sys/fs/cgroup/cpu/cpu.rt_runtime_us";

/// The budget of a SCHED_DEADLINE task: 5 % above C, so that one slow job is not throttled into the
/// next period, and at most D and T.
fn deadline_budget(task: Task) -> Duration {
    (task.execution() * 21 / 20).min(task.deadline()).min(task.period())
}

/// The policy of each task, in the order of the set.
///
/// `priorities`: none for rate-monotonic ones below `default_highest`, one for rate-monotonic ones
/// below it, or one for each task.
///
/// # Errors
/// [`Error::Usage`] for a priority outside 1..=98 (99 is kept for the controlling thread), a wrong
/// number of them, or priorities for a policy that has none.
pub fn policies(
    kind: PolicyKind,
    tasks: &TaskSet,
    priorities: &[u8],
    default_highest: u8,
) -> Result<Vec<Policy>, Error> {
    if let Some(wrong) = priorities.iter().find(|priority| !(1..=HIGHEST).contains(*priority)) {
        return Err(Error::Usage(format!("--priority {wrong}: a priority lies in 1..={HIGHEST}")));
    }
    let has_priorities = matches!(kind, PolicyKind::Fifo | PolicyKind::Rr);
    if !has_priorities && !priorities.is_empty() {
        return Err(Error::Usage("--priority is for --policy fifo and rr only".to_owned()));
    }
    let priorities = match *priorities {
        [] if !has_priorities => vec![0; tasks.len()],
        [] => rate_monotonic(tasks, default_highest)?,
        [highest] => rate_monotonic(tasks, highest)?,
        _ if priorities.len() == tasks.len() => priorities.to_vec(),
        _ => {
            let (given, wanted) = (priorities.len(), tasks.len());
            return Err(Error::Usage(format!(
                "--priority lists {given} priorities for {wanted} tasks; give one (the highest) or {wanted}"
            )));
        }
    };
    let policy = |(&task, priority): (&Task, u8)| match kind {
        PolicyKind::Fifo => Policy::Fifo { priority },
        PolicyKind::Rr => Policy::Rr { priority },
        PolicyKind::Other => Policy::Other { nice: 0 },
        PolicyKind::Deadline => Policy::Deadline {
            runtime: deadline_budget(task),
            // The kernel takes no deadline above the period.
            deadline: task.deadline().min(task.period()),
            period: task.period(),
            reclaim: false,
        },
    };
    Ok(tasks.iter().zip(priorities).map(policy).collect())
}

/// Rate-monotonic priorities, each task its own.
fn rate_monotonic(tasks: &TaskSet, highest: u8) -> Result<Vec<u8>, Error> {
    let count = tasks.len();
    if count <= usize::from(highest) {
        return Ok(tasks.rate_monotonic(highest));
    }
    let remedy = if count <= usize::from(HIGHEST) {
        format!("give --priority {count} to {HIGHEST}")
    } else {
        format!(
            "there are {HIGHEST}: list them with --priority, one for each task, where some may share"
        )
    };
    Err(Error::Usage(format!(
        "{count} tasks with rate-monotonic priorities from {highest} downwards need {count}: {remedy}"
    )))
}

/// The refusal of `task`'s policy, with what to do about it.
#[must_use]
pub fn refused(task: &str, source: SchedError) -> Error {
    let deadline = matches!(source.policy, Policy::Deadline { .. });
    let remedy = match source.errno {
        Errno::EPERM if deadline => {
            "run as root, without --cpu or inside an exclusive cpuset (SCHED_DEADLINE accepts no \
             affinity narrower than its root domain)"
        }
        Errno::EPERM if Path::new(RT_GROUPS).exists() => {
            "run as root, grant CAP_SYS_NICE or raise `ulimit -r`, and start it in a cgroup with \
             cpu.rt_runtime_us above 0 (below /sys/fs/cgroup/cpu); or use --policy other"
        }
        Errno::EPERM => {
            "run as root, grant CAP_SYS_NICE or raise `ulimit -r`; or use --policy other"
        }
        Errno::EBUSY => {
            "admission control has no bandwidth left: a task's budget is C and 5 % of it, and all \
             SCHED_DEADLINE budgets together, with the fair server's on every CPU, may have \
             sched_rt_runtime_us of sched_rt_period_us (in /proc/sys/kernel; as a rule 95 %) of the \
             CPUs; ask for less execution time"
        }
        Errno::EINVAL if deadline => {
            "the kernel takes deadlines of 1.024 us and more, with periods between \
             sched_deadline_period_min_us and sched_deadline_period_max_us"
        }
        _ => "use --policy other",
    };
    Error::Policy { task: task.to_owned(), source, remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_rate_monotonic_unless_given() {
        let set = TaskSet::paper();
        let fifo = |list: &[u8]| policies(PolicyKind::Fifo, &set, list, 80).unwrap();
        let as_policies = |list: [u8; 2]| list.map(|priority| Policy::Fifo { priority }).to_vec();
        assert_eq!(fifo(&[]), as_policies([80, 79]));
        assert_eq!(fifo(&[20]), as_policies([20, 19]));
        assert_eq!(fifo(&[5, 9]), as_policies([5, 9]));
    }

    #[test]
    fn tasks_that_would_share_a_priority_are_refused_with_the_range_needed() {
        let of = |count: u32, list: &[u8]| {
            let tasks = (0..count).map(|n| format!("1ms/{}ms", 100 + n).parse().unwrap());
            policies(PolicyKind::Fifo, &tasks.collect(), list, 80)
        };
        let refused = |count, list: &[u8]| of(count, list).unwrap_err().to_string();
        assert!(refused(2, &[1]).contains("--priority 2 to 98"), "{}", refused(2, &[1]));
        assert!(refused(90, &[]).contains("--priority 90 to 98"));
        assert!(refused(100, &[98]).contains("there are 98"));
        assert_eq!(of(2, &[2]).unwrap(), [2, 1].map(|priority| Policy::Fifo { priority }));
        let all = of(98, &[98]).unwrap();
        assert_eq!(
            (all[0], all[97]),
            (Policy::Fifo { priority: 98 }, Policy::Fifo { priority: 1 })
        );
        assert!(of(100, &[50; 100]).is_ok(), "shared on purpose");
        let many = (0..100).map(|_| "1ms/200ms".parse().unwrap()).collect();
        assert!(policies(PolicyKind::Other, &many, &[], 80).is_ok());
    }

    #[test]
    fn wrong_priorities_are_refused() {
        let set = TaskSet::paper();
        for (kind, list) in [
            (PolicyKind::Fifo, &[99][..]),
            (PolicyKind::Fifo, &[0]),
            (PolicyKind::Rr, &[1, 2, 3]),
            (PolicyKind::Other, &[5]),
        ] {
            assert!(matches!(policies(kind, &set, list, 80), Err(Error::Usage(_))), "{list:?}");
        }
    }

    #[test]
    fn a_deadline_task_has_a_budget_with_a_margin_but_no_more_than_its_deadline() {
        let set: TaskSet =
            ["20ms/100ms", "99ms/100ms"].iter().map(|t| t.parse().unwrap()).collect();
        let budgets: Vec<_> = policies(PolicyKind::Deadline, &set, &[], 80)
            .unwrap()
            .into_iter()
            .map(|policy| match policy {
                Policy::Deadline { runtime, .. } => runtime.as_millis(),
                _ => 0,
            })
            .collect();
        assert_eq!(budgets, [21, 100]);
    }
}

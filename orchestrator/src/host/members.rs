//! The programs of ours on a measured CPU, which place themselves and choose their own policies:
//! whether one loses what it had.

use std::{collections::BTreeMap, path::PathBuf};

use kernel::{
    affinity::{Tid, format_list},
    cgroup::Hierarchy,
    sched::Policy,
};

use super::{Actions, undo::Thread};

/// All that were seen.
#[derive(Debug)]
pub(super) struct Members {
    hierarchy: Hierarchy,
    /// The group in which they are started.
    home: PathBuf,
    cpu: u32,
    known: BTreeMap<Thread, Known>,
}

/// The most that a thread had.
#[derive(Debug, Default)]
struct Known {
    policy: Option<Policy>,
    pinned: bool,
    /// What it had lost at the last look.
    lost: Vec<String>,
}

impl Members {
    pub fn of(hierarchy: Hierarchy, home: PathBuf, cpu: u32) -> Self {
        Self { hierarchy, home, cpu, known: BTreeMap::new() }
    }

    /// What threads of ours have lost, a sentence each; told at the second look, since a thread that
    /// ends or changes itself may be seen half-way. Those that `is_set` are somebody else's to watch.
    pub fn look(&mut self, host: &dyn Actions, is_set: impl Fn(Tid) -> bool) -> Vec<String> {
        let inside = host.read(&self.hierarchy.threads_file(&self.home)).unwrap_or_default();
        for tid in inside.lines().filter_map(|line| line.parse().ok()) {
            if let Ok(start_time) = host.start_time(tid) {
                self.known.entry(Thread { tid, start_time }).or_default();
            }
        }
        let Self { hierarchy, home, cpu, known } = self;
        let mut told = Vec::new();
        known.retain(|thread, known| {
            let group = thread.ask(host, |tid| host.cgroup(tid));
            let policy = thread.ask(host, |tid| host.scheduling(tid)).map(|now| now.policy);
            let cpus = thread.ask(host, |tid| host.affinity(tid));
            let (Some(group), Some(policy), Some(cpus)) = (group, policy, cpus) else {
                return false;
            };
            if is_set(thread.tid) {
                return false;
            }
            let group = hierarchy.group_of(&group).filter(|now| now != home);
            let gone = group
                .map(|now| format!("in group {}, where {} was set", now.display(), home.display()));
            let lost = [gone, known.unpinned(*cpu, &cpus), known.lowered(policy)];
            let lost: Vec<String> = lost.into_iter().flatten().collect();
            let again = lost.iter().filter(|one| known.lost.contains(one));
            told.extend(again.map(|one| format!("thread {} of the run is {one}", thread.tid)));
            known.lost = lost;
            true
        });
        told
    }
}

impl Known {
    /// It was on the measured CPU alone, and is not any more.
    fn unpinned(&mut self, cpu: u32, cpus: &[u32]) -> Option<String> {
        self.pinned |= cpus == [cpu];
        let lost = self.pinned && cpus != [cpu];
        lost.then(|| format!("on CPUs {}, where {cpu} was set", format_list(cpus)))
    }

    /// It has a policy of a lower class than it had.
    fn lowered(&mut self, now: Policy) -> Option<String> {
        let before = *self.policy.get_or_insert(now);
        if class(now) >= class(before) {
            self.policy = Some(now);
            return None;
        }
        Some(format!("under {now}, where {before} was set"))
    }
}

/// The kernel's scheduling classes, from the lowest.
fn class(policy: Policy) -> u8 {
    match policy {
        Policy::Deadline { .. } => 2,
        Policy::Fifo { .. } | Policy::Rr { .. } => 1,
        Policy::Other { .. } | Policy::Batch { .. } | Policy::Idle | Policy::Ext { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kernel::cgroup::Version;

    use super::*;
    use crate::host::fake::{Fake, ROOT};

    const HOME: &str = "/c/rtvm-measured";

    /// Thread 7 in the group, pinned, and its watcher.
    fn watched() -> (Fake, Members) {
        let host = Fake::with_thread();
        let hierarchy =
            Hierarchy { version: Version::V1, root: ROOT.into(), controller: "cpuset".into() };
        let file = hierarchy.threads_file(HOME.as_ref());
        let mut state = host.state.borrow_mut();
        state.files.insert(file, "7\n99".into());
        state.groups.insert(7, HOME.into());
        state.affinities.insert(7, vec![1]);
        drop(state);
        let mut members = Members::of(hierarchy, HOME.into(), 1);
        assert_eq!(members.look(&host, |_| false), [] as [&str; 0]);
        (host, members)
    }

    fn set(host: &Fake, policy: Policy) {
        host.state.borrow_mut().policies.insert(7, policy.into());
    }

    #[test]
    fn what_a_thread_of_ours_loses_is_told_at_the_second_look() {
        let (host, mut members) = watched();
        let mut look = || members.look(&host, |_| false);
        let (q, p) = (Duration::from_millis(1), Duration::from_millis(2));
        for policy in [Policy::Fifo { priority: 9 }, Policy::deadline(q, p)] {
            set(&host, policy);
            assert_eq!((look(), look()), (vec![], vec![]), "it raised itself");
        }
        set(&host, Policy::Other { nice: 0 });
        host.state.borrow_mut().affinities.insert(7, vec![0, 1]);
        host.state.borrow_mut().groups.insert(7, ROOT.into());
        assert_eq!(look(), [] as [&str; 0]);
        let said = look();
        assert!(
            said[0].contains("thread 7 of the run is in group /c, where /c/rtvm-measured was"),
            "{said:?}"
        );
        assert!(said[1].contains("is on CPUs 0,1, where 1 was set"), "{said:?}");
        assert!(said[2].contains("is under SCHED_OTHER nice 0, where SCHED_DEADLINE"), "{said:?}");
        host.state.borrow_mut().policies.remove(&7);
        assert_eq!((look(), look()), (vec![], vec![]), "it has ended");
    }

    #[test]
    fn a_thread_that_the_guard_placed_is_not_its_own() {
        let (host, mut members) = watched();
        host.state.borrow_mut().groups.insert(7, ROOT.into());
        let mut look = || members.look(&host, |tid| tid == 7);
        assert_eq!((look(), look(), look()), (vec![], vec![], vec![]));
    }
}

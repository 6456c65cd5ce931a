//! What was set on the host and may be changed under our hands: systemd takes a controller away, an
//! administrator gives a thread another policy.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kernel::{
    affinity::{self, Tid, format_list},
    cgroup::Hierarchy,
    sched::{Attributes, Policy, SchedError},
};
use nix::errno::Errno;

use super::{Actions, undo::Thread};

/// One of them.
#[derive(Debug)]
enum Setting {
    File(PathBuf, String),
    Scheduling(Thread, Attributes),
    Affinity(Thread, Vec<u32>),
    Group(Thread, Hierarchy, PathBuf),
}

/// The settings of a guard, for itself and for whoever watches them. It is held while a setting is
/// made, so that nobody takes one that is half made for somebody else's.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Settings>>);

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Settings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adjusted {
    /// It is made.
    Done,
    /// There is no room for it (EBUSY); the thread is as it was.
    Refused,
    /// The thread is gone, or no longer as the guard set it: it was left alone.
    NotOurs,
}

/// All, each with the number of undos that it came after.
#[derive(Debug, Default)]
pub(super) struct Settings {
    set: Vec<(usize, Setting)>,
    /// Every thread of which something was ever set.
    threads: BTreeSet<Tid>,
}

impl Settings {
    /// `value` was written into a file.
    pub fn add_file(&mut self, undos: usize, path: &Path, value: &str) {
        self.set.push((undos, Setting::File(path.to_owned(), value.to_owned())));
    }

    /// A thread was given a policy.
    pub fn add_scheduling(&mut self, undos: usize, thread: Thread, attributes: Attributes) {
        self.threads.insert(thread.tid);
        self.set.push((undos, Setting::Scheduling(thread, attributes)));
    }

    /// A thread was given CPUs.
    pub fn add_affinity(&mut self, undos: usize, thread: Thread, cpus: &[u32]) {
        self.threads.insert(thread.tid);
        self.set.push((undos, Setting::Affinity(thread, cpus.to_vec())));
    }

    /// A thread was put into a group.
    pub fn add_group(&mut self, undos: usize, thread: Thread, hierarchy: &Hierarchy, group: &Path) {
        self.threads.insert(thread.tid);
        self.set.push((undos, Setting::Group(thread, hierarchy.clone(), group.to_owned())));
    }

    /// Gives a thread another policy than the one that it was given last, and has; the new one takes
    /// its place.
    pub fn adjust(
        &mut self,
        host: &dyn Actions,
        tid: Tid,
        policy: Policy,
    ) -> Result<Adjusted, SchedError> {
        let given = self.set.iter_mut().rev().find_map(|(_, setting)| match setting {
            Setting::Scheduling(thread, attributes) if thread.tid == tid => {
                Some((*thread, attributes))
            }
            _ => None,
        });
        let Some((thread, attributes)) = given else { return Ok(Adjusted::NotOurs) };
        let now = thread.ask(host, |tid| host.scheduling(tid));
        if now.map(|now| now.policy) != Some(attributes.policy) {
            return Ok(Adjusted::NotOurs);
        }
        let wanted = Attributes { policy, ..*attributes };
        match host.set_scheduling(tid, wanted) {
            Ok(()) => {
                *attributes = wanted;
                Ok(Adjusted::Done)
            }
            Err(SchedError { errno: Errno::EBUSY, .. }) => Ok(Adjusted::Refused),
            // It ended in this moment.
            Err(SchedError { errno: Errno::ESRCH, .. }) => Ok(Adjusted::NotOurs),
            Err(error) => Err(error),
        }
    }

    /// Whether something was ever set of this thread.
    pub fn concern(&self, tid: Tid) -> bool {
        self.threads.contains(&tid)
    }

    /// Forgets what was set after so many undos.
    pub fn forget_after(&mut self, undos: usize) {
        self.set.retain(|(at, _)| *at <= undos);
    }

    /// Forgets everything that was set: it is about to be undone.
    pub fn forget_all(&mut self) {
        self.set.clear();
    }

    /// What is no longer as it was set, a sentence each.
    pub fn changed(&self, host: &dyn Actions) -> Vec<String> {
        let settings = || self.set.iter().map(|(_, setting)| setting);
        // Of what was set twice the later holds.
        let last = |(index, one): &(usize, &Setting)| {
            !settings().skip(index + 1).any(|later| later.is_of_the_same(one))
        };
        let last = settings().enumerate().filter(last);
        last.filter_map(|(_, setting)| setting.changed(host)).collect()
    }
}

impl Setting {
    fn is_of_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one, _), Self::File(two, _)) => one == two,
            (Self::Scheduling(one, _), Self::Scheduling(two, _)) => one == two,
            (Self::Affinity(one, _), Self::Affinity(two, _)) => one == two,
            (Self::Group(one, of, _), Self::Group(two, other, _)) => {
                one == two && of.root == other.root
            }
            _ => false,
        }
    }

    fn changed(&self, host: &dyn Actions) -> Option<String> {
        match self {
            Self::File(path, value) => match host.read(path) {
                Err(_) => Some(format!("{} is gone, where `{value}` was set", path.display())),
                Ok(now) if in_force(value, &now) => None,
                Ok(now) => Some(format!("{} is `{now}`, where `{value}` was set", path.display())),
            },
            Self::Scheduling(thread, attributes) => {
                let now = thread.ask(host, |tid| host.scheduling(tid))?;
                (now.policy != attributes.policy).then(|| {
                    let (tid, was) = (thread.tid, attributes.policy);
                    format!("thread {tid} is under {}, where {was} was set", now.policy)
                })
            }
            Self::Affinity(thread, cpus) => {
                let now = thread.ask(host, |tid| host.affinity(tid))?;
                (now != *cpus).then(|| {
                    let (tid, now, was) = (thread.tid, format_list(&now), format_list(cpus));
                    format!("thread {tid} is on CPUs {now}, where {was} was set")
                })
            }
            Self::Group(thread, hierarchy, group) => {
                let now = hierarchy.group_of(&thread.ask(host, |tid| host.cgroup(tid))?)?;
                (now != *group).then(|| {
                    let (tid, now, was) = (thread.tid, now.display(), group.display());
                    format!("thread {tid} is in group {now}, where {was} was set")
                })
            }
        }
    }
}

/// Whether a file that was written with `value` has it, now that it reads `now`: the same words, the
/// same CPUs, or a word of a list (`+cpuset`, `HRTICK_DL`).
fn in_force(value: &str, now: &str) -> bool {
    let cpus = affinity::parse_list;
    let word = value.trim_start_matches('+');
    let of_list = word != value || word.ends_with("HRTICK_DL");
    now == value
        || (cpus(value).is_some() && cpus(value) == cpus(now))
        || (of_list && now.split_whitespace().any(|one| one == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_force_as_the_kernel_writes_it() {
        for (value, now) in
            [("1,2", "1-2"), ("+cpuset", "cpu cpuset"), ("HRTICK_DL", "A HRTICK_DL"), ("-1", "-1")]
        {
            assert!(in_force(value, now), "{value} {now}");
        }
        for (value, now) in [
            ("root", "root invalid (Cpu list empty)"),
            ("1", "1-2"),
            ("+cpuset", "cpu"),
            ("HRTICK_DL", "NO_HRTICK_DL"),
            ("10000 50000", "max 100000"),
        ] {
            assert!(!in_force(value, now), "{value} {now}");
        }
    }
}

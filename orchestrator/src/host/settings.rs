//! What was set on the host and may be changed under our hands: systemd takes a controller away, an
//! administrator gives a thread another policy.

use std::path::{Path, PathBuf};

use kernel::{
    affinity::{self, format_list},
    sched::Attributes,
};

use super::{Actions, undo::Thread};

/// One of them.
#[derive(Debug)]
enum Setting {
    File(PathBuf, String),
    Scheduling(Thread, Attributes),
    Affinity(Thread, Vec<u32>),
}

/// All, each with the number of undos that it came after.
#[derive(Debug, Default)]
pub(super) struct Settings(Vec<(usize, Setting)>);

impl Settings {
    /// `value` was written into a file.
    pub fn add_file(&mut self, undos: usize, path: &Path, value: &str) {
        self.0.push((undos, Setting::File(path.to_owned(), value.to_owned())));
    }

    /// A thread was given a policy.
    pub fn add_scheduling(&mut self, undos: usize, thread: Thread, attributes: Attributes) {
        self.0.push((undos, Setting::Scheduling(thread, attributes)));
    }

    /// A thread was given CPUs.
    pub fn add_affinity(&mut self, undos: usize, thread: Thread, cpus: &[u32]) {
        self.0.push((undos, Setting::Affinity(thread, cpus.to_vec())));
    }

    /// Forgets what was set after so many undos.
    pub fn forget_after(&mut self, undos: usize) {
        self.0.retain(|(at, _)| *at <= undos);
    }

    /// What is no longer as it was set, a sentence each.
    pub fn changed(&self, host: &dyn Actions) -> Vec<String> {
        let settings = || self.0.iter().map(|(_, setting)| setting);
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
                let alive = host.start_time(thread.tid).ok() == Some(thread.start_time);
                let now = host.scheduling(thread.tid).ok().filter(|_| alive)?;
                (now.policy != attributes.policy).then(|| {
                    let (tid, was) = (thread.tid, attributes.policy);
                    format!("thread {tid} is under {}, where {was} was set", now.policy)
                })
            }
            Self::Affinity(thread, cpus) => {
                let alive = host.start_time(thread.tid).ok() == Some(thread.start_time);
                let now = host.affinity(thread.tid).ok().filter(|_| alive)?;
                (now != *cpus).then(|| {
                    let (tid, now, was) = (thread.tid, format_list(&now), format_list(cpus));
                    format!("thread {tid} is on CPUs {now}, where {was} was set")
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

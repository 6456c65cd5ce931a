//! What undoes a change. Each undo can be done twice: what is already as it was is left alone.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use kernel::{
    affinity::{Tid, format_list},
    cpuset::Cpusets,
    sched::Attributes,
};
use serde::{Deserialize, Serialize};

use super::{Actions, controller, shared};

/// A thread, named for good by its id and the instant it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Thread {
    pub(crate) tid: Tid,
    pub(crate) start_time: u64,
}

impl Thread {
    /// What the host says of it; none where it is gone, with its id taken by another or not.
    pub(super) fn ask<T>(
        self,
        host: &dyn Actions,
        question: impl FnOnce(Tid) -> io::Result<T>,
    ) -> Option<T> {
        let alive = || host.start_time(self.tid).is_ok_and(|since| since == self.start_time);
        let answer = question(self.tid).ok()?;
        alive().then_some(answer)
    }
}

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// Kill every process whose environment holds this mark.
    Processes {
        /// `NAME=value`.
        mark: String,
    },
    /// Write the old value back.
    File {
        /// The file.
        path: PathBuf,
        /// The value.
        value: String,
    },
    /// Leave a setting of the whole host that several use; the last one writes the value back.
    Shared {
        /// The file.
        path: PathBuf,
        /// The value.
        value: String,
        /// The folder of its users.
        users: PathBuf,
        /// Which of them this is.
        user: String,
    },
    /// Remove a group that was made, its threads first moved up to the parent.
    RemoveGroup {
        /// The group.
        path: PathBuf,
    },
    /// Remove a tracing instance with all that is in it.
    RemoveInstance {
        /// Its folder.
        path: PathBuf,
    },
    /// Take a mount away, and the folder that was made for it.
    Unmount {
        /// The folder.
        path: PathBuf,
    },
    /// Give a thread its old policy.
    Scheduling {
        /// Which.
        thread: Thread,
        /// The policy.
        attributes: Attributes,
    },
    /// Give a thread its old CPUs.
    Affinity {
        /// Which.
        thread: Thread,
        /// The CPUs.
        cpus: Vec<u32>,
    },
    /// Give many threads their old CPUs, as far as they are still there.
    Affinities {
        /// Which, with the CPUs.
        threads: Vec<(Thread, Vec<u32>)>,
    },
    /// Move a thread back into its old group.
    Group {
        /// Which.
        thread: Thread,
        /// The file that takes thread ids.
        file: PathBuf,
    },
}

/// How long the kernel is given for what it does not do at once: a killed process leaving its
/// cgroup, a reservation reaching its zero-lag time.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 30 } else { 5000 });

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Processes { mark } => write!(f, "ending the processes with {mark}"),
            Self::File { path, value } | Self::Shared { path, value, .. } => {
                write!(f, "writing `{value}` to {}", path.display())
            }
            Self::RemoveGroup { path } | Self::RemoveInstance { path } => {
                write!(f, "removing {}", path.display())
            }
            Self::Unmount { path } => write!(f, "unmounting {}", path.display()),
            Self::Scheduling { thread, attributes } => {
                write!(f, "giving thread {} back {}", thread.tid, attributes.policy)
            }
            Self::Affinity { thread, cpus } => {
                write!(f, "giving thread {} back CPUs {}", thread.tid, format_list(cpus))
            }
            Self::Affinities { threads } => {
                write!(f, "giving {} threads back their CPUs", threads.len())
            }
            Self::Group { thread, file } => {
                write!(f, "moving thread {} back to {}", thread.tid, file.display())
            }
        }
    }
}

impl Undo {
    /// Undoes the change.
    ///
    /// # Errors
    /// What the host says, where it is not that there is nothing left to undo.
    pub fn apply(&self, host: &dyn Actions) -> io::Result<()> {
        match self {
            Self::Processes { mark } => kill_marked(host, mark),
            Self::File { path, value } => write_back(host, path, value),
            Self::Shared { path, value, users, user } => {
                shared::Users::lock(users.clone())?.leave(user, || write_back(host, path, value))
            }
            Self::RemoveGroup { path } => remove_group(host, path),
            // Busy as long as a reader that was just killed is not gone.
            Self::RemoveInstance { path } => patiently(|| gone(host.remove_dir(path))),
            Self::Unmount { path } => {
                patiently(|| gone(host.unmount(path)))?;
                gone(host.remove_dir(path))
            }
            // A change that was refused left it as it was.
            Self::Scheduling { thread, attributes } => if_alive(host, *thread, || {
                if host.scheduling(thread.tid)? == *attributes {
                    return Ok(());
                }
                patiently(|| Ok(host.set_scheduling(thread.tid, *attributes)?))
            }),
            // Asked for explicitly, CPUs outlast a change of the group: not where it gave them.
            Self::Affinity { thread, cpus } => if_alive(host, *thread, || {
                if host.affinity(thread.tid)? == *cpus {
                    return Ok(());
                }
                host.set_affinity(thread.tid, cpus)
            }),
            Self::Affinities { threads } => {
                let back = |(thread, cpus): &(Thread, Vec<u32>)| {
                    if_alive(host, *thread, || match host.affinity(thread.tid)? {
                        now if now == *cpus => Ok(()),
                        _ => host.set_affinity(thread.tid, cpus),
                    })
                };
                // All are tried.
                let results: Vec<_> = threads.iter().map(back).collect();
                results.into_iter().collect()
            }
            // A group that somebody removed meanwhile takes nobody back: the thread stays with the
            // group that it is in, and goes up with it.
            Self::Group { thread, file } => {
                if_alive(host, *thread, || match host.write(file, &thread.tid.to_string()) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                    result => result,
                })
            }
        }
    }
}

/// Writes an old value back. What is gone needs nothing, and a controller that somebody else uses by
/// now is left to them. The kernel says EBUSY also to bandwidth that is not free yet.
fn write_back(host: &dyn Actions, path: &Path, value: &str) -> io::Result<()> {
    match host.read(path) {
        Ok(now) if now == value => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        _ => {}
    }
    let busy = |result: &io::Result<()>| {
        result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
    };
    if let Some((parent, controller)) = path.parent().zip(value.strip_prefix('-'))
        && path.ends_with("cgroup.subtree_control")
    {
        if controller::in_use(host, parent, controller) {
            return Ok(());
        }
        let result = host.write(path, value);
        return if busy(&result) { Ok(()) } else { result };
    }
    let start = Instant::now();
    loop {
        let result = host.write(path, value);
        if !busy(&result) || start.elapsed() > PATIENCE {
            // A group that goes in this moment refuses both reading and writing at first.
            let missing = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
            let gone = || host.read(path).is_err_and(missing);
            return if result.is_err() && gone() { Ok(()) } else { result };
        }
        sleep(Duration::from_millis(10));
    }
}

/// Success where what is to be removed is gone already, or nothing is mounted there.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) =>
        {
            Ok(())
        }
        result => result,
    }
}

fn if_alive(
    host: &dyn Actions,
    thread: Thread,
    undo: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let alive = || host.start_time(thread.tid).is_ok_and(|since| since == thread.start_time);
    if !alive() {
        return Ok(());
    }
    match undo() {
        // It ended in this moment.
        Err(_) if !alive() => Ok(()),
        result => result,
    }
}

/// Tries until it succeeds or the patience is at its end.
fn patiently(mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(_) if start.elapsed() < PATIENCE => sleep(Duration::from_millis(10)),
            result => return result,
        }
    }
}

fn kill_marked(host: &dyn Actions, mark: &str) -> io::Result<()> {
    patiently(|| {
        let alive = host.marked(mark);
        for pid in &alive {
            // One that has gone meanwhile is what is wanted.
            let _ = host.kill(*pid);
        }
        if alive.is_empty() {
            Ok(())
        } else {
            Err(io::Error::other(format!("processes {alive:?} do not end")))
        }
    })
}

fn remove_group(host: &dyn Actions, path: &Path) -> io::Result<()> {
    let threads = Cpusets::threads_file(path);
    let parent = path.parent().map(Cpusets::threads_file).unwrap_or_default();
    patiently(|| {
        if let Ok(members) = host.read(&threads) {
            for tid in members.lines() {
                let _ = host.write(&parent, tid);
            }
        }
        gone(host.remove_dir(path))
    })
}

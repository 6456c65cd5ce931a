//! A host made of maps, which refuses what it is told to refuse.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    rc::Rc,
};

use kernel::{
    affinity::Tid,
    sched::{Attributes, Policy, SchedError},
};
use nix::errno::Errno;

use super::{Actions, Undo};

/// Where its cpusets are mounted.
pub const ROOT: &str = "/c";

/// All that a test can see of the host; equal before and after when everything was undone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub files: BTreeMap<PathBuf, String>,
    pub policies: BTreeMap<Tid, Attributes>,
    pub affinities: BTreeMap<Tid, Vec<u32>>,
    pub processes: BTreeMap<i32, String>,
    /// The v1 cpuset group of each thread that has moved or may move.
    pub groups: BTreeMap<Tid, PathBuf>,
}

/// A fake host; clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Fake {
    pub state: Rc<RefCell<State>>,
    /// Writes to this path are refused.
    pub refuse: Option<PathBuf>,
    /// The action of this undo is refused.
    pub refused: Rc<RefCell<Option<Undo>>>,
    /// A thread that is written into this file gets these CPUs, as from a cpuset.
    pub narrows: Option<(PathBuf, Vec<u32>)>,
}

impl Fake {
    /// With thread 7, ordinary, on CPUs 0 and 1.
    pub fn with_thread() -> Self {
        let fake = Self::default();
        let ordinary = Attributes { policy: Policy::Other { nice: 0 }, reset_on_fork: false };
        fake.state.borrow_mut().policies.insert(7, ordinary);
        fake.state.borrow_mut().affinities.insert(7, vec![0, 1]);
        fake.state.borrow_mut().groups.insert(7, ROOT.into());
        fake
    }

    /// Refuses what this undo does, until [`Fake::refuse_nothing`].
    pub fn refuse_undo(&self, undo: &Undo) {
        *self.refused.borrow_mut() = Some(undo.clone());
    }

    /// Takes everything again, but writes to `refuse`.
    pub fn refuse_nothing(&self) {
        *self.refused.borrow_mut() = None;
    }

    fn allow(&self, refuses: impl Fn(&Undo) -> bool) -> io::Result<()> {
        match &*self.refused.borrow() {
            Some(undo) if refuses(undo) => Err(io::Error::from_raw_os_error(Errno::EIO as i32)),
            _ => Ok(()),
        }
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Actions for Fake {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.state.borrow().files.get(path).cloned().ok_or_else(missing)
    }

    fn write(&self, path: &Path, value: &str) -> io::Result<()> {
        if self.refuse.as_deref() == Some(path) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.allow(|undo| match undo {
            Undo::File { path: one, value: old } | Undo::Shared { path: one, value: old, .. } => {
                one == path && old == value
            }
            Undo::Group { thread, file } => file == path && thread.tid.to_string() == value,
            _ => false,
        })?;
        let mut state = self.state.borrow_mut();
        if let (Some((file, cpus)), Ok(tid)) = (&self.narrows, value.parse())
            && file == path
        {
            state.affinities.insert(tid, cpus.clone());
        }
        let member = value.parse().ok().filter(|tid| state.groups.contains_key(tid));
        if let (Some(tid), true) = (member, path.starts_with(ROOT) && path.ends_with("tasks")) {
            state.groups.insert(tid, path.parent().unwrap_or(path).to_owned());
        } else {
            state.files.insert(path.to_owned(), value.to_owned());
        }
        Ok(())
    }

    fn subgroups(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.state.borrow();
        let below = state.files.keys().filter_map(|file| file.strip_prefix(path).ok());
        let groups: BTreeSet<PathBuf> = below
            .filter(|file| file.components().count() > 1)
            .filter_map(|file| Some(path.join(file.components().next()?)))
            .collect();
        Ok(groups.into_iter().collect())
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.state.borrow_mut().files.insert(path.to_owned(), "dir".to_owned());
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.allow(|undo| {
            matches!(undo, Undo::RemoveGroup { path: one } | Undo::RemoveInstance { path: one }
                if one == path)
        })?;
        // Like a cgroup, a folder takes its files with it.
        self.state.borrow_mut().files.retain(|file, _| !file.starts_with(path));
        Ok(())
    }

    fn mount_tracefs(&self, at: &Path) -> io::Result<()> {
        self.write(&at.join("tracing_on"), "1")
    }

    fn unmount(&self, path: &Path) -> io::Result<()> {
        self.allow(|undo| matches!(undo, Undo::Unmount { path: one } if one == path))?;
        self.remove_dir(&path.join("tracing_on"))
    }

    fn scheduling(&self, tid: Tid) -> io::Result<Attributes> {
        self.state.borrow().policies.get(&tid).copied().ok_or_else(missing)
    }

    fn set_scheduling(&self, tid: Tid, attributes: Attributes) -> Result<(), SchedError> {
        let old = |undo: &Undo| {
            matches!(undo, Undo::Scheduling { thread, attributes: old }
                if thread.tid == tid && *old == attributes)
        };
        if self.allow(old).is_err() {
            return Err(SchedError { tid, policy: attributes.policy, errno: Errno::EIO });
        }
        match self.state.borrow_mut().policies.get_mut(&tid) {
            Some(now) => *now = attributes,
            None => {
                return Err(SchedError { tid, policy: attributes.policy, errno: Errno::ESRCH });
            }
        }
        Ok(())
    }

    fn affinity(&self, tid: Tid) -> io::Result<Vec<u32>> {
        self.state.borrow().affinities.get(&tid).cloned().ok_or_else(missing)
    }

    fn set_affinity(&self, tid: Tid, cpus: &[u32]) -> io::Result<()> {
        self.allow(|undo| match undo {
            Undo::Affinity { thread, cpus: old } => thread.tid == tid && old == cpus,
            Undo::Affinities { threads } => {
                threads.iter().any(|(thread, old)| thread.tid == tid && old == cpus)
            }
            _ => false,
        })?;
        self.state.borrow_mut().affinities.insert(tid, cpus.to_vec());
        Ok(())
    }

    fn start_time(&self, tid: Tid) -> io::Result<u64> {
        self.scheduling(tid).map(|_| 1)
    }

    fn threads(&self, pid: i32) -> io::Result<Vec<Tid>> {
        Ok(vec![pid])
    }

    fn cgroup(&self, tid: Tid) -> io::Result<String> {
        let state = self.state.borrow();
        let group = state
            .groups
            .get(&tid)
            .map_or(Path::new("/"), |group| group.strip_prefix(ROOT).unwrap_or(group));
        let group = group.display();
        Ok(format!("3:cpuset:/{group}\n0::/{group}\n"))
    }

    fn marked(&self, mark: &str) -> Vec<i32> {
        let state = self.state.borrow();
        state.processes.iter().filter(|(_, m)| *m == mark).map(|(pid, _)| *pid).collect()
    }

    fn kill(&self, pid: i32) -> io::Result<()> {
        self.state.borrow_mut().processes.remove(&pid).map(drop).ok_or_else(missing)
    }
}

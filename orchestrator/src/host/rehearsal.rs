//! A host to which nothing is done: what would be is printed, a line each.

use std::{
    io,
    path::{Path, PathBuf},
};

use kernel::{
    affinity::{self, Tid},
    sched::{Attributes, SchedError},
};

use model::answer;

use super::{Actions, Linux};

/// The real host for whoever looks, and a list of what would be done to it.
#[derive(Debug, Default)]
pub struct Rehearsal {
    host: Linux,
}

impl Actions for Rehearsal {
    fn is_real(&self) -> bool {
        false
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        self.host.read(path)
    }

    fn write(&self, path: &Path, value: &str) -> io::Result<()> {
        answer!("write `{value}` to {}", path.display()).map(drop)
    }

    fn subgroups(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.host.subgroups(path)
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        answer!("make {}", path.display()).map(drop)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        answer!("remove {}", path.display()).map(drop)
    }

    fn mount_tracefs(&self, at: &Path) -> io::Result<()> {
        answer!("mount tracefs on {}", at.display()).map(drop)
    }

    fn unmount(&self, path: &Path) -> io::Result<()> {
        answer!("unmount {}", path.display()).map(drop)
    }

    fn scheduling(&self, tid: Tid) -> io::Result<Attributes> {
        self.host.scheduling(tid)
    }

    fn set_scheduling(&self, tid: Tid, attributes: Attributes) -> Result<(), SchedError> {
        let _lost = answer!("give thread {tid} the policy {}", attributes.policy);
        Ok(())
    }

    fn affinity(&self, tid: Tid) -> io::Result<Vec<u32>> {
        self.host.affinity(tid)
    }

    fn set_affinity(&self, tid: Tid, cpus: &[u32]) -> io::Result<()> {
        answer!("pin thread {tid} to CPUs {}", affinity::format_list(cpus)).map(drop)
    }

    fn start_time(&self, tid: Tid) -> io::Result<u64> {
        self.host.start_time(tid)
    }

    fn threads(&self, pid: i32) -> io::Result<Vec<Tid>> {
        self.host.threads(pid)
    }

    fn cgroup(&self, tid: Tid) -> io::Result<String> {
        self.host.cgroup(tid)
    }

    fn marked(&self, _: &str) -> Vec<i32> {
        Vec::new()
    }

    fn kill(&self, pid: i32) -> io::Result<()> {
        answer!("kill process {pid}").map(drop)
    }
}

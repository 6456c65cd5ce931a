//! A mounted cgroup hierarchy of either version, and how threads move in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::affinity::Tid;

/// The version of cgroups that a hierarchy follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy a controller.
    V1,
    /// The unified hierarchy.
    V2,
}

impl Version {
    /// 1 or 2.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// The hierarchy that has a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Which dialect it speaks.
    pub version: Version,
    /// Where it is mounted.
    pub root: PathBuf,
    /// The controller that it was found by.
    pub controller: String,
}

impl Hierarchy {
    /// Finds the hierarchy of `controller` in the text of `/proc/mounts`. A v1 mount goes first:
    /// while it is there, v2 does not have the controller.
    #[must_use]
    pub fn find(mounts: &str, controller: &str) -> Option<Self> {
        let mount = |wanted: &dyn Fn(&str, &str, &str) -> bool| {
            mounts.lines().find_map(|line| {
                let fields: Vec<_> = line.split_whitespace().collect();
                let [_, place, kind, options, ..] = fields[..] else { return None };
                wanted(place, kind, options).then(|| PathBuf::from(place))
            })
        };
        let v1 = |_: &str, kind: &str, options: &str| {
            kind == "cgroup" && options.split(',').any(|option| option == controller)
        };
        let v2 = |place: &str, kind: &str, _: &str| {
            kind == "cgroup2"
                && fs::read_to_string(Path::new(place).join("cgroup.controllers"))
                    .is_ok_and(|text| text.split_whitespace().any(|name| name == controller))
        };
        let found = |version, root| Self { version, root, controller: controller.to_owned() };
        mount(&v1)
            .map(|root| found(Version::V1, root))
            .or_else(|| mount(&v2).map(|root| found(Version::V2, root)))
    }

    /// The group that `/proc/<tid>/cgroup` (its text) says a thread is in, below the mount.
    #[must_use]
    pub fn group_of(&self, proc_cgroup: &str) -> Option<PathBuf> {
        proc_cgroup.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let ours = match self.version {
                Version::V1 => controllers.split(',').any(|name| name == self.controller),
                Version::V2 => controllers.is_empty(),
            };
            ours.then(|| self.root.join(path.trim_start_matches('/')))
        })
    }

    /// The file of a group that lists its threads, and takes new ones.
    #[must_use]
    pub fn threads_file(&self, group: &Path) -> PathBuf {
        match self.version {
            Version::V1 => group.join("tasks"),
            Version::V2 => group.join("cgroup.threads"),
        }
    }

    /// The write that moves a thread into `group`. On v2 a thread moves only within the threaded
    /// domain that its process is in: see [`Hierarchy::process_to_root`].
    #[must_use]
    pub fn attach_thread(&self, group: &Path, tid: Tid) -> (PathBuf, String) {
        (self.threads_file(group), tid.to_string())
    }

    /// The write that brings process `pid`, with all its threads, into the root's threaded domain.
    #[must_use]
    pub fn process_to_root(&self, pid: i32) -> (PathBuf, String) {
        (self.root.join("cgroup.procs"), pid.to_string())
    }

    /// The writes that move process `pid` with all its threads into `group`.
    #[must_use]
    pub fn attach_process(&self, group: &Path, pid: i32) -> Vec<(PathBuf, String)> {
        let into = (group.join("cgroup.procs"), pid.to_string());
        match self.version {
            Version::V1 => vec![into],
            Version::V2 => vec![self.process_to_root(pid), into],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_controller_of_v1_has_its_own_hierarchy() {
        let mounts = "cgroup /c/cpu cgroup rw,cpu 0 0\ncgroup /c/cpuset cgroup rw,cpuset 0 0\n";
        assert_eq!(Hierarchy::find(mounts, "cpu").unwrap().root, Path::new("/c/cpu"));
        assert_eq!(Hierarchy::find(mounts, "cpuset").unwrap().root, Path::new("/c/cpuset"));
        assert_eq!(Hierarchy::find(mounts, "memory"), None);
    }

    #[test]
    fn v2_has_a_controller_where_it_says_so() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cgroup.controllers"), "cpuset cpu\n").unwrap();
        let mounts = format!("cgroup2 {} cgroup2 rw 0 0\n", root.path().display());
        assert_eq!(Hierarchy::find(&mounts, "cpu").unwrap().version, Version::V2);
        assert_eq!(Hierarchy::find(&mounts, "memory"), None);
    }

    #[test]
    fn the_group_of_a_thread_is_found() {
        let text = "3:cpuset:/a/b\n1:cpu:/\n0::/x.slice\n";
        let at = |version, controller: &str| {
            let hierarchy =
                Hierarchy { version, root: "/c".into(), controller: controller.to_owned() };
            hierarchy.group_of(text)
        };
        assert_eq!(at(Version::V1, "cpuset"), Some("/c/a/b".into()));
        assert_eq!(at(Version::V1, "cpu"), Some("/c/".into()));
        assert_eq!(at(Version::V2, "cpu"), Some("/c/x.slice".into()));
    }
}

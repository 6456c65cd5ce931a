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
            // Joining nothing would add a slash.
            let below = path.trim_start_matches('/');
            ours.then(|| if below.is_empty() { self.root.clone() } else { self.root.join(below) })
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

    /// The group that is the threaded domain of `group`: it or the nearest above that is not
    /// threaded (v2). Threads move only within it.
    #[must_use]
    pub fn domain_of(&self, group: &Path) -> PathBuf {
        let threaded = |group: &&Path| {
            *group != self.root
                && fs::read_to_string(group.join("cgroup.type"))
                    .is_ok_and(|kind| kind.trim() == "threaded")
        };
        let domain = group.ancestors().find(|group| !threaded(group));
        domain.unwrap_or(&self.root).to_owned()
    }

    /// `group` and the groups above it, up to the root's children, the lowest first.
    pub fn lineage<'a>(&'a self, group: &'a Path) -> impl Iterator<Item = &'a Path> {
        group.ancestors().take_while(|above| above.starts_with(&self.root) && *above != self.root)
    }

    /// The threads in `group` and in all groups below it.
    #[must_use]
    pub fn threads_below(&self, group: &Path) -> Vec<Tid> {
        let text = fs::read_to_string(self.threads_file(group)).unwrap_or_default();
        let own = text.lines().filter_map(|line| line.trim().parse().ok());
        let below = fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
        let below = below.filter(|path| path.is_dir()).flat_map(|path| self.threads_below(&path));
        own.chain(below).collect()
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

    #[test]
    fn the_domain_and_the_members_of_groups_are_found() {
        let root = tempfile::tempdir().unwrap();
        let at = |below: &str| root.path().join(below);
        for (group, kind, threads) in [
            ("vm.scope", "domain threaded", "10\n"),
            ("vm.scope/vcpu0", "threaded", "11\n"),
            ("vm.scope/vcpu0/deep", "threaded", "12\n"),
            ("other.service", "domain", ""),
        ] {
            fs::create_dir_all(at(group)).unwrap();
            fs::write(at(group).join("cgroup.type"), format!("{kind}\n")).unwrap();
            fs::write(at(group).join("cgroup.threads"), threads).unwrap();
        }
        let controller = "cpu".to_owned();
        let v2 = Hierarchy { version: Version::V2, root: root.path().to_owned(), controller };
        assert_eq!(v2.domain_of(&at("vm.scope/vcpu0/deep")), at("vm.scope"));
        assert_eq!(v2.domain_of(&at("other.service")), at("other.service"));
        assert_eq!(v2.domain_of(root.path()), root.path());
        assert_eq!(v2.threads_below(&at("vm.scope")), [10, 11, 12]);
        let lineage: Vec<_> = v2.lineage(&at("vm.scope/vcpu0")).map(Path::to_owned).collect();
        assert_eq!(lineage, [at("vm.scope/vcpu0"), at("vm.scope")]);
    }
}

//! The host, behind a trait with a fake.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kernel::{
    affinity::{self, Tid},
    procfs::Proc,
    sched::{self, Attributes},
};
use nix::{
    mount::{MsFlags, mount, umount},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Each kind of thing that is done to the host.
pub trait Actions {
    /// Whether anything is really done.
    fn is_real(&self) -> bool {
        true
    }
    /// Reads a small file.
    ///
    /// # Errors
    /// The file system's, with the path.
    fn read(&self, path: &Path) -> io::Result<String>;
    /// Writes a value into an existing file in one `write`.
    ///
    /// # Errors
    /// The file system's, with path and value.
    fn write(&self, path: &Path, value: &str) -> io::Result<()>;
    /// The groups (folders) right below one.
    ///
    /// # Errors
    /// The file system's, with the path.
    fn subgroups(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Makes a folder.
    ///
    /// # Errors
    /// The file system's, with the path.
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder, or a cgroup without members.
    ///
    /// # Errors
    /// The file system's, with the path.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Mounts a tracefs on a folder.
    ///
    /// # Errors
    /// The kernel's refusal, with the path.
    fn mount_tracefs(&self, at: &Path) -> io::Result<()>;
    /// Takes a mount away.
    ///
    /// # Errors
    /// EINVAL (`InvalidInput`) where nothing is mounted, EBUSY where it is in use.
    fn unmount(&self, path: &Path) -> io::Result<()>;
    /// A thread's policy.
    ///
    /// # Errors
    /// ESRCH where it is gone.
    fn scheduling(&self, tid: Tid) -> io::Result<Attributes>;
    /// Gives a thread a policy.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn set_scheduling(&self, tid: Tid, attributes: Attributes) -> Result<(), sched::SchedError>;
    /// A thread's CPUs.
    ///
    /// # Errors
    /// ESRCH where it is gone.
    fn affinity(&self, tid: Tid) -> io::Result<Vec<u32>>;
    /// Gives a thread its CPUs.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn set_affinity(&self, tid: Tid, cpus: &[u32]) -> io::Result<()>;
    /// When a thread started, which with its id names it for good.
    ///
    /// # Errors
    /// Where it is gone.
    fn start_time(&self, tid: Tid) -> io::Result<u64>;
    /// The threads of a process.
    ///
    /// # Errors
    /// Where it is gone.
    fn threads(&self, pid: i32) -> io::Result<Vec<Tid>>;
    /// The text of `/proc/<tid>/cgroup`.
    ///
    /// # Errors
    /// Where it is gone.
    fn cgroup(&self, tid: Tid) -> io::Result<String>;
    /// The processes whose environment holds `mark` (a `NAME=value`).
    fn marked(&self, mark: &str) -> Vec<i32>;
    /// Kills a process.
    ///
    /// # Errors
    /// ESRCH where it is gone.
    fn kill(&self, pid: i32) -> io::Result<()>;
}

/// The real host.
#[derive(Debug, Default)]
pub struct Linux {
    proc: Proc,
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl Actions for Linux {
    fn read(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
            .map(|text| text.trim_end().to_owned())
            .map_err(|error| at(path, &error))
    }

    fn write(&self, path: &Path, value: &str) -> io::Result<()> {
        // A write of nothing is none: to empty a list takes an empty line.
        let text = if value.is_empty() { "\n" } else { value };
        fs::OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()))
            .map_err(|error| {
                let text = format!("writing `{value}` to {}: {error}", path.display());
                io::Error::new(error.kind(), text)
            })
    }

    fn subgroups(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(path).map_err(|error| at(path, &error))?;
        let folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        Ok(entries.filter_map(Result::ok).filter(folder).map(|entry| entry.path()).collect())
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path).map_err(|error| at(path, &error))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path).map_err(|error| at(path, &error))
    }

    fn mount_tracefs(&self, folder: &Path) -> io::Result<()> {
        let nothing: Option<&str> = None;
        mount(Some("tracefs"), folder, Some("tracefs"), MsFlags::empty(), nothing)
            .map_err(|errno| at(folder, &errno.into()))
    }

    fn unmount(&self, path: &Path) -> io::Result<()> {
        umount(path).map_err(|errno| at(path, &errno.into()))
    }

    fn scheduling(&self, tid: Tid) -> io::Result<Attributes> {
        sched::get(tid)
    }

    fn set_scheduling(&self, tid: Tid, attributes: Attributes) -> Result<(), sched::SchedError> {
        sched::change(tid, attributes)
    }

    fn affinity(&self, tid: Tid) -> io::Result<Vec<u32>> {
        affinity::get(tid)
    }

    fn set_affinity(&self, tid: Tid, cpus: &[u32]) -> io::Result<()> {
        affinity::set(tid, cpus)
    }

    fn start_time(&self, tid: Tid) -> io::Result<u64> {
        self.proc.start_time(tid)
    }

    fn threads(&self, pid: i32) -> io::Result<Vec<Tid>> {
        self.proc.threads(pid)
    }

    fn cgroup(&self, tid: Tid) -> io::Result<String> {
        self.proc.text(&format!("{tid}/cgroup"))
    }

    fn marked(&self, mark: &str) -> Vec<i32> {
        let Ok(entries) = fs::read_dir(self.proc.path("")) else { return Vec::new() };
        let holds = |pid: &i32| {
            let environment: PathBuf = self.proc.path(&format!("{pid}/environ"));
            fs::read(environment)
                .is_ok_and(|bytes| bytes.split(|&byte| byte == 0).any(|v| v == mark.as_bytes()))
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| *pid != std::process::id() as i32)
            .filter(holds)
            .collect()
    }

    fn kill(&self, pid: i32) -> io::Result<()> {
        Ok(kill(Pid::from_raw(pid), Signal::SIGKILL)?)
    }
}

//! What `/proc` says about the machine and about threads.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::affinity::Tid;

/// A `/proc` tree.
#[derive(Debug, Clone)]
pub struct Proc {
    root: PathBuf,
}

impl Default for Proc {
    fn default() -> Self {
        Self::at(Path::new("/proc"))
    }
}

/// Counters of one CPU since boot, in nanoseconds (from ticks of 1/100 s).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTimes {
    /// Idle, waiting for I/O included.
    pub idle_ns: u64,
    /// Taken by the hypervisor, as far as it says.
    pub steal_ns: u64,
    /// In interrupts, hard and soft.
    pub interrupt_ns: u64,
}

/// Counters of a thread since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadTimes {
    /// Time on a CPU.
    pub cpu_ns: u64,
    /// Time runnable without a CPU.
    pub wait_ns: u64,
}

/// What kind of thread one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// It is the kernel's own (PF_KTHREAD).
    pub kernel: bool,
    /// It is bound to its CPUs for good (PF_NO_SETAFFINITY).
    pub bound: bool,
}

const PF_KTHREAD: u32 = 0x0020_0000;
const PF_NO_SETAFFINITY: u32 = 0x0400_0000;

const TICK_NS: u64 = 10_000_000;

fn malformed(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: unexpected contents", path.display()))
}

impl Proc {
    /// The tree below `root`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// A path below the root.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// The text of a file below the root, without its last newline.
    ///
    /// # Errors
    /// With the path.
    pub fn text(&self, below: &str) -> io::Result<String> {
        let path = self.path(below);
        fs::read_to_string(&path)
            .map(|text| text.trim_end().to_owned())
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    /// A mask of signals or capabilities in the calling thread's status, by its name there.
    #[must_use]
    pub fn status_mask(&self, name: &str) -> Option<u64> {
        let status = self.text("self/status").ok()?;
        let mut lines = status.lines().filter_map(|line| line.split_once(':'));
        let (_, mask) = lines.find(|(found, _)| *found == name)?;
        u64::from_str_radix(mask.trim(), 16).ok()
    }

    /// The thread ids of a process, ascending.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn threads(&self, pid: i32) -> io::Result<Vec<Tid>> {
        let mut tids: Vec<Tid> = fs::read_dir(self.path(&format!("{pid}/task")))?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        tids.sort_unstable();
        Ok(tids)
    }

    /// The ids of all processes, ascending; those of the kernel's threads among them.
    ///
    /// # Errors
    /// Where there is no such tree.
    pub fn processes(&self) -> io::Result<Vec<i32>> {
        let mut pids: Vec<i32> = fs::read_dir(&self.root)?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        pids.sort_unstable();
        Ok(pids)
    }

    /// The name of a thread.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn name(&self, tid: Tid) -> io::Result<String> {
        self.text(&format!("{tid}/comm"))
    }

    /// When a process or thread started, in clock ticks since boot: with its id, this names it for
    /// good, even after the id is used again.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn start_time(&self, tid: Tid) -> io::Result<u64> {
        self.stat(tid, 22)
    }

    /// Whether a thread runs, or would if it had a CPU.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn runs(&self, tid: Tid) -> io::Result<bool> {
        self.stat::<char>(tid, 3).map(|state| state == 'R')
    }

    /// Whose a thread is, and whether it can be moved.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn kind(&self, tid: Tid) -> io::Result<Kind> {
        let flags: u32 = self.stat(tid, 9)?;
        Ok(Kind { kernel: flags & PF_KTHREAD != 0, bound: flags & PF_NO_SETAFFINITY != 0 })
    }

    /// A field of `/proc/<tid>/stat`, numbered from 1 as in proc(5); from the third on.
    fn stat<T: std::str::FromStr>(&self, tid: Tid, field: usize) -> io::Result<T> {
        let below = format!("{tid}/stat");
        let text = self.text(&below)?;
        // The name stands in parentheses and may hold anything, so count from the last one.
        text.rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(field - 3)?.parse().ok())
            .ok_or_else(|| malformed(&self.path(&below)))
    }

    /// CPU time and waiting time of a thread of any process.
    ///
    /// # Errors
    /// Where it is gone, or the kernel keeps no schedstat.
    pub fn thread_times(&self, tid: Tid) -> io::Result<ThreadTimes> {
        let below = format!("{tid}/schedstat");
        let text = self.text(&below)?;
        let mut numbers = text.split_whitespace().map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(cpu_ns)), Some(Ok(wait_ns))) => Ok(ThreadTimes { cpu_ns, wait_ns }),
            _ => Err(malformed(&self.path(&below))),
        }
    }

    /// Counters of a CPU.
    ///
    /// # Errors
    /// Where there is no such CPU.
    pub fn cpu_times(&self, cpu: u32) -> io::Result<CpuTimes> {
        let text = self.text("stat")?;
        let label = format!("cpu{cpu}");
        let ticks: Vec<u64> = text
            .lines()
            .find_map(|line| line.split_once(' ').filter(|(name, _)| *name == label))
            .map(|(_, rest)| rest.split_whitespace().filter_map(|n| n.parse().ok()).collect())
            .unwrap_or_default();
        // Columns: user nice system idle iowait irq softirq steal.
        match ticks[..] {
            [_, _, _, idle, iowait, irq, softirq, steal, ..] => Ok(CpuTimes {
                idle_ns: (idle + iowait) * TICK_NS,
                steal_ns: steal * TICK_NS,
                interrupt_ns: (irq + softirq) * TICK_NS,
            }),
            _ => Err(malformed(&self.path("stat"))),
        }
    }

    /// Interrupts and context switches of the whole machine since boot.
    ///
    /// # Errors
    /// Where `/proc/stat` lacks them.
    pub fn interrupts_and_switches(&self) -> io::Result<(u64, u64)> {
        let text = self.text("stat")?;
        let first = |label: &str| -> Option<u64> {
            text.lines()
                .find_map(|line| line.strip_prefix(label)?.split_whitespace().next()?.parse().ok())
        };
        first("intr ").zip(first("ctxt ")).ok_or_else(|| malformed(&self.path("stat")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_thread_is_among_its_process_and_has_run() {
        let proc = Proc::default();
        let pid = std::process::id() as i32;
        let tid = nix::unistd::gettid().as_raw();
        assert!(proc.threads(pid).unwrap().contains(&tid));
        // The kernel counts a running thread's time when it switches it out.
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert!(proc.thread_times(tid).unwrap().cpu_ns > 0);
        assert!(proc.start_time(tid).unwrap() > 0);
    }

    #[test]
    fn the_kernels_threads_are_told_from_others() {
        let proc = Proc::default();
        let own = proc.kind(std::process::id() as i32).unwrap();
        assert_eq!(own, Kind { kernel: false, bound: false });
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("18")).unwrap();
        // migration/0, as Linux 6.1 shows it.
        let stat = "18 (migration/0) S 2 0 0 0 -1 69238848 0 0 0 0 0 0 0 0 -100 0 1 0 2 0 0";
        fs::write(root.path().join("18/stat"), stat).unwrap();
        let kind = Proc::at(root.path()).kind(18).unwrap();
        assert_eq!(kind, Kind { kernel: true, bound: true });
    }

    #[test]
    fn a_made_up_tree_is_read() {
        let root = tempfile::tempdir().unwrap();
        fs::write(
            root.path().join("stat"),
            "cpu  1 2 3 4 5 6 7 8 9\ncpu1 1 0 1 100 20 3 4 5 0 0\nintr 77 1 2\nctxt 99\n",
        )
        .unwrap();
        fs::create_dir_all(root.path().join("7")).unwrap();
        let fields: Vec<String> = (3..=52).map(|n| n.to_string()).collect();
        fs::write(root.path().join("7/stat"), format!("7 (a) b) S {}", fields[1..].join(" ")))
            .unwrap();
        let proc = Proc::at(root.path());
        let times = proc.cpu_times(1).unwrap();
        assert_eq!((times.idle_ns, times.steal_ns), (1_200_000_000, 50_000_000));
        assert_eq!(proc.interrupts_and_switches().unwrap(), (77, 99));
        assert_eq!(proc.start_time(7).unwrap(), 22);
        assert_eq!(proc.kind(7).unwrap(), Kind { kernel: false, bound: false });
        assert_eq!(proc.processes().unwrap(), [7]);
        assert!(proc.cpu_times(3).is_err());
    }
}

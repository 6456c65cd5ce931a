//! Keeps everybody else away from the measured CPUs, but for one that does everything else as well.
//!
//! On cgroup v2 the partition does it. On v1 whoever may run on one of them is moved into the
//! group of the housekeeping CPUs, and looked for again every second: what moved threads start
//! inherits their group, what others start does not.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use kernel::{
    affinity::Tid,
    cpuset::{Cpusets, HOUSEKEEPING, Version},
};
use model::manifest::Cleared;

use super::{Guard, Linux, Roots, settings::Shared as Settings, state_dir, unrestored};

/// Process 1 stays where it is: what it starts after a crash of this program must not be confined
/// to the housekeeping CPUs until somebody restores.
const INIT: i32 = 1;

const INTERVAL: Duration = Duration::from_secs(1);

/// How often all threads are looked at in a row, as long as some were moved: a process that forks
/// meanwhile leaves a child behind.
const PASSES: u32 = 5;

/// Keeps the measured CPUs clear until it is dropped; then everybody is back.
#[derive(Debug)]
pub struct Clearing {
    /// Dropped to end the thread.
    orders: Option<Sender<Keep>>,
    thread: Option<JoinHandle<Result<()>>>,
    cleared: Arc<Mutex<Cleared>>,
    placed: Placed,
}

/// What the stage sets, of whose threads none is moved, wherever it is.
type Placed = Arc<Mutex<Option<Settings>>>;

/// Leave everybody where they are, for the process with this id.
struct Keep(i32);

impl Clearing {
    /// Clears `cpus` for the first time before it returns. The changes have a journal of their own,
    /// because a thread of its own makes them.
    ///
    /// # Errors
    /// Where the journal cannot be made; threads that cannot be moved are counted.
    pub fn start(roots: Roots, cpusets: Cpusets, cpus: Vec<u32>) -> Result<Self> {
        let (orders, receiver) = channel();
        let (ready, is_ready) = channel();
        let cleared = Arc::new(Mutex::new(Cleared::default()));
        let placed = Placed::default();
        let (count, of_stage) = (Arc::clone(&cleared), Arc::clone(&placed));
        let thread = Builder::new().name("rtvm-clearing".into()).spawn(move || {
            let mut guard = Guard::new(Box::<Linux>::default(), &state_dir())?;
            let room = Room { roots: &roots, cpusets: &cpusets, cpus: &cpus, placed: &of_stage };
            room.clear(&mut guard, &count)?;
            // Nobody waits any more where the program is about to end.
            let _ = ready.send(());
            room.keep_clear(guard, &receiver, &count)
        })?;
        let mut clearing = Self { orders: Some(orders), thread: Some(thread), cleared, placed };
        // The sender is gone where the first pass failed.
        if is_ready.recv().is_err() {
            clearing.end().context("keeping others away from the measured CPUs")?;
        }
        Ok(clearing)
    }

    /// Leaves alone from now on every thread of which something is set there.
    pub(super) fn leave_alone(&self, settings: Settings) {
        *self.placed.lock().unwrap_or_else(PoisonError::into_inner) = Some(settings);
    }

    /// What was done until now.
    #[must_use]
    pub fn cleared(&self) -> Cleared {
        self.cleared.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets everybody come back.
    ///
    /// # Errors
    /// Who could not come back.
    pub fn finish(mut self) -> Result<()> {
        self.end()
    }

    /// Leaves everybody where they are until `orchestrator release`, for process `pid`.
    ///
    /// # Errors
    /// Where the journal cannot be kept; then everybody is back.
    pub fn keep(mut self, pid: i32) -> Result<()> {
        if let Some(orders) = &self.orders {
            // The thread has ended where nobody listens; `end` says why.
            let _ = orders.send(Keep(pid));
        }
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.orders = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_panic)) => anyhow::bail!("the thread that clears the CPU panicked"),
            Some(Ok(result)) => result,
            None => Ok(()),
        }
    }
}

impl Drop for Clearing {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            unrestored::note(format!("{error:#}"));
        }
    }
}

/// CPUs and the groups around them.
struct Room<'a> {
    roots: &'a Roots,
    cpusets: &'a Cpusets,
    cpus: &'a [u32],
    placed: &'a Mutex<Option<Settings>>,
}

impl Room<'_> {
    fn keep_clear(
        &self,
        mut guard: Guard,
        orders: &Receiver<Keep>,
        count: &Mutex<Cleared>,
    ) -> Result<()> {
        loop {
            match orders.recv_timeout(INTERVAL) {
                Ok(Keep(pid)) => return guard.keep(pid),
                Err(RecvTimeoutError::Disconnected) => return guard.finish(),
                Err(RecvTimeoutError::Timeout) => self.clear(&mut guard, count)?,
            }
        }
    }

    /// Moves away whoever can be moved, and counts.
    fn clear(&self, guard: &mut Guard, count: &Mutex<Cleared>) -> Result<()> {
        let mut moved = 0;
        for _ in 0..PASSES {
            let before = moved;
            for (pid, tid) in self.inside(guard)? {
                if self.can_move(pid, tid) {
                    // One that ended meanwhile, or that the kernel keeps, is counted below or gone.
                    let group = self.cpusets.root.join(HOUSEKEEPING);
                    let hierarchy = self.cpusets.hierarchy();
                    moved += u64::from(guard.move_aside(&hierarchy, &group, tid).is_ok());
                }
            }
            if moved == before {
                break;
            }
        }
        let is_kernel = |tid| self.roots.proc.kind(tid).is_ok_and(|kind| kind.kernel);
        let (kernel, others): (Vec<_>, Vec<_>) =
            self.inside(guard)?.into_iter().partition(|&(_, tid)| is_kernel(tid));
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        count.moved_threads += moved;
        count.threads_left = others.len() as u64;
        count.kernel_threads_left = kernel.len() as u64;
        Ok(())
    }

    /// The threads that may run on one of the CPUs and are not there on our behalf.
    fn inside(&self, guard: &Guard) -> Result<Vec<(i32, Tid)>> {
        let proc = &self.roots.proc;
        let threads = proc.processes()?.into_iter().flat_map(|pid| {
            proc.threads(pid).unwrap_or_default().into_iter().map(move |tid| (pid, tid))
        });
        Ok(threads.filter(|&(_, tid)| self.is_inside(guard, tid) == Some(true)).collect())
    }

    /// None where the thread is gone.
    fn is_inside(&self, guard: &Guard, tid: Tid) -> Option<bool> {
        let may = guard.host().affinity(tid).ok()?;
        if !self.cpus.iter().any(|cpu| may.contains(cpu)) {
            return Some(false);
        }
        let group = self.cpusets.hierarchy().group_of(&guard.host().cgroup(tid).ok()?)?;
        let housekeeping = self.cpusets.root.join(HOUSEKEEPING);
        let ours = self.cpus.iter().any(|&cpu| group.starts_with(self.cpusets.measured(cpu)));
        Some(!ours && !group.starts_with(housekeeping))
    }

    fn is_placed(&self, tid: Tid) -> bool {
        let placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        placed.as_ref().is_some_and(|settings| settings.lock().concern(tid))
    }

    fn can_move(&self, pid: i32, tid: Tid) -> bool {
        self.cpusets.version == Version::V1
            && pid != INIT
            && !self.is_placed(tid)
            && self.roots.proc.kind(tid).is_ok_and(|kind| !kind.bound)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use kernel::{
        procfs::Proc,
        sched::{Attributes, Policy},
    };

    use super::*;
    use crate::host::fake::{Fake, ROOT};

    const ORDINARY: u32 = 0;
    const KERNEL: u32 = 0x0020_0000;
    const BOUND: u32 = 0x0420_0000;

    /// A host of four CPUs with these threads: id, flags, affinity, group.
    fn host(proc: &Path, threads: &[(Tid, u32, &[u32], &str)]) -> Fake {
        let fake = Fake::default();
        let mut state = fake.state.borrow_mut();
        for (tid, flags, cpus, group) in threads {
            fs::create_dir_all(proc.join(format!("{tid}/task/{tid}"))).unwrap();
            let stat = format!("{tid} (x) S 2 0 0 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 2 0");
            fs::write(proc.join(format!("{tid}/stat")), stat).unwrap();
            let ordinary = Attributes { policy: Policy::Other { nice: 0 }, reset_on_fork: false };
            state.policies.insert(*tid, ordinary);
            state.affinities.insert(*tid, cpus.to_vec());
            state.groups.insert(*tid, Path::new(ROOT).join(group));
        }
        drop(state);
        fake
    }

    fn cleared(version: Version, host: &Fake, proc: &Path) -> (Guard, Cleared) {
        cleared_but(version, host, proc, &[])
    }

    /// Cleared but for threads that the stage has placed.
    fn cleared_but(version: Version, host: &Fake, proc: &Path, placed: &[Tid]) -> (Guard, Cleared) {
        let state = tempfile::tempdir().unwrap();
        let mut guard = Guard::new(Box::new(host.clone()), state.path()).unwrap();
        placed.iter().for_each(|tid| guard.set_affinity(*tid, ALL).unwrap());
        let roots = Roots { proc: Proc::at(proc), ..Roots::default() };
        let cpusets = Cpusets { version, root: ROOT.into() };
        let count = Mutex::new(Cleared::default());
        let placed = Mutex::new(Some(guard.settings()));
        Room { roots: &roots, cpusets: &cpusets, cpus: &[3], placed: &placed }
            .clear(&mut guard, &count)
            .unwrap();
        // The journal's folder must outlive the guard's undoing.
        std::mem::forget(state);
        (guard, count.into_inner().unwrap())
    }

    fn group(host: &Fake, tid: Tid) -> String {
        let state = host.state.borrow();
        state.groups[&tid].strip_prefix(ROOT).unwrap().display().to_string()
    }

    const ALL: &[u32] = &[0, 1, 2, 3];

    #[test]
    fn ordinary_threads_leave_and_come_back_to_where_each_was() {
        let proc = tempfile::tempdir().unwrap();
        let threads: [(Tid, u32, &[u32], &str); 8] = [
            (1, ORDINARY, ALL, ""),
            (7, ORDINARY, ALL, ""),
            (8, ORDINARY, &[3], "docker/a"),
            (9, ORDINARY, &[0, 1], ""),
            (10, KERNEL, ALL, ""),
            (11, BOUND, &[3], ""),
            (12, BOUND, &[0], ""),
            (13, ORDINARY, &[3], "rtvm-measured-3"),
        ];
        let host = host(proc.path(), &threads);
        let before = host.state.borrow().clone();
        let (guard, found) = cleared(Version::V1, &host, proc.path());
        let away = "rtvm-housekeeping";
        for (tid, group_now) in [
            (1, ""),
            (7, away),
            (8, away),
            (9, ""),
            (10, away),
            (11, ""),
            (12, ""),
            (13, "rtvm-measured-3"),
        ] {
            assert_eq!(group(&host, tid), group_now, "{tid}");
        }
        let counted = (found.moved_threads, found.threads_left, found.kernel_threads_left);
        assert_eq!(counted, (3, 1, 1), "moved; process 1; the bound kernel thread");
        // As the kernel does when a thread joins a group.
        host.state.borrow_mut().affinities.insert(8, vec![0, 1, 2]);
        drop(guard);
        assert_eq!(*host.state.borrow(), before);
    }

    #[test]
    fn one_that_the_stage_has_placed_is_left_where_somebody_moved_it() {
        let proc = tempfile::tempdir().unwrap();
        let host = host(proc.path(), &[(7, ORDINARY, ALL, ""), (8, ORDINARY, ALL, "")]);
        let (_guard, found) = cleared_but(Version::V1, &host, proc.path(), &[7]);
        assert_eq!((&*group(&host, 7), &*group(&host, 8)), ("", "rtvm-housekeeping"));
        assert_eq!((found.moved_threads, found.threads_left), (1, 1));
    }

    #[test]
    fn one_that_ended_meanwhile_is_not_put_back() {
        let proc = tempfile::tempdir().unwrap();
        let host = host(proc.path(), &[(7, ORDINARY, ALL, ""), (8, ORDINARY, ALL, "")]);
        let (guard, _) = cleared(Version::V1, &host, proc.path());
        host.state.borrow_mut().policies.remove(&7);
        drop(guard);
        assert_eq!((&*group(&host, 7), &*group(&host, 8)), ("rtvm-housekeeping", ""));
    }

    #[test]
    fn the_partition_of_v2_is_left_to_itself() {
        let proc = tempfile::tempdir().unwrap();
        let host = host(proc.path(), &[(7, ORDINARY, &[0, 1, 2], ""), (11, BOUND, &[3], "")]);
        let before = host.state.borrow().clone();
        let (_guard, found) = cleared(Version::V2, &host, proc.path());
        assert_eq!(*host.state.borrow(), before);
        let counted = (found.moved_threads, found.threads_left, found.kernel_threads_left);
        assert_eq!(counted, (0, 0, 1));
    }
}

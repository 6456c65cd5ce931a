//! The guard: makes changes to the host and undoes them on every way out.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use anyhow::{Context, Result};
use kernel::{
    affinity::Tid,
    cgroup::{Hierarchy, Version},
    cpuset::{Cpusets, Step},
    sched::Attributes,
    tracefs::{Instance, Tracefs},
};

use super::{Actions, Journal, Undo, settings::Settings, undo::Thread};

/// The environment variable that marks every process of a run.
const MARK: &str = "RTVM_RUN";

/// Owns all changes made to the host; undoes them when it is dropped.
pub struct Guard {
    host: Box<dyn Actions>,
    journal: Journal,
    undos: Vec<Undo>,
    run_id: String,
    /// What was set, to see whether it lasts.
    settings: Settings,
    /// Nothing is to be undone.
    kept: bool,
}

/// A point to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(usize);

impl Guard {
    /// A guard with a new journal in `state_dir`.
    ///
    /// # Errors
    /// Where the journal cannot be made: then nothing may be changed.
    pub fn new(host: Box<dyn Actions>, state_dir: &Path) -> Result<Self> {
        let journal = Journal::create(state_dir).context("the journal of changes to this host")?;
        let pid = std::process::id();
        let run_id = format!("{pid}-{}", kernel::clock::monotonic_ns());
        let (undos, settings) = (Vec::new(), Settings::default());
        let mut guard = Self { host, journal, undos, run_id, settings, kept: false };
        let mark = format!("{MARK}={}", guard.run_id);
        guard.before(Undo::Processes { mark })?;
        Ok(guard)
    }

    /// The host, for looking at it.
    #[must_use]
    pub fn host(&self) -> &dyn Actions {
        &*self.host
    }

    fn before(&mut self, undo: Undo) -> Result<()> {
        self.journal.before(&undo)?;
        self.undos.push(undo);
        Ok(())
    }

    /// Starts a process that ends with this one, with the calling thread at the latest.
    ///
    /// # Errors
    /// Where it cannot be started, with its name.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        kernel::process::spawn_bound(command.env(MARK, &self.run_id))
    }

    /// Takes the steps of a cpuset partition.
    ///
    /// # Errors
    /// The first step that the host refuses; those before it stay until the guard is dropped.
    pub fn take(&mut self, steps: &[Step]) -> Result<()> {
        for step in steps {
            match step {
                Step::MakeGroup(path) => self.make_group(path)?,
                Step::Write { path, value, undo } => {
                    if let Some(undo) = undo {
                        self.before(Undo::File { path: path.clone(), value: undo.clone() })?;
                    }
                    self.write_now(path, value)?;
                }
            }
        }
        Ok(())
    }

    fn write_now(&mut self, path: &Path, value: &str) -> Result<()> {
        self.host.write(path, value)?;
        self.settings.add_file(self.undos.len(), path, value);
        Ok(())
    }

    /// What is no longer as it was set, a sentence each: somebody else changed it, or took it away.
    #[must_use]
    pub fn changed_by_others(&self) -> Vec<String> {
        self.settings.changed(&*self.host)
    }

    fn make_group(&mut self, path: &Path) -> Result<()> {
        // Checked first: the journal must not claim a group that somebody else made.
        if self.host.read(&Cpusets::threads_file(path)).is_ok() {
            anyhow::bail!(
                "{} is there already: another run is going on, a reservation is kept \
                 (`orchestrator release` ends it), or a run was killed \
                 (`orchestrator restore` removes it)",
                path.display()
            );
        }
        self.before(Undo::RemoveGroup { path: path.to_owned() })?;
        Ok(self.host.make_dir(path)?)
    }

    /// Makes a folder in the state folder and mounts a tracefs on it, which is out of everybody's way.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn mount_tracefs(&mut self, state_dir: &Path) -> Result<PathBuf> {
        let path = state_dir.join(format!("tracing-{}", self.run_id));
        self.before(Undo::Unmount { path: path.clone() })?;
        self.host.make_dir(&path)?;
        self.host.mount_tracefs(&path)?;
        Ok(path)
    }

    /// Makes a tracing instance, named after the run, in a mounted tracefs.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn make_instance(&mut self, tracefs: &Tracefs) -> Result<Instance> {
        let instance = tracefs.instance(&format!("rt-vm-bench-{}", self.run_id));
        self.before(Undo::RemoveInstance { path: instance.root().to_owned() })?;
        self.host.make_dir(instance.root())?;
        Ok(instance)
    }

    /// Writes `value` into a file that is there, and its old value back in the end.
    ///
    /// # Errors
    /// Where it cannot be read or written.
    pub fn write(&mut self, path: &Path, value: &str) -> Result<()> {
        let before = self.host.read(path)?;
        self.before(Undo::File { path: path.to_owned(), value: before })?;
        self.write_now(path, value)
    }

    /// Like [`Guard::write`], where the host may refuse: whether it took the value.
    ///
    /// # Errors
    /// Where the journal cannot be written.
    pub fn try_write(&mut self, path: &Path, value: &str) -> Result<bool> {
        let mark = self.mark();
        let Ok(before) = self.host.read(path) else { return Ok(false) };
        self.before(Undo::File { path: path.to_owned(), value: before })?;
        if self.host.write(path, value).is_err() {
            self.forget_to(mark)?;
            return Ok(false);
        }
        Ok(true)
    }

    fn thread(&self, tid: Tid) -> Result<Thread> {
        let start_time =
            self.host.start_time(tid).with_context(|| format!("thread {tid} is gone"))?;
        Ok(Thread { tid, start_time })
    }

    /// Gives a thread a policy.
    ///
    /// # Errors
    /// [`kernel::sched::SchedError`] in the chain.
    pub fn set_scheduling(&mut self, tid: Tid, attributes: impl Into<Attributes>) -> Result<()> {
        let thread = self.thread(tid)?;
        let before = self.host.scheduling(tid)?;
        let attributes = attributes.into();
        self.before(Undo::Scheduling { thread, attributes: before })?;
        self.host.set_scheduling(tid, attributes)?;
        self.settings.add_scheduling(self.undos.len(), thread, attributes);
        Ok(())
    }

    /// Gives a thread its CPUs.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn set_affinity(&mut self, tid: Tid, cpus: &[u32]) -> Result<()> {
        let thread = self.thread(tid)?;
        let before = self.host.affinity(tid)?;
        self.before(Undo::Affinity { thread, cpus: before })?;
        self.host
            .set_affinity(tid, cpus)
            .with_context(|| format!("pinning thread {tid} to CPUs {cpus:?}"))
    }

    /// Moves thread `tid` of process `pid` into a group.
    ///
    /// # Errors
    /// Where the thread is gone or the kernel refuses.
    pub fn join_group(
        &mut self,
        hierarchy: &Hierarchy,
        group: &Path,
        pid: i32,
        tid: Tid,
    ) -> Result<()> {
        if let Some(old) = hierarchy.group_of(&self.host.cgroup(tid)?) {
            // On v2 a thread moves only within its threaded domain: a process of another has to move
            // as a whole, to the root's, there and back.
            let whole = hierarchy.version == Version::V2
                && self.domain(hierarchy, &old) != self.domain(hierarchy, group);
            // A cpuset gives the threads that enter or leave it CPUs of its choice: their own are
            // read first, and given back last.
            let threads = if whole { self.host.threads(pid)? } else { vec![tid] };
            self.save_affinities(&threads)?;
            if whole {
                let process = self.thread(pid)?;
                self.before(Undo::Group { thread: process, file: old.join("cgroup.procs") })?;
                let (path, value) = hierarchy.process_to_root(pid);
                self.host.write(&path, &value)?;
            } else {
                let thread = self.thread(tid)?;
                self.before(Undo::Group { thread, file: hierarchy.threads_file(&old) })?;
            }
        }
        let (path, value) = hierarchy.attach_thread(group, tid);
        Ok(self.host.write(&path, &value)?)
    }

    /// Moves a thread of somebody else out of the way, into `group` of a v1 hierarchy, which takes
    /// its affinity from it. Where the kernel refuses, nothing is left to undo.
    ///
    /// # Errors
    /// Where the thread is gone or the kernel refuses.
    pub fn move_aside(&mut self, hierarchy: &Hierarchy, group: &Path, tid: Tid) -> Result<()> {
        let thread = self.thread(tid)?;
        let cpus = self.host.affinity(tid)?;
        let old = hierarchy.group_of(&self.host.cgroup(tid)?).context("it is in no group")?;
        let mark = self.mark();
        // Undone last change first: the group gives it all of the group's CPUs, then come its own.
        self.before(Undo::Affinity { thread, cpus })?;
        self.before(Undo::Group { thread, file: hierarchy.threads_file(&old) })?;
        let (path, value) = hierarchy.attach_thread(group, tid);
        let moved = self.host.write(&path, &value);
        if moved.is_err() {
            self.forget_to(mark)?;
        }
        Ok(moved?)
    }

    /// Has the CPUs of these threads given back in the end, whatever becomes of them until then.
    ///
    /// # Errors
    /// Where the journal cannot be written; a thread that is gone needs nothing.
    pub fn save_affinities(&mut self, tids: &[Tid]) -> Result<()> {
        let saved = |&tid: &Tid| Some((self.thread(tid).ok()?, self.host.affinity(tid).ok()?));
        let threads: Vec<_> = tids.iter().filter_map(saved).collect();
        if threads.is_empty() { Ok(()) } else { self.before(Undo::Affinities { threads }) }
    }

    /// The nearest group from `group` upwards that is not threaded.
    fn domain<'a>(&self, hierarchy: &'a Hierarchy, group: &'a Path) -> &'a Path {
        let threaded = |group: &Path| {
            self.host.read(&group.join("cgroup.type")).is_ok_and(|is| is == "threaded")
        };
        let found = hierarchy.lineage(group).find(|above| !threaded(above));
        found.unwrap_or(&hierarchy.root)
    }

    /// The state to which [`Guard::undo_to`] goes back.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.undos.len())
    }

    /// Leaves all changes as they are, with the journal for [`super::release`], for process `pid`.
    ///
    /// # Errors
    /// Where the journal cannot be kept; then everything is undone.
    pub fn keep(mut self, pid: i32) -> Result<()> {
        self.journal.keep(pid)?;
        self.kept = true;
        Ok(())
    }

    /// Forgets what was journalled since `mark`: those changes were refused, and none was made.
    ///
    /// # Errors
    /// Where the journal cannot be written.
    pub fn forget_to(&mut self, mark: Mark) -> Result<()> {
        self.undos.truncate(mark.0);
        self.settings.forget_after(mark.0);
        Ok(self.journal.undone_down_to(mark.0)?)
    }

    /// Undoes all changes since `mark`, the last one first. All are tried.
    ///
    /// # Errors
    /// The first that could not be undone; it stays in the journal for `orchestrator restore`.
    pub fn undo_to(&mut self, mark: Mark) -> Result<()> {
        let mut first_error = None;
        self.settings.forget_after(mark.0);
        while self.undos.len() > mark.0 {
            let undo = self.undos.pop().expect("longer than the mark");
            if let Err(error) = undo.apply(&*self.host) {
                let error = anyhow::Error::new(error).context(format!("undoing {undo:?}"));
                first_error.get_or_insert(error);
            }
        }
        match first_error {
            None => Ok(self.journal.undone_down_to(mark.0)?),
            Some(error) => Err(error),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // Processes first, so that no group has members and no thread a policy of ours.
        let processes = self.undos.first().map_or(Ok(()), |undo| undo.apply(&*self.host));
        let result = processes
            .map_err(anyhow::Error::from)
            .and_then(|()| self.undo_to(Mark(0)))
            .and_then(|()| Ok(self.journal.close()?));
        if let Err(error) = result {
            model::say!("error: the host is not as it was: {error:#}; run `orchestrator restore`");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kernel::sched::Policy;

    use super::*;
    use crate::host::{fake::Fake, release, restore};

    fn change(guard: &mut Guard) -> Result<()> {
        let cpusets = Cpusets { version: Version::V1, root: "/c".into() };
        guard.take(&[
            Step::MakeGroup("/c/rtvm-measured".into()),
            Step::Write { path: "/c/balance".into(), value: "0".into(), undo: Some("1".into()) },
        ])?;
        guard.join_group(&cpusets.hierarchy(), Path::new("/c/rtvm-measured"), 7, 7)?;
        let mounted = guard.mount_tracefs(Path::new("/s"))?;
        guard.make_instance(&Tracefs::at(&mounted))?;
        guard.set_affinity(7, &[1])?;
        guard.set_scheduling(
            7,
            Policy::deadline(Duration::from_millis(28), Duration::from_millis(50)),
        )
    }

    fn host() -> Fake {
        let host = Fake::with_thread();
        host.state.borrow_mut().files.insert("/c/balance".into(), "1".into());
        host.state.borrow_mut().files.insert("/c/tasks".into(), "7".into());
        host
    }

    #[test]
    fn dropping_the_guard_undoes_everything() {
        let (dir, host) = (tempfile::tempdir().unwrap(), host());
        let before = host.state.borrow().clone();
        let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
        change(&mut guard).unwrap();
        assert_ne!(*host.state.borrow(), before);
        drop(guard);
        assert_eq!(*host.state.borrow(), before);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the journal is gone");
    }

    #[test]
    fn what_somebody_else_changes_or_takes_away_is_said() {
        let (dir, host) = (tempfile::tempdir().unwrap(), host());
        let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
        change(&mut guard).unwrap();
        assert_eq!(guard.changed_by_others(), Vec::<String>::new());
        host.state.borrow_mut().files.insert("/c/balance".into(), "1".into());
        let ordinary = Policy::Other { nice: 0 }.into();
        host.state.borrow_mut().policies.insert(7, ordinary);
        let said = guard.changed_by_others();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("/c/balance is `1`, where `0` was set"), "{said:?}");
        assert!(said[1].contains("thread 7 is under SCHED_OTHER"), "{said:?}");
        host.state.borrow_mut().files.remove(Path::new("/c/balance"));
        host.state.borrow_mut().policies.remove(&7);
        assert!(guard.changed_by_others()[0].contains("/c/balance is gone"), "and no thread 7");
    }

    /// The cpuset narrows the thread's CPUs before they are set: what it had is what it gets back.
    #[test]
    fn a_thread_gets_back_the_cpus_it_had_before_a_cpuset_narrowed_them() {
        let (dir, host) = (tempfile::tempdir().unwrap(), host());
        let host = Fake { narrows: Some(("/c/rtvm-measured/tasks".into(), vec![1])), ..host };
        let before = host.state.borrow().clone();
        let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
        change(&mut guard).unwrap();
        assert_eq!(host.state.borrow().affinities[&7], [1]);
        drop(guard);
        assert_eq!(*host.state.borrow(), before);
    }

    #[test]
    fn a_refusal_half_way_is_undone_too() {
        let dir = tempfile::tempdir().unwrap();
        let host = Fake { refuse: Some("/c/balance".into()), ..host() };
        let before = host.state.borrow().clone();
        let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
        change(&mut guard).unwrap_err();
        drop(guard);
        assert_eq!(*host.state.borrow(), before);
    }

    #[test]
    fn what_is_kept_stays_until_it_is_released() {
        let (dir, host) = (tempfile::tempdir().unwrap(), host());
        let before = host.state.borrow().clone();
        let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
        change(&mut guard).unwrap();
        let changed = host.state.borrow().clone();
        guard.keep(7).unwrap();
        assert_eq!(restore(&host, dir.path()).unwrap().runs, 0);
        assert_eq!(release(&host, dir.path(), Some(8)).unwrap().runs, 0);
        assert_eq!(*host.state.borrow(), changed);
        assert_eq!(release(&host, dir.path(), Some(7)).unwrap().runs, 1);
        assert_eq!(*host.state.borrow(), before);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the journal is gone");
    }

    #[test]
    fn a_panic_is_undone_too() {
        let (dir, host) = (tempfile::tempdir().unwrap(), host());
        let before = host.state.borrow().clone();
        let fails = std::panic::AssertUnwindSafe(|| {
            let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
            change(&mut guard).unwrap();
            panic!("on purpose");
        });
        std::panic::catch_unwind(fails).unwrap_err();
        assert_eq!(*host.state.borrow(), before);
    }

    #[test]
    fn a_mark_undoes_only_what_came_after_it() {
        let (dir, host) = (tempfile::tempdir().unwrap(), host());
        let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
        guard.set_affinity(7, &[1]).unwrap();
        let mark = guard.mark();
        let before = host.state.borrow().clone();
        change(&mut guard).unwrap();
        guard.undo_to(mark).unwrap();
        assert_eq!(*host.state.borrow(), before);
    }

    #[test]
    fn after_a_kill_restore_undoes_what_the_journal_lists() {
        let (dir, host) = (tempfile::tempdir().unwrap(), host());
        let before = host.state.borrow().clone();
        let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
        change(&mut guard).unwrap();
        host.state.borrow_mut().processes.insert(42, format!("{MARK}={}", guard.run_id));
        // As `kill -9` would: nothing is dropped, and the journal's process is gone.
        std::mem::forget(guard);
        let journal = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        std::fs::rename(&journal, dir.path().join("1-999999999999-0.jsonl")).unwrap();
        let restored = restore(&host, dir.path()).unwrap();
        assert_eq!(restored.runs, 1);
        assert_eq!(*host.state.borrow(), before);
    }
}

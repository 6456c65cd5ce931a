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

use super::{
    Actions, Journal, Undo, journal::Id, settings::Settings, shared::Users, undo::Thread,
    unrestored,
};

/// The environment variable that marks every process of a run.
const MARK: &str = "RTVM_RUN";

/// Owns all changes made to the host; undoes them when it is dropped.
pub struct Guard {
    host: Box<dyn Actions>,
    journal: Journal,
    undos: Vec<(Id, Undo)>,
    /// What could not be undone when it should have been; tried again in the end.
    left: Vec<(Id, Undo)>,
    run_id: String,
    state_dir: PathBuf,
    /// What was set, to see whether it lasts.
    settings: Settings,
    /// Nothing is to be undone any more.
    ended: bool,
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
        let (undos, left, settings) = (Vec::new(), Vec::new(), Settings::default());
        let state_dir = state_dir.to_owned();
        let mut guard =
            Self { host, journal, undos, left, run_id, state_dir, settings, ended: false };
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
        let id = self.journal.before(&undo)?;
        self.undos.push((id, undo));
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

    /// Switches a setting of the whole host on that several may want at once: it goes off with the
    /// last of them. One that was on before is nobody's. The file holds words, `on` or `off` among
    /// them.
    ///
    /// # Errors
    /// Where the host refuses: then nothing is left to undo.
    pub fn share(&mut self, name: &str, path: &Path, (on, off): (&str, &str)) -> Result<()> {
        let folder = Users::folder(&self.state_dir, name);
        let users = Users::lock(folder.clone())?;
        let is_on = self.host.read(path)?.split_whitespace().any(|word| word == on);
        if is_on && users.is_empty()? {
            return Ok(());
        }
        let mark = self.mark();
        let user = format!("{}-{}", self.run_id, mark.0);
        self.before(Undo::Shared {
            path: path.to_owned(),
            value: off.to_owned(),
            users: folder,
            user: user.clone(),
        })?;
        users.join(&user)?;
        if is_on {
            self.settings.add_file(self.undos.len(), path, on);
            return Ok(());
        }
        let written = self.write_now(path, on);
        if written.is_err() {
            users.leave(&user, || Ok(()))?;
            self.forget_to(mark)?;
        }
        written
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
            .with_context(|| format!("pinning thread {tid} to CPUs {cpus:?}"))?;
        self.settings.add_affinity(self.undos.len(), thread, cpus);
        Ok(())
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
        self.ended = true;
        Ok(())
    }

    /// Forgets what was journalled since `mark`: those changes were refused, and none was made.
    ///
    /// # Errors
    /// Where the journal cannot be written.
    pub fn forget_to(&mut self, mark: Mark) -> Result<()> {
        let refused = self.undos.split_off(mark.0.min(self.undos.len()));
        self.settings.forget_after(mark.0);
        Ok(self.journal.undone(refused.into_iter().map(|(id, _)| id).collect())?)
    }

    /// Undoes all changes since `mark`, the last one first. All are tried.
    ///
    /// # Errors
    /// What could not be undone; it is tried again in the end, and stays in the journal until then.
    pub fn undo_to(&mut self, mark: Mark) -> Result<()> {
        self.settings.forget_after(mark.0);
        let changes = self.undos.split_off(mark.0.min(self.undos.len()));
        let failures = self.undo(changes);
        anyhow::ensure!(failures.is_empty(), "{}", failures.join("; "));
        Ok(())
    }

    /// Undoes `changes`, the last one first, and writes down which are undone; what failed, a
    /// sentence each.
    fn undo(&mut self, changes: Vec<(Id, Undo)>) -> Vec<String> {
        let (mut undone, mut failures) = (Vec::new(), Vec::new());
        for (id, undo) in changes.into_iter().rev() {
            match undo.apply(&*self.host) {
                Ok(()) => undone.push(id),
                Err(error) => {
                    failures.push(format!("{undo}: {error}"));
                    self.left.push((id, undo));
                }
            }
        }
        failures.extend(self.journal.undone(undone).err().map(|error| error.to_string()));
        failures
    }

    /// Undoes everything, and what could not be undone before.
    ///
    /// # Errors
    /// What could not be undone; it stays in the journal, for `orchestrator restore`.
    pub fn finish(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        // Processes first, so that no group has members and no thread a policy of ours. Where that
        // fails, it fails again in its turn, and is said then.
        if let Some((_, processes)) = self.undos.first() {
            let _ = processes.apply(&*self.host);
        }
        let changes = std::mem::take(&mut self.undos);
        let mut failures = self.undo(changes);
        if !self.left.is_empty() {
            let mut left = std::mem::take(&mut self.left);
            left.reverse();
            failures = self.undo(left);
        }
        if self.left.is_empty() && failures.is_empty() {
            failures.extend(self.journal.close().err().map(|error| error.to_string()));
        }
        anyhow::ensure!(failures.is_empty(), "{}", failures.join("; "));
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            unrestored::note(format!("{error:#}"));
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
        host.state.borrow_mut().affinities.insert(7, vec![0, 1]);
        let said = guard.changed_by_others();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[1].contains("thread 7 is on CPUs 0,1, where 1 was set"), "{said:?}");
        assert!(said[0].contains("/c/balance is `1`, where `0` was set"), "{said:?}");
        assert!(said[2].contains("thread 7 is under SCHED_OTHER"), "{said:?}");
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
        abandon(dir.path());
        let restored = restore(&host, dir.path()).unwrap();
        assert_eq!((restored.runs, restored.left), (1, vec![]));
        assert_eq!(*host.state.borrow(), before);
    }

    /// The only journal in `dir` is then one of a process that is gone.
    fn abandon(dir: &Path) {
        let journal = std::fs::read_dir(dir).unwrap().next().unwrap().unwrap().path();
        std::fs::rename(&journal, dir.join("1-999999999999-000.jsonl")).unwrap();
    }

    /// Each undo refused in turn: it alone is left, it is said, the journal keeps it, and `restore`
    /// tries again.
    #[test]
    fn an_undo_that_fails_is_kept_told_and_retried_and_stops_nothing_else() {
        let changes = {
            let (dir, host) = (tempfile::tempdir().unwrap(), host());
            let mut guard = Guard::new(Box::new(host), dir.path()).unwrap();
            change(&mut guard).unwrap();
            guard.undos.len()
        };
        assert!(changes >= 8, "{changes}");
        // The first ends processes, of which there are none.
        for id in 1..changes {
            let (dir, host) = (tempfile::tempdir().unwrap(), host());
            let before = host.state.borrow().clone();
            let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
            change(&mut guard).unwrap();
            host.refuse_undo(&guard.undos[id].1);
            let undo = guard.undos[id].1.to_string();
            // Two undos give thread 7 the same CPUs back.
            let alike =
                if undo.ends_with("CPUs 0,1") || undo.ends_with("their CPUs") { 2 } else { 1 };
            let error = guard.finish().unwrap_err().to_string();
            assert!(error.contains(undo.as_str()), "{undo}: {error}");
            assert_eq!(error.split("; ").count(), alike, "{undo}: {error}");
            abandon(dir.path());
            let again = restore(&host, dir.path()).unwrap();
            assert_eq!((again.changes, again.left.len()), (0, alike), "{undo}: {again:?}");
            host.refuse_nothing();
            let restored = restore(&host, dir.path()).unwrap();
            assert_eq!((restored.changes, restored.left.len()), (alike, 0), "{undo}: {restored:?}");
            assert_eq!(*host.state.borrow(), before, "{undo}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{undo}");
        }
    }

    #[test]
    fn what_fails_on_the_way_is_tried_again_in_the_end() {
        let (dir, host) = (tempfile::tempdir().unwrap(), host());
        let before = host.state.borrow().clone();
        let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
        let mark = guard.mark();
        guard.set_affinity(7, &[1]).unwrap();
        host.refuse_undo(&guard.undos[1].1);
        guard.undo_to(mark).unwrap_err();
        host.refuse_nothing();
        guard.finish().unwrap();
        assert_eq!(*host.state.borrow(), before);
    }
}

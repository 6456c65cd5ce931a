//! The changes that a guard makes: each is read, journalled, made.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kernel::{
    affinity::Tid,
    cgroup::{Hierarchy, Version},
    cpuset::{Cpusets, Step},
    sched::Attributes,
    tracefs::{Instance, Tracefs},
};

use super::Guard;
use crate::host::{Undo, shared::Users, undo::Thread};

impl Guard {
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
            self.settings.lock().add_file(self.undos.len(), path, on);
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
        let mut settings = self.settings.lock();
        self.host.write(path, value)?;
        settings.add_file(self.undos.len(), path, value);
        Ok(())
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
        let mut settings = self.settings.lock();
        self.host.set_scheduling(tid, attributes)?;
        settings.add_scheduling(self.undos.len(), thread, attributes);
        Ok(())
    }

    /// Gives a thread its CPUs.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn set_affinity(&mut self, tid: Tid, cpus: &[u32]) -> Result<()> {
        let thread = self.thread(tid)?;
        let before = self.host.affinity(tid)?;
        // A cpuset may have given it these already; then what it had before that is saved.
        if before != cpus {
            self.before(Undo::Affinity { thread, cpus: before })?;
        }
        let mut settings = self.settings.lock();
        self.host
            .set_affinity(tid, cpus)
            .with_context(|| format!("pinning thread {tid} to CPUs {cpus:?}"))?;
        settings.add_affinity(self.undos.len(), thread, cpus);
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
        let thread = self.thread(tid)?;
        let (path, value) = hierarchy.attach_thread(group, tid);
        let mut settings = self.settings.lock();
        self.host.write(&path, &value)?;
        settings.add_group(self.undos.len(), thread, hierarchy, group);
        Ok(())
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
}

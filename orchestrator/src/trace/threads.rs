//! The VM's threads, those included that appear while it runs, and their CPU clocks.

use std::collections::BTreeMap;

use kernel::{affinity::Tid, procfs::Proc};

/// A thread with what its CPU clock showed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Thread {
    name: String,
    first_ns: u64,
    last_ns: u64,
    alive: bool,
}

/// The threads of a QEMU process, by id.
#[derive(Debug)]
pub struct Threads {
    proc: Proc,
    pid: i32,
    vcpus: Vec<Tid>,
    seen: BTreeMap<Tid, Thread>,
}

impl Threads {
    /// Of process `pid`; `vcpus` in the order of the vCPUs (one thread may serve several).
    #[must_use]
    pub fn of(proc: Proc, pid: i32, vcpus: &[Tid]) -> Self {
        Self { proc, pid, vcpus: vcpus.to_vec(), seen: BTreeMap::new() }
    }

    /// Looks again: clocks are read, and the threads that were not there before are returned.
    pub fn look(&mut self) -> Vec<(Tid, String)> {
        for thread in self.seen.values_mut() {
            thread.alive = false;
        }
        let first_look = self.seen.is_empty();
        let mut new = Vec::new();
        for tid in self.proc.threads(self.pid).unwrap_or_default() {
            let Ok(times) = self.proc.thread_times(tid) else { continue };
            if let Some(thread) = self.seen.get_mut(&tid) {
                (thread.last_ns, thread.alive) = (times.cpu_ns, true);
                continue;
            }
            let name = self.name(tid);
            // One that came after the first look has used all its time since.
            let first_ns = if first_look { times.cpu_ns } else { 0 };
            let thread =
                Thread { name: name.clone(), first_ns, last_ns: times.cpu_ns, alive: true };
            self.seen.insert(tid, thread);
            new.push((tid, name));
        }
        new
    }

    /// Counts CPU time from now on.
    pub fn begin(&mut self) {
        for (tid, thread) in &mut self.seen {
            if let Ok(times) = self.proc.thread_times(*tid) {
                (thread.first_ns, thread.last_ns) = (times.cpu_ns, times.cpu_ns);
            }
        }
    }

    fn name(&self, tid: Tid) -> String {
        if let Some(vcpu) = self.vcpus.iter().position(|one| *one == tid) {
            return format!("vcpu{vcpu}");
        }
        if tid == self.pid {
            return "main-loop".to_owned();
        }
        let name = self.proc.name(tid).unwrap_or_else(|_| "unnamed".to_owned());
        if self.seen.values().any(|thread| thread.name == name) {
            return format!("{name}-{tid}");
        }
        name
    }

    /// Their ids, ascending.
    #[must_use]
    pub fn tids(&self) -> Vec<Tid> {
        self.seen.keys().copied().collect()
    }

    /// Id, name and CPU time from [`Threads::begin`] to the last look: none for a thread that has ended,
    /// since its clock went with it. vCPUs come first.
    #[must_use]
    pub fn clocks(&self) -> Vec<(Tid, String, Option<u64>)> {
        let clock =
            |thread: &Thread| thread.alive.then(|| thread.last_ns.saturating_sub(thread.first_ns));
        let mut all: Vec<_> = self
            .seen
            .iter()
            .map(|(tid, thread)| (*tid, thread.name.clone(), clock(thread)))
            .collect();
        all.sort_by_key(|(tid, ..)| !self.vcpus.contains(tid));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn put(root: &std::path::Path, tid: Tid, name: &str, cpu_ns: u64) {
        fs::create_dir_all(root.join(format!("7/task/{tid}"))).unwrap();
        fs::create_dir_all(root.join(tid.to_string())).unwrap();
        fs::write(root.join(format!("{tid}/comm")), name).unwrap();
        fs::write(root.join(format!("{tid}/schedstat")), format!("{cpu_ns} 0 0\n")).unwrap();
    }

    #[test]
    fn threads_get_names_and_late_ones_are_found() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), 7, "qemu-system-x86", 100);
        put(root.path(), 9, "CPU 0/TCG", 1000);
        let mut threads = Threads::of(Proc::at(root.path()), 7, &[9]);
        assert_eq!(threads.look(), [(7, "main-loop".into()), (9, "vcpu0".into())]);
        put(root.path(), 9, "CPU 0/TCG", 1100);
        threads.begin();
        put(root.path(), 9, "CPU 0/TCG", 1600);
        put(root.path(), 12, "worker", 30);
        put(root.path(), 13, "worker", 40);
        let new = threads.look();
        assert_eq!(new, [(12, "worker".into()), (13, "worker-13".into())]);
        fs::remove_dir_all(root.path().join("7/task/13")).unwrap();
        threads.look();
        assert_eq!(
            threads.clocks(),
            [
                (9, "vcpu0".into(), Some(500)),
                (7, "main-loop".into(), Some(0)),
                (12, "worker".into(), Some(30)),
                (13, "worker-13".into(), None),
            ]
        );
    }
}

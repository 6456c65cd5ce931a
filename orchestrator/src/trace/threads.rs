//! The VMs' threads, those included that appear while they run, and their CPU clocks.

use std::{collections::BTreeMap, fmt, str::FromStr};

use kernel::{affinity::Tid, procfs::Proc};

/// A virtual machine whose threads are recorded; `NAME:PID:TID,TID` as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its name in the rows.
    pub name: String,
    /// Its process.
    pub pid: i32,
    /// In the order of the vCPUs (one thread may serve several).
    pub vcpus: Vec<Tid>,
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vcpus: Vec<_> = self.vcpus.iter().map(ToString::to_string).collect();
        write!(f, "{}:{}:{}", self.name, self.pid, vcpus.join(","))
    }
}

impl FromStr for Recorded {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}`: give NAME:PID:TID,TID");
        let [name, pid, vcpus] = text.split(':').collect::<Vec<_>>()[..] else {
            return Err(wrong());
        };
        let number = |text: &str| text.parse::<i32>().map_err(|_error| wrong());
        let vcpus = vcpus.split(',').filter(|tid| !tid.is_empty()).map(number);
        let vcpus = vcpus.collect::<Result<_, _>>()?;
        Ok(Self { name: name.to_owned(), pid: number(pid)?, vcpus })
    }
}

/// What a thread is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its virtual machine.
    pub vm: String,
    /// `vcpu0`, …, `main-loop`, or what the process calls it.
    pub thread: String,
}

/// A thread with what its CPU clock showed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Thread {
    name: Named,
    first_ns: u64,
    last_ns: u64,
    alive: bool,
}

/// The threads of QEMU processes, by id.
#[derive(Debug)]
pub struct Threads {
    proc: Proc,
    vms: Vec<Recorded>,
    seen: BTreeMap<Tid, Thread>,
}

impl Threads {
    /// Of these.
    #[must_use]
    pub fn of(proc: Proc, vms: &[Recorded]) -> Self {
        Self { proc, vms: vms.to_vec(), seen: BTreeMap::new() }
    }

    /// Looks again: clocks are read, and the threads that were not there before are returned.
    pub fn look(&mut self) -> Vec<(Tid, Named)> {
        for thread in self.seen.values_mut() {
            thread.alive = false;
        }
        let first_look = self.seen.is_empty();
        let mut new = Vec::new();
        let threads = |vm: &Recorded| self.proc.threads(vm.pid).unwrap_or_default();
        let all: Vec<(usize, Tid)> = self
            .vms
            .iter()
            .enumerate()
            .flat_map(|(at, vm)| threads(vm).into_iter().map(move |tid| (at, tid)))
            .collect();
        for (at, tid) in all {
            let Ok(times) = self.proc.thread_times(tid) else { continue };
            if let Some(thread) = self.seen.get_mut(&tid) {
                (thread.last_ns, thread.alive) = (times.cpu_ns, true);
                continue;
            }
            let name = Named { vm: self.vms[at].name.clone(), thread: self.name(at, tid) };
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

    fn name(&self, at: usize, tid: Tid) -> String {
        let vm = &self.vms[at];
        if let Some(vcpu) = vm.vcpus.iter().position(|one| *one == tid) {
            return format!("vcpu{vcpu}");
        }
        if tid == vm.pid {
            return "main-loop".to_owned();
        }
        let name = self.proc.name(tid).unwrap_or_else(|_| "unnamed".to_owned());
        let taken = |own: &Named| own.vm == vm.name && own.thread == name;
        if self.seen.values().any(|thread| taken(&thread.name)) {
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
    pub fn clocks(&self) -> Vec<(Tid, Named, Option<u64>)> {
        let clock =
            |thread: &Thread| thread.alive.then(|| thread.last_ns.saturating_sub(thread.first_ns));
        let mut all: Vec<_> = self
            .seen
            .iter()
            .map(|(tid, thread)| (*tid, thread.name.clone(), clock(thread)))
            .collect();
        let is_vcpu = |tid: &Tid| self.vms.iter().any(|vm| vm.vcpus.contains(tid));
        all.sort_by_key(|(tid, ..)| !is_vcpu(tid));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn named(vm: &str, thread: &str) -> Named {
        Named { vm: vm.into(), thread: thread.into() }
    }

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
        let vm: Recorded = "shop:7:9".parse().unwrap();
        assert_eq!(
            (vm.to_string().as_str(), "shop:7".parse::<Recorded>().is_err()),
            ("shop:7:9", true)
        );
        let mut threads = Threads::of(Proc::at(root.path()), &[vm]);
        let name = |thread| named("shop", thread);
        assert_eq!(threads.look(), [(7, name("main-loop")), (9, name("vcpu0"))]);
        put(root.path(), 9, "CPU 0/TCG", 1100);
        threads.begin();
        put(root.path(), 9, "CPU 0/TCG", 1600);
        put(root.path(), 12, "worker", 30);
        put(root.path(), 13, "worker", 40);
        let new = threads.look();
        assert_eq!(new, [(12, name("worker")), (13, name("worker-13"))]);
        fs::remove_dir_all(root.path().join("7/task/13")).unwrap();
        threads.look();
        assert_eq!(
            threads.clocks(),
            [
                (9, name("vcpu0"), Some(500)),
                (7, name("main-loop"), Some(0)),
                (12, name("worker"), Some(30)),
                (13, name("worker-13"), None),
            ]
        );
    }
}

//! What a virtual machine's threads get, second by second.

use std::{collections::BTreeMap, fmt, io, time::Instant};

use anyhow::Result;
use kernel::{affinity::Tid, procfs::Proc};

use super::target::is_vcpu;
use crate::mechanism::Vm;

/// Eyes on a virtual machine.
pub(super) struct Watch {
    proc: Proc,
    pid: i32,
    start: Instant,
    last: Instant,
    threads: BTreeMap<Tid, Thread>,
}

/// What is remembered of a thread.
struct Thread {
    name: String,
    reserved: bool,
    promised: Option<f64>,
    first_ns: u64,
    cpu_ns: u64,
    /// The least and the largest share in any interval.
    range: Option<(f64, f64)>,
}

/// What one look shows.
#[derive(Debug, Default)]
pub(super) struct Seen {
    at_s: f64,
    vcpus: Vec<Delivered>,
    others: usize,
    others_share: f64,
    /// A sentence for each thread that was not there before and matters.
    pub appeared: Vec<String>,
}

#[derive(Debug)]
struct Delivered {
    tid: Tid,
    name: String,
    share: f64,
    promised: Option<f64>,
    range: (f64, f64),
}

impl Watch {
    /// Begins to watch; `promised` are bandwidths of vCPUs.
    ///
    /// # Errors
    /// Where the machine has ended.
    pub fn start(proc: Proc, vm: &Vm, promised: &BTreeMap<Tid, f64>) -> io::Result<Self> {
        let now = Instant::now();
        let threads = BTreeMap::new();
        let mut watch = Self { proc, pid: vm.pid, start: now, last: now, threads };
        for tid in watch.proc.threads(vm.pid)? {
            if let Ok(mut thread) = watch.thread(tid, vm.vcpus.contains(&tid)) {
                thread.promised = promised.get(&tid).copied();
                watch.threads.insert(tid, thread);
            }
        }
        Ok(watch)
    }

    fn thread(&self, tid: Tid, reserved: bool) -> io::Result<Thread> {
        let cpu_ns = self.proc.thread_times(tid)?.cpu_ns;
        let name = self.proc.name(tid)?;
        Ok(Thread { name, reserved, promised: None, first_ns: cpu_ns, cpu_ns, range: None })
    }

    /// Whether the machine is still there.
    pub fn is_alive(&self) -> bool {
        // A process that has ended and was not waited for has threads that do not run any more.
        self.proc.text(&format!("{}/stat", self.pid)).is_ok_and(|stat| {
            stat.rsplit_once(')')
                .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
        })
    }

    /// Looks once.
    ///
    /// # Errors
    /// Where the machine has ended.
    pub fn look(&mut self) -> Result<Seen> {
        if !self.is_alive() {
            anyhow::bail!("process {} has ended", self.pid);
        }
        let now = Instant::now();
        let elapsed_ns = (now - self.last).as_nanos() as f64;
        self.last = now;
        let at_s = (now - self.start).as_secs_f64();
        let mut seen = Seen { at_s, ..Seen::default() };
        let tids = self.proc.threads(self.pid)?;
        self.threads.retain(|tid, _| tids.contains(tid));
        for tid in tids {
            let Some(thread) = self.threads.get_mut(&tid) else {
                // One that ends in this moment is none that matters.
                if let Ok(thread) = self.thread(tid, false) {
                    seen.appeared.extend(notice(tid, &thread.name));
                    self.threads.insert(tid, thread);
                }
                continue;
            };
            let Ok(times) = self.proc.thread_times(tid) else { continue };
            let share = times.cpu_ns.saturating_sub(thread.cpu_ns) as f64 / elapsed_ns;
            thread.cpu_ns = times.cpu_ns;
            let (least, most) = thread.range.unwrap_or((share, share));
            let range = (least.min(share), most.max(share));
            thread.range = Some(range);
            if thread.reserved {
                let (name, promised) = (thread.name.clone(), thread.promised);
                seen.vcpus.push(Delivered { tid, name, share, promised, range });
            } else {
                seen.others += 1;
                seen.others_share += share;
            }
        }
        Ok(seen)
    }

    /// What was delivered from the beginning to the last look.
    pub fn summary(&self) -> String {
        let elapsed_ns = (self.last - self.start).as_nanos() as f64;
        let lines: Vec<String> = self
            .threads
            .iter()
            .filter(|(_, thread)| thread.reserved)
            .map(|(tid, thread)| {
                let share = (thread.cpu_ns - thread.first_ns) as f64 / elapsed_ns;
                let (least, most) = thread.range.unwrap_or((share, share));
                format!(
                    "in all: thread {tid} ({}) {share:.3}{} over {:.0} s, least {least:.3} and \
                     most {most:.3} in a second",
                    thread.name,
                    of(thread.promised),
                    elapsed_ns / 1e9
                )
            })
            .collect();
        lines.join("\n")
    }
}

/// What to say of a thread that appeared; helpers of QEMU's come and go all the time.
fn notice(tid: Tid, name: &str) -> Option<String> {
    is_vcpu(name).then(|| {
        format!(
            "warning: thread {tid} ({name}) appeared: a vCPU that is not reserved; end this and \
             reserve again to include it"
        )
    })
}

fn of(promised: Option<f64>) -> String {
    promised.map(|share| format!(" of {share:.3}")).unwrap_or_default()
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:5.0} s", self.at_s)?;
        for Delivered { tid, name, share, promised, range: (least, most) } in &self.vcpus {
            let promised = of(*promised);
            write!(f, "  {tid} ({name}) {share:.3}{promised}, least {least:.3}, most {most:.3}")?;
        }
        write!(f, "  {} other threads {:.3}", self.others, self.others_share)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, thread::sleep, time::Duration};

    use super::*;

    /// A made-up `/proc` of process 7, whose thread 8 is a vCPU.
    fn tree(threads: &[(Tid, &str, u64)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("7/task")).unwrap();
        fs::write(root.path().join("7/stat"), "7 (qemu) S 1").unwrap();
        for thread in threads {
            set(root.path(), *thread);
        }
        root
    }

    fn set(root: &Path, (tid, name, cpu_ns): (Tid, &str, u64)) {
        fs::create_dir_all(root.join(format!("7/task/{tid}"))).unwrap();
        let own = root.join(tid.to_string());
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("comm"), name).unwrap();
        fs::write(own.join("schedstat"), format!("{cpu_ns} 0 1")).unwrap();
    }

    fn watch(root: &Path) -> Watch {
        let vm = Vm { pid: 7, vcpus: vec![8] };
        Watch::start(Proc::at(root), &vm, &[(8, 0.56)].into()).unwrap()
    }

    #[test]
    fn shares_are_of_the_time_between_two_looks() {
        let root = tree(&[(7, "qemu", 0), (8, "CPU 0/KVM", 5_000_000_000)]);
        let mut watch = watch(root.path());
        for used_ms in [50, 25] {
            sleep(Duration::from_millis(50));
            let before = watch.threads[&8].cpu_ns;
            set(root.path(), (8, "CPU 0/KVM", before + used_ms * 1_000_000));
            watch.look().unwrap();
        }
        let (least, most) = watch.threads[&8].range.unwrap();
        assert!(least < 0.55 && most > 0.55 && most <= 1.0, "{least} {most}");
        assert!(watch.summary().contains("(CPU 0/KVM)"), "{}", watch.summary());
        assert!(watch.summary().contains("of 0.560"), "{}", watch.summary());
    }

    #[test]
    fn a_vcpu_that_appears_is_said_and_a_helper_is_counted() {
        let root = tree(&[(7, "qemu", 0), (8, "CPU 0/KVM", 0)]);
        let mut watch = watch(root.path());
        set(root.path(), (9, "CPU 1/KVM", 0));
        set(root.path(), (10, "worker", 0));
        let seen = watch.look().unwrap();
        assert_eq!(seen.appeared.len(), 1);
        assert!(seen.appeared[0].contains("thread 9 (CPU 1/KVM)"), "{:?}", seen.appeared);
        assert_eq!(watch.look().unwrap().others, 3);
    }

    #[test]
    fn the_end_of_the_machine_is_an_end_and_no_crash() {
        let root = tree(&[(7, "qemu", 0), (8, "CPU 0/KVM", 0)]);
        let mut watch = watch(root.path());
        fs::write(root.path().join("7/stat"), "7 (qemu) Z 1").unwrap();
        assert!(watch.look().is_err());
        fs::remove_dir_all(root.path().join("7")).unwrap();
        assert!(watch.look().is_err() && !watch.is_alive());
    }
}

//! Watches a virtual machine for a while: when its vCPUs were woken, and what they ran then.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use model::{
    Mechanism, Placement,
    demand::{Asked, Demand, arrivals},
    duration, sample, say,
};
use tempfile::TempDir;

use super::{Advice, Options};
use crate::{
    folder::Folder,
    host::{Cpus, Linux, Roots, Stage, Stop, pause, state_dir},
    mechanism::{self, Request, Vm},
    reserve::record::{Purpose, Record},
};

const WATCHED: Purpose = Purpose {
    name: "watched",
    what: "observation",
    cpus: "watching leaves the host's CPUs as they are",
};

/// Time runnable and not running, as a share of the demand, above which the demand is said to be
/// underestimated.
const MUCH_WAITING: f64 = 0.05;

/// A vCPU that is busy for so much of the time takes all that it gets.
const ALWAYS_BUSY: f64 = 0.95;

/// A vCPU that ran or could run so shortly before the end was busy then: it may just have waited.
const NEAR_END_NS: u64 = 20_000_000;

/// What was seen of one vCPU.
#[derive(Debug)]
pub(super) struct Vcpu {
    pub name: String,
    pub demand: Demand,
    pub wake_ups: usize,
    /// The most that it ran before it slept again.
    pub longest_ns: u64,
    pub waited_ns: u64,
    /// From the first row to the last.
    pub length_ns: u64,
    /// Since when it was busy without end, as the observation ended.
    pub busy_at_end_ns: u64,
}

/// What was seen.
pub(super) struct Seen {
    /// The result folder.
    pub folder: PathBuf,
    pub rows: Vec<Asked>,
    pub vcpus: Vec<Vcpu>,
    pub watched_ns: u64,
    pub warnings: Vec<String>,
    /// Where nobody wants the folder.
    _temporary: Option<TempDir>,
}

/// Traces the machine for as long as `options` say.
///
/// # Errors
/// [`crate::error::Refusal`], and what tracefs refused.
pub(super) fn watch(options: &Options, vm: &Vm, cpus: Cpus, stop: &Stop) -> Result<Seen> {
    let temporary = options.out.is_none().then(tempfile::tempdir).transpose()?;
    let path = temporary.as_ref().map(|folder| folder.path().join("advise"));
    let out = options.out.clone().or(path).context("a folder")?;
    let folder = Folder::make(&out)?;
    let mut stage = Stage::bare(cpus, stop.clone(), Box::<Linux>::default(), &state_dir())?;
    if options.isolate {
        let request = Request { placement: Placement::InPlace, ..Request::default() };
        mechanism::attach(&mut stage, Mechanism::FifoAbove, vm, &request)?;
    }
    let record = Record::start(folder, &mut stage, vm, WATCHED, None)?;
    say!("watching process {} for {}", vm.pid, duration::format(options.length));
    observe(options.length, vm, &stage.roots, stop)?;
    let recorded = record.finish(Vec::new())?;
    stage.finish()?;
    let rows = arrivals(&recorded.rows, &recorded.facts, vm.vcpus.len());
    let watched_ns = recorded.facts.to_ns - recorded.facts.from_ns;
    let vcpus: Vec<Vcpu> =
        (0..vm.vcpus.len()).map(|number| Vcpu::of(format!("vcpu{number}"), &rows)).collect();
    let mut warnings = recorded.warnings;
    warnings.extend(vcpus.iter().flat_map(Vcpu::warnings));
    let folder = recorded.folder;
    Ok(Seen { folder, rows, vcpus, watched_ns, warnings, _temporary: temporary })
}

/// Waits until the time is over.
fn observe(length: Duration, vm: &Vm, roots: &Roots, stop: &Stop) -> Result<()> {
    let end = Instant::now() + length;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        ensure!(
            vm.vcpus.iter().all(|tid| roots.proc.thread_times(*tid).is_ok()),
            "the virtual machine (process {}) has ended while it was watched",
            vm.pid
        );
        if left.is_zero() {
            return Ok(());
        }
        pause(left.min(Duration::from_secs(1)), stop)?;
    }
}

impl Vcpu {
    fn of(name: String, rows: &[Asked]) -> Self {
        let own: Vec<&Asked> = rows.iter().filter(|row| row.thread == name).collect();
        let busy: Vec<&&Asked> = own.iter().filter(|row| row.cpu_ns > 0).collect();
        let waited = |row: &&&Asked| row.waited_ns.unwrap_or(0);
        let end_ns = own.last().map_or(0, |row| row.woken_ns);
        let last = busy
            .last()
            .filter(|row| row.woken_ns + row.cpu_ns + waited(row) + NEAR_END_NS >= end_ns);
        Self {
            demand: Demand::of(own.iter().map(|row| (row.woken_ns, row.cpu_ns))),
            wake_ups: busy.len(),
            longest_ns: busy.iter().map(|row| row.cpu_ns).max().unwrap_or(0),
            waited_ns: busy.iter().map(waited).sum(),
            length_ns: end_ns - own.first().map_or(end_ns, |row| row.woken_ns),
            busy_at_end_ns: last.map_or(0, |row| end_ns - row.woken_ns),
            name,
        }
    }

    /// Time runnable and not running, as a share of the demand.
    pub(super) fn waited_share(&self) -> f64 {
        match self.demand.work_ns() {
            0 => 0.0,
            work_ns => self.waited_ns as f64 / work_ns as f64,
        }
    }

    fn warnings(&self) -> Vec<String> {
        let mut all = Vec::new();
        let name = &self.name;
        if self.waited_share() > MUCH_WAITING {
            all.push(format!(
                "{name} waited for the CPU, runnable and not running, for {:.0} % of its demand: the \
                 demand is underestimated; watch again with --isolate, or while the host has less \
                 to do",
                self.waited_share() * 100.0
            ));
        }
        let busy_ns = self.demand.work_ns() + self.waited_ns;
        if busy_ns as f64 > ALWAYS_BUSY * self.length_ns as f64 {
            all.push(format!(
                "{name} was busy all the time: it takes all that it gets, and nobody knows for how \
                 long it goes on; a budget limits it, and none keeps its work in time"
            ));
        } else if self.busy_at_end_ns > 0 && self.busy_at_end_ns >= self.longest_ns {
            all.push(format!(
                "{name} was busy for the last {:.3} s, longer than ever before, and nobody knows for \
                 how long it goes on: the demand is underestimated; watch for longer",
                self.busy_at_end_ns as f64 / 1e9
            ));
        }
        if self.demand.advanced_ns() > 0 {
            all.push(format!(
                "{name} woke too often to tell all wake-ups apart; work is counted up to {} early",
                duration::format(Duration::from_nanos(self.demand.advanced_ns()))
            ));
        }
        all
    }
}

impl Seen {
    /// Of every vCPU.
    pub(super) fn demands(&self) -> Vec<&Demand> {
        self.vcpus.iter().map(|vcpu| &vcpu.demand).collect()
    }

    /// Writes `demand.csv` and `advice.json` where a folder is wanted.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn save(&self, out: Option<&Path>, advice: &Advice) -> Result<()> {
        let Some(out) = out else { return Ok(()) };
        sample::write_csv(&out.join("demand.csv"), &self.rows)?;
        let path = out.join("advice.json");
        let text = serde_json::to_string_pretty(advice)? + "\n";
        fs::write(&path, text).with_context(|| path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Wake-up, CPU time and waiting, in ms.
    fn vcpu(rows: &[(u64, u64, u64)]) -> Vcpu {
        let row = |&(woken_ns, cpu_ns, waited): &(u64, u64, u64)| Asked {
            thread: "vcpu0".to_owned(),
            woken_ns: woken_ns * MS,
            cpu_ns: cpu_ns * MS,
            waited_ns: (cpu_ns > 0).then_some(waited * MS),
        };
        Vcpu::of("vcpu0".to_owned(), &rows.iter().map(row).collect::<Vec<_>>())
    }

    #[test]
    fn a_machine_that_ends_meanwhile_is_no_wrong_input() {
        // No thread has so high a number.
        let vm = Vm { pid: i32::MAX, vcpus: vec![i32::MAX] };
        let length = Duration::from_secs(60);
        let error = observe(length, &vm, &Roots::default(), &Stop::default()).unwrap_err();
        assert_eq!(crate::error::exit_of(&error), model::Exit::Failed, "{error}");
        assert!(error.to_string().contains("has ended"), "{error}");
    }

    #[test]
    fn a_vcpu_that_waited_or_is_still_busy_is_said() {
        let calm = vcpu(&[(0, 0, 0), (10, 100, 5), (500, 100, 5), (1000, 0, 0)]);
        assert_eq!((calm.wake_ups, calm.longest_ns, calm.waited_ns), (2, 100 * MS, 10 * MS));
        assert_eq!(calm.warnings(), [] as [&str; 0]);
        let waits = vcpu(&[(0, 0, 0), (10, 100, 6), (500, 100, 5), (1000, 0, 0)]);
        assert!(waits.warnings()[0].contains("--isolate"), "{:?}", waits.warnings());
        let busy = vcpu(&[(0, 0, 0), (10, 100, 0), (500, 500, 0), (1000, 0, 0)]);
        assert!(busy.warnings()[0].contains("busy for the last"), "{:?}", busy.warnings());
        // One that happens to run at the end, as it did before.
        let at_end = vcpu(&[(0, 0, 0), (10, 100, 0), (950, 50, 0), (1000, 0, 0)]);
        assert_eq!(at_end.warnings(), [] as [&str; 0]);
        // One that takes all it gets, whether it slept for a moment or not.
        for rows in [&[(0, 0, 0), (1, 999, 0)][..], &[(0, 0, 0), (1, 600, 0), (602, 390, 7)]] {
            let greedy = vcpu(&[rows, &[(1000, 0, 0)]].concat());
            assert!(greedy.warnings()[0].contains("all the time"), "{:?}", greedy.warnings());
        }
        let idle = vcpu(&[(0, 0, 0), (1000, 0, 0)]);
        assert_eq!((idle.wake_ups, idle.demand.work_ns(), idle.waited_share()), (0, 0, 0.0));
    }
}

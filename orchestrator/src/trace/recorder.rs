//! The recorder: a process on the housekeeping CPUs that reads the trace until SIGTERM.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use kernel::{
    affinity::Tid,
    clock::monotonic_ns,
    procfs::Proc,
    tracefs::{Buffers, Instance, Scope, Stream, Tracefs},
};
use model::{
    manifest::{ThreadFacts, TraceFacts},
    sample::{CsvFile, Occupied, SampleError, Softirq, Supply},
};

use super::{Collector, Named, Recorded, Row, Threads};

/// Half a second of 100,000 switches a second on each measured CPU (72 bytes each); little elsewhere,
/// where only the VM's threads are recorded.
const BUFFERS: Buffers = Buffers { measured_kib: 4096, other_kib: 512 };
/// How long it sleeps when it has read everything.
const REST: Duration = Duration::from_millis(10);
/// How often it looks for threads that have appeared.
const LOOK: Duration = Duration::from_millis(100);

/// What it writes, in the folder it is given.
pub const SUPPLY: &str = "supply.csv";
/// What else ran on the measured CPUs.
pub const OCCUPIED: &str = "cpu.csv";
/// What the kernel did for the network.
pub const SOFTIRQ: &str = "softirq.csv";
/// The [`TraceFacts`].
pub const FACTS: &str = "trace.json";
/// What it prints once it records.
pub const READY: &str = "recording";

/// What to record.
#[derive(Debug, Clone, Args)]
pub struct Recorder {
    /// Where tracefs is mounted.
    #[arg(long)]
    tracefs: PathBuf,
    /// The instance's folder.
    #[arg(long)]
    instance: PathBuf,
    /// A CPU on which every switch is recorded.
    #[arg(long, required = true)]
    measured: Vec<u32>,
    /// A process whose threads are recorded on every CPU, and those of them that execute a guest.
    #[arg(long, value_name = "NAME:PID:TID,TID")]
    vm: Vec<Recorded>,
    /// Record the softirqs of the network, too.
    #[arg(long)]
    network: bool,
    /// Where the files go.
    #[arg(long)]
    folder: PathBuf,
}

impl Recorder {
    /// Records until SIGTERM, then writes down what it comes to.
    ///
    /// # Errors
    /// What tracefs refused, or a file that cannot be written.
    pub fn run(&self) -> Result<()> {
        let stop = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&stop))?;
        let instance = Instance::at(&self.instance);
        let mut threads = Threads::of(Proc::default(), &self.vm);
        let names = threads.look().into_iter().collect();
        instance.set_up(self.scope(&threads.tids()), BUFFERS)?;
        let mut stream = Stream::open(&instance, Tracefs::at(&self.tracefs).decoder()?)?;
        let mut files = Files::create(&self.folder, self.network)?;
        let from_ns = monotonic_ns();
        instance.record(true)?;
        threads.begin();
        let mut collector = Collector::new(&self.measured, from_ns, names);
        model::answer!("{READY}")?;
        let mut looked = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let more = stream.read(monotonic_ns(), &mut |at_ns, cpu, event| {
                files.add(collector.take(at_ns, cpu, event));
            })?;
            if looked.elapsed() > LOOK {
                looked = Instant::now();
                self.look(&instance, &mut threads, &mut collector)?;
            }
            if !more {
                sleep(REST);
            }
        }
        threads.look();
        instance.record(false)?;
        let to_ns = monotonic_ns();
        stream.drain(&mut |at_ns, cpu, event| files.add(collector.take(at_ns, cpu, event)))?;
        collector.finish(to_ns).into_iter().for_each(|row| files.add(Some(row)));
        files.finish()?;
        let facts = facts(&threads, &collector, (from_ns, to_ns), instance.lost()?);
        let path = self.folder.join(FACTS);
        fs::write(&path, serde_json::to_string_pretty(&facts)? + "\n")
            .with_context(|| path.display().to_string())
    }

    fn scope<'a>(&'a self, threads: &'a [Tid]) -> Scope<'a> {
        Scope { cpus: &self.measured, threads, network: self.network }
    }

    /// Records the threads that have appeared too.
    fn look(
        &self,
        instance: &Instance,
        threads: &mut Threads,
        collector: &mut Collector,
    ) -> Result<()> {
        let new = threads.look();
        if new.is_empty() {
            return Ok(());
        }
        for (tid, name) in new {
            collector.add(tid, name);
        }
        Ok(instance.restrict(self.scope(&threads.tids()))?)
    }
}

fn facts(
    threads: &Threads,
    collector: &Collector,
    (from_ns, to_ns): (u64, u64),
    lost_events: u64,
) -> TraceFacts {
    let of_thread = |(tid, Named { vm, thread }, clock_ns)| {
        let ran = collector.ran(tid);
        ThreadFacts {
            vm: Some(vm),
            thread,
            tid,
            traced_ns: ran.all_ns,
            measured_cpu_ns: ran.measured_ns,
            clock_ns,
        }
    };
    TraceFacts {
        from_ns,
        to_ns,
        workload_from_ns: None,
        workload_to_ns: None,
        lost_events,
        unpaired: collector.unpaired(),
        threads: threads.clocks().into_iter().map(of_thread).collect(),
    }
}

/// The files of rows, and the first thing that went wrong with them.
struct Files {
    supply: CsvFile,
    occupied: CsvFile,
    softirq: Option<CsvFile>,
    failed: Option<SampleError>,
}

impl Files {
    fn create(folder: &Path, network: bool) -> Result<Self, SampleError> {
        let softirq = network.then(|| CsvFile::create::<Softirq>(&folder.join(SOFTIRQ)));
        Ok(Self {
            softirq: softirq.transpose()?,
            supply: CsvFile::create::<Supply>(&folder.join(SUPPLY))?,
            occupied: CsvFile::create::<Occupied>(&folder.join(OCCUPIED))?,
            failed: None,
        })
    }

    fn add(&mut self, row: Option<Row>) {
        let result = match row {
            None => return,
            Some(Row::Supply(row)) => self.supply.add(&row),
            Some(Row::Occupied(row)) => self.occupied.add(&row),
            Some(Row::Softirq(row)) => match &mut self.softirq {
                Some(file) => file.add(&row),
                None => return,
            },
        };
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }

    fn finish(self) -> Result<(), SampleError> {
        self.failed.map_or(Ok(()), Err)?;
        self.supply.finish()?;
        self.softirq.map_or(Ok(()), CsvFile::finish)?;
        self.occupied.finish()
    }
}

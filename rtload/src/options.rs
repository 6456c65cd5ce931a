//! What the user typed, as plain data.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use model::{Surge, duration, load::Backlog};
use serde::Serialize;

use crate::{
    bytes::Bytes,
    calibration::{self, Look},
    plan::{MOST_RECORDS, StopAbove},
    policy::PolicyKind,
    traffic::LoadKind,
    variation::TaskArg,
    work::WorkKind,
};

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Yes
    On,
    /// No
    Off,
}

/// How the summary is printed on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// A table to read
    #[default]
    Text,
    /// One JSON object
    Json,
}

/// `keep` or `drop`, as on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum BacklogArg {
    /// Run every job, however late
    #[default]
    Keep,
    /// Skip the releases that have passed
    Drop,
}

impl From<BacklogArg> for Backlog {
    fn from(arg: BacklogArg) -> Self {
        match arg {
            BacklogArg::Keep => Self::Keep,
            BacklogArg::Drop => Self::Drop,
        }
    }
}

/// Where the amount of work comes from.
#[derive(Debug, Clone, Args)]
pub struct CalibrationArgs {
    /// Use this stored calibration as it is, so that two machines run the very same work
    #[arg(long = "calibration", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Also write the calibration that is used to this file
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Look whether a stored calibration still holds: within 0.5 % for fixed work (1.2 s of CPU
    /// time), within 10 % for paced work (0.2 s). Switch it off in a guest under a reservation,
    /// where the guest's CPU time includes the host's preemption
    #[arg(long, value_name = "on|off", default_value = "on")]
    pub check: Switch,
    /// CPU time that a new calibration takes
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true, default_value = "3s")]
    pub length: Duration,
}

/// How the tasks run, for `run` and `load` alike.
#[derive(Debug, Clone, Args)]
pub struct TaskArgs {
    /// Scheduling policy of all tasks
    #[arg(long, default_value = "fifo")]
    pub policy: PolicyKind,
    /// Priority of the task with the shortest period, the others below it (rate monotonic); or a
    /// list, one for each task
    #[arg(long, value_name = "N[,N…]", value_delimiter = ',')]
    pub priority: Vec<u8>,
    /// Seed of execution times that vary: the same seed draws the same ones
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// The CPU for all jobs of all tasks; by default the highest-numbered one allowed (with
    /// --policy deadline: any)
    #[arg(long, value_name = "N")]
    pub cpu: Option<u32>,
    /// First release, on CLOCK_MONOTONIC in nanoseconds; by default 0.1 s after the set-up
    #[arg(long, value_name = "NS")]
    pub start_at: Option<u64>,
    /// What is constant in a job: its iterations or its CPU time. By default `fixed` where a
    /// calibration is given, since the caller then wants that very amount of work, else `paced`
    #[arg(long, value_name = "fixed|paced")]
    pub work: Option<WorkKind>,
    /// Hold /dev/cpu_dma_latency at 0, so that no CPU enters a slow sleep state
    #[arg(long)]
    pub hold_awake: bool,
    /// Write a row for every job (CSV)
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write an HdrHistogram log: tags tau1, tau2, … (response time) and tau1-cpu, … (CPU time)
    #[arg(long, value_name = "FILE")]
    pub hist_log: Option<PathBuf>,
    /// Write a histogram of latencies (scheduled release to start) as `cyclictest --histfile` does
    #[arg(long, value_name = "FILE")]
    pub histfile: Option<PathBuf>,
    /// Write the same as `cyclictest --json` does
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Keep a record of every job in memory while at most this many are released: exact percentiles,
    /// and --out is written at the end. Beyond, memory is constant: percentiles come from histograms
    /// (within 0.1 %), and rows are written while the jobs run, in the order in which they end
    #[arg(long, value_name = "N", default_value_t = MOST_RECORDS)]
    pub most_records: u64,
    /// Form of the summary on standard output
    #[arg(long, default_value = "text")]
    pub summary: Format,
    /// Where the amount of work comes from.
    #[command(flatten)]
    pub calibration: CalibrationArgs,
}

impl TaskArgs {
    /// The kind of work asked for, or its default.
    #[must_use]
    pub fn work_kind(&self) -> WorkKind {
        let given = self.calibration.file.is_some();
        self.work.unwrap_or(if given { WorkKind::Fixed } else { WorkKind::Paced })
    }

    /// Whether a file is asked for that is made of jobs.
    #[must_use]
    pub fn writes_samples(&self) -> bool {
        [&self.out, &self.hist_log, &self.histfile, &self.json].iter().any(|file| file.is_some())
    }

    /// What to do about the calibration. Fixed work is only as long as its calibration is right;
    /// paced work just has to know roughly what a piece takes.
    #[must_use]
    pub fn calibration_options(&self, kind: WorkKind) -> calibration::Options {
        let look = match kind {
            WorkKind::Fixed => Look::STRICT,
            WorkKind::Paced => Look::ROUGH,
        };
        calibration::Options {
            file: self.calibration.file.clone(),
            look: (self.calibration.check == Switch::On).then_some(look),
            length: self.calibration.length,
        }
    }
}

/// `rtload run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// A task, execution/period[/deadline], for example 30ms/150ms; repeat it for more. With
    /// 30ms..40ms/150ms each job's execution time is drawn between the two, with
    /// file:times.txt/150ms from the lines of a file
    #[arg(
        long = "task",
        value_name = "C/T[/D]",
        required_unless_present = "rt_app",
        allow_hyphen_values = true
    )]
    pub tasks: Vec<TaskArg>,
    /// Instead of tasks: play a file of rt-app (JSON) with run, runtime, sleep, timer, yield, phases
    /// and loops. A row for the work of each loop, with its phase; `run` is fixed work unless --work
    /// says otherwise; --cpu is for tasks without `cpus`
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["tasks", "drain", "stop_on_miss", "stop_above", "policy", "priority",
            "seed", "histfile", "json", "most_records", "surge"]
    )]
    pub rt_app: Option<PathBuf>,
    /// Jobs are released for this long; with --rt-app by default as the file says
    #[arg(
        long,
        value_name = "TIME",
        value_parser = duration::parse,
        allow_hyphen_values = true,
        required_unless_present = "rt_app"
    )]
    pub duration: Option<Duration>,
    /// Time after --duration for the jobs released before its end to finish; by default twice the
    /// duration, at least 10s. Jobs still unfinished then are counted, but have no row
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true)]
    pub drain: Option<Duration>,
    /// Give jobs released from one instant to another so many times their execution time, for
    /// example 10s..20s*2
    #[arg(long, value_name = "FROM..TO*TIMES", allow_hyphen_values = true)]
    pub surge: Option<Surge>,
    /// Fills the column `experiment`
    #[arg(long, value_name = "NAME")]
    pub experiment: Option<String>,
    /// Fills the column `repetition`
    #[arg(long, value_name = "N")]
    pub repetition: Option<u32>,
    /// Exit with 4 where a deadline was missed or a job was not finished
    #[arg(long)]
    pub fail_on_miss: bool,
    /// End the run at the first job that misses its deadline
    #[arg(long)]
    pub stop_on_miss: bool,
    /// End the run at the first job whose response time is above this, for example 2ms
    #[arg(long, value_name = "TIME", value_parser = duration::parse, conflicts_with = "stop_on_miss")]
    pub stop_above: Option<Duration>,
    /// How the tasks run.
    #[command(flatten)]
    pub common: TaskArgs,
}

impl RunArgs {
    /// What ends the run early.
    #[must_use]
    pub fn stop_above(&self) -> Option<StopAbove> {
        let deadline = self.stop_on_miss.then_some(StopAbove::Deadline);
        self.stop_above.map(StopAbove::Time).or(deadline)
    }
}

/// `rtload load`.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// A task, execution/period[/deadline], for example 50ms/120ms; repeat it for more. With
    /// 30ms..40ms/150ms each job's execution time is drawn between the two, with
    /// file:times.txt/150ms from the lines of a file
    #[arg(
        long = "task",
        value_name = "C/T[/D]",
        required_unless_present = "utilisation",
        allow_hyphen_values = true
    )]
    pub tasks: Vec<TaskArg>,
    /// Instead of tasks: one that takes this share of the CPU, for example 0.9
    #[arg(long, value_name = "U", conflicts_with = "tasks", allow_hyphen_values = true)]
    pub utilisation: Option<f64>,
    /// The period that --utilisation is in
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true, default_value = "10ms")]
    pub period: Duration,
    /// Stop after this long, if no SIGTERM or SIGINT came before
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true, default_value = "1h")]
    pub duration: Duration,
    /// What the load keeps busy: the processor, or with jobs of the same CPU time its caches or memory
    #[arg(long, default_value = "cpu")]
    pub kind: LoadKind,
    /// The buffer of each task of --kind cache (by default the size of the CPU's last cache) or memory
    /// (by default 64MiB)
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub size: Option<Bytes>,
    /// What happens to jobs that could not run in time
    #[arg(long, default_value = "keep")]
    pub backlog: BacklogArg,
    /// Lift the safety limits: at most 95 % of a CPU at real-time priority, and never the only CPU
    #[arg(long)]
    pub force: bool,
    /// How the tasks run.
    #[command(flatten)]
    pub common: TaskArgs,
}

/// A lock by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockKind {
    /// Test and set: waiters spin, and who comes by first gets it
    #[default]
    Raw,
    /// Waiters spin, and get it in the order in which they came
    Ticket,
    /// Waiters sleep in the kernel after a short spin: the standard library's mutex
    Futex,
}

/// `rtload lock`.
#[derive(Debug, Clone, Args)]
pub struct LockArgs {
    /// How many threads share the lock
    #[arg(long, value_name = "N", default_value_t = 2, allow_hyphen_values = true)]
    pub threads: u32,
    /// The CPU of each thread, in turn where there are fewer; by default all that are allowed
    #[arg(long, value_name = "N[,N…]", value_delimiter = ',')]
    pub cpus: Vec<u32>,
    /// How threads wait
    #[arg(long, default_value = "raw")]
    pub kind: LockKind,
    /// The share of its own work that a thread does in the lock, from 0.001 to 1
    #[arg(long, value_name = "F", default_value_t = 0.5, allow_hyphen_values = true)]
    pub share: f64,
    /// The work done each time that the lock is held
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true, default_value = "50us")]
    pub hold: Duration,
    /// Threads go on for this long
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true)]
    pub duration: Duration,
    /// When all begin, on CLOCK_MONOTONIC in nanoseconds; by default 0.1 s after the set-up
    #[arg(long, value_name = "NS")]
    pub start_at: Option<u64>,
    /// Write a row for every acquisition (CSV)
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Form of the summary on standard output
    #[arg(long, default_value = "text")]
    pub summary: Format,
    /// Where the amount of work comes from.
    #[command(flatten)]
    pub calibration: CalibrationArgs,
}

/// Policies of the thread that probes the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockPolicy {
    /// SCHED_FIFO: nothing ordinary of this system comes between two reads
    #[default]
    Fifo,
    /// SCHED_OTHER: what an ordinary program sees
    Other,
}

/// `rtload clock`.
#[derive(Debug, Clone, Args)]
pub struct ClockArgs {
    /// The CPU to probe; by default the highest-numbered one allowed
    #[arg(long, value_name = "N")]
    pub cpu: Option<u32>,
    /// Scheduling policy of the thread that reads and waits for timers
    #[arg(long, default_value = "fifo")]
    pub policy: ClockPolicy,
    /// Its priority, 1 to 98; for --policy fifo [default: 80]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=98))]
    pub priority: Option<u8>,
    /// Probe for this long
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true, default_value = "10s")]
    pub duration: Duration,
    /// Tell gaps between two reads, and steps of a clock, above this
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true, default_value = "20us")]
    pub threshold: Duration,
    /// From timer to timer
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true, default_value = "1ms")]
    pub period: Duration,
    /// Begin at this instant of CLOCK_MONOTONIC, in nanoseconds; by default 0.1 s after the set-up
    #[arg(long, value_name = "NS")]
    pub start_at: Option<u64>,
    /// Write a row for each gap, step and timer (CSV)
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Fills the column `experiment`
    #[arg(long, value_name = "NAME")]
    pub experiment: Option<String>,
    /// Fills the column `repetition`
    #[arg(long, value_name = "N")]
    pub repetition: Option<u32>,
    /// Form of the summary on standard output
    #[arg(long, default_value = "text")]
    pub summary: Format,
}

/// `rtload calibrate`.
#[derive(Debug, Clone, Args)]
pub struct CalibrateArgs {
    /// The CPU to measure; by default the highest-numbered one allowed
    #[arg(long, value_name = "N")]
    pub cpu: Option<u32>,
    /// Also write the calibration to this file
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// CPU time to measure
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true, default_value = "3s")]
    pub length: Duration,
    /// Form of the summary on standard output
    #[arg(long, default_value = "text")]
    pub summary: Format,
}

/// `rtload characterise`.
#[derive(Debug, Clone, Args)]
pub struct CharacteriseArgs {
    /// The CPU to measure; by default the highest-numbered one allowed
    #[arg(long, value_name = "N")]
    pub cpu: Option<u32>,
    /// Write the vector to this file (JSON)
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Time to measure, about; at least 20 batches of 10 ms of each operation are taken
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true, default_value = "7s")]
    pub length: Duration,
    /// Form of the summary on standard output
    #[arg(long, default_value = "text")]
    pub summary: Format,
}

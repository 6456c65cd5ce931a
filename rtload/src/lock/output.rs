//! Rows and the summary of `rtload lock`; promised in `docs/formats.md`.

use std::fmt::Write;

use model::{sample::Columns, stats};
use serde::Serialize;

use super::contender::Tally;
use crate::{
    Error,
    calibration::Calibration,
    options::{Format, LockKind},
    output::{answer, print_json, print_warnings},
};

/// One acquisition.
#[derive(Debug, Clone, Serialize)]
pub struct Acquisition {
    thread: String,
    acquisition: u64,
    request_ns: u64,
    acquired_ns: u64,
    released_ns: u64,
    wait_ns: u64,
    wait_cpu_ns: u64,
    passed: u64,
}

impl Columns for Acquisition {
    const COLUMNS: &'static [&'static str] = &[
        "thread",
        "acquisition",
        "request_ns",
        "acquired_ns",
        "released_ns",
        "wait_ns",
        "wait_cpu_ns",
        "passed",
    ];
}

impl Acquisition {
    /// From a record.
    pub fn of(thread: &str, cells: [u64; 6]) -> Self {
        let [acquisition, request_ns, acquired_ns, released_ns, wait_cpu_ns, passed] = cells;
        let wait_ns = acquired_ns - request_ns;
        let thread = thread.to_owned();
        Self {
            thread,
            acquisition,
            request_ns,
            acquired_ns,
            released_ns,
            wait_ns,
            wait_cpu_ns,
            passed,
        }
    }
}

/// One thread; statistics are null where it never had the lock.
#[derive(Debug, Clone, Serialize)]
pub struct ThreadSummary {
    /// `thread0`, …
    pub thread: String,
    /// Its CPU.
    pub cpu: u32,
    /// How often it had the lock.
    pub acquisitions: u64,
    /// From the request to the acquisition.
    pub wait_ns: Option<stats::Summary>,
    /// From the acquisition to the release.
    pub hold_ns: Option<stats::Summary>,
    /// CPU time spent in waiting.
    pub wait_cpu_ns: u64,
    /// All of its CPU time.
    pub cpu_ns: u64,
    /// `wait_cpu_ns` of `cpu_ns`.
    pub wasted_share: f64,
    /// The most acquisitions of others in one wait.
    pub passed: u64,
    /// How long it had waited at the end, in vain; null where it had not.
    pub cut_ns: Option<u64>,
}

impl ThreadSummary {
    /// Summarises a thread.
    pub fn of(thread: String, cpu: u32, tally: &Tally) -> Self {
        let wait_ns = tally.wait.summary();
        Self {
            thread,
            cpu,
            acquisitions: wait_ns.as_ref().map_or(0, |wait| wait.count),
            wait_ns,
            hold_ns: tally.hold.summary(),
            wait_cpu_ns: tally.wait_cpu_ns,
            cpu_ns: tally.cpu_ns,
            wasted_share: share(tally.wait_cpu_ns, tally.cpu_ns),
            passed: tally.passed,
            cut_ns: tally.cut_ns,
        }
    }

    /// Its longest wait, ended or not.
    pub fn longest_wait_ns(&self) -> u64 {
        let ended = self.wait_ns.as_ref().map_or(0, |wait| wait.max);
        ended.max(self.cut_ns.unwrap_or(0))
    }
}

/// `part` of `whole`, 0 of nothing.
pub fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Everything that is said about a run.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The threads.
    pub threads: Vec<ThreadSummary>,
    /// The lock.
    pub kind: LockKind,
    /// Of each thread's own work, what is done in the lock.
    pub share: f64,
    /// The work in the lock, on an undisturbed CPU.
    pub hold_ns: u64,
    /// The longest wait of all, ended or not.
    pub longest_wait_ns: u64,
    /// CPU time spent in waiting, of all threads.
    pub wait_cpu_ns: u64,
    /// Of the CPU time of all threads, what was spent in waiting.
    pub wasted_share: f64,
    /// How often two threads had the lock at once.
    pub violations: u64,
    /// The common start on CLOCK_MONOTONIC.
    pub start_ns: u64,
    /// It was to last for this long.
    pub duration_ns: u64,
    /// From the start to the end of the last thread.
    pub elapsed_ns: u64,
    /// Whether a signal ended it.
    pub interrupted: bool,
    /// `histogram`: within 1 part in 1000.
    pub percentiles: &'static str,
    /// The calibration used.
    pub calibration: Calibration,
    /// What may have spoilt the figures.
    pub warnings: Vec<String>,
}

impl Summary {
    /// Prints it on standard output, the warnings on standard error.
    ///
    /// # Errors
    /// [`Error::System`] where it cannot be printed though somebody reads.
    pub fn print(&self, format: Format) -> Result<(), Error> {
        print_warnings(&self.warnings);
        match format {
            Format::Text => answer(&self.table()),
            Format::Json => print_json(self),
        }
    }

    fn table(&self) -> String {
        let mut out = format!(
            "{:<9} {:>3} {:>12} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}\n",
            "ms",
            "CPU",
            "acquisitions",
            "hold p50",
            "wait mean",
            "wait p50",
            "wait p99",
            "wait max",
            "CPU wasted"
        );
        let ms = |ns: f64| format!("{:.3}", ns / 1e6);
        for own in &self.threads {
            let hold = own.hold_ns.as_ref().map_or_else(String::new, |hold| ms(hold.p50 as f64));
            let wait = own.wait_ns.as_ref().map_or_else(Default::default, |wait| {
                [wait.mean, wait.p50 as f64, wait.p99 as f64, wait.max as f64].map(ms)
            });
            let [mean, p50, p99, max] = wait;
            writeln!(
                out,
                "{:<9} {:>3} {:>12} {hold:>10} {mean:>10} {p50:>10} {p99:>10} {max:>10} {:>8.1} %",
                own.thread,
                own.cpu,
                own.acquisitions,
                own.wasted_share * 100.0
            )
            .expect("a string takes it");
        }
        let longest = ms(self.longest_wait_ns as f64);
        let wasted = self.wasted_share * 100.0;
        writeln!(
            out,
            "longest wait {longest} ms; {wasted:.1} % of the CPU time was spent in waiting"
        )
        .expect("a string takes it");
        if self.violations > 0 {
            writeln!(out, "BROKEN: two threads had the lock at once, {} times", self.violations)
                .expect("a string takes it");
        }
        out
    }
}

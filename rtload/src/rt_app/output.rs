//! Rows and the summary of a file of rt-app that was played; promised in `docs/formats.md`.

use std::{fmt::Write, io, time::Duration};

use kernel::clock::wall_of;
use model::{
    duration::as_ns,
    hist,
    outfile::{self, OutFile},
    sample::Columns,
    stats,
};
use serde::Serialize;

use super::{
    player::{LoopFeed, NO_DEADLINE, Tally},
    workload::{Thread, Workload},
};
use crate::{
    Error,
    calibration::Calibration,
    engine::crew::Ended,
    options::{Format, TaskArgs},
    output::{self, Labels, Stream, answer, print_json, print_warnings, text},
    warning::Warning,
    work::WorkKind,
};

/// The work of a loop: a row of `jobs.csv`, and the phase. What there is not stays empty.
#[derive(Debug, Clone, Serialize)]
pub struct LoopRow {
    experiment: Option<String>,
    repetition: Option<u32>,
    task: String,
    job: u64,
    release_ns: u64,
    start_ns: u64,
    finish_ns: u64,
    response_ns: u64,
    cpu_ns: u64,
    deadline_ns: Option<u64>,
    missed: Option<u8>,
    stalled_ns: Option<u64>,
    phase: String,
}

impl Columns for LoopRow {
    const COLUMNS: &'static [&'static str] = &[
        "experiment",
        "repetition",
        "task",
        "job",
        "release_ns",
        "start_ns",
        "finish_ns",
        "response_ns",
        "cpu_ns",
        "deadline_ns",
        "missed",
        "stalled_ns",
        "phase",
    ];
}

fn row(labels: &Labels, thread: &Thread, cells: [u64; 7]) -> LoopRow {
    let [job, phase, release_ns, start_ns, finish_ns, cpu_ns, deadline_ns] = cells;
    let response_ns = finish_ns - release_ns;
    let deadline_ns = (deadline_ns != NO_DEADLINE).then_some(deadline_ns);
    LoopRow {
        experiment: labels.experiment.clone(),
        repetition: labels.repetition,
        task: thread.name.clone(),
        job,
        release_ns,
        start_ns,
        finish_ns,
        response_ns,
        cpu_ns,
        deadline_ns,
        missed: deadline_ns.map(|deadline_ns| u8::from(response_ns > deadline_ns)),
        stalled_ns: None,
        phase: thread.phases[phase as usize].name.clone(),
    }
}

/// The files that were asked for, open from the start.
#[derive(Debug)]
pub struct Files {
    out: Option<OutFile>,
    hist_log: Option<OutFile>,
    /// For the calibration.
    pub save: Option<OutFile>,
}

impl Files {
    /// # Errors
    /// [`Error::Usage`] where one cannot be written, or two are the same.
    pub fn open(args: &TaskArgs) -> Result<Self, Error> {
        let own = Self {
            out: output::open("--out", args.out.as_deref())?,
            hist_log: output::open("--hist-log", args.hist_log.as_deref())?,
            save: output::open("--save", args.calibration.save.as_deref())?,
        };
        let named = [("--out", &own.out), ("--hist-log", &own.hist_log), ("--save", &own.save)];
        let given: Vec<_> =
            named.into_iter().filter_map(|(option, file)| Some((option, file.as_ref()?))).collect();
        outfile::distinct(&given).map_err(Error::Usage)?;
        Ok(own)
    }

    /// Begins to write rows, where they are asked for.
    ///
    /// # Errors
    /// [`Error::System`] where no thread can be started.
    pub fn stream(
        &mut self,
        labels: &Labels,
        workload: &Workload,
        pin: Option<u32>,
    ) -> Result<Option<Stream<7>>, Error> {
        let Some(file) = self.out.take() else { return Ok(None) };
        let least = |thread: &Thread| {
            let phases = thread.phases.iter().map(|phase| as_ns(phase.least_time()));
            phases.min().unwrap_or_default()
        };
        let feed = LoopFeed::new(workload.threads.iter().map(least));
        let phases = workload.threads.iter().flat_map(|thread| &thread.phases);
        let taken: Vec<u32> =
            phases.flat_map(|phase| phase.cpus.iter().copied()).chain(pin).collect();
        let (labels, threads) = (labels.clone(), workload.threads.clone());
        let row = move |_first_ns, index: usize, cells| row(&labels, &threads[index], cells);
        Stream::start(file, feed, &taken, row).map(Some)
    }

    /// Writes the histograms.
    ///
    /// # Errors
    /// [`Error::File`] with the path.
    pub fn write(self, workload: &Workload, ended: &Ended<Tally>) -> Result<(), Error> {
        let Some(file) = self.hist_log else { return Ok(()) };
        let tagged: Vec<_> = workload
            .threads
            .iter()
            .zip(&ended.done)
            .flat_map(|(Thread { name, .. }, Tally { response, cpu, .. })| {
                let of = |tag: String, own: &hist::Distribution| (tag, own.histogram().clone());
                [of(name.clone(), response), of(format!("{name}-cpu"), cpu)]
            })
            .collect();
        let what = format!("cannot write {}", file.path().display());
        let length = Duration::from_nanos(ended.end_ns.saturating_sub(ended.first_ns));
        let started = wall_of(ended.first_ns);
        file.fill(|out: &mut dyn io::Write| hist::write_to(out, started, length, &tagged))
            .map_err(|source| Error::File { what, source })
    }
}

/// One thread; statistics are null where no job was done.
#[derive(Debug, Clone, Serialize)]
pub struct ThreadSummary {
    /// As rt-app calls it.
    pub task: String,
    /// Its policy at the start.
    pub policy: String,
    /// Loops that were whole.
    pub loops: u64,
    /// Loops with work that was done.
    pub jobs: u64,
    /// Jobs finished after their deadline.
    pub misses: u64,
    /// Jobs begun and not finished.
    pub unfinished: u64,
    /// From release to finish.
    pub response_ns: Option<stats::Summary>,
    /// CPU time of the jobs.
    pub cpu_ns: Option<stats::Summary>,
    /// From release to start.
    pub latency_ns: Option<stats::Summary>,
}

/// Everything that is said about a run.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The threads, in the order of the file.
    pub tasks: Vec<ThreadSummary>,
    /// The file.
    pub rt_app: String,
    /// What is constant in `run`.
    pub work: WorkKind,
    /// Where threads ran whose file does not say it; null where they were not bound.
    pub cpu: Option<u32>,
    /// The common start on CLOCK_MONOTONIC.
    pub first_release_ns: u64,
    /// Null where it ends with the last loop.
    pub duration_ns: Option<u64>,
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

/// The summary of a thread.
pub fn summarise(thread: &Thread, tally: &Tally) -> ThreadSummary {
    ThreadSummary {
        task: thread.name.clone(),
        policy: thread.policy.to_string(),
        loops: tally.loops,
        jobs: tally.jobs,
        misses: tally.misses,
        unfinished: tally.unfinished,
        response_ns: tally.response.summary(),
        cpu_ns: tally.cpu.summary(),
        latency_ns: tally.latency.summary(),
    }
}

impl Summary {
    /// Adds warnings at the end.
    pub fn add_warnings<'w>(&mut self, warnings: impl IntoIterator<Item = &'w Warning>) {
        self.warnings.extend(warnings.into_iter().map(ToString::to_string));
    }

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
        let width = self.tasks.iter().map(|own| own.task.chars().count()).max().unwrap_or(0).max(6);
        let titles = format!("{:<8} {:>6} {:>6} {:>6}", "ms", "loops", "jobs", "misses");
        let mut out = format!("{:<width$} {titles} {}\n", "task", text::titles());
        for own in &self.tasks {
            let counts = format!("{:>6} {:>6} {:>6}", own.loops, own.jobs, own.misses);
            let rows = [
                (own.task.as_str(), "response", counts.as_str(), &own.response_ns),
                ("", "cpu", "", &own.cpu_ns),
                ("", "latency", "", &own.latency_ns),
            ];
            for (name, kind, counts, figures) in rows {
                let figures = text::figures(figures.as_ref());
                writeln!(out, "{name:<width$} {kind:<8} {counts:<20} {figures}")
                    .expect("a string takes it");
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use model::sample::Job;

    use super::*;

    #[test]
    fn the_columns_are_those_of_jobs_and_the_phase() {
        // Those that tell of a virtual machine are the orchestrator's.
        assert_eq!(LoopRow::COLUMNS[..12], Job::COLUMNS[..12]);
        assert_eq!(LoopRow::COLUMNS[12..], ["phase"]);
    }

    #[test]
    fn a_job_without_a_deadline_has_empty_cells() {
        let text = r#"{ "tasks": { "a": { "run": 1 } } }"#;
        let workload = super::super::read::parse("f", text).unwrap();
        let labels = Labels { experiment: None, repetition: None };
        let rows = [[0, 0, 10, 11, 40, 28, NO_DEADLINE], [1, 0, 40, 41, 70, 28, 25]]
            .map(|cells| row(&labels, &workload.threads[0], cells));
        let mut out = Vec::new();
        model::sample::write_rows(&mut out, rows).unwrap();
        let text = String::from_utf8(out).unwrap();
        let rows: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(rows, [",,a-0,0,10,11,40,30,28,,,,a", ",,a-0,1,40,41,70,30,28,25,1,,a"]);
    }
}

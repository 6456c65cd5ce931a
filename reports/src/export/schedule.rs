//! Everything that happened in a repetition, on the host's clock.

use std::time::Duration;

use model::{
    clock::ClockMap,
    duration::as_ns,
    sample::{self, Job, Occupied, Stall, Supply},
};

use crate::{error::ReportError, folder::Results, supply::Traced};

/// A job of the workload, on the host's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpan {
    /// `tau1`, …
    pub task: String,
    /// Its number.
    pub job: u64,
    /// When it was released.
    pub release_ns: u64,
    /// When it began.
    pub start_ns: u64,
    /// When it was done.
    pub finish_ns: u64,
    /// Its absolute deadline.
    pub deadline_ns: u64,
    /// Whether it missed it.
    pub missed: bool,
}

/// A repetition's schedule. All instants are CLOCK_MONOTONIC of the host.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The experiment.
    pub experiment: String,
    /// The attempt whose folder this is.
    pub attempt: u32,
    /// The measured CPU that this is about: the one that the workload ran on.
    pub measured_cpu: u32,
    /// What instants are counted from: the workload's start.
    pub zero_ns: u64,
    /// The window.
    pub from_ns: u64,
    /// Its end.
    pub to_ns: u64,
    /// When the VM's threads ran, on any CPU.
    pub vm: Vec<Supply>,
    /// Who else ran on the measured CPU.
    pub host: Vec<Occupied>,
    /// The workload's jobs.
    pub jobs: Vec<JobSpan>,
    /// When the machine ran no thread.
    pub stalls: Vec<Stall>,
}

impl Schedule {
    /// Of the attempt that counts for this repetition.
    ///
    /// # Errors
    /// Where there is none, or it was not traced.
    pub fn read(results: &Results, name: &str, repetition: u32) -> Result<Self, ReportError> {
        let case = results.case(name)?;
        let record =
            case.counted.iter().find(|one| one.repetition == repetition).ok_or_else(|| {
                ReportError::Nothing(format!(
                    "--repetition {repetition}: `{name}` has no complete one of this number"
                ))
            })?;
        let vm = case.workload().vm.map(|vm| vm.name.as_str());
        let place = ::results::folder::place_of(&results.path, record);
        let traced = Traced::read(&place, record, vm, None)?.ok_or_else(|| {
            ReportError::Nothing(format!("`{name}` rep-{:03} was not traced", record.attempt))
        })?;
        let (jobs, host) = (place.join("jobs.csv"), place.join("cpu.csv"));
        let mut jobs: Vec<Job> = if jobs.exists() { sample::read_csv(&jobs)? } else { Vec::new() };
        let mut host: Vec<Occupied> =
            if host.exists() { sample::read_csv(&host)? } else { Vec::new() };
        let service = case.workload().service.map(|own| own.name.as_str());
        jobs.retain(|job| {
            let own = (job.vm.as_deref(), job.service.as_deref());
            own.1.is_none() || own == (vm, service)
        });
        let facts = &results.manifest.host;
        let measured_cpu = case.workload().cpu().unwrap_or(facts.measured_cpu);
        host.retain(|row| row.is_on(Some(measured_cpu)));
        host.extend(traced.neighbours_on(Some(measured_cpu)));
        host.sort_by_key(|row| row.start_ns);
        let (zero_ns, to_ns) = traced.window();
        let clock = record.facts.jobs_clock(zero_ns);
        Ok(Self {
            experiment: name.to_owned(),
            attempt: record.attempt,
            measured_cpu,
            zero_ns,
            from_ns: traced.facts.from_ns,
            to_ns: to_ns.max(traced.facts.to_ns),
            vm: traced.rows,
            host,
            jobs: jobs.iter().map(|job| span(&clock, job)).collect(),
            stalls: traced.stalls,
        })
    }

    /// The part between two instants, counted from the workload's start; slices are cut at its ends.
    #[must_use]
    pub fn window(mut self, from: Duration, to: Option<Duration>) -> Self {
        if from.is_zero() && to.is_none() {
            return self;
        }
        let at = |offset: Duration| self.zero_ns.saturating_add(as_ns(offset));
        self.from_ns = at(from).max(self.from_ns);
        self.to_ns = to.map_or(self.to_ns, at).min(self.to_ns);
        let (from_ns, to_ns) = (self.from_ns, self.to_ns);
        let inside = |start: u64, end: u64| start < to_ns && end > from_ns;
        self.vm.retain(|row| inside(row.start_ns, row.end_ns));
        for row in &mut self.vm {
            (row.start_ns, row.end_ns) = (row.start_ns.max(from_ns), row.end_ns.min(to_ns));
        }
        self.host.retain(|row| inside(row.start_ns, row.end_ns));
        for row in &mut self.host {
            (row.start_ns, row.end_ns) = (row.start_ns.max(from_ns), row.end_ns.min(to_ns));
        }
        self.jobs.retain(|job| inside(job.release_ns, job.finish_ns));
        self.stalls
            .retain(|stall| inside(stall.start_ns, stall.start_ns.saturating_add(stall.length_ns)));
        self
    }

    /// Whether nothing of the VM's lies in the window.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vm.is_empty() && self.jobs.is_empty()
    }

    /// The earliest instant of all: tracing begins before the workload, and a job's release may lie
    /// before a window.
    #[must_use]
    pub fn first_ns(&self) -> u64 {
        let rows = self.vm.iter().map(|row| row.start_ns);
        let host = self.host.iter().map(|row| row.start_ns);
        let jobs = self.jobs.iter().map(|job| job.release_ns.min(job.start_ns));
        let stalls = self.stalls.iter().map(|stall| stall.start_ns);
        rows.chain(host).chain(jobs).chain(stalls).fold(self.from_ns, u64::min)
    }

    /// From the workload's start to the end.
    #[must_use]
    pub fn length_ns(&self) -> u64 {
        self.to_ns.saturating_sub(self.zero_ns)
    }
}

fn span(clock: &ClockMap, job: &Job) -> JobSpan {
    JobSpan {
        task: job.task.clone(),
        job: job.job,
        release_ns: clock.host_ns(job.release_ns),
        start_ns: clock.host_ns(job.start_ns),
        finish_ns: clock.host_ns(job.finish_ns),
        deadline_ns: clock.host_ns(job.release_ns.saturating_add(job.deadline_ns)),
        missed: job.missed,
    }
}

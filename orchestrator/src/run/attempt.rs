//! One attempt at a repetition: prepare, load, measure, collect, tear down.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use kernel::clock::monotonic_ns;
use model::{
    Mechanism,
    clock::ClockMap,
    manifest::{Cleared, Facts, SentinelFacts, TraceFacts},
    sample::{Job, Stall, read_csv, write_csv},
    suite::{Experiment, GuestSettings, Place},
};
use serde::Serialize;

use super::{
    admission,
    bench::{Attempted, Bench, first_error},
    guests::{Booted, Guests},
    kvm,
    plan::StopAbove,
    stalls, tasks,
    warm::WarmGuest,
    work,
};
use crate::{
    host::{Background, Counters, Listener, Stage, deadline_bandwidth_limit},
    mechanism::{self, Attached, Request, Vm, place_emulator},
    sentinel::{self, Sentinel},
    service::Apache,
    trace::{self, Tracer},
};

/// The real host and its guests: what every attempt of a run needs.
pub struct HostBench {
    /// The prepared host.
    pub stage: Stage,
    /// How guests are made; none where no experiment has one.
    pub guests: Option<Guests>,
    /// The suite's settings of guests.
    pub guest_settings: GuestSettings,
    /// The web server; none where no experiment has a service.
    pub apache: Option<Apache>,
    /// The guest with a service that is kept from attempt to attempt.
    pub warm: Option<WarmGuest>,
    /// rtload's calibration for the measured CPU of the host.
    pub calibration: PathBuf,
    /// Whether a sentinel watches.
    pub sentinel: bool,
    /// What is missing for want of privileges.
    pub without: Option<String>,
    /// Whether the VM's threads are traced; none: where that works.
    pub trace: Option<bool>,
    /// Where the first job that takes too long ends its attempt.
    pub stop_above: Option<StopAbove>,
}

/// What the workload leaves behind.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// From the first release to the last finish at the earliest, on the host's clock.
    pub window: Option<(u64, u64)>,
    clock: Option<ClockMap>,
    pub facts: Facts,
}

#[derive(Serialize)]
struct BeforeAndAfter {
    before: Counters,
    after: Counters,
}

impl Bench for HostBench {
    fn attempt(&mut self, experiment: &Experiment, attempt: u32, folder: &Path) -> Attempted {
        let mut attempted = Attempted::default();
        if let Err(error) = self.prepare_guest(experiment, folder) {
            attempted.error = Some(error);
            return attempted;
        }
        let mark = self.stage.guard.mark();
        self.watched(experiment, attempt, folder, &mut attempted);
        attempted.fail(self.stage.guard.undo_to(mark));
        attempted
    }

    fn watch(&mut self, listener: Listener) -> Result<()> {
        self.stage.watch(listener)
    }

    fn cleared(&self) -> Option<Cleared> {
        self.stage.cleared()
    }
}

impl HostBench {
    /// Ends the kept guest, and undoes everything that was done to the host.
    ///
    /// # Errors
    /// What could not be undone.
    pub fn end(mut self) -> Result<()> {
        self.end_guest()?;
        self.stage.finish()
    }

    /// Runs the workload under the eyes of the sentinel and the host's counters.
    fn watched(
        &mut self,
        experiment: &Experiment,
        attempt: u32,
        folder: &Path,
        attempted: &mut Attempted,
    ) {
        let before = self.stage.roots.counters(self.stage.cpus.measured);
        let stalls_csv = folder.join("stalls.csv");
        let sentinel = match self.start_sentinel(experiment, &stalls_csv, folder) {
            Ok(sentinel) => sentinel,
            Err(error) => return attempted.fail(Err(error)),
        };
        let mut measured = Measured::default();
        let out = &mut measured;
        let result = match (experiment.place, &experiment.web) {
            (Place::Host, None) => self.on_host(experiment, attempt, folder, out),
            (Place::Guest, None) => self.on_guest(experiment, attempt, folder, out),
            (Place::Host, Some(web)) => self.web_on_host(experiment, web, attempt, folder, out),
            (Place::Guest, Some(web)) => self.web_in_guest(experiment, web, attempt, folder, out),
        };
        let watched = sentinel.map(Sentinel::stop).transpose();
        let after = self.stage.roots.counters(self.stage.cpus.measured);
        let facts = watched.as_ref().ok().cloned().flatten();
        attempted.facts = std::mem::take(&mut measured.facts);
        attempted.facts.warnings.extend(self.without.clone());
        attempted.facts.warnings.extend(self.stage.changes_by_others());
        attempted.fail(result);
        attempted.fail(watched.map(drop));
        attempted.fail(write_counters(folder, &BeforeAndAfter { before, after }));
        if let Some(facts) = facts {
            let judged = judge_stalls(&facts, folder, &stalls_csv, &measured, attempted);
            attempted.fail(judged);
            attempted.facts.sentinel = Some(facts);
        }
    }

    /// Starts the sentinel, with as much of the CPU as `experiment` leaves it.
    fn start_sentinel(
        &self,
        experiment: &Experiment,
        stalls_csv: &Path,
        folder: &Path,
    ) -> Result<Option<Sentinel>> {
        if !self.sentinel {
            return Ok(None);
        }
        let most = admission::sentinel(experiment, deadline_bandwidth_limit(&self.stage.roots));
        Sentinel::start(&self.stage, most, stalls_csv, &folder.join("sentinel.log")).map(Some)
    }

    fn on_host(
        &mut self,
        experiment: &Experiment,
        attempt: u32,
        folder: &Path,
        measured: &mut Measured,
    ) -> Result<()> {
        let fixed = work::before(&self.stage, experiment, folder)?;
        let calibration = fixed.as_ref().map_or(&self.calibration, |before| &before.file);
        let load = self.start_load(experiment, folder)?;
        let start = monotonic_ns();
        measured.clock = Some(ClockMap::HOST);
        let what = tasks::What { experiment, attempt, stop_above: self.stop_above };
        let said = tasks::on_host(&self.stage, what, calibration, folder);
        measured.window = Some((start, monotonic_ns()));
        let load = load.map(Background::stop).transpose();
        let said = said.map(|said| said.tell(&mut measured.facts));
        first_error([said, load.map(drop)], &mut measured.facts.warnings)?;
        if let Some(before) = fixed {
            measured.facts.ns_per_iteration = Some(before.ns_per_iteration);
            measured.facts.fixed_work = Some(before.and_after(&self.stage, folder)?);
        }
        Ok(())
    }

    pub(super) fn start_load(
        &self,
        experiment: &Experiment,
        folder: &Path,
    ) -> Result<Option<Background>> {
        experiment
            .load
            .as_ref()
            .map(|load| tasks::start_load(&self.stage, load, &self.calibration, folder))
            .transpose()
    }

    fn on_guest(
        &mut self,
        experiment: &Experiment,
        attempt: u32,
        folder: &Path,
        measured: &mut Measured,
    ) -> Result<()> {
        let guests = self.guests.as_ref().context("the plan has no guests")?;
        let booted = guests.boot(&self.stage, &self.guest_settings, folder)?;
        let facts = &mut measured.facts;
        facts.boot_ns = Some(booted.boot_ns);
        // On the measured CPU already, so that it is calibrated where it will run.
        let vm = booted.vm();
        mechanism::attach(&mut self.stage, Mechanism::None, &vm, &Request::default())?;
        place_emulator(&mut self.stage, &vm, experiment.emulator)?;
        facts.ns_per_iteration = Some(tasks::calibrate_guest(&booted.guest, &self.stage.stop)?);
        let fixed = work::before(&self.stage, experiment, folder)?;
        if let Some(before) = &fixed {
            tasks::give_calibration(&booted.guest, &before.file, &self.stage.stop)?;
        }
        let attached = self.reserve(experiment, &vm)?;
        let load = self.start_load(experiment, folder)?;
        let tracer = self.start_trace(experiment, &vm, folder, measured)?;
        let result = self.measure_in_guest(&booted, experiment, attempt, folder, measured);
        self.stage.look_at_changes();
        let traced = tracer.map(Tracer::stop).transpose();
        let enforced = attached.map(Attached::finish).transpose();
        // The load goes first: the guest needs the CPU to shut down.
        let load = load.map(Background::stop).transpose();
        // Who interrupts does not wait for a guest to power off.
        let interrupted = self.stage.stop.check().is_err();
        let ended = if interrupted {
            drop(booted.guest);
            Ok(())
        } else {
            booted.guest.shutdown()
        };
        measured.facts.mechanism = enforced.as_ref().ok().cloned().flatten().unwrap_or_default();
        let traced = traced.and_then(|facts| account_for_trace(facts, folder, measured));
        let results = [result, enforced.map(drop), load.map(drop), ended, traced];
        first_error(results, &mut measured.facts.warnings)?;
        let fixed = fixed.map(|before| before.and_after(&self.stage, folder));
        measured.facts.fixed_work = fixed.transpose()?;
        Ok(())
    }

    /// Puts the VM under the experiment's reservation.
    pub(super) fn reserve(&mut self, experiment: &Experiment, vm: &Vm) -> Result<Option<Attached>> {
        let Some(settings) = &experiment.reservation else { return Ok(None) };
        mechanism::attach(&mut self.stage, settings.mechanism, vm, &settings.into()).map(Some)
    }

    /// Starts tracing, where it is wanted and works; where it was not asked for, not being able to
    /// is a warning.
    pub(super) fn start_trace(
        &mut self,
        experiment: &Experiment,
        vm: &Vm,
        folder: &Path,
        measured: &mut Measured,
    ) -> Result<Option<Tracer>> {
        let wanted = experiment.trace.or(self.trace);
        if wanted == Some(false) {
            return Ok(None);
        }
        match Tracer::start(&mut self.stage, vm, folder) {
            Ok(tracer) => Ok(Some(tracer)),
            Err(error) if wanted == Some(true) => Err(error.context("tracing the VM")),
            Err(error) => {
                self.stage.stop.check()?;
                measured.facts.warnings.push(format!("not traced: {error:#}"));
                Ok(None)
            }
        }
    }

    fn measure_in_guest(
        &mut self,
        booted: &Booted,
        experiment: &Experiment,
        attempt: u32,
        folder: &Path,
        measured: &mut Measured,
    ) -> Result<()> {
        let stop = self.stage.stop.clone();
        let begin = booted.guest.clock_offset(stop.flag())?;
        let usage = booted.usage(&self.stage.roots);
        let start = monotonic_ns();
        let what = tasks::What { experiment, attempt, stop_above: self.stop_above };
        let said = tasks::on_guest(&booted.guest, what, folder, &stop);
        let end = monotonic_ns();
        measured.window = Some((start, end));
        booted.account(&self.stage.roots, usage, end - start, &mut measured.facts);
        let mut clock = ClockMap { offset_ns: begin.offset_ns, since_ns: begin.at_ns, drift: 0.0 };
        measured.facts.guest_clock_offset_ns = Some(begin.offset_ns);
        measured.facts.guest_clock_uncertainty_ns = Some(begin.uncertainty_ns);
        if let Ok(later) = booted.guest.clock_offset(stop.flag()) {
            measured.facts.guest_clock_drift = later.drift_since(begin);
            clock.drift = measured.facts.guest_clock_drift.unwrap_or(0.0);
        }
        measured.clock = Some(clock);
        said?.tell(&mut measured.facts);
        Ok(())
    }
}

/// Adds the trace's facts, with the time in which the workload ran, and what a VM under KVM waited
/// for meanwhile.
///
/// # Errors
/// Where `supply.csv` in `folder` cannot be read.
pub(super) fn account_for_trace(
    facts: Option<TraceFacts>,
    folder: &Path,
    measured: &mut Measured,
) -> Result<()> {
    let Some(mut facts) = facts else { return Ok(()) };
    if let (Some(kvm), Some((from, to))) = (&mut measured.facts.kvm, measured.window) {
        kvm.unsupplied_ns = Some(kvm::unsupplied_ns(&folder.join("supply.csv"), from, to)?);
    }
    facts.workload_from_ns = measured.window.map(|(from_ns, _)| from_ns);
    facts.workload_to_ns = measured.window.map(|(_, to_ns)| to_ns);
    measured.facts.warnings.extend(trace::warnings(&facts));
    measured.facts.trace = Some(facts);
    Ok(())
}

fn write_counters(folder: &Path, counters: &BeforeAndAfter) -> Result<()> {
    let path = folder.join("host.json");
    let text = serde_json::to_string_pretty(counters)?;
    fs::write(&path, text + "\n").with_context(|| path.display().to_string())
}

/// Marks what the sentinel saw in the samples, unless it saw too little.
fn judge_stalls(
    facts: &SentinelFacts,
    folder: &Path,
    stalls_csv: &Path,
    measured: &Measured,
    attempted: &mut Attempted,
) -> Result<()> {
    if let Some(why) = sentinel::blind(facts) {
        attempted.facts.warnings.push(why);
        return Ok(());
    }
    attempted.stalled_share =
        account_for_stalls(folder, stalls_csv, measured.window, measured.clock)?;
    Ok(())
}

/// Writes `stalled_ns` into the rows of the jobs; returns the stalled share of the window.
fn account_for_stalls(
    folder: &Path,
    stalls_csv: &Path,
    window: Option<(u64, u64)>,
    clock: Option<ClockMap>,
) -> Result<Option<f64>> {
    let stalls: Vec<Stall> = read_csv(stalls_csv)?;
    if let Some(clock) = clock {
        let mut jobs: Vec<Job> = tasks::jobs(folder)?;
        stalls::mark(&mut jobs, &stalls, clock);
        if !jobs.is_empty() {
            // Never in place: what was measured is there whole, with the stalls or without.
            let (file, aside) = (folder.join("jobs.csv"), folder.join(".jobs.csv.new"));
            write_csv(&aside, &jobs)?;
            fs::rename(&aside, &file).with_context(|| file.display().to_string())?;
        }
    }
    Ok(window.map(|(from, to)| stalls::share(&stalls, from, to)))
}

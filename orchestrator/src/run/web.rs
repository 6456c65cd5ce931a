//! The workload of the macro benchmark: clients on the housekeeping CPU ask a service on the
//! measured CPU of the host, or in a guest whose vCPU runs there.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use kernel::clock::monotonic_ns;
use model::{
    manifest::WebFacts,
    sample::write_csv,
    suite::{Experiment, Web},
};
use webload::{Config, Run, Summary, Target, output::write_histograms, run::WarmUp};

use super::{
    attempt::{HostBench, Measured, account_for_trace},
    bench::first_error,
    warm::WarmGuest,
};
use crate::{
    host::{Background, Mark, Stage},
    mechanism::{Attached, place_emulator},
    service::HostService,
    trace::Tracer,
};

/// What the vCPU is kept busy with while its reservation is taken away.
const PARTING: [&str; 6] = ["/bin/rtload", "calibrate", "--cpu", "0", "--for", "300ms"];

impl HostBench {
    /// Gets the kept guest out of the way of `experiment`, or ready for it.
    pub(super) fn prepare_guest(&mut self, experiment: &Experiment, folder: &Path) -> Result<()> {
        let stop = self.stage.stop.clone();
        let wanted = experiment.web.as_ref().filter(|_| experiment.place.is_guest());
        let Some(web) = wanted else {
            return self.warm.as_mut().map_or(Ok(()), |warm| warm.set_running(false, &stop));
        };
        if self.warm.as_ref().is_some_and(|warm| !warm.serves(web)) {
            self.end_guest()?;
        }
        if self.warm.is_none() {
            let guests = self.guests.as_ref().context("the plan has no guests")?;
            let apache = self.apache.as_ref().context("the plan has no service")?;
            let settings = &self.guest_settings;
            let warm = WarmGuest::start(&mut self.stage, guests, settings, apache, web, folder)?;
            self.warm = Some(warm);
        }
        self.warm.as_mut().map_or(Ok(()), |warm| warm.set_running(true, &stop))
    }

    /// Ends the kept guest, where there is one.
    pub(super) fn end_guest(&mut self) -> Result<()> {
        self.warm.take().map_or(Ok(()), |warm| warm.end(&mut self.stage))
    }

    pub(super) fn web_on_host(
        &mut self,
        experiment: &Experiment,
        web: &Web,
        attempt: u32,
        folder: &Path,
        measured: &mut Measured,
    ) -> Result<()> {
        let apache = self.apache.as_ref().context("the plan has no service")?;
        let mut service = HostService::start(&self.stage, apache, web, folder)?;
        let load = self.start_load(experiment, folder)?;
        let clients = Clients { experiment, web, attempt, targets: &service.targets };
        let asked = clients.ask(&self.stage, service.warm_up, folder, measured);
        let load = load.map(Background::stop).transpose();
        // Its end explains every failed request.
        let alive = if asked.is_err() { service.check() } else { Ok(()) };
        let results = [alive, asked, load.map(drop), service.stop()];
        first_error(results, &mut measured.facts.warnings)
    }

    pub(super) fn web_in_guest(
        &mut self,
        experiment: &Experiment,
        web: &Web,
        attempt: u32,
        folder: &Path,
        measured: &mut Measured,
    ) -> Result<()> {
        let warm = self.warm.take().context("the guest is not ready")?;
        let result = self.ask_guest(&warm, experiment, web, attempt, folder, measured);
        warm.keep_logs(folder, &self.stage.stop);
        self.warm = Some(warm);
        result
    }

    fn ask_guest(
        &mut self,
        warm: &WarmGuest,
        experiment: &Experiment,
        web: &Web,
        attempt: u32,
        folder: &Path,
        measured: &mut Measured,
    ) -> Result<()> {
        let booted = &warm.booted;
        measured.facts.boot_ns = Some(booted.boot_ns);
        let vm = booted.vm();
        let mark = self.stage.guard.mark();
        place_emulator(&mut self.stage, &vm, experiment.emulator)?;
        let attached = self.reserve(experiment, &vm)?;
        let load = self.start_load(experiment, folder)?;
        let tracer = self.start_trace(experiment, &vm, folder, measured)?;
        let usage = booted.usage(&self.stage.roots);
        let start = monotonic_ns();
        let clients = Clients { experiment, web, attempt, targets: &warm.targets };
        let asked = clients.ask(&self.stage, warm.warm_up, folder, measured);
        booted.account(&self.stage.roots, usage, monotonic_ns() - start, &mut measured.facts);
        self.stage.look_at_changes();
        let traced = tracer.map(Tracer::stop).transpose();
        let enforced = attached.map(Attached::finish).transpose();
        let load = load.map(Background::stop).transpose();
        measured.facts.mechanism = enforced.as_ref().ok().cloned().flatten().unwrap_or_default();
        let traced = traced.and_then(|facts| account_for_trace(facts, folder, measured));
        // Its end explains every failed request.
        let alive = match &asked {
            Err(_) => booted.guest.clock_offset(self.stage.stop.flag()).map(drop),
            Ok(()) => Ok(()),
        };
        let released = self.release(warm, mark);
        let results = [alive, asked, enforced.map(drop), load.map(drop), traced, released];
        first_error(results, &mut measured.facts.warnings)
    }

    /// Undoes what was done to the guest's threads since `mark`, while its vCPU is busy: a thread
    /// that sleeps when it leaves SCHED_DEADLINE leaks its bandwidth, and the next reservation is
    /// refused.
    fn release(&mut self, warm: &WarmGuest, mark: Mark) -> Result<()> {
        if self.stage.guard.mark() == mark {
            return Ok(());
        }
        let stop = self.stage.stop.clone();
        let busy = warm.booted.guest.start(&PARTING, &[], stop.flag())?;
        std::thread::sleep(Duration::from_millis(100));
        self.stage.guard.undo_to(mark)?;
        warm.booted.guest.wait(&busy, Duration::from_secs(30), stop.flag(), |_, _| ()).map(drop)
    }
}

/// Who asks whom.
struct Clients<'a> {
    experiment: &'a Experiment,
    web: &'a Web,
    attempt: u32,
    targets: &'a [Target],
}

impl Clients<'_> {
    /// Sends the requests of one repetition; what came back is in `folder`, whatever happened.
    ///
    /// # Errors
    /// Where too many requests failed, or a signal came.
    fn ask(
        &self,
        stage: &Stage,
        warm_up: WarmUp,
        folder: &Path,
        measured: &mut Measured,
    ) -> Result<()> {
        let web = self.web;
        let config = Config {
            clients: web.clients,
            requests: web.requests,
            first_repetition: self.attempt,
            rate: web.rate,
            timeout: web.timeout,
            keep_alive: web.keep_alive,
            cpu: stage.cpus.housekeeping.first().copied(),
            experiment: Some(self.experiment.name.clone()),
            // A repetition's rows are all kept: everything is judged by them.
            most_records: u64::MAX,
            ..Config::new(self.targets.to_vec())
        };
        let start = monotonic_ns();
        let run = webload::run(&config, stage.stop.flag(), |_| ())?;
        measured.window = Some((start, monotonic_ns()));
        let summary = Summary::of(&config, &run);
        write(folder, &run, &summary)?;
        measured.facts.web = Some(facts(&summary, warm_up));
        measured.facts.warnings.extend(summary.warnings);
        stage.stop.check()?;
        enough(&run, web.max_failures)
    }
}

fn write(folder: &Path, run: &Run, summary: &Summary) -> Result<()> {
    write_csv(&folder.join("requests.csv"), &run.rows)?;
    write_histograms(&folder.join("response.hlog"), run)?;
    let text = serde_json::to_string_pretty(summary)?;
    Ok(fs::write(folder.join("webload.json"), text + "\n")?)
}

fn facts(summary: &Summary, warm_up: WarmUp) -> WebFacts {
    WebFacts {
        warm_up_requests: warm_up.requests,
        warm_up_failures: warm_up.failures,
        connections: summary.connect_ns.as_ref().map_or(0, |connects| connects.count),
        slowest_connect_ns: summary.connect_ns.as_ref().map(|connects| connects.max),
        connects_of_1s_or_more: summary.connects_of_1s_or_more,
    }
}

/// Whether enough requests succeeded for the repetition to say something.
fn enough(run: &Run, max_failures: f64) -> Result<()> {
    let failed = run.rows.iter().filter(|row| row.error.is_some());
    let share = failed.clone().count() as f64 / run.rows.len().max(1) as f64;
    if share <= max_failures && !run.rows.is_empty() {
        return Ok(());
    }
    let first = failed.clone().find_map(|row| row.error.as_deref()).unwrap_or("none was sent");
    bail!(
        "{} of {} requests failed, more than {:.1} %; the first: {first}",
        failed.count(),
        run.rows.len(),
        max_failures * 100.0
    )
}

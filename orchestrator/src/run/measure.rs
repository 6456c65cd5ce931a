//! What is measured in an attempt, with all that goes on meanwhile: guests, reservations, loads, the
//! trace.

use std::{collections::HashSet, fs, path::Path};

use anyhow::{Context, Result};
use kernel::clock::monotonic_ns;
use model::{
    manifest::{Facts, TraceFacts, VmFacts},
    sample::write_csv,
    suite::Experiment,
};

use super::{
    adapting,
    bench::first_error,
    host_bench::HostBench,
    kept::Kept,
    machines::{self, Boot, Machine},
    probe::{Readings, Seen},
    services::{self, Ground, OnHost, Outcome, Part},
    tasks, warm,
    work::{self, Before},
};
use crate::{
    adapt::Adapting,
    guests::kvm,
    host::Background,
    mechanism::Attached,
    service::HostService,
    trace::{self, Tracer},
};

/// What the workloads leave behind.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// From the first release to the last finish at the earliest, on the host's clock.
    pub window: Option<(u64, u64)>,
    /// The rows of services of tasks.
    pub parts: Vec<Part>,
    /// The rows of probes of the clock.
    pub seen: Vec<Seen>,
    /// The clocks of the guests that they are in.
    pub readings: Vec<Readings>,
    pub facts: Facts,
    /// The processor's speed before, where the work is fixed.
    fixed: Option<Before>,
}

/// What goes on while services are measured.
struct Around {
    host: Vec<OnHost>,
    /// In the order of the VMs.
    attached: Vec<Vec<Attached>>,
    loads: Vec<Background>,
    tracer: Option<Tracer>,
}

impl HostBench {
    /// Gets the kept guests out of the way of `experiment`, or ready for it.
    pub(super) fn prepare_guests(&mut self, experiment: &Experiment, folder: &Path) -> Result<()> {
        let stop = self.stage.stop.clone();
        if !warm::is_kept(experiment) {
            return self.kept.as_mut().map_or(Ok(()), |kept| kept.set_running(false, &stop));
        }
        let fits = match &mut self.kept {
            Some(kept) if kept.fit(experiment) => {
                kept.set_running(true, &stop)?;
                kept.serve(&stop)
            }
            _ => false,
        };
        if !fits {
            self.end_guests()?;
        }
        if self.kept.is_none() {
            let (guests, apache) = (self.guests.as_ref(), self.apache.as_ref());
            let boot = Boot { guests, settings: &self.guest_settings, apache };
            self.kept = Some(Kept::boot(&mut self.stage, &boot, experiment, folder)?);
        }
        self.kept.as_mut().map_or(Ok(()), |kept| kept.set_running(true, &stop))
    }

    /// Ends the kept guests, where there are some.
    pub(super) fn end_guests(&mut self) -> Result<()> {
        self.kept.take().map_or(Ok(()), |kept| kept.end(&mut self.stage))
    }

    /// Boots what the experiment needs, runs its services, and ends what is not kept.
    pub(super) fn measure(
        &mut self,
        experiment: &Experiment,
        attempt: u32,
        folder: &Path,
        measured: &mut Measured,
    ) -> Result<()> {
        let results = if warm::is_kept(experiment) {
            let mut kept = self.kept.take().context("the guests are not ready")?;
            let mark = self.stage.guard.mark();
            let result = self.with(kept.machines(), experiment, attempt, folder, measured);
            kept.keep_logs(experiment, folder, &self.stage.stop);
            let released = kept.release(&mut self.stage, mark);
            self.kept = Some(kept);
            [result, released]
        } else {
            let mut machines = self.boot(experiment, folder)?;
            let result = self.with(&mut machines, experiment, attempt, folder, measured);
            [result, machines::shutdown(machines, &self.stage.stop)]
        };
        first_error(results, &mut measured.facts.warnings)?;
        if let Some(before) = measured.fixed.take() {
            measured.facts.fixed_work = Some(before.and_after(&self.stage, folder)?);
        }
        Ok(())
    }

    fn boot(&mut self, experiment: &Experiment, folder: &Path) -> Result<Vec<Machine>> {
        if experiment.vms.is_empty() {
            return Ok(Vec::new());
        }
        let (guests, apache) = (self.guests.as_ref(), self.apache.as_ref());
        Boot { guests, settings: &self.guest_settings, apache }.all(
            &mut self.stage,
            experiment,
            folder,
        )
    }

    /// Runs the services of `experiment` on the host and in `machines`, under its loads and
    /// reservations.
    fn with(
        &mut self,
        machines: &mut [Machine],
        experiment: &Experiment,
        attempt: u32,
        folder: &Path,
        measured: &mut Measured,
    ) -> Result<()> {
        let stop = self.stage.stop.clone();
        // What is known of the machines so far, should the rest of the preparation fail.
        measured.take(Facts::default(), machines);
        measured.fixed = self.calibrate(machines, experiment, folder, measured)?;
        let around = self.start(machines, experiment, folder, measured)?;
        let roots = self.stage.roots.clone();
        machines.iter_mut().try_for_each(|machine| machine.begin(&roots, &stop))?;
        let adapting = adapting::start(&self.stage, experiment, machines, folder)?;
        let start = monotonic_ns();
        let ground = Ground {
            stage: &self.stage,
            experiment,
            attempt,
            stop_above: self.stop_above,
            folder,
            calibration: measured.fixed.as_ref().map_or(&self.calibration, |own| &own.file),
            machines,
            host: &around.host,
        };
        let mut outcome = ground.run();
        let end = monotonic_ns();
        outcome.results.extend(adapting.map(Adapting::finish));
        measured.window = Some((start, end));
        machines.iter_mut().for_each(|machine| machine.end(&roots, end - start, &stop));
        measured.parts = services::parts(experiment, folder, machines, &self.stage.cpus);
        measured.seen = services::seen(experiment, folder, machines);
        measured.readings = std::mem::take(&mut outcome.readings);
        let failed = measured.readings.iter().filter_map(|own| own.not_paused.clone());
        measured.facts.warnings.extend(failed);
        self.finish(machines, experiment, folder, around, outcome, measured)
    }

    /// Calibrates where the work is fixed, and gives that to the guests, whose tasks do the host's
    /// work.
    fn calibrate(
        &self,
        machines: &[Machine],
        experiment: &Experiment,
        folder: &Path,
        measured: &mut Measured,
    ) -> Result<Option<Before>> {
        let fixed = work::before(&self.stage, experiment, folder)?;
        if let Some(before) = &fixed {
            measured.facts.ns_per_iteration = Some(before.ns_per_iteration);
            for guest in machines.iter().filter_map(Machine::inside) {
                tasks::give_calibration(guest, &before.file, &self.stage.stop)?;
            }
        }
        Ok(fixed)
    }

    /// Starts what goes on meanwhile: the host's web services, the reservations, the load, the trace.
    fn start(
        &mut self,
        machines: &[Machine],
        experiment: &Experiment,
        folder: &Path,
        measured: &mut Measured,
    ) -> Result<Around> {
        let host = self.start_services(experiment, folder)?;
        let begun = adapting::beginning(&self.stage, experiment)?;
        let pairs = machines.iter().zip(&begun);
        let attached = pairs.map(|(machine, vm)| machine.reserve(&mut self.stage, vm));
        let attached = attached.collect::<Result<Vec<_>>>()?;
        let load =
            |load| tasks::start_load(&self.stage, experiment, load, &self.calibration, folder);
        let loads = experiment.loads.iter().map(load).collect::<Result<_>>()?;
        let tracer = self.start_trace(experiment, machines, folder, measured)?;
        Ok(Around { host, attached, loads, tracer })
    }

    /// Starts the web services of the host.
    fn start_services(&self, experiment: &Experiment, folder: &Path) -> Result<Vec<OnHost>> {
        let mut host = Vec::new();
        for workload in experiment.workloads().into_iter().filter(|own| own.vm.is_none()) {
            let Some((service, web)) = workload.service.zip(workload.web()) else { continue };
            let logs = match experiment.only() {
                Some(_) => folder.to_owned(),
                None => folder.join(format!("host.{}", service.name)),
            };
            fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
            let name = service.name.clone();
            let (stage, apache) = (&self.stage, self.apache.as_ref());
            let cpu = stage.cpus.of(workload.cpu());
            host.push(OnHost {
                name,
                service: HostService::start(stage, cpu, apache, web, &logs)?,
            });
        }
        Ok(host)
    }

    /// Starts tracing, where it is wanted and works; where it was not asked for, not being able to
    /// is a warning.
    fn start_trace(
        &mut self,
        experiment: &Experiment,
        machines: &[Machine],
        folder: &Path,
        measured: &mut Measured,
    ) -> Result<Option<Tracer>> {
        let wanted = experiment.trace.or(self.trace);
        if wanted == Some(false) || machines.is_empty() {
            return Ok(None);
        }
        let vms: Vec<_> = machines.iter().map(|own| (own.name(), own.threads())).collect();
        let vms: Vec<_> = vms.iter().map(|(name, vm)| (*name, vm)).collect();
        let network = experiment.workloads().iter().any(|own| own.web().is_some());
        match Tracer::start(&mut self.stage, &vms, network, folder) {
            Ok(tracer) => Ok(Some(tracer)),
            Err(error) if wanted == Some(true) => Err(error.context("tracing the VM")),
            Err(error) => {
                self.stage.stop.check()?;
                measured.facts.warnings.push(format!("not traced: {error:#}"));
                Ok(None)
            }
        }
    }

    /// Ends what went on meanwhile, and writes down what is known; the first error of all.
    fn finish(
        &mut self,
        machines: &mut [Machine],
        experiment: &Experiment,
        folder: &Path,
        around: Around,
        outcome: Outcome,
        measured: &mut Measured,
    ) -> Result<()> {
        let Around { mut host, attached, loads, tracer } = around;
        self.stage.look_at_changes();
        let traced = tracer.map(Tracer::stop).transpose();
        let mut results = Vec::new();
        if outcome.results.iter().any(Result::is_err) {
            // Its end explains every failed request.
            results.extend(host.iter_mut().map(|own| own.service.check()));
        }
        results.extend(machines.iter().map(|own| own.still_there(&self.stage.roots)));
        results.extend(outcome.results);
        for (machine, attached) in machines.iter_mut().zip(attached) {
            let said = attached.into_iter().map(Attached::finish).collect::<Result<Vec<_>>>();
            results.push(said.map(|said| machine.facts.mechanism = each_once(said.concat())));
        }
        // The load goes first: guests need the CPU to shut down.
        results.extend(loads.into_iter().map(Background::stop));
        measured.take(outcome.facts, machines);
        results.push(traced.and_then(|facts| account_for_trace(facts, folder, measured)));
        if experiment.workloads().iter().any(|own| own.web().is_some()) {
            let kept = write_csv(&folder.join("requests.csv"), &outcome.requests);
            results.push(kept.map_err(Into::into));
        }
        results.extend(host.into_iter().map(|own| own.service.stop()));
        first_error(results, &mut measured.facts.warnings)
    }
}

impl Measured {
    /// Takes what the services and machines tell. Where there is one machine it is the attempt's
    /// facts that are known of it; of several the first's, and each has its own beside them.
    fn take(&mut self, told: Facts, machines: &[Machine]) {
        self.facts.warnings.extend(told.warnings);
        for warning in machines.iter().flat_map(|machine| machine.warnings.clone()) {
            // Known from the first of several times.
            if !self.facts.warnings.contains(&warning) {
                self.facts.warnings.push(warning);
            }
        }
        (self.facts.web, self.facts.stopped) = (told.web, told.stopped);
        self.facts.clocks = told.clocks;
        let vms: Vec<VmFacts> = machines.iter().map(|machine| machine.facts.clone()).collect();
        if let Some(first) = vms.first().cloned() {
            first.put_into(&mut self.facts);
        }
        if vms.len() > 1 {
            self.facts.vms = vms;
        }
    }
}

/// What is said of several vCPUs alike.
fn each_once(mut sentences: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    sentences.retain(|sentence| seen.insert(sentence.clone()));
    sentences
}

/// Adds the trace's facts, with the time in which the workload ran, and what VMs under KVM waited
/// for meanwhile.
///
/// # Errors
/// Where `supply.csv` in `folder` cannot be read.
fn account_for_trace(
    facts: Option<TraceFacts>,
    folder: &Path,
    measured: &mut Measured,
) -> Result<()> {
    let Some(mut facts) = facts else { return Ok(()) };
    if let Some((from, to)) = measured.window {
        let supply = folder.join("supply.csv");
        let waited = |vm: Option<&str>| kvm::unsupplied_ns(&supply, vm, from, to).map(Some);
        if let Some(kvm) = &mut measured.facts.kvm {
            kvm.unsupplied_ns = waited(measured.facts.vms.first().map(|own| own.vm.as_str()))?;
        }
        for own in &mut measured.facts.vms {
            if let Some(kvm) = &mut own.kvm {
                kvm.unsupplied_ns = waited(Some(&own.vm))?;
            }
        }
    }
    facts.workload_from_ns = measured.window.map(|(from_ns, _)| from_ns);
    facts.workload_to_ns = measured.window.map(|(_, to_ns)| to_ns);
    measured.facts.warnings.extend(trace::warnings(&facts));
    measured.facts.trace = Some(facts);
    Ok(())
}

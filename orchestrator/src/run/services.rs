//! What is measured in an attempt: every service of an experiment, all at once.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use model::{
    manifest::Facts,
    sample::Request,
    suite::{self, Experiment, Web, Workload},
};
use webload::{Config, Run};

use super::{
    guest_clock::JobsClock,
    machines::Machine,
    names::Names,
    plan::StopAbove,
    probe::{self, AllReadings, Readings, Seen},
    served::Served,
    tasks::{self, What},
    web,
};
use crate::{
    guest::{Inside, Running},
    host::{Background, Cpus, Stage},
    service::HostService,
};

/// How often the clients of a service are looked after.
const LOOK: Duration = Duration::from_millis(20);

/// The rows of a service of tasks, as it left them.
#[derive(Debug)]
pub(super) struct Part {
    /// Its file.
    pub file: PathBuf,
    /// Its VM; none on the host.
    pub vm: Option<String>,
    /// Its name.
    pub service: String,
    /// The CPU of the host that its rows were measured on.
    pub cpu: u32,
    /// The clock of its rows; none where the guest's was not read.
    pub clock: Option<JobsClock>,
    /// The shortest period of its tasks.
    pub shortest_ns: u64,
}

impl Part {
    /// The clock, where it is exact enough for stalls to be those of a job.
    pub fn exact_clock(&self) -> Option<JobsClock> {
        self.clock.filter(|own| own.tells_apart(self.shortest_ns))
    }

    /// A warning where it is not.
    pub fn too_coarse(&self) -> Option<String> {
        let clock = self.clock.filter(|own| !own.tells_apart(self.shortest_ns))?;
        let time = |ns| model::duration::format(Duration::from_nanos(ns));
        let vm = self.vm.as_deref().unwrap_or_default();
        Some(format!(
            "vm `{vm}`: its clock is known to within {} only, more than half the shortest period ({}): \
             which jobs the machine's stalls delayed is not known",
            time(clock.uncertainty_ns),
            time(self.shortest_ns)
        ))
    }
}

/// A web service on the host.
pub(super) struct OnHost {
    /// Its name in the suite.
    pub name: String,
    pub service: HostService,
}

/// All that the services of an attempt run on.
pub(super) struct Ground<'a> {
    pub stage: &'a Stage,
    pub experiment: &'a Experiment,
    pub attempt: u32,
    /// Where the first job that takes too long ends it.
    pub stop_above: Option<StopAbove>,
    pub folder: &'a Path,
    /// rtload's calibration on the host.
    pub calibration: &'a Path,
    pub machines: &'a [Machine],
    pub host: &'a [OnHost],
}

/// What they came to.
#[derive(Default)]
pub(super) struct Outcome {
    pub facts: Facts,
    /// The rows of all web services.
    pub requests: Vec<Request>,
    /// The clocks of guests with a probe.
    pub readings: Vec<Readings>,
    /// One for each service.
    pub results: Vec<Result<()>>,
}

impl Outcome {
    /// Enters what a service came to. Where it is not alone, its error and its warnings, those from
    /// `known` on, say whose they are.
    fn named(&mut self, workload: Workload, known: usize, result: Result<()>) {
        if workload.experiment.only().is_some() {
            return self.results.push(result);
        }
        let place = workload.vm.map_or("host", |vm| &vm.name);
        let name = format!("{place}, {}", workload.service.map_or("", |service| &service.name));
        for warning in &mut self.facts.warnings[known..] {
            *warning = format!("{name}: {warning}");
        }
        self.results.push(result.context(name));
    }
}

/// A service of tasks or a probe that runs.
enum Going<'a> {
    Host(Background),
    Guest(&'a Machine, Running<'a>),
}

/// Ends the threads of a scope on every way out of it, a panic too: the scope waits for them.
struct Ends<'a> {
    over: &'a AtomicBool,
    watching: &'a AtomicBool,
    probing: &'a AtomicBool,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.watching.store(false, Ordering::Relaxed);
        self.probing.store(false, Ordering::Relaxed);
    }
}

/// A service that is asked.
struct Asked<'a> {
    targets: &'a [webload::Target],
    warm_up: webload::run::WarmUp,
}

impl<'a> Ground<'a> {
    /// Runs every service of the experiment until all have ended.
    pub fn run(&self) -> Outcome {
        let workloads = self.experiment.workloads();
        let (over, watching) = (AtomicBool::new(false), AtomicBool::new(true));
        let (probing, readings) = (AtomicBool::new(true), AllReadings::default());
        let (over, watching, stop) = (&over, &watching, self.stage.stop.clone());
        let mut outcome = thread::scope(|scope| {
            let _ends = Ends { over, watching, probing: &probing };
            let asked = workloads.iter().filter_map(|own| Some((*own, own.web()?)));
            let configs: Vec<_> = asked.map(|own| (own, self.config(own.0, own.1))).collect();
            let clients: Vec<_> = configs
                .into_iter()
                .map(|(own, config)| {
                    let ask = move || -> Result<(Config, Run)> {
                        let config = config?;
                        let run = webload::run(&config, over, |_| ())?;
                        Ok((config, run))
                    };
                    (own, scope.spawn(ask))
                })
                .collect();
            let (limit, begun) = (web::limit(self.experiment), Instant::now());
            // Tasks are waited for on this thread, so the clients' end is looked after on another.
            scope.spawn(move || {
                while watching.load(Ordering::Relaxed) {
                    let late = limit.is_some_and(|limit| begun.elapsed() >= limit);
                    if late || stop.check().is_err() {
                        over.store(true, Ordering::Relaxed);
                    }
                    thread::sleep(LOOK);
                }
            });
            for machine in self.probed(&workloads) {
                let vm = self.experiment.vms.iter().find(|vm| vm.name == machine.name());
                let Some((inside, vm)) = machine.inside().zip(vm) else { continue };
                let place = (inside, machine.guest());
                let (probing, readings, stop) = (&probing, &readings, &self.stage.stop);
                scope.spawn(move || readings.add(Readings::take(vm, place, probing, stop)));
            }
            let wild = self.go_wild(&workloads);
            let mut outcome = self.run_tasks(&workloads);
            probing.store(false, Ordering::Relaxed);
            for ((workload, web), client) in clients {
                let run: Result<_> =
                    client.join().unwrap_or_else(|_| Err(anyhow!("the clients panicked")));
                let said = outcome.facts.warnings.len();
                let kept = run
                    .and_then(|(config, run)| self.keep(workload, web, &config, run, &mut outcome));
                outcome.named(workload, said, kept);
            }
            for wild in wild {
                let ended = wild.and_then(|wild| {
                    wild.signal(9, Duration::from_secs(10), self.stage.stop.flag())
                });
                // An interrupted run does not wait; the guest's end is its own.
                outcome.results.push(self.stage.stop.check().map_err(Into::into).and(ended));
            }
            outcome
        });
        outcome.readings = readings.into_inner();
        outcome
    }

    /// The guests with a probe.
    fn probed(&self, workloads: &[Workload<'a>]) -> Vec<&'a Machine> {
        let with_probe = workloads.iter().filter(|own| own.probe().is_some());
        with_probe.filter_map(|own| self.machine(*own).ok()).collect()
    }

    /// Has the guests go wild that are to.
    fn go_wild(&self, workloads: &[Workload<'a>]) -> Vec<Result<Running<'a>>> {
        let of = |workload: &Workload<'a>| {
            let wild = workload.service?.wild()?;
            Some(self.machine(*workload).and_then(|machine| {
                let guest = entered(machine)?;
                let arguments = [guest.programs.agent.as_str(), "--wild", wild.name()];
                guest.start(&arguments, &[], self.stage.stop.flag())
            }))
        };
        workloads.iter().filter_map(of).collect()
    }

    fn what(&self, workload: Workload<'a>) -> What<'a> {
        What { workload, attempt: self.attempt, stop_above: self.stop_above }
    }

    fn run_tasks(&self, workloads: &[Workload<'a>]) -> Outcome {
        let mut outcome = Outcome::default();
        let with_tasks =
            workloads.iter().filter(|own| !own.tasks().is_empty() || own.probe().is_some());
        let started: Vec<_> =
            with_tasks.map(|workload| (*workload, self.start(*workload))).collect();
        for (workload, going) in started {
            let known = outcome.facts.warnings.len();
            let said = going.and_then(|going| self.finish(workload, going, &mut outcome.facts));
            outcome.named(workload, known, said);
        }
        outcome
    }

    /// Waits for the end of a service of tasks or a probe, and enters what it said.
    fn finish(&self, workload: Workload<'a>, going: Going<'_>, facts: &mut Facts) -> Result<()> {
        let (what, names) = (self.what(workload), Names::of(self.folder, workload));
        let (stage, stop, probes) = (self.stage, &self.stage.stop, workload.probe().is_some());
        match going {
            Going::Host(going) if probes => {
                probe::finish_on_host(stage, what, going, &names)?.tell(facts);
            }
            Going::Host(going) => tasks::finish_on_host(stage, what, going, &names)?.tell(facts),
            Going::Guest(machine, running) => {
                let guest = entered(machine)?;
                if probes {
                    probe::finish_on_guest(guest, what, &running, &names, stop)?.tell(facts);
                } else {
                    tasks::finish_on_guest(guest, what, &running, &names, stop)?.tell(facts);
                }
            }
        }
        Ok(())
    }

    fn machine(&self, workload: Workload) -> Result<&'a Machine> {
        let name = &workload.vm.context("it runs on the host")?.name;
        let found = self.machines.iter().find(|machine| machine.name() == name);
        found.with_context(|| format!("vm `{name}` was not booted"))
    }

    fn start(&self, workload: Workload<'a>) -> Result<Going<'a>> {
        let (what, probes) = (self.what(workload), workload.probe().is_some());
        if workload.vm.is_none() {
            let names = Names::of(self.folder, workload);
            let started = match probes {
                true => probe::start_on_host(self.stage, what, &names),
                false => tasks::start_on_host(self.stage, what, self.calibration, &names),
            };
            return started.map(Going::Host);
        }
        let machine = self.machine(workload)?;
        let (guest, stop) = (entered(machine)?, &self.stage.stop);
        let running = match probes {
            true => probe::start_on_guest(guest, what, stop)?,
            false => tasks::start_on_guest(guest, what, stop)?,
        };
        Ok(Going::Guest(machine, running))
    }

    fn asked(&self, workload: Workload) -> Result<Asked<'_>> {
        if workload.vm.is_some() {
            let Served { targets, warm_up, .. } =
                self.machine(workload)?.served.as_ref().context("the service is not up")?;
            return Ok(Asked { targets, warm_up: *warm_up });
        }
        let name = &workload.service.context("no service")?.name;
        let found = self.host.iter().find(|own| own.name == *name);
        let own = &found.context("the service is not up")?.service;
        Ok(Asked { targets: &own.targets, warm_up: own.warm_up })
    }

    /// What the clients of one repetition are to do.
    fn config(&self, workload: Workload, web: &Web) -> Result<Config> {
        let targets = self.asked(workload)?.targets.to_vec();
        Ok(web::config(web, targets, workload.experiment, self.attempt, self.stage))
    }

    fn keep(
        &self,
        workload: Workload,
        web: &Web,
        config: &Config,
        run: Run,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let names = Names::of(self.folder, workload);
        let warm_up = self.asked(workload)?.warm_up;
        let (facts, warnings) = web::keep(&names, config, &run, warm_up)?;
        outcome.facts.web.get_or_insert(facts);
        outcome.facts.warnings.extend(warnings);
        let enough = self.stage.stop.check().map_err(Into::into);
        let enough = enough.and_then(|()| web::enough(&run, web.max_failures));
        outcome.requests.extend(run.rows.into_iter().map(|mut row| {
            row.vm = workload.vm.map(|vm| vm.name.clone());
            row.service = workload.service.map(|service| service.name.clone());
            row
        }));
        // The end of its guest, or of its program there, explains every failed request.
        match (&enough, workload.vm) {
            (Err(_), Some(_)) => self
                .machine(workload)?
                .still_serves(&self.stage.roots, &self.stage.stop)
                .and(enough),
            _ => enough,
        }
    }
}

/// The inside of a machine in which something is started.
fn entered(machine: &Machine) -> Result<&Inside> {
    machine.inside().context("there is no way into the VM")
}

/// The rows of each service of tasks, in `folder`.
pub(super) fn parts(
    experiment: &Experiment,
    folder: &Path,
    machines: &[Machine],
    cpus: &Cpus,
) -> Vec<Part> {
    let part = |workload: Workload| {
        let of = |vm: &suite::Vm| machines.iter().find(|machine| machine.name() == vm.name);
        let clock = match workload.vm {
            None => Some(JobsClock::HOST),
            Some(vm) => of(vm).and_then(Machine::clock),
        };
        let shortest = workload.tasks().iter().map(|task| task.period()).min();
        Part {
            file: Names::of(folder, workload).file("jobs.csv"),
            vm: workload.vm.map(|vm| vm.name.clone()),
            service: workload.service.map_or_else(String::new, |own| own.name.clone()),
            cpu: cpus.of(workload.cpu()),
            clock,
            shortest_ns: model::duration::as_ns(shortest.unwrap_or_default()),
        }
    };
    let workloads = experiment.workloads().into_iter();
    workloads.filter(|workload| !workload.tasks().is_empty()).map(part).collect()
}

/// The rows of each probe of the clock, in `folder`.
pub(super) fn seen(experiment: &Experiment, folder: &Path, machines: &[Machine]) -> Vec<Seen> {
    let seen = |workload: Workload| {
        let of = |vm: &suite::Vm| machines.iter().find(|machine| machine.name() == vm.name);
        Seen {
            file: Names::of(folder, workload).file("clock.csv"),
            vm: workload.vm.map(|vm| vm.name.clone()),
            service: workload.service.map_or_else(String::new, |own| own.name.clone()),
            begin: workload.vm.and_then(of).and_then(Machine::clock_at_begin),
        }
    };
    let workloads = experiment.workloads().into_iter();
    workloads.filter(|workload| workload.probe().is_some()).map(seen).collect()
}

/// Removes the parts that stand in a file together.
pub(super) fn remove(parts: &[Part], together: &Path) {
    for part in parts.iter().filter(|part| part.file != together) {
        let _ = fs::remove_file(&part.file);
    }
}

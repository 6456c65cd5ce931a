//! A whole suite, simulated into a result folder like a measured one.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use model::{
    Manifest, Reservation, Suite,
    duration::as_ns,
    manifest::{
        AcceleratorFacts, Facts, HostFacts, KeepAwake, RepetitionRecord, SCHEMA_VERSION, Status,
        Versions, VmFacts,
    },
    sample::{SampleError, Stall, write_csv},
    suite::{Experiment, Workload},
};
use thiserror::Error;

use super::{
    ACCELERATOR,
    budgets::WithBudgets,
    calibrate::{CalibrateError, Measured},
    chance::{StallSource, Stalls, generator},
    experiment::{self, Conditions, Phases},
    observe::{Outcome, ThreadOutcome},
    record::{JobWriter, Label},
    setup::{Cpu, SimError, Tick},
    simulate,
};

/// What is to be done with a suite.
#[derive(Debug)]
pub struct Plan {
    /// The suite, reduced to what is simulated.
    pub suite: Suite,
    /// Its file's text.
    pub text: String,
    /// A measured folder to take the conditions from.
    pub measured: Option<Measured>,
    /// The scheduler's tick; where absent, that of `measured`.
    pub tick: Option<Duration>,
    /// Lost at each switch.
    pub switch_overhead: Duration,
    /// What ordinary threads get under a real-time load.
    pub fair_server: Option<Reservation>,
    /// Of every random choice.
    pub seed: u64,
}

/// Why a suite was not simulated.
#[derive(Debug, Error)]
pub enum SuiteRunError {
    /// An experiment that cannot be simulated.
    #[error("experiment `{name}`: {error}")]
    Experiment {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        error: Box<SimError>,
    },
    /// The calibration.
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    /// The folder.
    #[error("{}: {error}", path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// A file of samples.
    #[error("{}: {error}", path.display())]
    Rows {
        /// Where.
        path: PathBuf,
        /// What the writer says.
        #[source]
        error: csv::Error,
    },
    /// A file of samples.
    #[error(transparent)]
    Samples(#[from] SampleError),
}

/// Whether the simulator can play this experiment.
#[must_use]
pub fn can_simulate(experiment: &Experiment) -> bool {
    refusal(experiment).is_none()
}

/// Why the simulator cannot play this experiment, if so.
#[must_use]
pub fn refusal(experiment: &Experiment) -> Option<String> {
    if let Some(probe) = experiment.workloads().iter().find_map(|own| own.probe()) {
        let name = probe.name();
        return Some(format!("a probe of the {name} cannot be simulated: it looks at a real one"));
    }
    if let Some(vm) = experiment.vms.iter().find(|vm| vm.found.is_some()) {
        return Some(format!("vm `{}` runs already, and what it does is not known", vm.name));
    }
    let played = experiment::played(experiment);
    if played.is_empty() {
        return Some("only periodic tasks can be simulated".to_owned());
    }
    let places: Vec<_> = played.iter().map(|own| own.place_in_guest()).collect();
    let twice = |(at, place): (usize, &_)| places[..at].contains(place);
    if places.iter().enumerate().any(twice) {
        return Some("several services of tasks in one place cannot be simulated".to_owned());
    }
    let reservations = experiment.vms.iter().flat_map(|vm| vm.reservations());
    let mut servers = reservations.map(|own| experiment::server(Some(own)));
    servers.find_map(|server| server.err().map(|error| error.to_string()))
}

/// Simulates every repetition of the plan below `out` and returns the result folder.
///
/// # Errors
/// [`SuiteRunError`]; every experiment is checked before a folder is made.
pub fn run(plan: &Plan, out: &Path) -> Result<PathBuf, SuiteRunError> {
    let mut prepared = Vec::new();
    for experiment in &plan.suite.experiments {
        let (conditions, notes) = plan.conditions(experiment)?;
        let cpus = conditions
            .iter()
            .map(|one| {
                let cpu = experiment::cpu(experiment, one)?;
                cpu.check().map(|()| (cpu, one.phases))
            })
            .collect::<Result<Vec<_>, SimError>>()
            .map_err(|error| failed(experiment, error))?;
        prepared.push((experiment, cpus, notes));
    }
    let folder = create(plan, out)?;
    let mut manifest = plan.manifest();
    save(&folder, &manifest)?;
    for (experiment, cpus, notes) in &prepared {
        // Each simulated repetition is played under the conditions of a measured one, in turn.
        for (repetition, (cpu, phases)) in (0..experiment.repetitions).zip(cpus.iter().cycle()) {
            let cpu = with_phases(cpu, plan.seed_of(experiment, repetition), *phases);
            let record = plan.repetition(&folder, experiment, &cpu, notes, repetition)?;
            manifest.repetitions.push(record);
        }
    }
    manifest.finished_utc = Some(now_utc());
    save(&folder, &manifest)?;
    Ok(folder)
}

fn failed(experiment: &Experiment, error: SimError) -> SuiteRunError {
    SuiteRunError::Experiment { name: experiment.name.clone(), error: Box::new(error) }
}

fn now_utc() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn at(path: &Path) -> impl Fn(io::Error) -> SuiteRunError {
    let path = path.to_owned();
    move |error| SuiteRunError::File { path: path.clone(), error }
}

/// `<out>/<suite>-simulated-<UTC time>`, with a number behind it where that is taken.
fn create(plan: &Plan, out: &Path) -> Result<PathBuf, SuiteRunError> {
    fs::create_dir_all(out).map_err(at(out))?;
    let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let name = format!("{}-simulated-{stamp}", plan.suite.name);
    let mut path = out.join(&name);
    for number in 2.. {
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                path = out.join(format!("{name}-{number}"));
            }
            made => {
                made.map_err(at(&path))?;
                break;
            }
        }
    }
    let copy = path.join("suite.toml");
    fs::write(&copy, &plan.text).map_err(at(&copy))?;
    Ok(path)
}

/// Replaces the manifest in one step.
fn save(folder: &Path, manifest: &Manifest) -> Result<(), SuiteRunError> {
    let (file, aside) = (folder.join("manifest.json"), folder.join(".manifest.json.new"));
    let mut text = serde_json::to_string_pretty(manifest).expect("plain data with text keys");
    text.push('\n');
    fs::write(&aside, text).and_then(|()| fs::rename(&aside, &file)).map_err(at(&file))
}

impl Plan {
    /// What `experiment` is played under: at least one, and what is not known.
    ///
    /// # Errors
    /// [`SuiteRunError::Calibrate`].
    pub fn conditions(
        &self,
        experiment: &Experiment,
    ) -> Result<(Vec<Conditions>, Vec<String>), SuiteRunError> {
        let (mut conditions, notes) = match &self.measured {
            Some(measured) => measured.conditions(experiment)?,
            None => (vec![Conditions::default()], Vec::new()),
        };
        for one in &mut conditions {
            if let Some(tick) = self.tick {
                one.tick = Some(as_ns(tick)).filter(|&period| period > 0);
            }
            one.switch_overhead = as_ns(self.switch_overhead);
            one.fair_server = self.fair_server;
            one.sentinel = self.suite.host.sentinel && one.tick.is_some();
        }
        Ok((conditions, notes))
    }

    /// Says of every value that would be the machine's that it is not known, or simulated.
    fn manifest(&self) -> Manifest {
        let tick = match self.tick {
            Some(tick) => Some(as_ns(tick)).filter(|&ns| ns > 0),
            None => self.measured.as_ref().and_then(Measured::tick_ns),
        };
        let simulated = || "simulated".to_owned();
        Manifest {
            schema_version: SCHEMA_VERSION,
            suite: self.suite.clone(),
            started_utc: now_utc(),
            finished_utc: None,
            host: HostFacts {
                cpu_model: Some(simulated()),
                cpus: 1,
                kernel: simulated(),
                tick_hz: tick.and_then(|ns| u32::try_from(1_000_000_000 / ns).ok()),
                hrtick_dl: Some(tick.is_none()),
                ..HostFacts::default()
            },
            versions: Versions {
                bench: env!("CARGO_PKG_VERSION").to_owned(),
                qemu: None,
                guest_kernel: None,
            },
            seed: self.seed,
            analyses: crate::experiment::analyses(&self.suite),
            accelerator: Some(AcceleratorFacts {
                name: ACCELERATOR.to_owned(),
                reason: format!("computed by `rtplan simulate` with seed {}", self.seed),
            }),
            keep_awake: KeepAwake { on: false, reason: simulated(), idle_cost: None },
            disks: Vec::new(),
            cleared: None,
            impossible: Vec::new(),
            resumed: Vec::new(),
            repetitions: Vec::new(),
        }
    }

    fn seed_of(&self, experiment: &Experiment, repetition: u32) -> u64 {
        seed_of(self.seed, &experiment.name, repetition)
    }

    fn repetition(
        &self,
        folder: &Path,
        experiment: &Experiment,
        cpu: &Cpu,
        notes: &[String],
        repetition: u32,
    ) -> Result<RepetitionRecord, SuiteRunError> {
        let (started_utc, start) = (now_utc(), Instant::now());
        let name = &experiment.name;
        let partial = folder.join(name).join(format!(".rep-{repetition:03}.partial"));
        fs::create_dir_all(&partial).map_err(at(&partial))?;
        let seed = self.seed_of(experiment, repetition);
        let outcome = write_jobs(&partial, experiment, cpu, seed, repetition)?;
        let stalls = stalls_until(&cpu.stalls, seed, outcome.end_ns);
        write_csv(&partial.join("stalls.csv"), &stalls)?;
        let whole = folder.join(name).join(format!("rep-{repetition:03}"));
        fs::rename(&partial, &whole).map_err(at(&whole))?;
        let stalled: u64 = stalls.iter().map(|stall| stall.length_ns).sum();
        let share = stalled as f64 / outcome.end_ns.max(1) as f64;
        Ok(RepetitionRecord {
            experiment: name.clone(),
            attempt: repetition,
            repetition,
            status: Status::Done,
            error: None,
            started_utc,
            elapsed_ns: as_ns(start.elapsed()),
            stalled_share: Some(share),
            noisy: share > self.suite.noise.max_stalled,
            counts: true,
            facts: facts(&outcome, experiment, notes),
        })
    }
}

fn facts(outcome: &Outcome, experiment: &Experiment, notes: &[String]) -> Facts {
    let played = experiment::played(experiment);
    let measured = &outcome.threads[..played.len()];
    let tasks = measured.iter().flat_map(|thread| &thread.tasks);
    let unfinished: u64 = tasks.map(|(_, count)| count.unfinished).sum();
    let mut warnings = notes.to_vec();
    if unfinished > 0 {
        warnings.push(format!(
            "{unfinished} jobs were released but not finished within 10s after the last release; \
             they have no row"
        ));
    }
    let share = |thread: &ThreadOutcome| thread.ran_ns as f64 / outcome.end_ns.max(1) as f64;
    let of_vm = |(own, thread): (&Workload, &ThreadOutcome)| {
        let vm = own.vm?.name.clone();
        Some(VmFacts { vm, vcpu_share: Some(share(thread)), ..VmFacts::default() })
    };
    let mut vms: Vec<VmFacts> = played.iter().zip(measured).filter_map(of_vm).collect();
    if vms.len() < 2 {
        vms.clear();
    }
    Facts { vcpu_share: measured.first().map(share), warnings, vms, ..Facts::default() }
}

/// Each repetition of each experiment has its own; the order and number of others do not matter.
fn seed_of(seed: u64, experiment: &str, repetition: u32) -> u64 {
    // FNV-1a.
    let hash = experiment.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    generator(seed ^ hash, repetition.into()).u64(..)
}

/// When the first tick falls is chance, and so is the first wake-up of what is neither measured nor
/// load, where `known` does not tell it.
fn with_phases(cpu: &Cpu, seed: u64, known: Phases) -> Cpu {
    let mut rng = generator(seed, u64::MAX - 2);
    let mut threads = cpu.threads.clone();
    for thread in threads.iter_mut().filter(|own| !own.measured && own.server.is_deadline()) {
        for task in &mut thread.tasks {
            task.offset = known.look.unwrap_or_else(|| rng.u64(..task.period));
        }
    }
    let chance = |tick: Tick| generator(seed, u64::MAX - 1).u64(..tick.period);
    let tick =
        cpu.tick.map(|tick| Tick { phase: known.tick.unwrap_or_else(|| chance(tick)), ..tick });
    Cpu { tick, threads, ..cpu.clone() }
}

fn write_jobs(
    folder: &Path,
    experiment: &Experiment,
    cpu: &Cpu,
    seed: u64,
    repetition: u32,
) -> Result<Outcome, SuiteRunError> {
    let path = folder.join("jobs.csv");
    let rows = |error| SuiteRunError::Rows { path: path.clone(), error };
    let out = BufWriter::new(File::create(&path).map_err(at(&path))?);
    let played = experiment::played(experiment);
    let labels = played.iter().map(|own| Label::of(*own, repetition)).collect();
    let jobs = JobWriter::new(out, labels).map_err(rows)?;
    let vms = played.iter().map(|own| own.vm.map(|vm| vm.name.clone())).collect();
    let mut writer = WithBudgets { jobs, vms, budgets: Vec::new() };
    let outcome = simulate(cpu, seed, &mut writer).map_err(|error| failed(experiment, error))?;
    writer.jobs.finish().map_err(rows)?;
    if !writer.budgets.is_empty() {
        write_csv(&folder.join("budget.csv"), &writer.budgets)?;
    }
    Ok(outcome)
}

/// The stalls that the simulation met.
fn stalls_until(stalls: &Stalls, seed: u64, end: u64) -> Vec<Stall> {
    let mut source = StallSource::of(stalls, seed);
    let mut met = Vec::new();
    let mut from = 0;
    loop {
        let (start_ns, stop) = source.after(from);
        if start_ns >= end {
            return met;
        }
        met.push(Stall { start_ns, length_ns: stop.min(end) - start_ns });
        from = stop;
    }
}

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
        AcceleratorFacts, HostFacts, KeepAwake, RepetitionRecord, SCHEMA_VERSION, Status, Versions,
    },
    sample::{SampleError, Stall, write_csv},
    suite::Experiment,
};
use thiserror::Error;

use super::{
    ACCELERATOR,
    budgets::{Places, WithBudgets},
    calibrate::{CalibrateError, Measured},
    experiment::{self, Conditions, OnCpu, Phases},
    record::{JobWriter, Label},
    repetition::{Share, facts, seed_of, seed_on, stalls_until, with_phases},
    setup::SimError,
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
    let places: Vec<_> = played.iter().map(|own| (own.place_in_guest(), own.cpu())).collect();
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
                let cpus = experiment::cpus(experiment, one)?;
                let checked = cpus.iter().try_for_each(|own| own.set_up.check());
                checked.map(|()| (cpus, one.phases))
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
        for (repetition, (cpus, phases)) in (0..experiment.repetitions).zip(cpus.iter().cycle()) {
            let record =
                plan.repetition(&folder, experiment, (cpus, *phases), notes, repetition)?;
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
        let (simulated, measured) = (|| "simulated".to_owned(), &self.suite.host.measured_cpus);
        Manifest {
            schema_version: SCHEMA_VERSION,
            suite: self.suite.clone(),
            started_utc: now_utc(),
            finished_utc: None,
            host: HostFacts {
                cpu_model: Some(simulated()),
                cpus: measured.len().max(1) as u32,
                measured_cpu: measured.first().copied().unwrap_or(0),
                measured_cpus: if measured.len() > 1 { measured.clone() } else { Vec::new() },
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
        (cpus, phases): (&[OnCpu], Phases),
        notes: &[String],
        repetition: u32,
    ) -> Result<RepetitionRecord, SuiteRunError> {
        let (started_utc, start) = (now_utc(), Instant::now());
        let name = &experiment.name;
        let partial = folder.join(name).join(format!(".rep-{repetition:03}.partial"));
        fs::create_dir_all(&partial).map_err(at(&partial))?;
        let seed = self.seed_of(experiment, repetition);
        let played = write_jobs(&partial, experiment, (cpus, phases), seed, repetition)?;
        write_csv(&partial.join("stalls.csv"), &played.stalls)?;
        let whole = folder.join(name).join(format!("rep-{repetition:03}"));
        fs::rename(&partial, &whole).map_err(at(&whole))?;
        let share = played.stalled_share;
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
            facts: facts(&played.shares, experiment, notes),
        })
    }
}

/// What a repetition came to on all its CPUs.
struct Played {
    /// Of each workload that was played.
    shares: Vec<Share>,
    /// On all of them, in the order of time.
    stalls: Vec<Stall>,
    /// Of the CPU that was stalled most.
    stalled_share: f64,
}

/// Plays the CPUs of a repetition one after the other, into one file of jobs.
fn write_jobs(
    folder: &Path,
    experiment: &Experiment,
    (cpus, phases): (&[OnCpu], Phases),
    seed: u64,
    repetition: u32,
) -> Result<Played, SuiteRunError> {
    let path = folder.join("jobs.csv");
    let rows = |error| SuiteRunError::Rows { path: path.clone(), error };
    let out = BufWriter::new(File::create(&path).map_err(at(&path))?);
    let played = experiment::played(experiment);
    let labels = played.iter().map(|own| Label::of(*own, repetition)).collect();
    let jobs = JobWriter::new(out, labels).map_err(rows)?;
    let vms = played.iter().map(|own| own.vm.map(|vm| vm.name.clone())).collect();
    let mut writer = WithBudgets { jobs, vms, budgets: Vec::new() };
    let mut found = Played {
        shares: vec![Share::default(); played.len()],
        stalls: Vec::new(),
        stalled_share: 0.0,
    };
    for (at, OnCpu { cpu, played, set_up }) in cpus.iter().enumerate() {
        let seed = seed_on(seed, at);
        let set_up = with_phases(set_up, seed, phases);
        let mut writer = Places { places: played, inner: &mut writer };
        let outcome =
            simulate(&set_up, seed, &mut writer).map_err(|error| failed(experiment, error))?;
        let end_ns = outcome.end_ns.max(1) as f64;
        for (&place, thread) in played.iter().zip(&outcome.threads) {
            let unfinished = thread.tasks.iter().map(|(_, count)| count.unfinished).sum();
            found.shares[place] = Share { of_cpu: thread.ran_ns as f64 / end_ns, unfinished };
        }
        let stalls = stalls_until(&set_up.stalls, *cpu, seed, outcome.end_ns);
        let stalled: u64 = stalls.iter().map(|stall| stall.length_ns).sum();
        found.stalled_share = found.stalled_share.max(stalled as f64 / end_ns);
        found.stalls.extend(stalls);
    }
    found.stalls.sort_by_key(|stall| stall.start_ns);
    writer.jobs.finish().map_err(rows)?;
    if !writer.budgets.is_empty() {
        write_csv(&folder.join("budget.csv"), &writer.budgets)?;
    }
    Ok(found)
}

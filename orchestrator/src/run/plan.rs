//! From a suite to the list of what will be done, checked against this host before it is touched.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use model::{
    Reservation, Suite,
    manifest::Impossible,
    suite::{self, Experiment, Network, ReservationSettings, Server, Sweep},
};

use super::{admission, describe::describe, estimate::estimates, files};
use crate::{
    error::Refusal,
    host::{Cpus, Roots, deadline_bandwidth_limit},
    mechanism::{self, Request},
    service,
};

/// A repetition to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Name of the experiment.
    pub experiment: String,
    /// Its repetition, from 0.
    pub repetition: u32,
    /// What it will probably take, once.
    pub estimate: Duration,
}

/// A validated plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The suite, with the selected experiments only.
    pub suite: Suite,
    /// The names of all experiments of its file, in order.
    pub order: Vec<String>,
    /// The text of its file.
    pub text: String,
    /// How the CPUs are divided.
    pub cpus: Cpus,
    /// Round by round: the first repetition of each experiment, then the second, so that what
    /// drifts on the host meets every experiment alike. From the second on in drawn order.
    pub repetitions: Vec<Planned>,
    /// What the order is drawn with: the same for the same file.
    pub seed: u64,
    /// Experiments that this host cannot run, while it can run others.
    pub impossible: Vec<Impossible>,
    /// Where the first job that takes too long ends its attempt.
    pub stop_above: Option<StopAbove>,
    /// Whether no progress is shown.
    pub quiet: bool,
}

/// The response time above which a job ends the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopAbove {
    /// Its task's deadline.
    Deadline,
    /// This, whatever the deadline.
    Time(Duration),
}

impl Plan {
    /// Reads the suite, selects `only` (all where empty), and checks it against the host.
    ///
    /// # Errors
    /// [`Refusal::Usage`] that names what is wrong.
    pub fn read(path: &Path, only: &[String]) -> Result<Self> {
        let mut suite = suite::read(path).map_err(|error| Refusal::Usage(error.to_string()))?;
        let order = names(&suite);
        select(&mut suite, only, &path.display().to_string())?;
        Self::of(suite, order, path)
    }

    /// Reads the suite and takes nothing from it but a sweep of one of its experiments.
    ///
    /// # Errors
    /// [`Refusal::Usage`] that names what is wrong.
    pub fn sweep(path: &Path, sweep: Sweep) -> Result<Self> {
        let suite = suite::read(path).map_err(|error| Refusal::Usage(error.to_string()))?;
        let alone = suite.swept(sweep);
        let refuse = |message| Refusal::Usage(format!("{}: {message}", path.display()));
        let alone = alone.map_err(refuse)?;
        let order = names(&alone);
        Self::of(alone, order, path)
    }

    /// Checks a suite, read from `path`, against the host.
    fn of(suite: Suite, order: Vec<String>, path: &Path) -> Result<Self> {
        let file = path.display().to_string();
        let text = fs::read_to_string(path)?;
        let roots = Roots::default();
        let cpus = Cpus::divide(&roots.sys, &suite.host.measured_cpus)
            .map_err(|refusal| in_file(refusal, &file))?;
        let limit = deadline_bandwidth_limit(&roots);
        for experiment in &suite.experiments {
            files::check(experiment)
                .map_err(|message| Refusal::Usage(format!("{file}: {message}")))?;
            servable(experiment, &suite.guest.network)
                .map_err(|message| Refusal::Usage(format!("{file}: {message}")))?;
            admission::check(experiment, suite.host.sentinel, &cpus, limit)
                .map_err(|message| Refusal::Usage(format!("{file}: {message}")))?;
        }
        let impossible = impossible(&suite, &roots, &file)?;
        let seed = seed_of(&text);
        let mut repetitions = rounds(&suite, seed);
        repetitions.retain(|one| impossible.iter().all(|own| own.experiment != one.experiment));
        let (stop_above, quiet) = (None, false);
        Ok(Self { suite, order, text, cpus, repetitions, seed, impossible, stop_above, quiet })
    }

    /// Has the first job that misses its deadline end its attempt.
    ///
    /// # Errors
    /// [`Refusal::Usage`] for an experiment with several services: the others would go on.
    pub fn stop_on_miss(&mut self) -> Result<(), Refusal> {
        if let Some(several) = self.suite.experiments.iter().find(|one| one.only().is_none()) {
            return Err(Refusal::Usage(format!(
                "--stop-on-miss: experiment `{}` measures several services, of which a miss would \
                 end one; leave it out with --only",
                several.name
            )));
        }
        self.stop_above = Some(StopAbove::Deadline);
        Ok(())
    }

    /// What the whole run will probably take, noisy repetitions aside.
    #[must_use]
    pub fn estimate(&self) -> Duration {
        self.repetitions.iter().map(|planned| planned.estimate).sum()
    }

    /// The experiments that this host can run.
    pub fn possible(&self) -> impl Iterator<Item = &Experiment> {
        let lacking =
            |one: &&Experiment| self.impossible.iter().any(|own| own.experiment == one.name);
        self.suite.experiments.iter().filter(move |one| !lacking(one))
    }

    /// Whether any guest is booted.
    #[must_use]
    pub fn has_guest(&self) -> bool {
        self.suite.experiments.iter().flat_map(|one| &one.vms).any(|vm| vm.found.is_none())
    }

    /// Whether any experiment measures Apache.
    #[must_use]
    pub fn needs_apache(&self) -> bool {
        let mut all = self.suite.experiments.iter().flat_map(Experiment::workloads);
        all.any(|own| own.web().is_some_and(|web| matches!(web.server, Server::Cgi { .. })))
    }

    /// The plan as `--dry-run` prints it.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!(
            "suite {}: measured on {}, everything else on {:?}\n{}\n",
            self.suite.name,
            self.cpus.names(),
            self.cpus.housekeeping,
            self.cpus.reason
        );
        for (index, planned) in self.repetitions.iter().enumerate() {
            let experiment = self.experiment(planned);
            text += &format!(
                "{:3}  {:17} repetition {}  {}  about {} s\n",
                index + 1,
                planned.experiment,
                planned.repetition,
                describe(experiment),
                planned.estimate.as_secs()
            );
        }
        for Impossible { experiment, reason } in &self.impossible {
            text += &format!("  -  {experiment:17} not possible here: {reason}\n");
        }
        let seconds = self.estimate().as_secs();
        text += &format!(
            "{} repetitions, about {} min {:02} s, and as long again for each that is too noisy \
             (at most {} more times each)\n",
            self.repetitions.len(),
            seconds / 60,
            seconds % 60,
            self.suite.noise.retries
        );
        text
    }

    /// The experiment that a planned repetition belongs to.
    ///
    /// # Panics
    /// Where `planned` is of another plan.
    #[must_use]
    pub fn experiment(&self, planned: &Planned) -> &Experiment {
        self.suite.experiment(&planned.experiment).expect("planned from this suite")
    }
}

fn in_file(refusal: Refusal, file: &str) -> Refusal {
    match refusal {
        Refusal::Usage(text) => Refusal::Usage(format!("{file}: key `host.measured_cpus`: {text}")),
        other => other,
    }
}

fn select(suite: &mut Suite, only: &[String], file: &str) -> Result<(), Refusal> {
    if let Some(name) = only.iter().find(|name| suite.experiment(name).is_none()) {
        let names: Vec<_> = suite.experiments.iter().map(|one| one.name.as_str()).collect();
        return Err(Refusal::Usage(format!(
            "--only: `{name}` is not in {file}; it has {}",
            names.join(", ")
        )));
    }
    if !only.is_empty() {
        suite.experiments.retain(|experiment| only.contains(&experiment.name));
        let mut sweeps = std::mem::take(&mut suite.sweeps);
        sweeps.retain(|sweep| sweep.members(suite).next().is_some());
        suite.sweeps = sweeps;
    }
    Ok(())
}

/// The services' programs are there, their URLs are such, and their ports are free. Nobody is asked.
fn servable(experiment: &Experiment, network: &Network) -> Result<(), String> {
    let named = |message: String| format!("experiment `{}`: {message}", experiment.name);
    for workload in experiment.workloads() {
        let Some(web) = workload.web() else { continue };
        let in_guest = workload.vm.is_some();
        startable(&web.server, in_guest).map_err(named)?;
        let ports = match (in_guest, network) {
            (true, Network::Tap(_)) => None,
            _ => web.ports(in_guest),
        };
        for port in ports.into_iter().flatten() {
            let port = u16::try_from(port).expect("checked by suite::parse");
            if let Some(error) = service::taken(port) {
                let (key, right) = match (&web.server, in_guest) {
                    (Server::Command(_), false) => {
                        ("listen", "end the program that uses it, or choose another port")
                    }
                    _ => ("port", "choose another, or leave the key out for any that are free"),
                };
                return Err(named(format!(
                    "key `web.{key}`: port {port} of the loopback address cannot be used: {error}; \
                     {right}"
                )));
            }
        }
    }
    Ok(())
}

/// What answers can be started, or asked.
fn startable(server: &Server, in_guest: bool) -> Result<(), String> {
    let started = match server {
        Server::Cgi { program: None, .. } => return Ok(()),
        Server::Cgi { program, .. } => service::cgi_program(program.as_deref()),
        Server::Command(own) => service::program_of(own, in_guest),
        Server::Url { .. } => return service::check(server),
    };
    started.map(drop).map_err(|refusal| refusal.to_string())
}

/// The experiments whose mechanism this host lacks, as long as others are left.
///
/// # Errors
/// A request that no host can fulfil; what is lacking, where nothing is left to run.
fn impossible(suite: &Suite, roots: &Roots, file: &str) -> Result<Vec<Impossible>> {
    let mut lacking = Vec::new();
    for experiment in &suite.experiments {
        let name = &experiment.name;
        let mut reasons = Vec::new();
        for vm in &experiment.vms {
            let whose = if experiment.vms.len() > 1 {
                format!("vm `{}`: ", vm.name)
            } else {
                String::new()
            };
            match vm.reservations().try_for_each(|own| admit(own, roots)) {
                Ok(()) => {}
                Err(Refusal::Lacking(reason)) => reasons.push(whose + &reason),
                Err(other) => {
                    Err(other).with_context(|| format!("{file}: experiment `{name}`: {whose}"))?;
                }
            }
        }
        if !reasons.is_empty() {
            let reason = reasons.join("; ");
            lacking.push(Impossible { experiment: name.clone(), reason });
        }
    }
    if let Some(Impossible { experiment, reason }) = lacking.first()
        && lacking.len() == suite.experiments.len()
    {
        Err(Refusal::Lacking(format!("{file}: experiment `{experiment}`: {reason}")))?;
    }
    Ok(lacking)
}

/// Under its budget, and under the least that a law may choose.
fn admit(own: &ReservationSettings, roots: &Roots) -> Result<(), Refusal> {
    let least = own.control.and_then(|control| Reservation::new(control.min, own.period).ok());
    let requests = [Some(own.into()), least.map(Request::from)];
    let mut requests = requests.iter().flatten();
    requests.try_for_each(|request| mechanism::admit(own.mechanism, request, roots))
}

fn names(suite: &Suite) -> Vec<String> {
    suite.experiments.iter().map(|one| one.name.clone()).collect()
}

/// FNV-1a of the suite's file.
fn seed_of(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn rounds(suite: &Suite, seed: u64) -> Vec<Planned> {
    let most = suite.experiments.iter().map(|one| one.repetitions).max().unwrap_or(0);
    let round = |repetition| {
        let experiments = suite.experiments.iter().filter(|one| repetition < one.repetitions);
        let mut round: Vec<_> = experiments.map(|one| (one, repetition)).collect();
        // The first round is as the file reads.
        if repetition > 0 {
            fastrand::Rng::with_seed(seed ^ u64::from(repetition)).shuffle(&mut round);
        }
        round
    };
    let order: Vec<(&Experiment, u32)> = (0..most).flat_map(round).collect();
    let estimates = estimates(order.iter().map(|(experiment, _)| *experiment));
    let planned = |((experiment, repetition), estimate): ((&Experiment, u32), Duration)| Planned {
        experiment: experiment.name.clone(),
        repetition,
        estimate,
    };
    order.into_iter().zip(estimates).map(planned).collect()
}

/// The folder in which `results/<suite>-<UTC time>` is made.
#[must_use]
pub fn default_out() -> PathBuf {
    "results".into()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const SUITE: &str = r#"
            name = "s"
            [[experiment]]
            name = "a"
            where = "host"
            tasks = ["30ms/150ms"]
            repetitions = 2
            [[experiment]]
            name = "b"
            where = "guest"
            tasks = ["30ms/150ms"]
            reservation = { budget = "46ms", period = "50ms" }
        "#;

    /// A plan of a suite's text, on a made-up host of two CPUs.
    pub(in crate::run) fn made_up(text: &str, only: &[&str]) -> Plan {
        let mut suite = suite::parse(text, "s.toml").unwrap();
        let order = names(&suite);
        let only: Vec<String> = only.iter().map(|&name| name.to_owned()).collect();
        select(&mut suite, &only, "s.toml").unwrap();
        let (cpus, seed) = (Cpus::made_up(&[1], &[0]), seed_of(text));
        let repetitions = rounds(&suite, seed);
        Plan {
            suite,
            order,
            text: text.to_owned(),
            cpus,
            repetitions,
            seed,
            impossible: Vec::new(),
            stop_above: None,
            quiet: true,
        }
    }

    fn suite() -> Suite {
        suite::parse(SUITE, "s.toml").unwrap()
    }

    #[test]
    fn repetitions_come_in_rounds() {
        let twice = SUITE.replace("repetitions = 2", "repetitions = 3");
        let twice = suite::parse(&format!("{twice}repetitions = 2\n"), "s.toml").unwrap();
        let order = |seed| -> Vec<String> {
            let planned = rounds(&twice, seed);
            planned.iter().map(|p| format!("{}{}", p.experiment, p.repetition)).collect()
        };
        let orders: std::collections::BTreeSet<_> = (0..20).map(order).collect();
        let expected = [["a0", "b0", "a1", "b1", "a2"], ["a0", "b0", "b1", "a1", "a2"]]
            .map(|one| one.map(str::to_owned));
        assert!(orders.into_iter().eq(expected.map(Vec::from)), "drawn within the round");
        assert_eq!(order(7), order(7));
    }

    #[test]
    fn what_this_host_lacks_stands_aside_as_long_as_something_is_left() {
        let empty = tempfile::tempdir().unwrap();
        fs::write(empty.path().join("mounts"), "").unwrap();
        let root = empty.path().to_owned();
        let proc = kernel::procfs::Proc::at(&root);
        let roots = Roots { proc, sys: root.clone(), root };
        let quota = "period = \"50ms\", mechanism = \"cfs-quota\"";
        let text = SUITE.replace("period = \"50ms\"", quota);
        let mut suite = suite::parse(&text, "s.toml").unwrap();
        let lacking = impossible(&suite, &roots, "s.toml").unwrap();
        assert_eq!(lacking.len(), 1);
        assert_eq!(lacking[0].experiment, "b");
        assert!(lacking[0].reason.contains("cfs-quota"), "{lacking:?}");
        select(&mut suite, &["b".into()], "s.toml").unwrap();
        let error = impossible(&suite, &roots, "s.toml").unwrap_err();
        assert_eq!(crate::error::exit_of(&error), model::Exit::Lacking);
        assert!(error.to_string().contains("`b`"), "{error}");
    }

    #[test]
    fn only_names_that_are_there_can_be_selected() {
        let mut two = suite();
        let error = select(&mut two, &["c".into()], "s.toml").unwrap_err().to_string();
        assert!(error.contains("`c`") && error.contains("a, b"), "{error}");
        select(&mut two, &["b".into()], "s.toml").unwrap();
        assert_eq!(two.experiments.len(), 1);
    }

    #[test]
    fn a_sweep_of_which_nothing_is_selected_is_none() {
        let text = format!("{SUITE}[[sweep]]\nexperiment = \"b\"\nbudgets = [\"20ms\", \"30ms\"]");
        let swept = || suite::parse(&text, "s.toml").unwrap();
        let (mut some, mut none) = (swept(), swept());
        select(&mut some, &["b-30ms".into()], "s.toml").unwrap();
        select(&mut none, &["b".into()], "s.toml").unwrap();
        assert_eq!((some.sweeps.len(), none.sweeps.len()), (1, 0));
        assert_eq!(rounds(&swept(), 0).len(), 5);
    }
}

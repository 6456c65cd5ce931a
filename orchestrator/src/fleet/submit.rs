//! `orchestrator submit`: suites × hosts as job arrays.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Args;
use model::{
    Exit, answer,
    fleet::{Fleet, Job, SCHEMA_VERSION, State},
    print,
};

use super::{
    folder::Folder,
    matrix::{self, Axis, Variant},
    script::Script,
    slurm::{Node, Slurm},
    status,
};
use crate::{error::Refusal, host::quoted, run::plan};

/// The arguments of `orchestrator submit`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The suites, TOML files
    #[arg(required_unless_present = "resume", conflicts_with = "resume")]
    suites: Vec<PathBuf>,
    /// The hosts, separated by commas, by their names in the cluster
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["nodes", "resume"])]
    hosts: Vec<String>,
    /// Number of hosts; the first N usable ones
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    nodes: Option<usize>,
    /// Run variants: a key of the suites' TOML and its values, for example
    /// guest.accelerator=kvm,tcg or experiment.fig3.duration=10s,60s
    #[arg(long, value_name = "KEY=V1,V2", conflicts_with = "resume")]
    matrix: Vec<Axis>,
    /// Write the folder and print the job script, and submit nothing
    #[arg(long, conflicts_with = "resume")]
    print: bool,
    /// Submit the jobs of this fleet folder again that have not ended well, to the same hosts, where
    /// they go on
    #[arg(long, value_name = "FLEET")]
    resume: Option<PathBuf>,
    /// The folder in which the fleet's folder is made; every host must see it by the same path
    #[arg(long, default_value_os_t = plan::default_out())]
    out: PathBuf,
    /// Where a host keeps results while it measures: on a disk of its own, in a folder of the user
    /// whose job it is, in which others cannot write
    #[arg(long, value_name = "DIR", default_value = "/var/lib/rt-vm-bench")]
    scratch: String,
    /// This program on the hosts, where it lies elsewhere there
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Further options of sbatch, after `--`: --partition, --account, --time, …
    #[arg(last = true, value_name = "SBATCH OPTION")]
    options: Vec<String>,
}

/// Writes the fleet's folder, and submits a job array for each host.
///
/// # Errors
/// [`Refusal`] for what is wrong with suites, hosts or matrix, and where Slurm is not there.
pub fn submit(options: &Options, slurm: &Slurm) -> Result<Exit> {
    if let Some(folder) = &options.resume {
        return again(folder, slurm);
    }
    let suites = suites(options).map_err(Refusal::Usage)?;
    for option in &options.options {
        if !option.starts_with("--") || option.contains('\n') {
            let text = "an option of sbatch has the form --name or --name=value";
            return Err(Refusal::Usage(format!("`{option}`: {text}")).into());
        }
    }
    if !options.scratch.starts_with('/') {
        let text = format!("--scratch `{}` is not an absolute path", options.scratch);
        return Err(Refusal::Usage(text).into());
    }
    let nodes = slurm.nodes();
    let hosts = match (nodes, options.print) {
        (Ok(nodes), _) => hosts(options, &nodes).map_err(Refusal::Usage)?,
        // What is only printed may be submitted elsewhere.
        (Err(_), true) if !options.hosts.is_empty() => {
            sound(&options.hosts).map_err(Refusal::Usage)?;
            options.hosts.clone()
        }
        (Err(error), _) => return Err(error),
    };
    let program = match &options.program {
        Some(own) => own.clone(),
        None => std::env::current_exe().context("this program's own path")?,
    };
    let mut folder = written(options, &hosts, &suites, &program)?;
    if options.print {
        print::answer(&fs::read_to_string(folder.script())?)?;
        model::say!("the fleet's folder is {}", folder.path.display());
        return Ok(Exit::Done);
    }
    let script = folder.script().display().to_string();
    for (at, host) in hosts.iter().enumerate() {
        let array = slurm.submit(host, &script, None);
        let array = array.map_err(|error| after(error, at, hosts.len(), &folder))?;
        let own = folder.fleet.jobs.iter_mut().filter(|job| job.host == *host);
        own.for_each(|job| (job.array, job.state) = (Some(array), State::Waiting));
        // After each, so that none is forgotten where the next is refused.
        folder.save()?;
    }
    model::say!("submitted {} jobs to {} hosts", folder.fleet.jobs.len(), hosts.len());
    answer!("{}", folder.path.display())?;
    Ok(Exit::Done)
}

/// What sbatch refused, with what to do about the hosts that have no jobs, where others have theirs.
fn after(error: anyhow::Error, submitted: usize, hosts: usize, folder: &Folder) -> anyhow::Error {
    if submitted == 0 {
        return error;
    }
    let path = quoted(&folder.path.display().to_string());
    error.context(format!(
        "submitted the jobs of {submitted} of {hosts} hosts; \
         `orchestrator submit --resume {path}` submits the others"
    ))
}

/// Every variant of every suite.
fn suites(options: &Options) -> Result<Vec<Variant>, String> {
    let mut all: Vec<Variant> = Vec::new();
    let mut used = vec![false; options.matrix.len()];
    for (at, own) in options.matrix.iter().enumerate() {
        if options.matrix[..at].iter().any(|other| other.key == own.key) {
            return Err(format!(
                "--matrix: key `{}` is given twice; separate values by commas",
                own.key
            ));
        }
    }
    for file in &options.suites {
        let name = file.display().to_string();
        let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
        let (variants, has) = matrix::variants(&text, &name, &options.matrix)?;
        used.iter_mut().zip(has).for_each(|(used, has)| *used |= has);
        for own in variants {
            if all.iter().any(|other| other.name == own.name) {
                return Err(format!(
                    "{name}: there are two suites named `{}`; give each its own `name`",
                    own.name
                ));
            }
            all.push(own);
        }
    }
    match options.matrix.iter().zip(used).find(|own| !own.1) {
        Some((axis, _)) => Err(format!(
            "--matrix: no suite has the key `{}`; an experiment is named in it, as in \
             `experiment.fig3.duration`",
            axis.key
        )),
        None => Ok(all),
    }
}

/// The hosts asked for, or so many that jobs can run on.
fn hosts(options: &Options, nodes: &[Node]) -> Result<Vec<String>, String> {
    let names = || nodes.iter().map(|own| own.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(n) = options.nodes {
        let usable: Vec<String> =
            nodes.iter().filter(|own| own.is_usable()).map(|own| own.name.clone()).collect();
        return match n {
            0 => Err("--nodes is 0; it is at least 1".to_owned()),
            n if n > usable.len() => Err(format!(
                "--nodes is {n}; the cluster has {} usable hosts of {}",
                usable.len(),
                nodes.len()
            )),
            n => Ok(usable[..n].to_vec()),
        };
    }
    if options.hosts.is_empty() {
        return Err(format!("--hosts or --nodes is missing; the cluster has {}", names()));
    }
    sound(&options.hosts)?;
    match options.hosts.iter().find(|host| !nodes.iter().any(|own| own.name == **host)) {
        Some(host) => {
            Err(format!("--hosts: `{host}` is not in the cluster, which has {}", names()))
        }
        None => Ok(options.hosts.clone()),
    }
}

/// Whether each is one host's name, and there once: names become folders, and words of the script.
fn sound(hosts: &[String]) -> Result<(), String> {
    let is_plain = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    for (at, host) in hosts.iter().enumerate() {
        if !is_plain(host) {
            return Err(format!(
                "--hosts: `{host}` is not the name of one host; separate names by commas, as in \
                 `n1,n2`"
            ));
        }
        if hosts[..at].contains(host) {
            return Err(format!("--hosts: `{host}` is there twice"));
        }
    }
    Ok(())
}

fn written(
    options: &Options,
    hosts: &[String],
    suites: &[Variant],
    program: &Path,
) -> Result<Folder> {
    let now = jiff::Timestamp::now();
    let name = format!("fleet-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let mut jobs = Vec::new();
    for host in hosts {
        jobs.extend(suites.iter().enumerate().map(|(suite, own)| Job {
            host: host.clone(),
            suite,
            name: own.name.clone(),
            array: None,
            state: State::Written,
            detail: None,
            folder: None,
        }));
    }
    let fleet = Fleet {
        schema_version: SCHEMA_VERSION,
        name,
        submitted_utc: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        scratch: options.scratch.clone(),
        suites: Vec::new(),
        jobs,
    };
    let folder = Folder::create(&options.out, fleet, suites)?;
    let names: Vec<String> = suites.iter().map(|own| own.name.clone()).collect();
    let script = Script {
        name: &folder.fleet.name,
        folder: &folder.path,
        scratch: &options.scratch,
        program,
        hosts,
        suites: &names,
        options: &options.options,
    };
    let file = folder.script();
    fs::write(&file, script.text()).with_context(|| file.display().to_string())?;
    Ok(folder)
}

/// Submits what is not done, each to its own host.
fn again(path: &Path, slurm: &Slurm) -> Result<Exit> {
    let mut folder = Folder::open(path)?;
    status::refresh(&mut folder, slurm)?;
    let mut open: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for job in folder.fleet.jobs.iter().filter(|job| job.state.is_unfinished()) {
        open.entry(job.host.clone()).or_default().push(job.suite.to_string());
    }
    let script = folder.script().display().to_string();
    let mut jobs = 0;
    for (at, (host, indices)) in open.iter().enumerate() {
        let array = slurm.submit(host, &script, Some(&indices.join(",")));
        let array = array.map_err(|error| after(error, at, open.len(), &folder))?;
        let own = folder.fleet.jobs.iter_mut();
        for job in own.filter(|job| job.host == *host && job.state.is_unfinished()) {
            (job.array, job.state, job.detail) = (Some(array), State::Waiting, None);
            jobs += 1;
        }
        folder.save()?;
    }
    model::say!("submitted {jobs} jobs to {} hosts again", open.len());
    answer!("{}", folder.path.display())?;
    Ok(Exit::Done)
}

//! `orchestrator status` and `orchestrator fetch`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use model::{Exit, answer, fleet::State, print};

use super::{
    account,
    folder::Folder,
    slurm::{Slurm, Task},
};

/// How the state is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Summary {
    /// A table.
    #[default]
    Text,
    /// What `fleet.json` says, one JSON object.
    Json,
}

/// The arguments of `orchestrator status`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The folder that `submit` printed
    fleet: PathBuf,
    /// Form of the answer on standard output
    #[arg(long, default_value = "text")]
    summary: Summary,
}

/// The arguments of `orchestrator fetch`.
#[derive(Debug, Clone, Args)]
pub struct Fetch {
    /// The folder that `submit` printed
    fleet: PathBuf,
    /// How long to wait for a host that still has results
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u32,
}

/// Prints what became of each job.
///
/// # Errors
/// A folder that is no fleet's, or no answer from Slurm.
pub fn status(options: &Options, slurm: &Slurm) -> Result<Exit> {
    let mut folder = Folder::open(&options.fleet)?;
    refresh(&mut folder, slurm)?;
    match options.summary {
        Summary::Text => print::answer(&table(&folder))?,
        Summary::Json => answer!("{}", serde_json::to_string(&folder.fleet)?)?,
    };
    Ok(Exit::Done)
}

/// Brings back what jobs that are over left on their hosts; exit code 1 where something of them is
/// still missing.
///
/// # Errors
/// As [`status`].
pub fn fetch(options: &Fetch, slurm: &Slurm) -> Result<Exit> {
    let mut folder = Folder::open(&options.fleet)?;
    refresh(&mut folder, slurm)?;
    let script = folder.script().display().to_string();
    let name = format!("fetch-{}", folder.fleet.name);
    let mut failed: Vec<&str> = Vec::new();
    for job in folder.fleet.jobs.iter().filter(|job| job.state.is_over() && job.folder.is_none()) {
        // A host that did not answer is not waited for once more for each of its jobs.
        if failed.contains(&job.host.as_str()) {
            continue;
        }
        let index = job.suite.to_string();
        let command = ["sh", &script, "deliver", &index];
        if let Err(error) = slurm.run_on(&job.host, &name, options.wait, &command) {
            model::say!("{} {}: {error:#}", job.host, job.name);
            failed.push(&job.host);
        }
    }
    refresh(&mut folder, slurm)?;
    let jobs = &folder.fleet.jobs;
    let count = |pick: &dyn Fn(&&model::fleet::Job) -> bool| jobs.iter().filter(pick).count();
    let missing = count(&|job| job.state.is_over() && job.folder.is_none());
    model::say!(
        "of {} jobs {} are not over, {} came back, {missing} did not",
        jobs.len(),
        count(&|job| !job.state.is_over()),
        count(&|job| job.state.is_over() && job.folder.is_some()),
    );
    answer!("{}", folder.path.display())?;
    Ok(if missing == 0 { Exit::Done } else { Exit::Failed })
}

/// Brings `fleet.json` up to date.
///
/// # Errors
/// No answer from Slurm, where some job is not known to be over; a file that cannot be written.
pub(super) fn refresh(folder: &mut Folder, slurm: &Slurm) -> Result<()> {
    let (name, since) = (folder.fleet.name.clone(), folder.fleet.submitted_utc.clone());
    let submitted = folder.fleet.jobs.iter().any(|job| job.array.is_some());
    let (queue, nodes) = match submitted {
        true => (slurm.queue(&name)?, slurm.nodes()?),
        // Written for another cluster, and looked at there or here.
        false => (Vec::new(), Vec::new()),
    };
    let accounted = if submitted { slurm.accounting(&name, &since) } else { Vec::new() };
    for at in 0..folder.fleet.jobs.len() {
        let job = &folder.fleet.jobs[at];
        let is_its = |own: &&Task| Some(own.array) == job.array && own.index == job.suite;
        let task = queue.iter().find(is_its).or_else(|| accounted.iter().find(is_its));
        let node = nodes.iter().find(|own| own.name == job.host);
        let (state, detail) = account::state_of(job, folder.event(job), task, node);
        let result = folder.result(job);
        let job = &mut folder.fleet.jobs[at];
        // What was known of an end stays known when Slurm has forgotten it.
        if !(state == State::Lost && job.state.is_over()) {
            (job.state, job.detail) = (state, detail);
        }
        job.folder = result;
    }
    folder.save()
}

fn table(folder: &Folder) -> String {
    let mut rows = vec![["host", "suite", "state", "result", ""].map(str::to_owned)];
    for job in &folder.fleet.jobs {
        let result = job.folder.as_ref().map_or("–", |own| {
            Path::new(own).file_name().and_then(|own| own.to_str()).unwrap_or("–")
        });
        let detail = job.detail.clone().unwrap_or_default();
        rows.push([
            job.host.clone(),
            job.name.clone(),
            job.state.name().into(),
            result.into(),
            detail,
        ]);
    }
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

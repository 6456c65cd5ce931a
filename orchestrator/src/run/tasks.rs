//! The workload of the micro benchmarks: rtload with the experiment's tasks, on the host or in the
//! guest.

use std::{ffi::OsString, fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use model::{
    duration,
    manifest::{Facts, Stopped},
    suite::{Experiment, Load, Work, Workload},
};
use serde::Deserialize;

use super::{estimate::DRAIN, names::Names, plan::StopAbove};
use crate::{
    guest::{Inside, Output, Running, Status},
    host::{Background, Stage, Stop, program},
};

/// Where the files of a run of rtload are, in the machine that runs it.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// The calibration to use.
    pub calibration: &'a str,
    /// The rows.
    pub jobs: &'a str,
    /// The HdrHistogram log.
    pub hist_log: &'a str,
}

/// What rtload says beside its rows.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Said {
    /// `warnings` of its summary.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Jobs released but not finished when it gave up waiting.
    #[serde(default)]
    pub unfinished: u64,
    /// The task whose last job took too long and ended it.
    #[serde(default)]
    pub stopped_by: Option<String>,
    /// From the first release to the end.
    #[serde(default)]
    pub elapsed_ns: u64,
}

impl Said {
    /// Enters it into the facts of the attempt.
    pub fn tell(mut self, facts: &mut Facts) {
        let after_ns = self.elapsed_ns;
        let stopped = self.stopped_by.take().map(|task| Stopped { task, after_ns });
        // What is cut off by the end is not late.
        self.unfinished = if stopped.is_some() { 0 } else { self.unfinished };
        facts.stopped = facts.stopped.take().or(stopped);
        facts.warnings.extend(self.into_warnings());
    }

    /// The warnings, with one for unfinished jobs.
    fn into_warnings(mut self) -> Vec<String> {
        if self.unfinished > 0 {
            self.warnings.push(format!(
                "{} jobs were released but not finished within {} after the last release; \
                 they have no row",
                self.unfinished,
                duration::format(DRAIN)
            ));
        }
        self.warnings
    }
}

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct What<'a> {
    /// The tasks, in their experiment.
    pub workload: Workload<'a>,
    /// The number of the attempt.
    pub attempt: u32,
    /// Where the first job that takes too long ends it.
    pub stop_above: Option<StopAbove>,
}

/// What a run may take, when everything is as slow as can be.
#[must_use]
pub(super) fn limit(what: What) -> Duration {
    let paused = what.workload.vm.and_then(|vm| vm.pause).map(|pause| pause.length);
    what.workload.experiment.duration + paused.unwrap_or_default() + DRAIN + Duration::from_secs(60)
}

/// The arguments of `rtload run`. Paced work keeps the execution time constant while the processor's
/// speed drifts, which on shared machines it does by several per cent a minute; fixed work is the
/// same number of iterations, by the calibration of the host wherever it runs. The calibration is
/// not checked again: it was made a moment ago, and under a reservation a guest's own CPU time
/// includes the host's preemption.
#[must_use]
pub fn run_arguments(what: What, cpu: u32, places: Places) -> Vec<String> {
    let What { workload, attempt, stop_above } = what;
    let experiment = workload.experiment;
    let mut arguments = vec!["run".to_owned()];
    let mut option = |name: &str, value: String| {
        arguments.extend([name.to_owned(), value]);
    };
    for task in workload.tasks().iter() {
        option("--task", task.to_string());
    }
    option("--policy", "fifo".into());
    option("--cpu", cpu.to_string());
    option("--duration", duration::format(experiment.duration));
    option("--drain", duration::format(DRAIN));
    option("--calibration", places.calibration.into());
    option("--check", "off".into());
    option("--work", experiment.work.name().into());
    if let Some(surge) = experiment.surge {
        option("--surge", surge.to_string());
    }
    option("--experiment", experiment.name.clone());
    option("--repetition", attempt.to_string());
    option("--out", places.jobs.into());
    option("--hist-log", places.hist_log.into());
    option("--summary", "json".into());
    match stop_above {
        Some(StopAbove::Deadline) => arguments.push("--stop-on-miss".to_owned()),
        Some(StopAbove::Time(time)) => option("--stop-above", duration::format(time)),
        None => {}
    }
    arguments
}

/// Starts the host's load on a CPU and waits until its tasks run.
///
/// # Errors
/// Where it cannot be started.
pub fn start_load(
    stage: &Stage,
    experiment: &Experiment,
    load: &Load,
    calibration: &Path,
    folder: &Path,
) -> Result<Background> {
    let cpu = stage.cpus.of(load.cpu);
    let mut arguments: Vec<OsString> = vec!["load".into()];
    let mut option = |name: &str, value: OsString| arguments.extend([name.into(), value]);
    for task in load.tasks.iter() {
        option("--task", task.to_string().into());
    }
    option("--policy", "fifo".into());
    option("--cpu", cpu.to_string().into());
    option("--backlog", load.backlog.name().into());
    option("--calibration", calibration.into());
    option("--check", "off".into());
    option("--work", "paced".into());
    option("--out", folder.join(load.file(experiment, "jobs.csv")).into());
    let mut command = stage.on_measured(cpu, &program("rtload")?, arguments)?;
    let log = folder.join(load.file(experiment, "rtload.log"));
    let mut load = Background::start(&stage.guard, "the host load", &mut command, &log)?;
    load.wait_for_line("ready", Duration::from_secs(30), &stage.stop)?;
    Ok(load)
}

/// What a calibration says that is needed here.
#[derive(Deserialize)]
struct Calibrated {
    ns_per_iteration: f64,
}

/// Calibrates rtload on the first measured CPU of the host into `file`, for `length` of CPU time; returns
/// the nanoseconds of an iteration.
///
/// # Errors
/// Where rtload fails.
pub fn calibrate_host(stage: &Stage, length: Duration, file: &Path, log: &Path) -> Result<f64> {
    let (cpu, length) = (stage.cpus.first().to_string(), duration::format(length));
    let save = file.display().to_string();
    let arguments =
        ["calibrate", "--cpu", &cpu, "--for", &length, "--save", &save, "--summary", "json"];
    let mut command = stage.on_measured(stage.cpus.first(), &program("rtload")?, arguments)?;
    Background::start(&stage.guard, "rtload calibrate", &mut command, log)?
        .finish(Duration::from_secs(60), &stage.stop)?;
    let saved: Calibrated = serde_json::from_slice(&fs::read(file)?)
        .with_context(|| format!("the calibration in {}", file.display()))?;
    Ok(saved.ns_per_iteration)
}

/// Starts the tasks on their measured CPU of the host.
///
/// # Errors
/// Where rtload cannot be started.
pub(super) fn start_on_host(
    stage: &Stage,
    what: What,
    calibration: &Path,
    names: &Names,
) -> Result<Background> {
    let text = |path: &Path| path.display().to_string();
    let (jobs, hist) = (text(&names.file("jobs.csv")), text(&names.file("response.hlog")));
    let calibration = text(calibration);
    let places = Places { calibration: &calibration, jobs: &jobs, hist_log: &hist };
    let cpu = stage.cpus.of(what.workload.cpu());
    let arguments = run_arguments(what, cpu, places);
    let mut command = stage.on_measured(cpu, &program("rtload")?, arguments)?;
    let (out, log) = (names.file("rtload.json"), names.file("rtload.log"));
    Background::start_apart(&stage.guard, "rtload run", &mut command, &out, &log)
}

/// Waits for their end.
///
/// # Errors
/// Where rtload fails; what it measured until then stays in the folder.
pub(super) fn finish_on_host(
    stage: &Stage,
    what: What,
    going: Background,
    names: &Names,
) -> Result<Said> {
    going.finish(limit(what), &stage.stop)?;
    let printed = fs::read(names.file("rtload.json"))?;
    serde_json::from_slice(&printed).context("the summary of `rtload run`")
}

/// Where the calibrations are inside the guest: its own, and the host's where its tasks do the
/// host's work.
const OWN_CALIBRATION: &str = "calibration.json";
const HOST_CALIBRATION: &str = "calibration-host.json";
/// CPU time for a calibration in the guest: paced work needs it to a few per cent only.
const GUEST_CALIBRATION: &str = "1s";

/// Where the file of this name of a service is inside the guest.
fn in_guest_at(guest: &Inside, what: What, name: &str) -> String {
    let service = what.workload.service.map_or("tasks", |service| &service.name);
    guest.programs.file(&format!("{service}.{name}"))
}

/// Calibrates rtload in the guest, which must be neither loaded nor reserved: an emulator's speed
/// is another than the host's, and a guest's CPU time includes what the host takes.
///
/// # Errors
/// Where rtload fails.
pub fn calibrate_guest(guest: &Inside, stop: &Stop) -> Result<f64> {
    let file = guest.programs.file(OWN_CALIBRATION);
    let arguments = [
        guest.programs.rtload.as_str(),
        "calibrate",
        "--cpu",
        "0",
        "--for",
        GUEST_CALIBRATION,
        "--save",
        &file,
        "--summary",
        "json",
    ];
    let printed = in_guest(guest, &arguments.map(str::to_owned), Duration::from_secs(60), stop)?;
    let calibrated: Calibrated = serde_json::from_slice(&printed)
        .context("the summary of `rtload calibrate` in the guest")?;
    Ok(calibrated.ns_per_iteration)
}

/// Gives the guest the host's calibration beside its own, so that its tasks do the host's work.
///
/// # Errors
/// Where the guest does not take it.
pub fn give_calibration(guest: &Inside, file: &Path, stop: &Stop) -> Result<()> {
    let content = fs::read(file).with_context(|| file.display().to_string())?;
    guest.put(&guest.programs.file(HOST_CALIBRATION), 0o644, &content, stop.flag())
}

/// Starts the tasks in the guest.
///
/// # Errors
/// Where they cannot be started.
pub(super) fn start_on_guest<'a>(
    guest: &'a Inside,
    what: What,
    stop: &Stop,
) -> Result<Running<'a>> {
    let calibration = match what.workload.experiment.work {
        Work::Fixed => HOST_CALIBRATION,
        Work::Paced => OWN_CALIBRATION,
    };
    let calibration = &guest.programs.file(calibration);
    let at = |name| in_guest_at(guest, what, name);
    let (jobs, hist_log) = (at("jobs.csv"), at("response.hlog"));
    let places = Places { calibration, jobs: &jobs, hist_log: &hist_log };
    let mut arguments = vec![guest.programs.rtload.clone()];
    arguments.extend(run_arguments(what, what.workload.vcpu().unwrap_or(0), places));
    guest.start(&arguments, &[], stop.flag())
}

/// Waits for the end of the tasks in the guest, and fetches what they measured.
///
/// # Errors
/// Where rtload or the guest fails; what can still be fetched is.
pub(super) fn finish_on_guest(
    guest: &Inside,
    what: What,
    running: &Running<'_>,
    names: &Names,
    stop: &Stop,
) -> Result<Said> {
    let ended = guest.wait(running, limit(what), stop.flag(), |_, _| ());
    let printed = ended.and_then(|output| printed("rtload run", output));
    let get = |name| guest.get(&in_guest_at(guest, what, name), &names.file(name), stop.flag());
    let fetched = get("jobs.csv").and(get("response.hlog"));
    let printed = printed?;
    fetched?;
    fs::write(names.file("rtload.json"), &printed)?;
    serde_json::from_slice(&printed).context("the summary of `rtload run` in the guest")
}

/// Runs a command in the guest and returns what it printed on standard output.
fn in_guest(guest: &Inside, argv: &[String], limit: Duration, stop: &Stop) -> Result<Vec<u8>> {
    printed(&argv[..2].join(" "), guest.run(argv, limit, stop.flag())?)
}

/// What a command in the guest printed on standard output.
pub(super) fn printed(command: &str, output: Output) -> Result<Vec<u8>> {
    if output.status != Status::Code(0) {
        let said = String::from_utf8_lossy(&output.stderr);
        let memory = match output.status {
            Status::Signal(9) => {
                "; if console.log says that the guest was out of memory, give it more with the key \
                 `guest.memory_mib`"
            }
            _ => "",
        };
        bail!("{command} in the guest: {}: {}{memory}", output.status, said.trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtload_gets_all_that_the_experiment_says() {
        let suite = model::suite::parse(
            "name = \"s\"\n[[experiment]]\nname = \"fig1\"\nwhere = \"host\"\n\
             tasks = [\"30ms/150ms\", \"50ms/200ms\"]\nduration = \"24s\"",
            "s.toml",
        )
        .unwrap();
        let workload = suite.experiments[0].workloads()[0];
        let what = What { workload, attempt: 2, stop_above: None };
        let (jobs, hist_log) = ("/tmp/jobs.csv", "/tmp/response.hlog");
        let places = Places { calibration: "/tmp/calibration.json", jobs, hist_log };
        let above = |above| {
            let what = What { stop_above: Some(above), ..what };
            run_arguments(what, 1, places).join(" ")
        };
        assert!(above(StopAbove::Deadline).ends_with(" --stop-on-miss"));
        let time = StopAbove::Time(Duration::from_millis(2));
        assert!(above(time).ends_with(" --stop-above 2ms"));
        assert_eq!(
            run_arguments(what, 1, places).join(" "),
            "run --task 30ms/150ms --task 50ms/200ms --policy fifo --cpu 1 --duration 24s \
             --drain 10s --calibration /tmp/calibration.json --check off --work paced \
             --experiment fig1 --repetition 2 --out /tmp/jobs.csv --hist-log /tmp/response.hlog --summary json"
        );
    }

    #[test]
    fn unfinished_jobs_are_said() {
        let told = |said: Said| {
            let mut facts = Facts::default();
            said.tell(&mut facts);
            facts
        };
        let said = Said { unfinished: 3, ..Said::default() };
        assert!(told(said).warnings[0].starts_with("3 jobs were released"));
        assert!(told(Said::default()).warnings.is_empty());
    }

    #[test]
    fn what_the_first_miss_cut_off_is_not_unfinished() {
        let said: Said = serde_json::from_str(
            r#"{"stopped_by": "tau2", "elapsed_ns": 7, "unfinished": 1, "warnings": []}"#,
        )
        .unwrap();
        let mut facts = Facts::default();
        said.tell(&mut facts);
        assert_eq!(facts.stopped, Some(Stopped { task: "tau2".into(), after_ns: 7 }));
        assert!(facts.warnings.is_empty());
    }
}

//! Slurm's commands, and what they print.

use std::{
    io::{self, ErrorKind},
    process::{Command, Output},
};

use anyhow::{Context, Result};

use crate::error::Refusal;

/// Runs a program and waits for it; the tests have a fake.
pub trait Runner {
    /// As [`Command::output`].
    ///
    /// # Errors
    /// Where it cannot be started.
    fn run(&self, program: &str, arguments: &[&str]) -> io::Result<Output>;
}

/// This host's programs.
#[derive(Debug, Default)]
pub struct Programs;

impl Runner for Programs {
    fn run(&self, program: &str, arguments: &[&str]) -> io::Result<Output> {
        Command::new(program).args(arguments).output()
    }
}

/// A host of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name in the cluster.
    pub name: String,
    /// Slurm's word, for example `idle` or `down*`.
    pub state: String,
    /// Why it is down or drained.
    pub reason: Option<String>,
}

impl Node {
    /// Whether jobs can run there, now or later.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let bad = ["down", "drain", "fail", "error", "unk", "*", "future", "power"];
        !bad.iter().any(|word| self.state.contains(word))
    }

    /// State and reason.
    #[must_use]
    pub fn says(&self) -> String {
        match &self.reason {
            Some(reason) => format!("host is {}: {reason}", self.state),
            None => format!("host is {}", self.state),
        }
    }
}

/// A task of a job array, as Slurm knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The array's id.
    pub array: u64,
    /// The index in it.
    pub index: usize,
    /// Slurm's word in capitals, for example `RUNNING`.
    pub state: String,
    /// Why it waits or failed.
    pub reason: Option<String>,
}

/// The cluster.
pub struct Slurm<'a> {
    runner: &'a dyn Runner,
}

impl<'a> Slurm<'a> {
    /// Through these programs.
    #[must_use]
    pub fn new(runner: &'a dyn Runner) -> Self {
        Self { runner }
    }

    /// Every host of the cluster, each once.
    ///
    /// # Errors
    /// [`Refusal::Lacking`] where Slurm is not there or does not answer.
    pub fn nodes(&self) -> Result<Vec<Node>> {
        let text = self.ask("sinfo", &["--noheader", "--Node", "--format=%N|%T|%E"])?;
        let mut nodes: Vec<Node> = text.lines().filter_map(node).collect();
        nodes.dedup_by(|a, b| a.name == b.name);
        Ok(nodes)
    }

    /// Submits `script` to one host, all of its array or only these indices; the array's id.
    ///
    /// # Errors
    /// What sbatch says.
    pub fn submit(&self, host: &str, script: &str, only: Option<&str>) -> Result<u64> {
        let nodelist = format!("--nodelist={host}");
        let array = only.map(|own| format!("--array={own}"));
        let mut arguments = vec!["--parsable", &nodelist];
        arguments.extend(array.as_deref());
        arguments.push(script);
        let text = self.ask("sbatch", &arguments)?;
        // With several clusters: `id;cluster`.
        let id = text.trim().split(';').next().unwrap_or_default();
        id.parse().with_context(|| format!("sbatch answered `{}`, which is no job id", text.trim()))
    }

    /// Tasks of the jobs with this name that Slurm still has, the ended ones of the last minutes too.
    ///
    /// # Errors
    /// [`Refusal::Lacking`] where Slurm is not there or does not answer.
    pub fn queue(&self, name: &str) -> Result<Vec<Task>> {
        let name = format!("--name={name}");
        let format = "--format=%F|%K|%T|%r";
        let text = self.ask("squeue", &["--noheader", "--array", "--states=all", &name, format])?;
        Ok(text.lines().filter_map(queued).collect())
    }

    /// The same from the accounting; nothing where the cluster keeps none. `since` is in UTC.
    #[must_use]
    pub fn accounting(&self, name: &str, since: &str) -> Vec<Task> {
        let name = format!("--name={name}");
        let since = format!("--starttime={}", day_before(since));
        let arguments =
            ["--noheader", "--parsable2", "--allocations", &name, &since, "--format=JobID,State"];
        let asked = self.runner.run("sacct", &arguments);
        let text = asked.ok().filter(|own| own.status.success()).map(|own| own.stdout);
        let text = text.map(|own| String::from_utf8_lossy(&own).into_owned()).unwrap_or_default();
        text.lines().filter_map(accounted).collect()
    }

    /// Runs a command on one host, alone there, waiting at most `seconds` for its turn.
    ///
    /// # Errors
    /// What srun says.
    pub fn run_on(&self, host: &str, name: &str, seconds: u32, command: &[&str]) -> Result<()> {
        let (nodelist, name) = (format!("--nodelist={host}"), format!("--job-name={name}"));
        let wait = format!("--immediate={seconds}");
        let mut arguments = vec!["--nodes=1", "--ntasks=1", "--exclusive", &nodelist, &name, &wait];
        arguments.extend(command);
        self.ask("srun", &arguments).map(drop)
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.runner.run(program, arguments).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Refusal::Lacking(format!(
                "`{program}` is not there: install Slurm's client (Debian: slurm-client) with the \
                 cluster's slurm.conf, or write the job script with --print and submit it on a \
                 host that has it"
            )),
            _ => Refusal::Lacking(format!("`{program}`: {error}")),
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().lines().last().unwrap_or("it said nothing").to_owned();
        let text = format!("`{program}` failed: {said}");
        if said.contains("contact slurm controller") || said.contains("Unable to contact") {
            let remedy = "is slurmctld running, and does SLURM_CONF name the cluster's slurm.conf?";
            return Err(Refusal::Lacking(format!("{text}; {remedy}")).into());
        }
        anyhow::bail!("{text}")
    }
}

/// sacct reads local time, and does not say which: a day earlier is early enough everywhere, and
/// brings nothing else, since the job's name is unique.
fn day_before(utc: &str) -> String {
    let at: Option<jiff::Timestamp> = utc.parse().ok();
    let earlier = at.and_then(|at| at.checked_sub(jiff::SignedDuration::from_hours(24)).ok());
    earlier.map_or_else(
        || utc.trim_end_matches('Z').to_owned(),
        |at| at.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
    )
}

fn known(text: &str) -> Option<String> {
    let nothing = ["", "none", "None", "(null)", "N/A"];
    (!nothing.contains(&text)).then(|| text.to_owned())
}

fn node(line: &str) -> Option<Node> {
    let mut cells = line.splitn(3, '|');
    let (name, state) = (cells.next()?.trim(), cells.next()?.trim());
    let reason = known(cells.next().unwrap_or_default().trim());
    Some(Node { name: name.to_owned(), state: state.to_owned(), reason })
}

fn queued(line: &str) -> Option<Task> {
    let mut cells = line.splitn(4, '|').map(str::trim);
    let (array, index, state) = (cells.next()?, cells.next()?, cells.next()?);
    Some(Task {
        array: array.parse().ok()?,
        index: index.parse().ok()?,
        state: state.to_owned(),
        reason: known(cells.next().unwrap_or_default()),
    })
}

/// `12_0|CANCELLED by 0`
fn accounted(line: &str) -> Option<Task> {
    let (id, state) = line.split_once('|')?;
    let (array, index) = id.split_once('_')?;
    let (word, more) = state.trim().split_once(' ').unwrap_or((state.trim(), ""));
    Some(Task {
        array: array.parse().ok()?,
        index: index.parse().ok()?,
        state: word.trim_end_matches('+').to_owned(),
        reason: known(more),
    })
}

#[cfg(test)]
pub(super) mod fake {
    use std::{cell::RefCell, collections::HashMap, os::unix::process::ExitStatusExt};

    use super::*;

    /// Answers by program; what was asked is kept.
    #[derive(Default)]
    pub struct Fake {
        pub answers: HashMap<&'static str, (i32, &'static str)>,
        /// Whatever has this argument fails.
        pub refused: Option<&'static str>,
        pub asked: RefCell<Vec<String>>,
    }

    impl Runner for Fake {
        fn run(&self, program: &str, arguments: &[&str]) -> io::Result<Output> {
            self.asked.borrow_mut().push(format!("{program} {}", arguments.join(" ")));
            let mut answer = self.answers.get(program).ok_or(ErrorKind::NotFound)?;
            if self.refused.is_some_and(|refused| arguments.contains(&refused)) {
                answer = &(1, "refused");
            }
            let (code, text) = answer;
            let (good, bad) = if *code == 0 { (*text, "") } else { ("", *text) };
            Ok(Output {
                status: std::process::ExitStatus::from_raw(code << 8),
                stdout: good.into(),
                stderr: bad.into(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{fake::Fake, *};
    use crate::error::exit_of;

    fn with(program: &'static str, answer: (i32, &'static str)) -> Fake {
        Fake { answers: [(program, answer)].into(), ..Fake::default() }
    }

    #[test]
    fn hosts_are_told_once_and_dead_ones_are_not_usable() {
        let text = "n1|idle|none\nn1|idle|none\nn2|down*|Not responding\nn3|allocated|none\n\
                    n4|drained|bad memory\n";
        let fake = with("sinfo", (0, text));
        let nodes = Slurm::new(&fake).nodes().unwrap();
        let usable: Vec<&str> =
            nodes.iter().filter(|own| own.is_usable()).map(|own| own.name.as_str()).collect();
        assert_eq!((nodes.len(), usable), (4, vec!["n1", "n3"]));
        assert_eq!(nodes[1].says(), "host is down*: Not responding");
    }

    #[test]
    fn the_id_of_a_submitted_array_is_read() {
        for (text, id) in [("17\n", Some(17)), ("18;east\n", Some(18)), ("oops\n", None)] {
            let fake = with("sbatch", (0, text));
            assert_eq!(Slurm::new(&fake).submit("n1", "job.sh", None).ok(), id);
            assert_eq!(fake.asked.borrow()[0], "sbatch --parsable --nodelist=n1 job.sh");
        }
        let fake = with("sbatch", (0, "3"));
        Slurm::new(&fake).submit("n1", "job.sh", Some("0,2")).unwrap();
        assert!(fake.asked.borrow()[0].contains("--array=0,2"));
    }

    #[test]
    fn tasks_are_read_from_the_queue_and_from_the_accounting() {
        let text = "7|0|RUNNING|None\n7|1|PENDING|Resources\n8|0|FAILED|NonZeroExitCode\n9|N/A|RUNNING|None\n";
        let fake = with("squeue", (0, text));
        let tasks = Slurm::new(&fake).queue("f").unwrap();
        assert_eq!(tasks.len(), 3, "what is no array is not ours");
        assert_eq!((tasks[1].index, tasks[1].reason.as_deref()), (1, Some("Resources")));
        let fake = with("sacct", (0, "7_0|COMPLETED\n7_1|CANCELLED by 0\n7_[2-3]|PENDING\n"));
        let tasks = Slurm::new(&fake).accounting("f", "2026-01-01T00:00:00Z");
        assert_eq!((tasks.len(), tasks[1].state.as_str()), (2, "CANCELLED"));
        assert!(
            fake.asked.borrow()[0].contains("--starttime=2025-12-31T00:00:00 "),
            "a day earlier"
        );
        let none = with("sacct", (1, "Slurm accounting storage is disabled"));
        assert!(Slurm::new(&none).accounting("f", "2026-01-01T00:00:00Z").is_empty());
    }

    #[test]
    fn without_slurm_the_exit_code_is_3_and_the_remedy_is_told() {
        let error = Slurm::new(&Fake::default()).nodes().unwrap_err();
        assert_eq!(exit_of(&error), model::Exit::Lacking);
        assert!(error.to_string().contains("slurm-client"), "{error}");
        let away = "slurm_load_partitions: Unable to contact slurm controller (connect failure)";
        let error = Slurm::new(&with("sinfo", (1, away))).nodes().unwrap_err();
        assert_eq!(exit_of(&error), model::Exit::Lacking);
        assert!(error.to_string().contains("slurmctld"), "{error}");
        let refused = "sbatch: error: Batch job submission failed: Invalid account";
        let error = Slurm::new(&with("sbatch", (1, refused))).submit("a", "s", None).unwrap_err();
        assert_eq!(exit_of(&error), model::Exit::Failed);
        assert!(error.to_string().contains("Invalid account"), "{error}");
    }
}

//! Execution times that vary from job to job: `30ms..40ms/150ms`, `file:times.txt/150ms`.

use std::{fs, str::FromStr, sync::Arc, time::Duration};

use model::{Task, duration, duration::as_ns};

/// A task as it is given: C is the greatest execution time, and some may be shorter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskArg {
    /// With the greatest execution time.
    pub task: Task,
    /// Where execution times come from.
    pub times: Times,
}

/// Where the execution times of a task's jobs come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Times {
    /// C in every job.
    Constant,
    /// Uniformly distributed from this one up to C.
    From(Duration),
    /// One of these, each with the same probability; C is the greatest.
    OneOf(Arc<[Duration]>),
}

/// What an execution time that is drawn from a file begins with.
const FILE: &str = "file:";

impl FromStr for TaskArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(drawn) = text.strip_prefix(FILE) {
            return drawn_from_file(text, drawn);
        }
        let Some((least, rest)) = text.split_once("..") else {
            let task: Task = text.parse().map_err(|error| format!("{error}"))?;
            return Ok(task.into());
        };
        let task: Task = rest.parse().map_err(|error| format!("{error}"))?;
        let least = duration::parse(least).map_err(|error| format!("task `{text}`: {error}"))?;
        if least.is_zero() || least > task.execution() {
            return Err(format!(
                "task `{text}`: the least execution time must be above zero and at most the \
                 greatest, as in `30ms..40ms/150ms`"
            ));
        }
        Ok(Self { task, times: Times::From(least) })
    }
}

/// `PATH/T` or `PATH/T/D`, where the path may have slashes, too.
fn drawn_from_file(text: &str, drawn: &str) -> Result<TaskArg, String> {
    let form = || {
        format!(
            "`{text}` is not a task; write file:PATH/period, for example `file:times.txt/150ms`"
        )
    };
    let (before, last) = drawn.rsplit_once('/').ok_or_else(form)?;
    let (path, period, deadline) = match before.rsplit_once('/') {
        Some((path, period)) if duration::parse(period).is_ok() => (path, period, last),
        _ => (before, last, last),
    };
    if path.is_empty() {
        return Err(form());
    }
    let part = |part| duration::parse(part).map_err(|error| format!("task `{text}`: {error}"));
    let (period, deadline) = (part(period)?, part(deadline)?);
    let contents =
        fs::read_to_string(path).map_err(|error| format!("{path}: cannot be read: {error}"))?;
    let times = times(path, &contents)?;
    let greatest = *times.iter().max().expect("an empty file is refused");
    let task = Task::new(greatest, period, deadline)
        .map_err(|error| format!("{path}, greatest of {} execution times: {error}", times.len()))?;
    Ok(TaskArg { task, times: Times::OneOf(times.into()) })
}

/// One execution time a line; empty lines and what follows a `#` are left out.
fn times(path: &str, contents: &str) -> Result<Vec<Duration>, String> {
    let mut times = Vec::new();
    for (line, number) in contents.lines().zip(1..) {
        let text = line.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        let time =
            duration::parse(text).map_err(|error| format!("{path}, line {number}: {error}"))?;
        if time.is_zero() {
            return Err(format!(
                "{path}, line {number}: `{text}`: an execution time must be above zero, for example \
                 `30ms`"
            ));
        }
        times.push(time);
    }
    if times.is_empty() {
        return Err(format!(
            "{path}: there is no execution time in it; write one on each line, for example `30ms`"
        ));
    }
    Ok(times)
}

impl From<Task> for TaskArg {
    fn from(task: Task) -> Self {
        Self { task, times: Times::Constant }
    }
}

impl TaskArg {
    /// How its jobs vary, as the task numbered `index` of a set.
    #[must_use]
    pub fn variation(&self, index: usize, seed: u64) -> Option<Variation> {
        let share = |time: Duration| as_ns(time) as f64 / as_ns(self.task.execution()) as f64;
        let shares = match &self.times {
            Times::Constant => return None,
            Times::From(least) => Shares::From(share(*least)),
            Times::OneOf(times) => Shares::OneOf(times.iter().map(|&time| share(time)).collect()),
        };
        Some(Variation { shares, seed: mixed(seed ^ mixed(index as u64)) })
    }
}

/// How much of C each job takes: drawn at random, and the same in every run with a seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Variation {
    shares: Shares,
    seed: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum Shares {
    /// Uniformly distributed from the least up to 1.
    From(f64),
    /// One of these.
    OneOf(Arc<[f64]>),
}

impl Variation {
    /// The share of the job numbered `job`.
    #[must_use]
    pub fn share(&self, job: u64) -> f64 {
        // 53 bits make a uniform float in [0, 1).
        let uniform = (mixed(self.seed.wrapping_add(job)) >> 11) as f64 / (1_u64 << 53) as f64;
        match &self.shares {
            Shares::From(least) => least + (1.0 - least) * uniform,
            Shares::OneOf(shares) => shares[(uniform * shares.len() as f64) as usize],
        }
    }
}

/// The finaliser of splitmix64 (Steele, Lea and Flood 2014).
pub(crate) fn mixed(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_and_its_task_has_the_greatest_time() {
        let arg: TaskArg = "30ms..40ms/150ms/120ms".parse().unwrap();
        assert_eq!(arg.task, "40ms/150ms/120ms".parse().unwrap());
        assert_eq!(arg.times, Times::From(Duration::from_millis(30)));
        assert_eq!("30ms/150ms".parse::<TaskArg>().unwrap().times, Times::Constant);
        for wrong in
            ["40ms..30ms/150ms", "0..30ms/150ms", "30ms..", "..30ms/150ms", "x..30ms/150ms"]
        {
            assert!(wrong.parse::<TaskArg>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_fill_the_range_evenly_and_again_the_same() {
        let variation =
            |seed| "30ms..40ms/150ms".parse::<TaskArg>().unwrap().variation(0, seed).unwrap();
        let shares: Vec<f64> = (0..10_000).map(|job| variation(0).share(job)).collect();
        assert!(shares.iter().all(|share| (0.75..1.0).contains(share)));
        let mean = shares.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 0.875).abs() < 0.003, "{mean}");
        let below = shares.iter().filter(|share| **share < 0.80).count();
        assert!((1_800..2_200).contains(&below), "{below} in the lowest fifth");
        assert_eq!(variation(0).share(7), shares[7]);
        assert_ne!(variation(1).share(7), shares[7]);
    }

    /// A file of `text` as the execution times of a task with the periods `rest`.
    fn from_file(text: &str, rest: &str) -> Result<TaskArg, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("times.txt");
        fs::write(&path, text).unwrap();
        format!("file:{}/{rest}", path.display()).parse()
    }

    #[test]
    fn a_file_has_one_time_a_line_and_its_task_the_greatest() {
        let arg = from_file("# measured\n10ms\n\n30ms # often\n  20ms\n", "150ms").unwrap();
        assert_eq!(arg.task, "30ms/150ms".parse().unwrap());
        let with_deadline = from_file("10ms\n", "150ms/120ms").unwrap();
        assert_eq!(with_deadline.task, "10ms/150ms/120ms".parse().unwrap());
        let variation = arg.variation(0, 1).unwrap();
        let mut counts = [0; 3];
        for job in 0..3_000 {
            counts[(variation.share(job) * 3.0).round() as usize - 1] += 1;
        }
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_file_that_holds_something_else_is_refused_with_the_line() {
        for (text, rest, says) in [
            ("10ms\nx\n", "150ms", "times.txt, line 2"),
            ("10ms\n30\n", "150ms", "no unit"),
            ("0\n", "150ms", "above zero"),
            ("# nothing\n", "150ms", "no execution time in it"),
            ("200ms\n", "150ms", "greater than the period"),
            ("10ms\n", "x", "task `file:"),
        ] {
            let error = from_file(text, rest).unwrap_err();
            assert!(error.contains(says), "{text:?}: {error}");
        }
        let error = "file:nowhere.txt/150ms".parse::<TaskArg>().unwrap_err();
        assert!(error.contains("nowhere.txt"), "{error}");
        for wrong in ["file:", "file:times.txt", "file:/150ms"] {
            let error = wrong.parse::<TaskArg>().unwrap_err();
            assert!(error.contains("file:PATH/period"), "{wrong}: {error}");
        }
    }
}

//! Execution times that vary from job to job: `30ms..40ms/150ms`.

use std::{str::FromStr, time::Duration};

use model::{Task, duration, duration::as_ns};

/// A task as it is given: C is the greatest execution time, and some may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskArg {
    /// With the greatest execution time.
    pub task: Task,
    /// The least execution time, where that is another.
    pub least: Option<Duration>,
}

impl FromStr for TaskArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((least, rest)) = text.split_once("..") else {
            let task = text.parse().map_err(|error| format!("{error}"))?;
            return Ok(Self { task, least: None });
        };
        let task: Task = rest.parse().map_err(|error| format!("{error}"))?;
        let least = duration::parse(least).map_err(|error| format!("task `{text}`: {error}"))?;
        if least.is_zero() || least > task.execution() {
            return Err(format!(
                "task `{text}`: the least execution time must be above zero and at most the \
                 greatest, as in `30ms..40ms/150ms`"
            ));
        }
        Ok(Self { task, least: Some(least) })
    }
}

impl From<Task> for TaskArg {
    fn from(task: Task) -> Self {
        Self { task, least: None }
    }
}

impl TaskArg {
    /// How its jobs vary, as the task numbered `index` of a set.
    #[must_use]
    pub fn variation(self, index: usize, seed: u64) -> Option<Variation> {
        let least = as_ns(self.least?) as f64 / as_ns(self.task.execution()) as f64;
        Some(Variation { least, seed: mixed(seed ^ mixed(index as u64)) })
    }
}

/// How much of C each job takes: uniformly distributed, and the same in every run with a seed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variation {
    /// The least share.
    least: f64,
    seed: u64,
}

impl Variation {
    /// The share of the job numbered `job`.
    #[must_use]
    pub fn share(self, job: u64) -> f64 {
        // 53 bits make a uniform float in [0, 1).
        let uniform = (mixed(self.seed.wrapping_add(job)) >> 11) as f64 / (1_u64 << 53) as f64;
        self.least + (1.0 - self.least) * uniform
    }
}

/// The finaliser of splitmix64 (Steele, Lea and Flood 2014).
fn mixed(state: u64) -> u64 {
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
        assert_eq!(arg.least, Some(Duration::from_millis(30)));
        assert_eq!("30ms/150ms".parse::<TaskArg>().unwrap().least, None);
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
}

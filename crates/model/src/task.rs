//! Periodic tasks (C, T, D) and sets of them.

use std::{fmt, ops::Deref, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::duration::{self, DurationError};

/// A periodic task: execution time C in every period T, to be done within the relative deadline D.
///
/// Written `C/T` (D = T) or `C/T/D`, for example `30ms/150ms`. 0 < C ≤ T and C ≤ D; D may lie above
/// T, so that a job may still run when the next one is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Task {
    execution: Duration,
    period: Duration,
    deadline: Duration,
}

/// Why a text or a triple is not a task.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TaskError {
    /// Not of the form C/T or C/T/D.
    #[error("`{0}` is not a task; write execution/period, for example `30ms/150ms`")]
    Form(String),
    /// One part is not a duration.
    #[error("task `{text}`: {error}")]
    Duration {
        /// The whole text.
        text: String,
        /// What is wrong with the part.
        #[source]
        error: DurationError,
    },
    /// C, T or D is zero.
    #[error("task `{0}`: execution time, period and deadline must be above zero")]
    Zero(String),
    /// C is above T.
    #[error("task `{0}`: the execution time is greater than the period")]
    ExecutionAbovePeriod(String),
    /// C is above D.
    #[error("task `{0}`: the execution time is greater than the deadline")]
    ExecutionAboveDeadline(String),
}

impl Task {
    /// Checks 0 < `execution` ≤ `period`, and `execution` ≤ `deadline`.
    ///
    /// # Errors
    /// One [`TaskError`] a rule.
    pub fn new(
        execution: Duration,
        period: Duration,
        deadline: Duration,
    ) -> Result<Self, TaskError> {
        let task = Self { execution, period, deadline };
        let text = || task.to_string();
        if execution.is_zero() || period.is_zero() || deadline.is_zero() {
            Err(TaskError::Zero(text()))
        } else if execution > period {
            Err(TaskError::ExecutionAbovePeriod(text()))
        } else if execution > deadline {
            Err(TaskError::ExecutionAboveDeadline(text()))
        } else {
            Ok(task)
        }
    }

    /// C.
    #[must_use]
    pub fn execution(self) -> Duration {
        self.execution
    }

    /// T.
    #[must_use]
    pub fn period(self) -> Duration {
        self.period
    }

    /// D, relative to the release.
    #[must_use]
    pub fn deadline(self) -> Duration {
        self.deadline
    }

    /// Jobs released within `duration`: one at every multiple of T before its end.
    #[must_use]
    pub fn released(self, duration: Duration) -> u64 {
        u64::try_from(duration.as_nanos().div_ceil(self.period.as_nanos())).unwrap_or(u64::MAX)
    }

    /// C / T.
    #[must_use]
    pub fn utilisation(self) -> f64 {
        self.execution.as_secs_f64() / self.period.as_secs_f64()
    }
}

impl FromStr for Task {
    type Err = TaskError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |part: &str| {
            duration::parse(part)
                .map_err(|error| TaskError::Duration { text: text.to_owned(), error })
        };
        match text.split('/').collect::<Vec<_>>()[..] {
            [c, t] => {
                let period = part(t)?;
                Self::new(part(c)?, period, period)
            }
            [c, t, d] => Self::new(part(c)?, part(t)?, part(d)?),
            _ => Err(TaskError::Form(text.to_owned())),
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", duration::format(self.execution), duration::format(self.period))?;
        if self.deadline != self.period {
            write!(f, "/{}", duration::format(self.deadline))?;
        }
        Ok(())
    }
}

impl Serialize for Task {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Task {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Tasks in the order they were given; the first is called tau1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskSet(pub Vec<Task>);

impl TaskSet {
    /// The paper's set S: (30 ms, 150 ms) and (50 ms, 200 ms).
    #[must_use]
    pub fn paper() -> Self {
        Self(["30ms/150ms", "50ms/200ms"].map(|text| text.parse().expect("a valid task")).into())
    }

    /// The paper's host load, tau3 and tau4: (50 ms, 120 ms) and (20 ms, 80 ms).
    #[must_use]
    pub fn paper_load() -> Self {
        Self(["50ms/120ms", "20ms/80ms"].map(|text| text.parse().expect("a valid task")).into())
    }

    /// The name of the task at `index`, as it stands in every result: `tau1`, `tau2`, …
    #[must_use]
    pub fn name(index: usize) -> String {
        format!("tau{}", index + 1)
    }

    /// Whether there is no task.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sum of C / T.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        self.0.iter().map(|task| task.utilisation()).sum()
    }

    /// Rate-monotonic priorities below `highest` (inclusive), one step per rank: the shorter the
    /// period, the higher; equal periods keep the order given. As many values as tasks.
    #[must_use]
    pub fn rate_monotonic(&self, highest: u8) -> Vec<u8> {
        let mut order: Vec<usize> = (0..self.0.len()).collect();
        order.sort_by_key(|&index| self.0[index].period());
        let mut priorities = vec![1; self.0.len()];
        for (rank, index) in order.into_iter().enumerate() {
            let rank = u8::try_from(rank).unwrap_or(u8::MAX);
            priorities[index] = highest.saturating_sub(rank).max(1);
        }
        priorities
    }
}

impl Deref for TaskSet {
    type Target = [Task];

    fn deref(&self) -> &[Task] {
        &self.0
    }
}

impl FromIterator<Task> for TaskSet {
    fn from_iter<I: IntoIterator<Item = Task>>(tasks: I) -> Self {
        Self(tasks.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for text in ["30ms/150ms", "50ms/200ms/120ms", "62ms/100ms/120ms"] {
            assert_eq!(text.parse::<Task>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_with_the_reason() {
        let error = |text: &str| text.parse::<Task>().unwrap_err().to_string();
        assert!(error("30").contains("execution/period"));
        assert!(error("30/150ms").contains("no unit"));
        assert!(error("-5ms/150ms").contains("negative"));
        assert!(error("0/150ms").contains("above zero"));
        assert!(error("200ms/150ms").contains("greater than the period"));
        assert!(error("30ms/150ms/20ms").contains("greater than the deadline"));
    }

    #[test]
    fn shorter_periods_get_higher_priorities() {
        let set: TaskSet =
            ["1ms/30ms", "1ms/10ms", "1ms/20ms"].iter().map(|t| t.parse().unwrap()).collect();
        assert_eq!(set.rate_monotonic(80), [78, 80, 79]);
    }
}

//! The tasks to be analysed: the model's (C, T, D) with what only the analysis asks for.

use std::{str::FromStr, time::Duration};

use model::{Task, TaskSet, duration, duration::DurationError, task::TaskError};
use thiserror::Error;

/// A task with what its releases, its blocking and its priority are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskSpec {
    /// (C, T, D).
    pub task: Task,
    /// How late a job can become ready after its arrival; response times count from the arrival.
    pub jitter: Duration,
    /// The longest time that lower-priority work can hold the task up once in a busy window.
    pub blocking: Duration,
    /// First release; `None` where it is not known, which is analysed as the worst one.
    pub offset: Option<Duration>,
    /// How much later than T after one another arrivals can come; zero where they are periodic.
    pub sporadic: Duration,
    /// For [`Scheduler::Priorities`]; the greater, the more urgent.
    pub priority: Option<u32>,
}

impl From<Task> for TaskSpec {
    fn from(task: Task) -> Self {
        let zero = Duration::ZERO;
        Self { task, jitter: zero, blocking: zero, offset: None, sporadic: zero, priority: None }
    }
}

/// Tasks in the order given; the first is called tau1. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload(Vec<TaskSpec>);

/// The scheduler inside the reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scheduler {
    /// Fixed priorities, the shorter the period the higher; ties in the order given.
    #[default]
    RateMonotonic,
    /// Fixed priorities, the shorter the relative deadline the higher; ties in the order given.
    DeadlineMonotonic,
    /// Fixed priorities as given with each task.
    Priorities,
    /// Earliest deadline first.
    Edf,
}

impl Scheduler {
    /// The name on the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RateMonotonic => "rm",
            Self::DeadlineMonotonic => "dm",
            Self::Priorities => "priorities",
            Self::Edf => "edf",
        }
    }
}

/// Why tasks cannot be analysed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WorkloadError {
    /// No task at all.
    #[error("the task set is empty; give at least one task, for example `30ms/150ms`")]
    Empty,
    /// The part before the first comma is no task.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// An attribute's value is no duration.
    #[error("task `{text}`: {key}: {error}")]
    Attribute {
        /// The whole text.
        text: String,
        /// Which attribute.
        key: String,
        /// What is wrong with it.
        #[source]
        error: DurationError,
    },
    /// An attribute's value is no priority.
    #[error("task `{text}`: priority `{value}` is not a whole number from 0 to 4294967295")]
    BadPriority {
        /// The whole text.
        text: String,
        /// The value.
        value: String,
    },
    /// No attribute of that name.
    #[error(
        "task `{text}`: unknown attribute `{key}`; there are jitter, blocking, offset, sporadic, \
         priority, each written `name=value`"
    )]
    UnknownAttribute {
        /// The whole text.
        text: String,
        /// The part that was not understood.
        key: String,
    },
    /// Given priorities, but not for this task.
    #[error("{0} has no priority; write for example `30ms/150ms,priority=80`")]
    NoPriority(String),
    /// Two tasks share a priority.
    #[error("{0} and {1} both have priority {2}; give each task its own")]
    SamePriority(String, String, u32),
}

impl Workload {
    /// `tasks`, checked to be at least one.
    ///
    /// # Errors
    /// [`WorkloadError::Empty`].
    pub fn new(tasks: Vec<TaskSpec>) -> Result<Self, WorkloadError> {
        if tasks.is_empty() { Err(WorkloadError::Empty) } else { Ok(Self(tasks)) }
    }

    /// The plain tasks: no jitter, no blocking, unknown offsets.
    ///
    /// # Errors
    /// [`WorkloadError::Empty`].
    pub fn of(tasks: &TaskSet) -> Result<Self, WorkloadError> {
        Self::new(tasks.iter().copied().map(TaskSpec::from).collect())
    }

    /// The tasks in the order given.
    #[must_use]
    pub fn tasks(&self) -> &[TaskSpec] {
        &self.0
    }

    /// Task indices from the most urgent to the least; under EDF by deadline.
    ///
    /// # Errors
    /// [`WorkloadError::NoPriority`] and [`WorkloadError::SamePriority`] where they are to be used
    /// as given.
    pub fn order(&self, scheduler: Scheduler) -> Result<Vec<usize>, WorkloadError> {
        let mut order: Vec<usize> = (0..self.0.len()).collect();
        match scheduler {
            Scheduler::RateMonotonic => order.sort_by_key(|&i| self.0[i].task.period()),
            Scheduler::DeadlineMonotonic | Scheduler::Edf => {
                order.sort_by_key(|&i| self.0[i].task.deadline());
            }
            Scheduler::Priorities => self.sort_as_given(&mut order)?,
        }
        Ok(order)
    }

    fn sort_as_given(&self, order: &mut [usize]) -> Result<(), WorkloadError> {
        if let Some(index) = self.0.iter().position(|spec| spec.priority.is_none()) {
            return Err(WorkloadError::NoPriority(TaskSet::name(index)));
        }
        order.sort_by_key(|&i| std::cmp::Reverse(self.0[i].priority));
        let tie =
            order.windows(2).find(|pair| self.0[pair[0]].priority == self.0[pair[1]].priority);
        match tie {
            Some(&[a, b]) => {
                let priority = self.0[a].priority.unwrap_or_default();
                Err(WorkloadError::SamePriority(TaskSet::name(a), TaskSet::name(b), priority))
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for TaskSpec {
    type Err = WorkloadError;

    /// `C/T[/D]` and then, each after a comma, `jitter=…`, `blocking=…`, `offset=…`,
    /// `sporadic=…`, `priority=…`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(',');
        let mut spec = Self::from(parts.next().unwrap_or_default().trim().parse::<Task>()?);
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let key = key.trim();
            let time = || {
                duration::parse(value).map_err(|error| WorkloadError::Attribute {
                    text: text.to_owned(),
                    key: key.to_owned(),
                    error,
                })
            };
            match key {
                "jitter" => spec.jitter = time()?,
                "blocking" => spec.blocking = time()?,
                "offset" => spec.offset = Some(time()?),
                "sporadic" => spec.sporadic = time()?,
                "priority" => spec.priority = Some(priority(text, value.trim())?),
                _ => {
                    let (text, key) = (text.to_owned(), key.to_owned());
                    return Err(WorkloadError::UnknownAttribute { text, key });
                }
            }
        }
        Ok(spec)
    }
}

fn priority(text: &str, value: &str) -> Result<u32, WorkloadError> {
    value.parse().map_err(|_parse: std::num::ParseIntError| WorkloadError::BadPriority {
        text: text.to_owned(),
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_attributes() {
        let spec: TaskSpec =
            "30ms/150ms/100ms,jitter=1ms,blocking=2ms,offset=3ms,sporadic=4ms,priority=80"
                .parse()
                .unwrap();
        assert_eq!(spec.task.deadline(), Duration::from_millis(100));
        assert_eq!(spec.jitter, Duration::from_millis(1));
        assert_eq!(spec.blocking, Duration::from_millis(2));
        assert_eq!(spec.offset, Some(Duration::from_millis(3)));
        assert_eq!(spec.sporadic, Duration::from_millis(4));
        assert_eq!(spec.priority, Some(80));
    }

    #[test]
    fn refuses_with_the_reason() {
        let error = |text: &str| text.parse::<TaskSpec>().unwrap_err().to_string();
        assert!(error("30ms").contains("execution/period"));
        assert!(error("30ms/150ms,jitter=1").contains("jitter"));
        assert!(error("30ms/150ms,colour=red").contains("unknown attribute `colour`"));
        assert!(error("30ms/150ms,priority=high").contains("`high`"));
        assert_eq!(Workload::of(&TaskSet::default()), Err(WorkloadError::Empty));
    }

    #[test]
    fn given_priorities_are_complete_and_distinct() {
        let workload = |texts: &[&str]| {
            Workload::new(texts.iter().map(|text| text.parse().unwrap()).collect()).unwrap()
        };
        let order = |texts| workload(texts).order(Scheduler::Priorities);
        assert_eq!(order(&["1ms/9ms,priority=1", "1ms/9ms,priority=7"]), Ok(vec![1, 0]));
        assert!(order(&["1ms/9ms,priority=1", "1ms/9ms"]).is_err());
        assert!(order(&["1ms/9ms,priority=1", "1ms/9ms,priority=1"]).is_err());
    }
}

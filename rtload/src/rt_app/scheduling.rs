//! Scheduling settings of tasks and phases.

use std::time::Duration;

use kernel::sched::Policy;

use super::json::Item;
use crate::policy::HIGHEST;

/// Times in a file are integers of microseconds, which rt-app keeps in 32 bits.
pub const MOST: i64 = i32::MAX as i64;

/// What rt-app takes for real-time tasks that have no priority.
const DEFAULT_PRIORITY: i64 = 10;

/// A scheduling policy by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Other,
    Idle,
    Fifo,
    Rr,
    Deadline,
}

impl Kind {
    /// # Errors
    /// Where it is none of rt-app's.
    pub fn read(item: &Item<'_>) -> Result<Self, String> {
        Ok(match item.text()? {
            "SCHED_OTHER" => Self::Other,
            "SCHED_IDLE" => Self::Idle,
            "SCHED_FIFO" => Self::Fifo,
            "SCHED_RR" => Self::Rr,
            "SCHED_DEADLINE" => Self::Deadline,
            other => {
                return Err(item.refuse(format!(
                    "`{}` is no policy; use SCHED_OTHER, SCHED_IDLE, SCHED_FIFO, SCHED_RR or \
                     SCHED_DEADLINE",
                    super::json::shown(other)
                )));
            }
        })
    }

    fn of(policy: Policy) -> Self {
        match policy {
            Policy::Fifo { .. } => Self::Fifo,
            Policy::Rr { .. } => Self::Rr,
            Policy::Deadline { .. } => Self::Deadline,
            Policy::Idle => Self::Idle,
            Policy::Other { .. } | Policy::Batch { .. } | Policy::Ext { .. } => Self::Other,
        }
    }
}

/// The settings that stand in one object.
#[derive(Debug, Default)]
pub struct Settings<'a> {
    kind: Option<Kind>,
    priority: Option<Item<'a>>,
    runtime: Option<(Item<'a>, Duration)>,
    period: Option<Duration>,
    deadline: Option<Duration>,
}

impl<'a> Settings<'a> {
    /// Takes the entry where it is such a setting; `false` where it is not.
    ///
    /// # Errors
    /// Where its value makes no sense.
    pub fn take(&mut self, key: &str, item: &Item<'a>) -> Result<bool, String> {
        match key {
            "policy" => self.kind = Some(Kind::read(item)?),
            "priority" => self.priority = Some(item.clone()),
            "dl-runtime" => self.runtime = Some((item.clone(), micros(item, 1)?)),
            "dl-period" => self.period = Some(micros(item, 1)?),
            "dl-deadline" => self.deadline = Some(micros(item, 1)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The policy of a task, where `default` holds for what it does not say.
    ///
    /// # Errors
    /// Where settings are missing or contradict each other.
    pub fn of_task(&self, task: &Item<'a>, default: Kind) -> Result<Policy, String> {
        self.policy(task, self.kind.unwrap_or(default))
    }

    /// The policy that a phase changes to, coming from `before`; none where it says nothing.
    ///
    /// # Errors
    /// As [`Settings::of_task`].
    pub fn of_phase(&self, phase: &Item<'a>, before: Policy) -> Result<Option<Policy>, String> {
        let silent = self.kind.is_none()
            && self.priority.is_none()
            && self.runtime.is_none()
            && self.period.or(self.deadline).is_none();
        if silent {
            return Ok(None);
        }
        self.policy(phase, self.kind.unwrap_or(Kind::of(before))).map(Some)
    }

    fn policy(&self, object: &Item<'a>, kind: Kind) -> Result<Policy, String> {
        Ok(match kind {
            Kind::Other => Policy::Other { nice: self.priority(0, -20, 19)? as i32 },
            Kind::Idle => Policy::Idle,
            Kind::Fifo => Policy::Fifo { priority: self.real_time_priority()? },
            Kind::Rr => Policy::Rr { priority: self.real_time_priority()? },
            Kind::Deadline => self.deadline(object)?,
        })
    }

    fn priority(&self, default: i64, least: i64, most: i64) -> Result<i64, String> {
        self.priority.as_ref().map_or(Ok(default), |item| item.integer(least, most))
    }

    /// One priority is kept for the thread that ends the others.
    fn real_time_priority(&self) -> Result<u8, String> {
        Ok(self.priority(DEFAULT_PRIORITY, 1, i64::from(HIGHEST))? as u8)
    }

    /// As in rt-app a missing period is the budget, and a missing deadline the period.
    fn deadline(&self, object: &Item<'a>) -> Result<Policy, String> {
        let Some((item, runtime)) = &self.runtime else {
            return Err(object.refuse("SCHED_DEADLINE needs `dl-runtime`, in microseconds"));
        };
        let period = self.period.unwrap_or(*runtime);
        let deadline = self.deadline.unwrap_or(period);
        if *runtime > deadline || deadline > period {
            return Err(item.refuse(format!(
                "`dl-runtime` ({} us) must be at most `dl-deadline` ({} us), and that at most \
                 `dl-period` ({} us)",
                runtime.as_micros(),
                deadline.as_micros(),
                period.as_micros()
            )));
        }
        Ok(Policy::Deadline { runtime: *runtime, deadline, period, reclaim: false })
    }
}

/// Microseconds, at least so many.
///
/// # Errors
/// Where it is another value.
pub fn micros(item: &Item<'_>, least: i64) -> Result<Duration, String> {
    Ok(Duration::from_micros(item.integer(least, MOST)?.unsigned_abs()))
}

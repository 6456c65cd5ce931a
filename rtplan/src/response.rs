//! A worst-case response time, or why there is none.

use crate::{
    effort::TooHard,
    ns::{FOREVER, Ns},
};

/// The worst-case response time of a task, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// This one.
    Bounded(u128),
    /// It grows without limit.
    Unbounded,
    /// It was not found within the steps that an analysis may take.
    TooHard(TooHard),
}

impl Response {
    pub(crate) fn of(ns: Ns) -> Self {
        if ns >= FOREVER { Self::Unbounded } else { Self::Bounded(ns) }
    }

    /// The worse of two.
    pub(crate) fn max(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unbounded, _) | (_, Self::Unbounded) => Self::Unbounded,
            (Self::TooHard(error), _) | (_, Self::TooHard(error)) => Self::TooHard(error),
            (Self::Bounded(a), Self::Bounded(b)) => Self::Bounded(a.max(b)),
        }
    }

    /// Whether it lies within `deadline`.
    pub(crate) fn within(self, deadline: Ns) -> Result<bool, TooHard> {
        match self {
            Self::Bounded(ns) => Ok(ns <= deadline),
            Self::Unbounded => Ok(false),
            Self::TooHard(error) => Err(error),
        }
    }

    /// Nanoseconds, where there are any.
    #[must_use]
    pub fn ns(self) -> Option<u128> {
        if let Self::Bounded(ns) = self { Some(ns) } else { None }
    }
}

//! A limit on how much an analysis may compute, so that every question ends with an answer.

use thiserror::Error;

/// The analysis was given up: the problem is pseudo-polynomial, and this instance is a hard one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the answer needs more than {0} steps: the load is too close to the supply, or there are too \
     many tasks; leave some slack, or split the set"
)]
pub struct TooHard(pub u64);

/// Elementary steps (one task's term each) that one analysis may take: a few seconds.
const STEPS: u64 = 200_000_000;

/// What is left of the steps.
#[derive(Debug)]
pub(crate) struct Effort {
    left: u64,
}

impl Default for Effort {
    fn default() -> Self {
        Self { left: STEPS }
    }
}

impl Effort {
    /// The error, where it is clear beforehand that the steps would not do.
    pub(crate) fn give_up(&self) -> TooHard {
        TooHard(STEPS)
    }

    /// Takes `steps`.
    pub(crate) fn spend(&mut self, steps: usize) -> Result<(), TooHard> {
        let left = self.left.checked_sub(steps as u64);
        self.left = left.unwrap_or(0);
        left.map(drop).ok_or(TooHard(STEPS))
    }
}

//! Which jobs decide, and what became of those that were released. The one rule, for every verdict,
//! table and ranking (`docs/method.md`, "Which samples enter").

use std::str::FromStr;

use serde::Serialize;

use crate::analysis::ExperimentAnalysis;

/// Which samples enter a statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Selection {
    /// Every sample.
    #[default]
    All,
    /// Those that no stall disturbed.
    Undisturbed,
}

impl Selection {
    /// Every selection.
    pub const EACH: [Self; 2] = [Self::All, Self::Undisturbed];

    /// The jobs by which an experiment with this analysis is judged: the undisturbed ones where
    /// every task is promised a worst case. Elsewhere a backlog may never end, and every job after
    /// the first stall would count as disturbed: there all jobs.
    #[must_use]
    pub fn by(analysis: Option<&ExperimentAnalysis>) -> Self {
        match analysis.is_some_and(ExperimentAnalysis::is_bounded) {
            true => Self::Undisturbed,
            false => Self::All,
        }
    }

    /// The word used on the command line and in CSV.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Undisturbed => "undisturbed",
        }
    }

    /// Whether a sample enters.
    #[must_use]
    pub fn takes(self, disturbed: bool) -> bool {
        self == Self::All || !disturbed
    }
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::EACH.into_iter().find(|one| one.name() == text);
        found.ok_or_else(|| format!("`{text}` is neither `all` nor `undisturbed`"))
    }
}

/// What became of the jobs of one task, over all runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Jobs released in the time that the experiment lasts.
    pub released: u64,
    /// Those that finished and are judged.
    pub jobs: u64,
    /// Judged jobs that missed their deadline.
    pub misses: u64,
    /// Finished jobs that a stall disturbed; none where no sentinel watched all of them.
    pub stalled: Option<u64>,
    /// Jobs that are not judged, since a stall disturbed them, and missed their deadline.
    pub stalled_misses: u64,
    /// Jobs released and never finished.
    pub unfinished: u64,
}

impl Count {
    /// Jobs that speak: the judged ones and those that never finished, which are the worst case
    /// whatever the machine did.
    #[must_use]
    pub fn judged(&self) -> u64 {
        self.jobs + self.unfinished
    }

    /// Judged jobs that missed their deadline, the unfinished ones among them.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.misses + self.unfinished
    }

    /// Whether at least half of the released jobs are judged. Leaving disturbed jobs out favours
    /// short busy periods, which fewer stalls meet: what is said of the smaller part of a task's
    /// jobs is said of the luckier ones.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        2 * self.judged() >= self.released && self.released > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_released_jobs_are_enough_and_unfinished_ones_count() {
        let of =
            |released, jobs, unfinished| Count { released, jobs, unfinished, ..Count::default() };
        assert!(of(10, 5, 0).is_enough() && !of(10, 4, 0).is_enough());
        assert!(of(10, 0, 10).is_enough(), "a task that starves is judged");
        assert!(!of(0, 0, 0).is_enough());
        assert_eq!(of(10, 4, 3).missed(), 3);
    }

    #[test]
    fn names_read_back() {
        for one in Selection::EACH {
            assert_eq!(one.name().parse(), Ok(one));
        }
        assert!("some".parse::<Selection>().is_err());
    }
}

//! `orchestrator sweep`: one experiment under one budget after the other, and the smallest budget
//! that holds.
//!
//! The run is an ordinary one, of the experiments that [`model::suite::Sweep`] stands for; what is
//! judged, and how, is [`results`] and [`model::sweep`].

mod print;

use std::{path::Path, time::Duration};

use anyhow::Result;
use model::{
    Exit, duration,
    suite::{Budgets, Sweep, Work},
    sweep::{self, Outcome},
};
use results::Folder;

pub use print::{json, table};

use crate::{error::Refusal, run::Finished};

/// A sweep as the command line asks for it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The experiment to vary.
    pub experiment: String,
    /// Its VM whose budget is varied, where it has several.
    pub vm: Option<String>,
    /// `24ms..34ms`, or `26ms,28ms`.
    pub budget: String,
    /// With a range only.
    pub step: Option<Duration>,
    /// In place of the experiment's own.
    pub duration: Option<Duration>,
    /// In place of the experiment's own.
    pub repetitions: Option<u32>,
    /// In place of the experiment's own.
    pub work: Option<Work>,
}

impl Request {
    /// The sweep.
    ///
    /// # Errors
    /// [`Refusal::Usage`] on what is wrong with the budgets.
    pub fn sweep(self) -> Result<Sweep, Refusal> {
        let budgets = self
            .budgets()
            .map_err(|message| Refusal::Usage(format!("--budget `{}`: {message}", self.budget)))?;
        let Self { experiment, vm, duration, repetitions, work, .. } = self;
        Ok(Sweep { experiment, vm, budgets, duration, repetitions, work })
    }

    fn budgets(&self) -> Result<Budgets, String> {
        let parse = |text: &str| duration::parse(text).map_err(|error| error.to_string());
        match (self.budget.split_once(".."), self.step) {
            (Some((from, to)), Some(step)) => Budgets::range(parse(from)?, parse(to)?, step),
            (Some(_), None) => Err("a range needs a --step, for example 1ms".to_owned()),
            (None, None) => {
                Budgets::list(self.budget.split(',').map(parse).collect::<Result<_, _>>()?)
            }
            (None, Some(_)) => Err("--step goes with a range, for example 24ms..34ms".to_owned()),
        }
    }
}

/// What the sweep in a finished run came to.
///
/// # Errors
/// A file of the folder that cannot be read.
pub fn outcome(folder: &Path) -> Result<Outcome> {
    let folder = Folder::open(folder).map_err(|error| Refusal::Usage(error.to_string()))?;
    let suite = &folder.manifest.suite;
    let own = suite.sweeps.first().ok_or_else(|| {
        Refusal::Usage(format!("{}: this folder holds no sweep", folder.path.display()))
    })?;
    let analyses = rtplan::experiment::analyses(suite);
    let point = |one| folder.point(one, &analyses);
    let workloads = own.members(suite).filter_map(|one| own.workload(one));
    let points = workloads.map(point).collect::<Result<_, _>>()?;
    Ok(sweep::outcome(suite, own, points, &analyses))
}

/// 1 where repetitions failed, 4 where no budget holds.
#[must_use]
pub fn exit(finished: &Finished, outcome: &Outcome) -> Exit {
    match outcome.smallest_ns {
        _ if finished.failed > 0 => Exit::Failed,
        None => Exit::NotHeld,
        Some(_) => Exit::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(budget: &str, step: Option<u64>) -> Result<Sweep, String> {
        let step = step.map(Duration::from_millis);
        let experiment = "x".to_owned();
        let budget = budget.to_owned();
        let vm = None;
        Request { experiment, vm, budget, step, duration: None, repetitions: None, work: None }
            .sweep()
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_range_and_a_list_give_budgets() {
        let of = |sweep: Sweep| -> Vec<_> { sweep.budgets.iter().map(duration::format).collect() };
        assert_eq!(of(request("26ms..30ms", Some(2)).unwrap()), ["26ms", "28ms", "30ms"]);
        assert_eq!(of(request("28ms,26.5ms", None).unwrap()), ["26.5ms", "28ms"]);
    }

    #[test]
    fn slips_are_told() {
        for (budget, step, wanted) in [
            ("24ms..34ms", None, "needs a --step"),
            ("24ms..34ms", Some(0), "step between budgets is 0"),
            ("34ms..24ms", Some(1), "from 34ms down to 24ms"),
            ("28ms", Some(1), "--step goes with a range"),
            ("28ms,28ms", None, "there twice"),
            ("28..30ms", Some(1), "no unit"),
            ("", None, "not a duration"),
        ] {
            let error = request(budget, step).unwrap_err();
            assert!(error.starts_with("--budget") && error.contains(wanted), "{wanted}: {error}");
        }
    }
}

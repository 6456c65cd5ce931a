//! The analysis of a suite's experiment: what a run stores and a report holds measurements against.

use model::{
    TaskSet,
    analysis::{ExperimentAnalysis, LeastBudget, SupplyAnalysis, TaskBound},
    duration,
    suite::Experiment,
};

use crate::{
    analysis::schedulable,
    budget::{Question, least_budget},
    responses,
    study::MODELS,
    supply::{Costs, Supply},
    workload::{Scheduler, Workload},
};

/// Under rate-monotonic priorities, as the tasks run; `None` for an experiment without tasks.
///
/// Under a reservation the models are, the nearest to a measurement first, `aligned` (the tasks'
/// first release opens a server period), `one-gap` and `two-gap`; without one and without a load,
/// `dedicated`. Beside a load and without a reservation nothing is promised.
#[must_use]
pub fn analyse(experiment: &Experiment) -> Option<ExperimentAnalysis> {
    let workload = Workload::of(&experiment.tasks).ok()?;
    let supplies = supplies(experiment);
    let budget = |supply: &Supply| least(&workload, supply);
    Some(ExperimentAnalysis {
        experiment: experiment.name.clone(),
        budgets: supplies.iter().filter_map(budget).collect(),
        supplies: supplies.iter().map(|supply| verdict(&workload, supply)).collect(),
    })
}

fn supplies(experiment: &Experiment) -> Vec<Supply> {
    match (&experiment.reservation, &experiment.load) {
        (Some(own), _) => {
            let reservation = own.reservation();
            let of = |model| Supply::new(model, Some(reservation)).expect("a reservation is there");
            MODELS.into_iter().rev().map(of).collect()
        }
        (None, None) => vec![Supply::dedicated()],
        (None, Some(_)) => Vec::new(),
    }
}

fn verdict(workload: &Workload, supply: &Supply) -> SupplyAnalysis {
    let scheduler = Scheduler::RateMonotonic;
    let bounds = responses(workload, supply, scheduler).unwrap_or_default().into_iter();
    let bound = |(at, response): (usize, crate::Response)| TaskBound {
        task: TaskSet::name(at),
        wcrt_ns: response.ns().and_then(|ns| u64::try_from(ns).ok()),
    };
    SupplyAnalysis {
        supply: supply.model().name().to_owned(),
        schedulable: schedulable(workload, supply, scheduler).ok(),
        tasks: bounds.enumerate().map(bound).collect(),
    }
}

/// None for a dedicated CPU, which has no budget.
fn least(workload: &Workload, supply: &Supply) -> Option<LeastBudget> {
    let question = Question {
        scheduler: Scheduler::RateMonotonic,
        model: supply.model(),
        costs: Costs::default(),
        period: supply.reservation()?.period(),
    };
    let found = least_budget(workload, &question).ok().flatten();
    Some(LeastBudget {
        supply: supply.model().name().to_owned(),
        budget_ns: found.map(|budget| duration::as_ns(budget.least)),
        budget_exact: found.and_then(|budget| budget.exact).map(|exact| exact.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::suite::parse;

    fn analysis(rest: &str) -> ExperimentAnalysis {
        let text = format!(
            "name = \"s\"\n[[experiment]]\nname = \"x\"\nwhere = \"guest\"\n\
             tasks = [\"30ms/150ms\", \"50ms/200ms\"]\n{rest}"
        );
        analyse(&parse(&text, "s.toml").unwrap().experiments[0]).unwrap()
    }

    fn bounds(own: &SupplyAnalysis) -> Vec<Option<u64>> {
        own.tasks.iter().map(|task| task.wcrt_ns.map(|ns| ns / 1_000_000)).collect()
    }

    #[test]
    fn a_reservation_is_seen_under_three_models() {
        let own = analysis("reservation = { budget = \"28ms\", period = \"50ms\" }");
        let verdicts: Vec<_> =
            own.supplies.iter().map(|one| (one.supply.as_str(), one.schedulable)).collect();
        let wanted = [("aligned", Some(true)), ("one-gap", Some(true)), ("two-gap", Some(false))];
        assert_eq!(verdicts, wanted);
        assert_eq!(bounds(own.expected().unwrap()), [Some(52), Some(124)]);
        assert_eq!(bounds(&own.supplies[1]), [Some(74), Some(146)]);
        assert!(own.is_bounded());
        let least: Vec<_> = own.budgets.iter().map(|one| one.text().unwrap()).collect();
        assert_eq!(least, ["80/3 ms", "80/3 ms", "32 ms"]);
        assert_eq!(own.budgets[0].budget_ns, Some(26_666_667));
    }

    #[test]
    fn without_one_the_cpu_is_the_tasks_own_or_nothing_is_promised() {
        let alone = analysis("");
        assert_eq!(bounds(alone.expected().unwrap()), [Some(30), Some(80)]);
        assert!(alone.budgets.is_empty() && alone.supplies.len() == 1);
        let beside = analysis("load = { tasks = [\"50ms/120ms\"] }");
        assert!(beside.supplies.is_empty() && !beside.is_bounded());
    }

    #[test]
    fn too_little_for_the_load_is_unbounded() {
        let own = analysis("reservation = { budget = \"20ms\", period = \"50ms\" }");
        assert!(!own.is_bounded());
        assert_eq!(own.supplies[0].schedulable, Some(false));
    }
}

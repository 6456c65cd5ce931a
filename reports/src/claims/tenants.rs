//! Several VMs on one CPU, each with its reservation: what the paper leaves open.
//!
//! The rules go by what an experiment is, not by its name: they hold for any suite whose experiments
//! have VMs with neighbours.

use std::{borrow::Cow, time::Duration};

use model::{
    TaskSet,
    duration::{as_ns, in_ms},
    suite::{Sweep, Workload},
    sweep::Verdict,
};
use rtplan::{Costs, Model, Question, Scheduler, least_budget};

use super::{Claim, Finding, Judged, Statement, case::values, fig4};
use crate::{
    folder::{Case, Results},
    series::Selection,
    tenants,
    units::short,
};

const FIGURE: &str = "tenants";
const PAPER: &str = "left open";

pub(super) fn claims(results: &Results) -> Vec<Claim> {
    let mut found = Vec::new();
    for case in results.cases.iter().filter(|case| is_tenant(case) && !results.is_swept(case)) {
        found.extend(promised(case).then(|| misses(case)));
        let quiet = tenants::quiet_twin(results, case).filter(|_| tenants::stays_behind(case));
        if let Some(quiet) = quiet {
            let tasks = (0..case.tasks().len()).map(TaskSet::name);
            found.extend(tasks.map(|task| unmoved(quiet, case, &task)));
        }
    }
    found.extend(results.manifest.suite.sweeps.iter().filter_map(|own| least(results, own)));
    found
}

/// Tasks under a hard reservation, beside another VM or another vCPU of the same.
fn is_tenant(case: &Case) -> bool {
    let own = case.workload();
    let several = own.vm.is_some_and(|vm| vm.vcpus.len() > 1);
    (several || own.neighbours().next().is_some())
        && !own.tasks().is_empty()
        && own.reservation().is_some_and(|own| own.mechanism.is_hard())
}

/// Whether the analysis says that every deadline holds beside the neighbours.
fn promised(case: &Case) -> bool {
    let within = |(at, task): (usize, &model::Task)| {
        case.bound_ns(&TaskSet::name(at)).is_some_and(|ns| ns <= as_ns(task.deadline()))
    };
    case.tasks().iter().enumerate().all(within)
}

fn named(
    id: String,
    says: &'static str,
    rule: String,
    judge: impl Fn(Selection) -> Finding,
) -> Claim {
    let claim = Statement { id: "tenants", figure: FIGURE, says, paper: PAPER, rule };
    Claim { id: Cow::Owned(id), ..claim.judged_by(judge) }
}

fn misses(case: &Case) -> Claim {
    named(
        format!("tenants-{}-misses", case.name()),
        "A vCPU whose reservation the analysis finds enough keeps its deadlines beside other VMs and \
         other vCPUs of its own.",
        "no undisturbed job of any task misses its deadline, and none is left unfinished"
            .to_owned(),
        |selection| fig4::misses(measured(case)?, selection),
    )
}

fn measured(case: &Case) -> Result<&Case, String> {
    if case.is_measured() {
        return Ok(case);
    }
    Err(format!("`{}` was not measured: no complete repetition", case.name()))
}

fn unmoved(quiet: &Case, wild: &Case, task: &str) -> Claim {
    let rule = format!(
        "the two CDFs of the undisturbed jobs, beside the quiet neighbour (`{}`) and beside the wild \
         one, are closer than what {} of budget changes in the analytic worst case (Wasserstein \
         distance, 90 % confidence interval, bootstrap over runs)",
        quiet.name(),
        short(fig4::STEP.as_nanos() as f64)
    );
    named(
        format!("tenants-{}-{task}-unmoved", wild.name()),
        "A VM that goes wild changes nothing for its neighbour.",
        rule,
        |selection| fig4::same(measured(quiet)?, measured(wild)?, task, selection),
    )
}

/// Between the least budget with the CPU's other deadlines behind it, and the least whatever its
/// neighbours do.
fn least(results: &Results, sweep: &Sweep) -> Option<Claim> {
    let suite = &results.manifest.suite;
    let own = sweep.members(suite).find_map(|one| sweep.workload(one))?;
    own.neighbours().next()?;
    let settings = own.reservation().filter(|own| own.mechanism.is_hard())?;
    // Only what the analysis promises is a claim.
    rtplan::experiment::promises(own, Model::TwoGap).then_some(())?;
    let tick_ns = results.manifest.host.budget_tick_ns(settings.mechanism);
    let costs = Costs {
        tick: Duration::from_nanos(tick_ns?),
        neighbours: rtplan::experiment::deadlines_beside(own),
        ..Costs::default()
    };
    let lower = enough(own, Model::Aligned, Costs::default());
    let upper = enough(own, Model::TwoGap, costs);
    let text = |ns: Option<u64>| ns.map_or_else(|| "none".to_owned(), in_ms);
    let rule = format!(
        "no budget below {} holds, the least of aligned supply, which is a VM's without neighbours; \
         and none misses from {} on, the least of two-gap supply, with what the tick may take of \
         this VM and its neighbours",
        text(lower),
        text(upper)
    );
    let statement = Statement {
        id: "tenants",
        figure: FIGURE,
        says: "Beside a neighbour with a nearer deadline a VM needs more budget, but never more than \
               the two-gap analysis says.",
        paper: PAPER,
        rule,
    };
    let id = Cow::Owned(format!("tenants-{}-least", sweep.experiment));
    Some(Claim { id, ..statement.judged(bracketed(results, sweep, lower, upper)) })
}

/// The least budget, in ns.
fn enough(own: Workload, model: Model, costs: Costs) -> Option<u64> {
    let workload = rtplan::Workload::of(own.tasks()).ok()?;
    let period = own.reservation()?.period;
    let question = Question { scheduler: Scheduler::RateMonotonic, model, costs, period };
    Some(as_ns(least_budget(&workload, &question).ok()??.least))
}

fn bracketed(results: &Results, sweep: &Sweep, lower: Option<u64>, upper: Option<u64>) -> Finding {
    let (lower, upper) =
        lower.zip(upper).ok_or("the analysis finds no budget that is enough for these tasks")?;
    let outcome = results
        .sweeps
        .iter()
        .find(|own| own.experiment == sweep.experiment)
        .ok_or("the sweep was not measured")?;
    let judged = |verdict: Verdict, inside: &dyn Fn(u64) -> bool| {
        let mut all = outcome.points.iter().filter(|point| point.verdict == verdict);
        all.find(|point| inside(point.budget_ns)).map(|point| point.budget_ns)
    };
    let too_early = judged(Verdict::Holds, &|ns| ns < lower);
    let too_late = judged(Verdict::Fails, &|ns| ns >= upper);
    let confirmed =
        judged(Verdict::Fails, &|ns| ns < lower).zip(judged(Verdict::Holds, &|ns| ns >= upper));
    let broken = too_early.or(too_late);
    if broken.is_none() && confirmed.is_none() {
        return Err(format!(
            "no budget below {} was seen to miss, or none from {} on to hold",
            in_ms(lower),
            in_ms(upper)
        ));
    }
    let text = |ns: Option<u64>| ns.map_or_else(|| "none".to_owned(), in_ms);
    Ok(Judged {
        holds: broken.is_none(),
        measured: format!(
            "smallest budget that holds: {}; largest that fails: {}",
            text(outcome.smallest_ns),
            text(outcome.largest_failing_ns)
        ),
        values: values([
            ("aligned_ns", lower as f64),
            ("two_gap_ns", upper as f64),
            ("smallest_ns", outcome.smallest_ns.map_or(f64::INFINITY, |ns| ns as f64)),
            (
                "largest_failing_ns",
                outcome.largest_failing_ns.map_or(f64::INFINITY, |ns| ns as f64),
            ),
        ]),
    })
}

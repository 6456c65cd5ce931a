//! Budgets that adapt, over time.

use model::duration::as_ns;
use results::budget::{Budgets, Interval};

use super::{About, Line, Stroke};
use crate::folder::Case;

/// The budget of each repetition over time, as steps, where it adapts; as long as jobs are released.
pub(super) fn lines(case: &Case) -> Vec<Line> {
    let end_ns = as_ns(case.experiment.duration) as i64;
    let steps = |own: &Budgets| -> Vec<(f64, f64)> {
        let ends = |one: Interval| {
            let budget = one.budget_ns as f64 / 1e6;
            [one.from_ns, one.to_ns].map(|ns| (ns.clamp(0, end_ns) as f64 / 1e9, budget))
        };
        let shown = own.intervals().filter(|one| one.to_ns > 0 && one.from_ns < end_ns);
        shown.flat_map(ends).collect()
    };
    let line = |own| Line {
        about: About { case: Some("budget".to_owned()), ..About::default() },
        label: "budget".to_owned(),
        color: (96, 96, 96),
        stroke: Stroke::Solid,
        points: steps(own),
    };
    case.budgets.iter().map(line).collect()
}

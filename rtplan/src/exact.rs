//! The least budget as a fraction: 80/3 ms rather than 26.666667 ms.
//!
//! Demand s is supplied by t exactly where, for some number of bursts k, Q ≥ s/k (k bursts hold it)
//! and s + first + (P − Q)·k ≤ t (they end in time), `first` being P − Q (two-gap), Δ − Q (explicit
//! deadline), 0 (one-gap) or Q − P (aligned). Both are linear in Q, so the least Q is a fraction.

use std::fmt;

use model::duration;

use crate::{
    edf,
    ns::{Ns, duration as of_ns, gcd},
    problem::Problem,
    question::Question,
    supply::{Costs, Model},
    witness,
    workload::Scheduler,
};

/// So many instants are looked at; beyond, whole nanoseconds must do.
const MOST_INSTANTS: usize = 10_000;

/// A fraction of a nanosecond, in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction {
    numerator: u128,
    denominator: u128,
}

impl Fraction {
    fn new(numerator: Ns, denominator: Ns) -> Self {
        let common = gcd(numerator, denominator);
        Self { numerator: numerator / common, denominator: denominator / common }
    }

    fn max(self, other: Self) -> Option<Self> {
        Some(if self.exceeds(other)? { self } else { other })
    }

    fn min(self, other: Self) -> Option<Self> {
        Some(if self.exceeds(other)? { other } else { self })
    }

    fn exceeds(self, other: Self) -> Option<bool> {
        let left = self.numerator.checked_mul(other.denominator)?;
        Some(left > other.numerator.checked_mul(self.denominator)?)
    }

    /// Numerator and denominator, of nanoseconds, in lowest terms.
    #[must_use]
    pub fn parts(self) -> (u128, u128) {
        (self.numerator, self.denominator)
    }
}

impl fmt::Display for Fraction {
    /// `80/3 ms`; whole nanoseconds as durations are written everywhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.denominator == 1 {
            return f.write_str(&duration::format(of_ns(self.numerator)));
        }
        let ms = Self::new(self.numerator, self.denominator * 1_000_000);
        write!(f, "{}/{} ms", ms.numerator, ms.denominator)
    }
}

/// The least real budget, given the least whole one, with which `problem` is supplied; `None` where
/// costs, offsets or the number of instants stand in the way.
pub(crate) fn infimum(problem: &Problem, question: &Question, least: Ns) -> Option<Fraction> {
    let aligned_late = problem.scenarios.iter().any(|scenario| !scenario.bound.is_plain());
    let phases = problem.scenarios.iter().any(|scenario| scenario.phases.is_some());
    let overhead = question.costs.overhead;
    if aligned_late || phases || question.costs != (Costs { overhead, ..Costs::default() }) {
        return None;
    }
    let least = least.checked_sub(overhead.as_nanos())?;
    let line = Line::of(question, least)?;
    let served = match problem.scheduler {
        Scheduler::Edf => by_deadlines(problem, &line),
        _ => by_priorities(problem, &line),
    }?;
    let below = Fraction::new(least - 1, 1);
    let within = served.exceeds(below)? && !served.exceeds(Fraction::new(least, 1))?;
    let Fraction { numerator, denominator } = served;
    let overhead = overhead.as_nanos().checked_mul(denominator)?;
    within.then(|| Fraction::new(numerator + overhead, denominator))
}

/// For each rank the instant that asks for least; over the ranks the one that asks for most.
fn by_priorities(problem: &Problem, line: &Line) -> Option<Fraction> {
    let mut most = Fraction::new(0, 1);
    for rank in 0..problem.items.len() {
        let points = witness::all_points(problem, rank, MOST_INSTANTS / problem.items.len())?;
        let mut least: Option<Fraction> = None;
        for (at, demand) in points {
            if let Some(budget) = line.budget(demand, at)? {
                least = Some(least.map_or(Some(budget), |least| least.min(budget))?);
            }
        }
        most = most.max(least?)?;
    }
    Some(most)
}

/// Over all deadlines in the busy window the one that asks for most.
fn by_deadlines(problem: &Problem, line: &Line) -> Option<Fraction> {
    let mut most = Fraction::new(0, 1);
    for (at, demand) in edf::all_points(problem, MOST_INSTANTS)? {
        most = most.max(line.budget(demand, at)??)?;
    }
    Some(most)
}

/// first = constant + slope · Q.
struct Line {
    period: i128,
    constant: i128,
    slope: i128,
    /// The budget is known to lie in (least − 1, least].
    least: Ns,
}

impl Line {
    fn of(question: &Question, least: Ns) -> Option<Self> {
        let period = i128::try_from(question.period.as_nanos()).ok()?;
        let (constant, slope) = match question.model {
            Model::TwoGap => (period, -1),
            Model::OneGap => (0, 0),
            Model::Aligned => (-period, 1),
            Model::ExplicitDeadline(deadline) => (deadline.as_nanos() as i128, -1),
            Model::Dedicated => return None,
        };
        (least > 1).then_some(Self { period, constant, slope, least })
    }

    /// The least budget in (least − 1, least] that supplies `demand` by `at`, or a bound below that
    /// range; `Some(None)` where it takes more, `None` where the numbers are too large.
    fn budget(&self, demand: Ns, at: Ns) -> Option<Option<Fraction>> {
        let (fewest, most) = (demand.div_ceil(self.least), demand.div_ceil(self.least - 1));
        if most - fewest > 1000 {
            return None;
        }
        let mut least: Option<Fraction> = None;
        for bursts in fewest..=most {
            if let Some(budget) = self.with_bursts(demand, at, bursts)? {
                least = Some(least.map_or(Some(budget), |least| least.min(budget))?);
            }
        }
        let limit = Fraction::new(self.least, 1);
        Some(match least {
            Some(budget) if !budget.exceeds(limit)? => Some(budget),
            _ => None,
        })
    }

    /// demand + constant + slope·Q + (P − Q)·bursts ≤ at, solved for Q.
    fn with_bursts(&self, demand: Ns, at: Ns, bursts: Ns) -> Option<Option<Fraction>> {
        let held = Fraction::new(demand, bursts);
        let count = i128::try_from(bursts).ok()?;
        let missing = i128::try_from(demand).ok()? + self.constant - i128::try_from(at).ok()?;
        let missing = missing.checked_add(self.period.checked_mul(count)?)?;
        let denominator = count - self.slope;
        if denominator == 0 {
            return Some((missing <= 0).then_some(held));
        }
        let ends =
            Fraction::new(Ns::try_from(missing.max(0)).ok()?, Ns::try_from(denominator).ok()?);
        Some(Some(held.max(ends)?))
    }
}

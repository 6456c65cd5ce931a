//! The supply bound functions and their inverses, in closed form.

use super::{Model, Ratio, Supply};
use crate::ns::{FOREVER, Ns, ceil_div, div_rem};

/// Phases of the server's period at which releases fall: `base` + m·`step`, modulo the period, which
/// `step` divides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Grid {
    pub base: Ns,
    pub step: Ns,
}

/// A supply bound function, ready to be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    shape: Shape,
    /// How far the server may be ahead of its entitlement when the window opens.
    ahead: Ns,
    slow_down: Ratio,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// The whole CPU.
    Full,
    /// Nothing at all: the overhead eats the budget.
    Nothing,
    /// Budget `q` in every `p`, each burst at the end of its gap of p − q, after one more gap of
    /// `first`.
    Gaps { q: Ns, p: Ns, first: Ns },
    /// Budget `q` at the start of every `p`, the window opening `early` ≤ q into a period or
    /// `late` ≥ q into one, whichever supplies less.
    Served { q: Ns, p: Ns, early: Option<Ns>, late: Option<Ns> },
}

impl Supply {
    /// The function for windows that open on one of `grids`; only the aligned model asks where.
    pub(crate) fn bound(&self, grids: &[Grid]) -> Bound {
        let slow_down = self.costs.slow_down;
        let full = Bound { shape: Shape::Full, ahead: 0, slow_down };
        let Some(reservation) = self.reservation else { return full };
        let p = reservation.period().as_nanos();
        let q = reservation.budget().as_nanos().saturating_sub(self.costs.overhead.as_nanos());
        if q == p {
            return full;
        }
        if q == 0 {
            return Bound { shape: Shape::Nothing, ..full };
        }
        let shape = match self.model {
            Model::Dedicated => Shape::Full,
            Model::TwoGap => self.within(p, q, p),
            Model::OneGap => Shape::Gaps { q, p, first: 0 },
            Model::ExplicitDeadline(deadline) => self.within(deadline.as_nanos(), q, p),
            Model::Aligned => served(q, p, grids),
        };
        Bound { shape, ahead: ahead(q, self.costs.tick.as_nanos()), slow_down }
    }

    /// Budget `q` in the first `deadline` of every `p`, but for what neighbours overrun theirs: less
    /// than a tick each, which delays every budget by `late` at most, and none of the next ones by
    /// more. A server that comes so late that its next deadline has passed as its overrun is seen
    /// starts a new period: then all that is sure is `q` in every p + late.
    fn within(&self, deadline: Ns, q: Ns, p: Ns) -> Shape {
        let tick = self.costs.tick.as_nanos();
        let late = tick * Ns::from(self.costs.neighbours);
        if late > 0 && late + tick > p {
            let p = p + late;
            return Shape::Gaps { q, p, first: p - q };
        }
        Shape::Gaps { q, p, first: deadline - q + late }
    }
}

/// Of all phases only two can be the worst: the last one before the budget ends (least is left of
/// it) and the first one after (the longest wait); see `docs/analysis.md`.
fn served(q: Ns, p: Ns, grids: &[Grid]) -> Shape {
    let last =
        |&Grid { base, step }: &Grid| (base <= q).then(|| base + div_rem(q - base, step).0 * step);
    let first = |&Grid { base, step }: &Grid| {
        let phase = base + ceil_div(q.saturating_sub(base), step) * step;
        (phase < p).then_some(phase)
    };
    let early = grids.iter().filter_map(last).max();
    let late = grids.iter().filter_map(first).min();
    Shape::Served { q, p, early, late }
}

/// A budget enforced at ticks is overrun by up to one tick, and the overrun taken back later; where
/// a tick exceeds the budget, the kernel grants the next ones in advance, at most a tick more.
fn ahead(q: Ns, tick: Ns) -> Ns {
    if q <= tick { 2 * tick } else { tick }
}

impl Bound {
    /// sbf(t).
    pub(crate) fn provided(&self, t: Ns) -> Ns {
        let cpu = match self.shape {
            Shape::Full => t,
            Shape::Nothing => 0,
            Shape::Gaps { q, p, first } => {
                t.checked_sub(first + p - q).map_or(0, |t| in_periods(t, q, p))
            }
            Shape::Served { q, p, early, late } => {
                let early = early.map(|phase| in_periods(phase + t, q, p) - phase);
                let late = late.map(|phase| in_periods(phase + t, q, p) - q);
                early.into_iter().chain(late).min().expect("one phase at least")
            }
        };
        self.slow_down.work(cpu.saturating_sub(self.ahead))
    }

    /// The least t with sbf(t) ≥ `work`; at least [`FOREVER`] where there is none.
    pub(crate) fn time_for(&self, work: Ns) -> Ns {
        if work == 0 {
            return 0;
        }
        let cpu = self.slow_down.cpu_time(work).saturating_add(self.ahead);
        match self.shape {
            Shape::Full => cpu,
            Shape::Nothing => FOREVER,
            Shape::Gaps { q, p, first } => {
                (p - q).saturating_mul(ceil_div(cpu, q)).saturating_add(cpu).saturating_add(first)
            }
            Shape::Served { q, p, early, late } => {
                let early = early.map(|phase| served_by(cpu.saturating_add(phase), q, p) - phase);
                let late = late.map(|phase| served_by(cpu.saturating_add(q), q, p) - phase);
                early.into_iter().chain(late).max().expect("one phase at least")
            }
        }
    }

    /// The length after which the supply repeats.
    pub(crate) fn period(&self) -> Ns {
        match self.shape {
            Shape::Full | Shape::Nothing => 1,
            Shape::Gaps { p, .. } | Shape::Served { p, .. } => p,
        }
    }

    /// CPU share as a fraction, before the slow-down.
    pub(crate) fn rate(&self) -> (Ns, Ns) {
        match self.shape {
            Shape::Full => (1, 1),
            Shape::Nothing => (0, 1),
            Shape::Gaps { q, p, .. } | Shape::Served { q, p, .. } => (q, p),
        }
    }

    /// Whether nothing is ever waited for.
    pub(crate) fn is_full(&self) -> bool {
        self.shape == Shape::Full
    }

    /// Whether every window opens at the start of a server period, or where it opens is the same.
    pub(crate) fn is_plain(&self) -> bool {
        match self.shape {
            Shape::Served { early, late, .. } => early == Some(0) && late.is_none(),
            Shape::Full | Shape::Nothing | Shape::Gaps { .. } => true,
        }
    }

    /// CPU time that a unit of work takes.
    pub(crate) fn slow_down(&self) -> Ratio {
        self.slow_down
    }

    /// The least Δ with sbf(t) ≥ rate · (t − Δ) but for what the server is ahead, or more.
    pub(crate) fn latency(&self) -> Ns {
        match self.shape {
            Shape::Full | Shape::Nothing => 0,
            Shape::Gaps { q, p, first } => first + p - q,
            Shape::Served { q, p, .. } => p - q,
        }
    }

    /// How far the server may be ahead of its entitlement when a window opens.
    pub(crate) fn ahead(&self) -> Ns {
        self.ahead
    }

    /// Whether sbf(t) stays below rate · t for all t > 0, so that a demand of just that rate never
    /// finishes.
    pub(crate) fn stays_behind(&self) -> bool {
        match self.shape {
            Shape::Full => self.ahead > 0,
            Shape::Nothing => true,
            Shape::Gaps { first, .. } => first > 0 || self.ahead > 0,
            Shape::Served { .. } => self.ahead > 0,
        }
    }
}

/// Supply in [0, t) of a server that serves `q` at the start of every `p`.
fn in_periods(t: Ns, q: Ns, p: Ns) -> Ns {
    let (periods, rest) = div_rem(t, p);
    periods * q + rest.min(q)
}

/// When that server has supplied `cpu` > 0.
fn served_by(cpu: Ns, q: Ns, p: Ns) -> Ns {
    (p - q).saturating_mul(ceil_div(cpu, q) - 1).saturating_add(cpu)
}

//! Budgets that adapt: feedback laws that follow what a vCPU asks for, within bounds.
//!
//! Once in a control [`interval`] a law sees how much of its supply the vCPU consumed, and how long it
//! was runnable and did not run. It wishes for a budget; whoever grants budgets may refuse it, and then
//! the wish becomes smaller. The laws know neither tasks nor deadlines. `docs/adapt.md` says what they
//! can and cannot do. The orchestrator and the simulator use this same code.
//!
//! Quantities are shares of a CPU: consumed c, waited w, granted b = Q/P, demand d. Both laws hold the
//! grant at (1 + x) times the demand, with the [`MARGIN`] x.

mod bounds;
mod law;
mod lfs;
mod pi;
mod pool;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

pub use bounds::{Bounds, BoundsError};
pub use law::{Control, Law};
pub use lfs::WINDOW;
pub use pi::{INTEGRAL, PROPORTIONAL, is_stable};
pub use pool::{MOST_WEIGHT, Pool, WEIGHT};

use lfs::Lfs;
use pi::Pi;

/// x: by how much the grant exceeds the demand. Cucinotta et al. (2010) take 0.1 to 0.2 for one task;
/// the tasks of a VM have several periods, and the supply of a reservation has gaps: the paper's set
/// of 0.45 needs 0.56, which is 0.24 more.
pub const MARGIN: f64 = 0.25;

/// A supply that is consumed to this share is exhausted, where the vCPU also waited: kernels end a
/// budget up to a tick early or late.
const EXHAUSTED: f64 = 0.95;

/// A vCPU that waited for less than this share of the interval had no need of more.
const WAITED: f64 = 0.01;

/// A change below this share of the budget is not made: what is consumed varies by as much.
const DEAD_ZONE: f64 = 0.02;

/// Budgets are multiples of it.
const ROUND: Duration = Duration::from_micros(1);

/// Control intervals after a change of the demand within which the grant follows it: the longest that
/// a sample stays in the predictor, and the interval in which the change fell.
pub const FOLLOWS: u32 = WINDOW as u32 + 1;

/// The shortest control interval.
const SHORTEST: Duration = Duration::from_secs(1);

/// Server periods in a control interval, at least: the supply of a window of n periods is n Q to within
/// one budget.
const PERIODS: u32 = 20;

/// How often a law decides: the least whole number of server periods that is at least a second and at
/// least 20 periods. The longer it is, the less does the demand of periodic tasks vary from one
/// interval to the next, and the later a change is seen.
#[must_use]
pub fn interval(period: Duration) -> Duration {
    let shortest = SHORTEST.max(period * PERIODS);
    let periods = shortest.as_nanos().div_ceil(period.as_nanos().max(1));
    period * u32::try_from(periods).unwrap_or(u32::MAX)
}

/// What was seen in a control interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// How long it really was.
    pub elapsed: Duration,
    /// CPU time of the vCPU.
    pub consumed: Duration,
    /// For how long it was runnable and did not run; none where nobody knows: then it may have been
    /// all the time that it did not run.
    pub waited: Option<Duration>,
}

/// The same as shares of the interval, with what was granted in it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    consumed: f64,
    waited: f64,
    granted: f64,
    exhausted: bool,
}

impl Sample {
    fn of(seen: &Seen, granted: f64) -> Self {
        let elapsed = seen.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let share = |time: Duration| (time.as_secs_f64() / elapsed).min(1.0);
        let consumed = share(seen.consumed);
        // What the vCPU had of the interval it did not wait for.
        let rest = 1.0 - consumed;
        let waited = seen.waited.map_or(rest, share).min(rest);
        let exhausted = consumed >= EXHAUSTED * granted && waited >= WAITED;
        Self { consumed, waited, granted, exhausted }
    }
}

/// Why a budget is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The first one.
    Start,
    /// It follows the demand.
    Demand,
    /// The budget was exhausted, and is raised.
    Exhausted,
    /// What the law wishes for is too near to change anything.
    Steady,
    /// The host refused what the law wished for; this is what it grants.
    Refused,
    /// Others on the CPU that adapt have a right to the rest.
    Shared,
}

impl Why {
    /// The word in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Demand => "demand",
            Self::Exhausted => "exhausted",
            Self::Steady => "steady",
            Self::Refused => "refused",
            Self::Shared => "shared",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What came of a control interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The budget from now on.
    pub budget: Duration,
    /// What the law wished for.
    pub wish: Duration,
    /// Why it is that.
    pub why: Why,
}

/// A law at work on one vCPU.
#[derive(Debug, Clone)]
pub struct Controller {
    bounds: Bounds,
    law: State,
    held: Duration,
}

#[derive(Debug, Clone)]
enum State {
    Lfs(Lfs),
    Pi(Pi),
}

impl Controller {
    /// Of a vCPU that has the budget `start` now, taken as the nearest one within `bounds`.
    #[must_use]
    pub fn new(law: Law, bounds: Bounds, start: Duration) -> Self {
        let law = match law {
            Law::Lfs => State::Lfs(Lfs::default()),
            Law::Pi => State::Pi(Pi::default()),
        };
        Self { bounds, law, held: start.clamp(bounds.min(), bounds.max()) }
    }

    /// The budget that is granted now.
    #[must_use]
    pub fn held(&self) -> Duration {
        self.held
    }

    /// How often [`Controller::step`] is to be called.
    #[must_use]
    pub fn interval(&self) -> Duration {
        interval(self.bounds.period())
    }

    /// Decides after an interval. `allow` says how much of a wish others leave ([`Pool::allows`]);
    /// `grant` makes a budget so, or says false where there is no room for it: then half of the raise
    /// is tried, and so on, and in the end the budget stays.
    ///
    /// # Errors
    /// Those of `grant`; then the budget stays.
    pub fn step<E>(
        &mut self,
        seen: &Seen,
        allow: impl FnOnce(Duration) -> Duration,
        mut grant: impl FnMut(Duration) -> Result<bool, E>,
    ) -> Result<Step, E> {
        let (wish, why) = self.wish(seen);
        let most = allow(wish);
        let shared = most < wish;
        // What others have a right to is given back, however little it is.
        let gives_way = shared && most < self.held;
        if !gives_way && self.is_near(most) {
            let why = if shared { Why::Shared } else { Why::Steady };
            return Ok(Step { budget: self.held, wish, why });
        }
        if grant(most)? {
            self.held = most;
            return Ok(Step { budget: most, wish, why: if shared { Why::Shared } else { why } });
        }
        let mut less = most;
        while less > self.held {
            less = self.held + (less - self.held) / 2;
            if self.is_near(less) {
                break;
            }
            if grant(less)? {
                self.held = less;
                break;
            }
        }
        Ok(Step { budget: self.held, wish, why: Why::Refused })
    }

    /// What the law wishes for, within the bounds.
    fn wish(&mut self, seen: &Seen) -> (Duration, Why) {
        let period = self.bounds.period().as_secs_f64();
        let sample = Sample::of(seen, self.held.as_secs_f64() / period);
        let share = match &mut self.law {
            State::Lfs(law) => law.wish(&sample),
            State::Pi(law) => law.wish(&sample),
        };
        let wish = self.bounds.nearest(share);
        let why = if sample.exhausted { Why::Exhausted } else { Why::Demand };
        (wish, why)
    }

    /// Whether a wish would change next to nothing. One that is at a bound is held exactly.
    fn is_near(&self, wish: Duration) -> bool {
        let distance = wish.abs_diff(self.held);
        let at_a_bound = wish == self.bounds.min() || wish == self.bounds.max();
        distance.is_zero() || !at_a_bound && distance < self.held.mul_f64(DEAD_ZONE)
    }
}

//! What a reservation surely supplies: the models of the processor that tasks run on.
//!
//! Each model is a *supply bound function* sbf(t): the least work that the tasks get in any
//! interval of length t that matters to them. `docs/analysis.md` derives the formulas.

mod bound;
mod ratio;

use std::{fmt, time::Duration};

use model::Reservation;
use thiserror::Error;

pub(crate) use bound::{Bound, Grid};
pub use ratio::{Ratio, RatioError};

use crate::ns::{Ns, duration};

/// Where the budget lies in the server's period, as seen from the release of the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Model {
    /// A CPU of one's own: sbf(t) = t.
    Dedicated,
    /// Anywhere in each period: the periodic resource model, blackout 2(P − Q) (Shin and Lee,
    /// *Periodic resource model for compositional real-time guarantees*, RTSS 2003).
    TwoGap,
    /// At the start of each period; tasks released at the worst instant: blackout P − Q.
    OneGap,
    /// At the start of each period; tasks first released at the start of a period (then at their
    /// own period, which drifts against the server's where it is no multiple of it).
    Aligned,
    /// Anywhere in the first Δ of each period: the explicit-deadline periodic resource, blackout
    /// P + Δ − 2Q (Easwaran, Anand and Lee, RTSS 2007).
    ExplicitDeadline(Duration),
}

impl Model {
    /// The name on the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dedicated => "dedicated",
            Self::TwoGap => "two-gap",
            Self::OneGap => "one-gap",
            Self::Aligned => "aligned",
            Self::ExplicitDeadline(_) => "explicit-deadline",
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the budget does not buy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Costs {
    /// CPU time lost from the budget at each switch to the server, once in each period.
    pub overhead: Duration,
    /// The scheduler's tick where budgets are enforced only there (4 ms at HZ=250 without
    /// HRTICK_DL); zero where they are enforced exactly.
    pub tick: Duration,
    /// CPU time that a nanosecond of work takes here; 1 where nothing is emulated.
    pub slow_down: Ratio,
}

/// A reservation under a model, with its costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Supply {
    model: Model,
    reservation: Option<Reservation>,
    costs: Costs,
}

/// Why a model and a reservation make no supply.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SupplyError {
    /// Every model but the dedicated CPU needs (Q, P).
    #[error("the {0} supply needs a reservation; write for example `28ms/50ms`")]
    NoReservation(Model),
    /// Δ outside Q..=P.
    #[error(
        "server deadline `{deadline}` of reservation `{reservation}`: it must lie between the \
         budget and the period"
    )]
    ServerDeadline {
        /// Δ as text.
        deadline: String,
        /// (Q, P).
        reservation: Reservation,
    },
}

impl Supply {
    /// `model` with `reservation` (which a dedicated CPU does not need), at no cost.
    ///
    /// # Errors
    /// [`SupplyError`], one a rule.
    pub fn new(model: Model, reservation: Option<Reservation>) -> Result<Self, SupplyError> {
        let costs = Costs::default();
        match (model, reservation) {
            (Model::Dedicated, _) => Ok(Self { model, reservation: None, costs }),
            (_, None) => Err(SupplyError::NoReservation(model)),
            (Model::ExplicitDeadline(deadline), Some(reservation))
                if deadline < reservation.budget() || deadline > reservation.period() =>
            {
                let deadline = model::duration::format(deadline);
                Err(SupplyError::ServerDeadline { deadline, reservation })
            }
            _ => Ok(Self { model, reservation, costs }),
        }
    }

    /// A CPU of one's own.
    #[must_use]
    pub fn dedicated() -> Self {
        Self { model: Model::Dedicated, reservation: None, costs: Costs::default() }
    }

    /// (Q, P) anywhere in each period: what a hard reservation promises whatever else runs.
    #[must_use]
    pub fn two_gap(reservation: Reservation) -> Self {
        Self { model: Model::TwoGap, reservation: Some(reservation), costs: Costs::default() }
    }

    /// (Q, P) at the start of each period; tasks released at the worst instant.
    #[must_use]
    pub fn one_gap(reservation: Reservation) -> Self {
        Self { model: Model::OneGap, ..Self::two_gap(reservation) }
    }

    /// (Q, P) at the start of each period; tasks first released there too.
    #[must_use]
    pub fn aligned(reservation: Reservation) -> Self {
        Self { model: Model::Aligned, ..Self::two_gap(reservation) }
    }

    /// The same with other costs.
    #[must_use]
    pub fn with_costs(self, costs: Costs) -> Self {
        Self { costs, ..self }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> Model {
        self.model
    }

    /// (Q, P); none for a dedicated CPU.
    #[must_use]
    pub fn reservation(&self) -> Option<Reservation> {
        self.reservation
    }

    /// The costs.
    #[must_use]
    pub fn costs(&self) -> Costs {
        self.costs
    }

    /// sbf(t): the work surely done in an interval of length `t`. Aligned: one that starts with a
    /// server period.
    #[must_use]
    pub fn provided(&self, t: Duration) -> Duration {
        duration(self.bound(self.own_grid()).provided(t.as_nanos()))
    }

    /// The shortest interval that surely supplies `work`; `None` where none does.
    #[must_use]
    pub fn time_for(&self, work: Duration) -> Option<Duration> {
        let time = self.bound(self.own_grid()).time_for(work.as_nanos());
        (time < crate::ns::FOREVER).then(|| duration(time))
    }

    /// The grid of releases that all fall on the start of a server period.
    fn own_grid(&self) -> Grid {
        let step: Ns = self.reservation.map_or(1, |r| r.period().as_nanos());
        Grid { base: 0, step }
    }
}

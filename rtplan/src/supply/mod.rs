//! What a reservation surely supplies: the models of the processor that tasks run on.
//!
//! Each model is a *supply bound function* sbf(t): the least work that the tasks get in any
//! interval of length t that matters to them. `docs/analysis.md` derives the formulas.

mod bound;
mod holds;
mod ratio;

use std::{fmt, time::Duration};

use model::Reservation;
use thiserror::Error;

pub(crate) use bound::{Bound, Grid};
pub use ratio::{Ratio, RatioError};

use crate::ns::{Ns, duration};

/// Where the budget lies in the server's period, as seen from the release of the tasks.
///
/// Each holds on conditions only, which [`Supply::holds_if`] tells with every answer;
/// `docs/analysis.md` proves them, and `tests/it/supply_models.rs` tries them on each kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Model {
    /// A CPU of one's own: sbf(t) = t. Holds if nothing else runs there.
    Dedicated,
    /// Anywhere in each period: the periodic resource model, blackout 2(P − Q) (Shin and Lee,
    /// *Periodic resource model for compositional real-time guarantees*, RTSS 2003). Holds if all
    /// reservations on the CPU are hard constant bandwidth servers (or periodic ones, where budgets
    /// end exactly) and add up to one CPU at most.
    TwoGap,
    /// At the start of each period; tasks released at the worst instant: blackout P − Q. Holds if
    /// nothing delays the server: no other reservation, no more urgent thread.
    OneGap,
    /// At the start of each period; tasks released at the phases of it that their periods and
    /// offsets allow. Holds if nothing delays the server, releases are strictly periodic, and
    /// server periods start with a release (SCHED_DEADLINE) or at time 0 (periodic and deferrable
    /// servers). Where a release can come at any time, the same as [`Self::OneGap`].
    Aligned,
    /// Anywhere in the first Δ of each period: the explicit-deadline periodic resource, blackout
    /// P + Δ − 2Q (Easwaran, Anand and Lee, RTSS 2007). Holds if the server gets its budget within
    /// Δ of each period.
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

    /// Whether it holds beside other reservations on the same CPU.
    #[must_use]
    pub fn allows_neighbours(self) -> bool {
        matches!(self, Self::TwoGap | Self::ExplicitDeadline(_))
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
    /// Other reservations on the same CPU. At a tick each of them can overrun its budget as well,
    /// and delay this one by that much.
    pub neighbours: u32,
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
    /// A tick, and nothing said of the other reservations.
    #[error(
        "the {0} supply with a tick: other reservations on the CPU overrun their budgets at ticks, \
         too, and delay this one; say how many there are with `--neighbours N`, 0 if none"
    )]
    NeighboursUnknown(Model),
    /// A model of an undelayed server beside others.
    #[error(
        "the {model} supply holds only if nothing delays the server, and there are {neighbours} \
         other reservations (`--neighbours`); use two-gap"
    )]
    Delayed {
        /// The model.
        model: Model,
        /// How many others there are.
        neighbours: u32,
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
        duration(self.bound(&[self.own_grid()]).provided(t.as_nanos()))
    }

    /// The shortest interval that surely supplies `work`; `None` where none does.
    #[must_use]
    pub fn time_for(&self, work: Duration) -> Option<Duration> {
        let time = self.bound(&[self.own_grid()]).time_for(work.as_nanos());
        (time < crate::ns::FOREVER).then(|| duration(time))
    }

    /// Refuses a model that does not hold beside so many other reservations, or that has to know how
    /// many there are and is not told.
    ///
    /// # Errors
    /// [`SupplyError::NeighboursUnknown`], [`SupplyError::Delayed`].
    pub fn beside(&self, neighbours: Option<u32>) -> Result<(), SupplyError> {
        let model = self.model;
        match neighbours {
            None if model.allows_neighbours() && !self.costs.tick.is_zero() => {
                Err(SupplyError::NeighboursUnknown(model))
            }
            Some(neighbours) if neighbours > 0 && !model.allows_neighbours() => {
                Err(SupplyError::Delayed { model, neighbours })
            }
            _ => Ok(()),
        }
    }

    /// The grid of releases that all fall on the start of a server period.
    fn own_grid(&self) -> Grid {
        let step: Ns = self.reservation.map_or(1, |r| r.period().as_nanos());
        Grid { base: 0, step }
    }
}

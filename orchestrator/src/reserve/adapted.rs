//! `--adapt`: a reservation whose budget a law chooses.

use std::{path::Path, time::Duration};

use anyhow::Result;
use clap::Args;
use model::{
    Mechanism,
    control::{Bounds, Control, Law, Pool, WEIGHT},
    duration,
    reservations::Reserved,
};

use crate::{
    adapt::{Adapting, BUDGET, Followed},
    error::Refusal,
    host::{Roots, Stage},
    mechanism::{self, Request, Vm},
};

/// The options of a budget that adapts.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Adapt {
    /// Adapt the budget to what the vCPUs ask for, by this law: lfs or pi (docs/adapt.md); it begins
    /// with that of --reservation
    #[arg(long, value_name = "LAW", requires_all = ["reservation", "min", "max"],
          conflicts_with_all = ["configured", "keep"])]
    adapt: Option<Law>,
    /// The least budget that the law may choose
    #[arg(long, value_name = "BUDGET", requires = "adapt", value_parser = duration::parse)]
    min: Option<Duration>,
    /// The greatest budget that the law may choose
    #[arg(long, value_name = "BUDGET", requires = "adapt", value_parser = duration::parse)]
    max: Option<Duration>,
}

/// What is to be adapted, and between which budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Adapted {
    law: Law,
    bounds: Bounds,
    start: Duration,
}

impl Adapt {
    /// None where the budget is fixed.
    ///
    /// # Errors
    /// [`Refusal::Usage`] for bounds that are crossed, or that the mechanism or the kernel does not
    /// take.
    pub fn adapted(&self, wanted: &Reserved, roots: &Roots) -> Result<Option<Adapted>, Refusal> {
        let Some(((law, min), max)) = self.adapt.zip(self.min).zip(self.max) else {
            return Ok(None);
        };
        if wanted.mechanism != Mechanism::Deadline {
            return Err(Refusal::Usage(format!(
                "--adapt: the budget of `{}` is not changed while it runs; use --mechanism \
                 deadline",
                wanted.mechanism
            )));
        }
        let Some(reservation) = wanted.shares.first().and_then(|share| share.reservation) else {
            return Ok(None);
        };
        let bounds = Bounds::new(min, max, reservation.period())
            .map_err(|error| Refusal::Usage(format!("--min and --max: {error}")))?;
        let start = reservation.budget();
        if !(min..=max).contains(&start) {
            return Err(Refusal::Usage(format!(
                "--reservation {reservation}: its budget is the first one, and lies outside of --min \
                 {} and --max {}",
                duration::format(min),
                duration::format(max)
            )));
        }
        for budget in [min, max] {
            let bound = model::Reservation::new(budget, reservation.period());
            let bound = bound.map_err(|error| Refusal::Usage(error.to_string()))?;
            mechanism::admit(wanted.mechanism, &Request::from(bound), roots)?;
        }
        Ok(Some(Adapted { law, bounds, start }))
    }
}

impl Adapted {
    /// In one line.
    pub fn sentence(&self) -> String {
        let text = duration::format;
        format!(
            "adapting by `{}`, between {} and {}, every {}",
            self.law,
            text(self.bounds.min()),
            text(self.bounds.max()),
            text(model::control::interval(self.bounds.period()))
        )
    }

    /// Of a manifest's reservation: the greatest budget, and the law.
    pub fn settings(&self) -> (Duration, Control) {
        (self.bounds.max(), Control { law: self.law, min: self.bounds.min(), weight: WEIGHT })
    }

    /// Begins to adapt the budgets of the machine's vCPUs, which are reserved by `stage`'s guard; rows
    /// go into `folder`.
    ///
    /// # Errors
    /// Those of [`Adapting::start`].
    pub fn start(&self, stage: &Stage, vm: &Vm, folder: Option<&Path>) -> Result<Adapting> {
        let followed = Followed {
            name: model::suite::Vm::NAME.to_owned(),
            vcpus: (0..).zip(vm.vcpus.iter().copied()).collect(),
            law: self.law,
            bounds: self.bounds,
            pool: 0,
            weight: WEIGHT,
            start: self.start,
        };
        let file = folder.map(|folder| folder.join(BUDGET));
        // How much there is for it the kernel alone knows.
        let pools = vec![Pool::new(f64::INFINITY)];
        Adapting::start(stage, &[followed], pools, file.as_deref(), true)
    }
}

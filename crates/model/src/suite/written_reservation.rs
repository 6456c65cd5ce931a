//! A reservation as it is written: a budget, or a law of control with its bounds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ReservationSettings;
use crate::{
    Mechanism, Placement,
    control::{Control, Law, MOST_WEIGHT, WEIGHT},
    duration,
};

/// `reservation = { … }` of the short form.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct ReservationTable {
    /// Q, on each vCPU; in its place a law of control and its bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    budget: Option<Length>,
    /// P.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    period: Option<Length>,
    /// The law that chooses the budget (`docs/adapt.md`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    control: Option<Law>,
    /// The least budget that it may choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<Length>,
    /// The greatest, with which it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<Length>,
    /// How it is enforced.
    #[serde(default = "deadline")]
    mechanism: Mechanism,
    /// How much of an unused quota may be saved up; for the mechanisms that have one.
    #[cfg_attr(test, schemars(with = "crate::suite::schema::DurationText"))]
    #[serde(default, with = "duration", skip_serializing_if = "Duration::is_zero")]
    burst: Duration,
    /// Where the vCPU threads are meanwhile; in the partition of the measured CPU where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    placement: Option<Placement>,
}

fn deadline() -> Mechanism {
    Mechanism::Deadline
}

/// A duration as its text.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub(super) struct Length(
    #[serde(with = "duration")]
    #[cfg_attr(test, schemars(with = "crate::suite::schema::DurationText"))]
    pub Duration,
);

/// The keys that say how much of a CPU; of a reservation, or of a vCPU.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub budget: Option<Length>,
    pub period: Option<Length>,
    pub control: Option<Law>,
    pub min: Option<Length>,
    pub max: Option<Length>,
    /// Of the VM.
    pub weight: Option<u32>,
}

/// How they are enforced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Enforced {
    pub mechanism: Mechanism,
    pub burst: Duration,
    pub placement: Option<Placement>,
}

impl Share {
    /// None where no key is given.
    ///
    /// # Errors
    /// One sentence, where keys are missing or do not go together.
    pub fn under(self, enforced: Enforced) -> Result<Option<ReservationSettings>, String> {
        let Self { budget, period, control, min, max, weight } = self;
        let Enforced { mechanism, burst, placement } = enforced;
        let settings = |Length(budget), Length(period), control| {
            Some(ReservationSettings { budget, period, mechanism, burst, placement, control })
        };
        let bounds = [("min", min), ("max", max)];
        let Some(law) = control else {
            if let Some((key, _)) = bounds.iter().find(|(_, bound)| bound.is_some()) {
                return Err(format!(
                    "key `{key}` without `control`; say which law chooses the budget, `control = \
                     \"lfs\"` or `\"pi\"`, or give `budget` alone"
                ));
            }
            if weight.is_some() {
                return Err(
                    "key `weight` without `control`: VMs whose budgets adapt share what there \
                            is by it; leave it out"
                        .to_owned(),
                );
            }
            return match (budget, period) {
                (None, None) => Ok(None),
                (Some(budget), Some(period)) => Ok(settings(budget, period, None)),
                (None, Some(_)) => Err("`budget` is missing; give it beside `period`, or a law \
                                        with `control`, `min` and `max`"
                    .to_owned()),
                (Some(_), None) => {
                    Err("`period` is missing; give it beside `budget`, for example `period = \
                         \"50ms\"`"
                        .to_owned())
                }
            };
        };
        let Some(period) = period else {
            return Err(
                "key `control` without a `period`; give it, for example `period = \"50ms\"`"
                    .to_owned(),
            );
        };
        if budget.is_some() {
            return Err(
                "keys `control` and `budget`: the law chooses the budget; give its bounds, \
                        `min` and `max`"
                    .to_owned(),
            );
        }
        let (Some(min), Some(max)) = (min, max) else {
            let (key, _) = bounds[usize::from(min.is_some())];
            return Err(format!(
                "key `control` without `{key}`; give both bounds of the budget, for example `min = \
                 \"5ms\"` and `max = \"35ms\"`"
            ));
        };
        if mechanism != Mechanism::Deadline {
            return Err(format!(
                "key `control`: the budget of `{mechanism}` is not changed while it runs; use \
                 `deadline`"
            ));
        }
        let weight = weight.unwrap_or(WEIGHT);
        if !(1..=MOST_WEIGHT).contains(&weight) {
            return Err(format!("key `weight` is {weight}; give 1 to {MOST_WEIGHT}"));
        }
        let control = Control { law, min: min.0, weight };
        control.bounds(max.0, period.0).map_err(|error| format!("key `control`: {error}"))?;
        Ok(settings(max, period, Some(control)))
    }

    /// As it is written.
    pub fn of(settings: &ReservationSettings) -> Self {
        let (budget, period) = (Length(settings.budget), Some(Length(settings.period)));
        let (control, min) =
            (settings.control.map(|own| own.law), settings.control.map(|own| own.min));
        match control {
            None => {
                Self { budget: Some(budget), period, control, min: None, max: None, weight: None }
            }
            Some(_) => {
                let weight = settings.control.map(|own| own.weight);
                let (min, max) = (min.map(Length), Some(budget));
                Self { budget: None, period, control, min, max, weight }
            }
        }
    }
}

impl TryFrom<ReservationTable> for ReservationSettings {
    type Error = String;

    fn try_from(table: ReservationTable) -> Result<Self, String> {
        let ReservationTable { budget, period, control, min, max, mechanism, burst, placement } =
            table;
        Share { budget, period, control, min, max, weight: None }
            .under(Enforced { mechanism, burst, placement })
            .map_err(|message| format!("key `reservation`: {message}"))?
            .ok_or_else(|| {
                "key `reservation`: give `budget` and `period`, or `period`, `control`, `min` and \
                 `max`"
                    .to_owned()
            })
    }
}

impl From<ReservationSettings> for ReservationTable {
    fn from(own: ReservationSettings) -> Self {
        // One VM in an experiment has nobody to share with.
        let Share { budget, period, control, min, max, .. } = Share::of(&own);
        let ReservationSettings { mechanism, burst, placement, .. } = own;
        Self { budget, period, control, min, max, mechanism, burst, placement }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        control::{Law, WEIGHT},
        suite,
    };

    fn short(reservation: &str) -> String {
        format!(
            "name = \"s\"\n[[experiment]]\nname = \"x\"\nwhere = \"guest\"\ntasks = \
             [\"30ms/150ms\"]\nreservation = {{ {reservation} }}\n"
        )
    }

    fn general(vcpu: &str) -> String {
        format!(
            "name = \"s\"\n[[experiment]]\nname = \"x\"\n[[experiment.vm]]\nname = \"a\"\nvcpus = \
             [{{ {vcpu} }}]\nservice = [{{ tasks = [\"30ms/150ms\"] }}]\n"
        )
    }

    const LAW: &str = "period = \"50ms\", control = \"lfs\", min = \"5ms\", max = \"35ms\"";

    #[test]
    fn a_law_and_its_bounds_are_read_and_written_back_in_both_forms() {
        for text in [short(LAW), general(LAW)] {
            let suite = suite::parse(&text, "s.toml").unwrap();
            let own = suite.experiments[0].vms[0].reservation().unwrap();
            let control = own.control.unwrap();
            assert_eq!((control.law, control.min.as_millis()), (Law::Lfs, 5));
            assert_eq!(control.weight, WEIGHT);
            // Admission and analysis count the greatest.
            assert_eq!(own.reservation().to_string(), "35ms/50ms");
            let written = toml::to_string(&suite).unwrap();
            assert!(written.contains("control = \"lfs\""), "{written}");
            assert_eq!(suite::parse(&written, "s.toml").unwrap(), suite);
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused_in_both_forms() {
        let cases = [
            (LAW.replace("period = \"50ms\", ", ""), "`control` without a `period`"),
            (LAW.replace(", min = \"5ms\"", ""), "`control` without `min`"),
            (LAW.replace(", max = \"35ms\"", ""), "`control` without `max`"),
            (LAW.replace("\"5ms\"", "\"40ms\""), "the bounds are crossed"),
            (LAW.replace("\"5ms\"", "\"0\""), "above zero"),
            (LAW.replace("\"35ms\"", "\"60ms\""), "greater than the period"),
            (LAW.replace("\"lfs\"", "\"magic\""), "unknown variant `magic`"),
            (format!("{LAW}, budget = \"9ms\""), "keys `control` and `budget`"),
            (LAW.replace("control = \"lfs\", ", ""), "key `min` without `control`"),
            (format!("{LAW}, gain = 2"), "unknown field `gain`"),
            ("period = \"50ms\"".to_owned(), "`budget` is missing"),
            ("budget = \"5ms\"".to_owned(), "`period` is missing"),
        ];
        for (keys, said) in &cases {
            for text in [short(keys), general(keys)] {
                let error = suite::parse(&text, "s.toml").unwrap_err().to_string();
                assert!(error.contains(said) && error.contains("s.toml:"), "{said}: {error}");
            }
        }
        let weighed = |keys: &str, weight: &str| {
            general(keys).replace("name = \"a\"", &format!("name = \"a\"\nweight = {weight}"))
        };
        let suite = suite::parse(&weighed(LAW, "3"), "s.toml").unwrap();
        assert_eq!(suite.experiments[0].vms[0].reservation().unwrap().control.unwrap().weight, 3);
        assert_eq!(suite::parse(&toml::to_string(&suite).unwrap(), "s.toml").unwrap(), suite);
        for (keys, weight, said) in [
            (LAW, "0", "`weight` is 0; give 1 to 10000"),
            ("budget = \"5ms\", period = \"50ms\"", "2", "`weight` without `control`"),
        ] {
            let error = suite::parse(&weighed(keys, weight), "s.toml").unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("s.toml:"), "{said}: {error}");
        }
        let quota = short(&format!("{LAW}, mechanism = \"cfs-quota\""));
        let error = suite::parse(&quota, "s.toml").unwrap_err().to_string();
        assert!(error.contains("`cfs-quota` is not changed"), "{error}");
    }
}

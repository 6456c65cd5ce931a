//! What work is made of.

use std::{collections::BTreeMap, str::FromStr};

use model::costs::Component;
use thiserror::Error;

/// How far from 1 the weights may add up to, for decimals such as 0.333.
const TOLERANCE: f64 = 1e-3;

/// The share of the execution time on the first host that each component takes; they add up to 1.
///
/// By default all of it is `integer_latency`: that is what rtload's jobs are made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix(BTreeMap<Component, f64>);

/// Why a text is no list of components with a number each.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PartError {
    /// Not of the form component=number.
    #[error(
        "`{0}` is not a component with its number; write for example \
         `integer_latency=0.6,memory_l3=0.4`"
    )]
    Form(String),
    /// No such component.
    #[error("there is no component `{0}`; there are {list}", list = Component::ALL.map(Component::name).join(", "))]
    Unknown(String),
    /// Twice the same.
    #[error("{0} stands twice; give each component once")]
    Twice(Component),
}

/// Why a text is no mix.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum MixError {
    /// Not a list of components.
    #[error(transparent)]
    Part(#[from] PartError),
    /// Not a share.
    #[error("{0}: `{1}` is not a weight above 0 and up to 1, such as 0.6")]
    Weight(Component, String),
    /// Not all of the time, or more.
    #[error(
        "the weights add up to {0}; they are shares of the execution time and must add up to 1"
    )]
    Sum(f64),
}

impl Mix {
    /// Each component with its weight; weights within 0.001 of 1 in sum are made to add up to 1.
    ///
    /// # Errors
    /// [`MixError::Sum`] where they do not, [`MixError::Weight`] where one is no share.
    pub fn new(weights: BTreeMap<Component, f64>) -> Result<Self, MixError> {
        let wrong = weights.iter().find(|(_, weight)| !(**weight > 0.0 && **weight <= 1.0));
        if let Some((component, weight)) = wrong {
            return Err(MixError::Weight(*component, weight.to_string()));
        }
        let sum: f64 = weights.values().sum();
        if (sum - 1.0).abs() > TOLERANCE {
            return Err(MixError::Sum((sum * 1e6).round() / 1e6));
        }
        Ok(Self(weights.into_iter().map(|(component, weight)| (component, weight / sum)).collect()))
    }

    /// Each component with its weight.
    pub fn parts(&self) -> impl Iterator<Item = (Component, f64)> {
        self.0.iter().map(|(component, weight)| (*component, *weight))
    }
}

impl Default for Mix {
    fn default() -> Self {
        Self([(Component::IntegerLatency, 1.0)].into())
    }
}

impl FromStr for Mix {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Self, MixError> {
        let mut weights = BTreeMap::new();
        for (component, weight) in parts(text)? {
            let share = weight.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0);
            let share = share.ok_or_else(|| MixError::Weight(component, weight.to_owned()))?;
            weights.insert(component, share);
        }
        Self::new(weights)
    }
}

/// `component=number,…`: each component once, the numbers as they stand there.
pub(super) fn parts(text: &str) -> Result<BTreeMap<Component, &str>, PartError> {
    let mut parts = BTreeMap::new();
    for part in text.split(',') {
        let form = || PartError::Form(part.trim().to_owned());
        let (name, number) = part.split_once('=').ok_or_else(form)?;
        let name = name.trim();
        let component =
            Component::named(name).ok_or_else(|| PartError::Unknown(name.to_owned()))?;
        if parts.insert(component, number.trim()).is_some() {
            return Err(PartError::Twice(component));
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_read_and_adds_up_to_one() {
        let mix: Mix = "integer_latency=0.6, memory_l3=0.4".parse().unwrap();
        let parts: Vec<_> = mix.parts().collect();
        assert_eq!(parts, [(Component::IntegerLatency, 0.6), (Component::MemoryL3, 0.4)]);
        let thirds: Mix = "branches=0.333,timer=0.333,system_call=0.333".parse().unwrap();
        let sum: f64 = thirds.parts().map(|(_, weight)| weight).sum();
        assert!((sum - 1.0).abs() < 1e-12);
        assert_eq!("integer_latency=1".parse(), Ok(Mix::default()));
    }

    #[test]
    fn what_is_no_mix_is_refused_with_its_value() {
        for (text, says) in [
            ("", "`` is not a component with its number"),
            ("integer_latency", "`integer_latency` is not a component"),
            ("speed=1", "no component `speed`; there are integer_latency, "),
            ("timer=0.5,timer=0.5", "timer stands twice"),
            ("timer=-1,branches=1", "timer: `-1` is not a weight"),
            ("timer=NaN", "timer: `NaN`"),
            ("timer=0.5,branches=0.4", "add up to 0.9;"),
            ("timer=1,branches=1", "add up to 2;"),
        ] {
            let error = text.parse::<Mix>().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}

//! Operations that were counted, and the mix that they are.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use model::{costs::Component, duration::as_ns};
use serde::Serialize;
use thiserror::Error;

use super::{
    Mix, PredictError,
    mix::{self, PartError},
    transport::Named,
};

/// What is not counted: steps that wait for each other.
const WAITING: Component = Component::IntegerLatency;

/// How many operations of each component the work consists of.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts(BTreeMap<Component, f64>);

/// Why a text is no list of counts.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum CountsError {
    /// Not of the form component=number, no such component, or one that stands twice.
    #[error(transparent)]
    Part(#[from] PartError),
    /// Not a number of operations.
    #[error("{0}: `{1}` is not a number of operations from 1 to 1e18, such as 2100 or 3.5e7")]
    Number(Component, String),
}

/// Counted operations at the costs of the first host.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// The share of each component.
    pub mix: Mix,
    /// What all of them cost.
    pub work: CountedWork,
}

/// What counted operations cost on the first host.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CountedWork {
    /// The sum over all components, by the medians.
    pub cost_ns: f64,
    /// As a share of the execution time that was measured; none without one. Far above 1 or far below,
    /// the work does not consist of them.
    pub of_execution: Option<f64>,
}

impl Counts {
    /// The mix of these operations where they cost what `from` says. `execution` is what the work takes
    /// there: what it is longer than all of them is time in which steps wait for each other, as those
    /// of `integer_latency` do. Without it, or where it is shorter, the mix is theirs alone.
    ///
    /// # Errors
    /// [`PredictError::Missing`].
    pub fn at(&self, from: Named, execution: Option<Duration>) -> Result<Counted, PredictError> {
        let mut costs = BTreeMap::new();
        for (component, number) in &self.0 {
            costs.insert(*component, number * cost(from, *component)?);
        }
        let cost_ns: f64 = costs.values().sum();
        let execution_ns = execution.map(|whole| as_ns(whole) as f64);
        let waiting_ns = execution_ns.map_or(0.0, |whole| whole - cost_ns);
        if waiting_ns > 0.0 {
            cost(from, WAITING)?;
            *costs.entry(WAITING).or_default() += waiting_ns;
        }
        let whole: f64 = costs.values().sum();
        costs.values_mut().for_each(|own| *own /= whole);
        let of_execution = execution_ns.map(|whole| cost_ns / whole);
        let mix = Mix::new(costs).expect("shares of a sum add up to 1");
        Ok(Counted { mix, work: CountedWork { cost_ns, of_execution } })
    }
}

fn cost((file, vector): Named, component: Component) -> Result<f64, PredictError> {
    let missing = || PredictError::Missing { file: file.to_owned(), component };
    Ok(vector.cost(component).ok_or_else(missing)?.per_operation_ns)
}

impl FromStr for Counts {
    type Err = CountsError;

    fn from_str(text: &str) -> Result<Self, CountsError> {
        let mut counts = BTreeMap::new();
        for (component, number) in mix::parts(text)? {
            let read = number.parse::<f64>().ok();
            // Nobody counts further, and no share is lost beside another one.
            let known = read.filter(|own| (1.0..=1e18).contains(own));
            let wrong = || CountsError::Number(component, number.to_owned());
            counts.insert(component, known.ok_or_else(wrong)?);
        }
        Ok(Self(counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_and_others_refused_with_their_place() {
        let counts: Counts = "page_fault=2100, integer_latency=3.5e7".parse().unwrap();
        let expected = [(Component::IntegerLatency, 3.5e7), (Component::PageFault, 2100.0)];
        assert_eq!(counts, Counts(expected.into()));
        for (text, says) in [
            ("", "`` is not"),
            ("page_fault", "`page_fault` is not"),
            ("speed=1", "no component `speed`"),
            ("timer=1,timer=2", "timer stands twice"),
            ("timer=0", "timer: `0` is not a number of operations"),
            ("timer=inf", "timer: `inf`"),
        ] {
            let error = text.parse::<Counts>().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}

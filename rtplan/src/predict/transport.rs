//! The ratio of two hosts, and times scaled by it.

use std::time::Duration;

use model::{
    costs::{Component, CostVector},
    duration::as_ns,
};
use serde::Serialize;

use super::{Mix, PredictError};

/// By what execution times are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scale {
    /// By the medians of both vectors.
    pub typical: f64,
    /// The least that their intervals allow: the 10th percentile there over the 90th here.
    pub low: f64,
    /// The most: the 90th percentile there over the 10th here.
    pub high: f64,
}

/// An execution time on the other host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scaled {
    /// By the medians, to the nearest nanosecond.
    pub typical: Duration,
    /// By the least ratio, rounded down; at least a nanosecond.
    pub low: Duration,
    /// By the greatest ratio, rounded up.
    pub high: Duration,
}

/// One component of a mix on both hosts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Part {
    /// Which.
    pub component: Component,
    /// Its share of the execution time on the first host.
    pub weight: f64,
    /// Its share on the second.
    pub to_weight: f64,
    /// The cost of its operation on the first, in nanoseconds.
    pub from_ns: f64,
    /// On the second.
    pub to_ns: f64,
    /// The second over the first.
    pub ratio: Scale,
}

/// From one host to another, for work of one mix.
#[derive(Debug, Clone, PartialEq)]
pub struct Transport {
    /// Of all parts together.
    pub scale: Scale,
    /// In the order of components.
    pub parts: Vec<Part>,
}

/// A vector and what its file is called.
pub(super) type Named<'a> = (&'a str, &'a CostVector);

impl Transport {
    /// C becomes C · Σ wᵢ (bᵢ / aᵢ), where wᵢ is the share of C that operations of kind i take at a
    /// cost of aᵢ each, and bᵢ is their cost on the other host.
    ///
    /// # Errors
    /// [`PredictError::Missing`].
    pub fn between(from: Named, to: Named, mix: &Mix) -> Result<Self, PredictError> {
        let cost = |(file, vector): Named, component| {
            let missing = || PredictError::Missing { file: file.to_owned(), component };
            vector.cost(component).ok_or_else(missing)
        };
        let mut parts = Vec::new();
        for (component, weight) in mix.parts() {
            let (a, b) = (cost(from, component)?, cost(to, component)?);
            let ratio = Scale {
                typical: b.per_operation_ns / a.per_operation_ns,
                low: b.low_ns / a.high_ns,
                high: b.high_ns / a.low_ns,
            };
            let (from_ns, to_ns) = (a.per_operation_ns, b.per_operation_ns);
            parts.push(Part { component, weight, to_weight: weight, from_ns, to_ns, ratio });
        }
        let sum =
            |of: fn(&Scale) -> f64| parts.iter().map(|part| part.weight * of(&part.ratio)).sum();
        let scale = Scale {
            typical: sum(|own| own.typical),
            low: sum(|own| own.low),
            high: sum(|own| own.high),
        };
        for part in &mut parts {
            part.to_weight = part.weight * part.ratio.typical / scale.typical;
        }
        Ok(Self { scale, parts })
    }

    /// What takes `execution` on the first host, on the second.
    #[must_use]
    pub fn scaled(&self, execution: Duration) -> Scaled {
        let times = |ratio: f64, round: fn(f64) -> f64| {
            Duration::from_nanos(round(as_ns(execution) as f64 * ratio).max(1.0) as u64)
        };
        Scaled {
            typical: times(self.scale.typical, f64::round),
            low: times(self.scale.low, f64::floor),
            high: times(self.scale.high, f64::ceil),
        }
    }
}

//! What a host's elementary operations cost: the vector that `rtload characterise` measures, and by
//! which `rtplan predict` carries execution times from one host to another.

mod component;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::host::Platform;

pub use component::Component;

/// The version of the stored form and of what an operation is: vectors of different versions cannot
/// be compared.
pub const SCHEMA_VERSION: u32 = 2;

/// The cost of an operation, in nanoseconds of the thread's CPU time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Median of the batches.
    pub per_operation_ns: f64,
    /// 10th percentile of the batches.
    pub low_ns: f64,
    /// 90th percentile of the batches.
    pub high_ns: f64,
    /// How many batches.
    pub batches: u32,
    /// Operations in each.
    pub batch_operations: u64,
    /// The bytes walked through; of memory alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

impl Cost {
    fn is_sound(&self) -> bool {
        let ordered = self.low_ns <= self.per_operation_ns && self.per_operation_ns <= self.high_ns;
        ordered && self.low_ns > 0.0 && self.high_ns.is_finite()
    }
}

/// Where a vector was measured. What the host does not tell is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredHost {
    /// Its name.
    pub name: Option<String>,
    /// The processor, as /proc/cpuinfo calls it.
    pub cpu_model: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// The hypervisor's signature (CPUID), for example `KVMKVMKVM`.
    pub hypervisor: Option<String>,
    /// Virtual or emulated, as far as the signature tells.
    pub platform: Option<Platform>,
    /// Sizes of the measured CPU's data caches, by level (1, 2, 3), as the kernel says.
    #[serde(default)]
    pub cache_bytes: BTreeMap<u32, u64>,
}

/// What the elementary operations of a host cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostVector {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// When it was measured, in UTC.
    pub measured_utc: String,
    /// Where.
    pub host: MeasuredHost,
    /// On which CPU.
    pub cpu: u32,
    /// Under which policy: `fifo`, or `other` where the kernel refused it.
    pub policy: String,
    /// An iteration of an empty loop; it is part of every operation's cost.
    pub loop_ns: Option<f64>,
    /// What reading the clock takes, once a batch; it is part of the batch.
    pub clock_read_ns: Option<f64>,
    /// CPU time or, for sleeping, time that a batch takes, roughly.
    pub batch_ns: u64,
    /// By component; none where it could not be measured.
    pub costs: BTreeMap<Component, Option<Cost>>,
}

impl CostVector {
    /// Reads a vector.
    ///
    /// # Errors
    /// One sentence: another version, an unknown key, a cost that makes no sense.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Versioned {
            schema_version: u32,
        }
        let form =
            |error: serde_json::Error| format!("not a vector of `rtload characterise`: {error}");
        // Another version may have other keys: the version is the better answer.
        let Versioned { schema_version } = serde_json::from_str(text).map_err(form)?;
        if schema_version != SCHEMA_VERSION {
            return Err(format!(
                "schema_version {schema_version}: this program reads version {SCHEMA_VERSION}; \
                 measure again with `rtload characterise` of this version"
            ));
        }
        let vector: Self = serde_json::from_str(text).map_err(form)?;
        vector.check().map(|()| vector)
    }

    fn check(&self) -> Result<(), String> {
        for (component, cost) in &self.costs {
            let Some(cost) = cost else { continue };
            if !cost.is_sound() {
                return Err(format!(
                    "costs.{component}: low_ns {}, per_operation_ns {} and high_ns {} must be above \
                     0 and ascend",
                    cost.low_ns, cost.per_operation_ns, cost.high_ns
                ));
            }
            if cost.size_bytes != component.size_bytes() {
                return Err(format!(
                    "costs.{component}: size_bytes must be {}",
                    component.size_bytes().map_or("absent".to_owned(), |size| size.to_string())
                ));
            }
        }
        Ok(())
    }

    /// The cost of `component`, where it was measured.
    #[must_use]
    pub fn cost(&self, component: Component) -> Option<Cost> {
        self.costs.get(&component).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector() -> CostVector {
        let cost = |component: Component| Cost {
            per_operation_ns: 2.0,
            low_ns: 1.9,
            high_ns: 2.2,
            batches: 40,
            batch_operations: 5_000_000,
            size_bytes: component.size_bytes(),
        };
        CostVector {
            schema_version: SCHEMA_VERSION,
            measured_utc: "2026-11-26T15:00:00Z".to_owned(),
            host: MeasuredHost { name: Some("a".to_owned()), ..MeasuredHost::default() },
            cpu: 1,
            policy: "fifo".to_owned(),
            loop_ns: Some(0.4),
            clock_read_ns: Some(200.0),
            batch_ns: 10_000_000,
            costs: Component::ALL.into_iter().map(|own| (own, Some(cost(own)))).collect(),
        }
    }

    fn written(change: impl Fn(&mut serde_json::Value)) -> String {
        let mut value = serde_json::to_value(vector()).unwrap();
        change(&mut value);
        value.to_string()
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(CostVector::parse(&written(|_| ())).unwrap(), vector());
        let unmeasured = written(|value| value["costs"]["timer"] = serde_json::Value::Null);
        assert_eq!(CostVector::parse(&unmeasured).unwrap().cost(Component::Timer), None);
    }

    #[test]
    fn what_cannot_be_right_is_refused_with_its_place() {
        type Change = fn(&mut serde_json::Value);
        let cases: [(Change, &str); 8] = [
            (|value| value["schema_version"] = 1.into(), "schema_version 1: this program reads"),
            (|value| value["colour"] = 1.into(), "unknown field `colour`"),
            (|value| value["host"]["colour"] = 1.into(), "unknown field `colour`"),
            (|value| value["costs"]["colour"] = 1.into(), "unknown variant `colour`"),
            (|value| value["costs"]["timer"]["ms"] = 1.into(), "unknown field `ms`"),
            (|value| value["costs"]["timer"]["low_ns"] = 0.into(), "costs.timer: low_ns 0"),
            (|value| value["costs"]["timer"]["high_ns"] = 1.into(), "costs.timer"),
            (|value| value["costs"]["memory_l1"]["size_bytes"] = 1.into(), "must be 16384"),
        ];
        for (change, says) in cases {
            let error = CostVector::parse(&written(change)).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert!(CostVector::parse("").unwrap_err().contains("rtload characterise"));
        assert!(CostVector::parse("{}").unwrap_err().contains("schema_version"));
    }

    proptest::proptest! {
        #[test]
        fn spoiled_vectors_are_refused_or_read_and_never_a_panic(at in 0..4000_usize, byte: u8) {
            let mut text = written(|_| ()).into_bytes();
            let at = at % text.len();
            text[at] = byte;
            if let Ok(text) = String::from_utf8(text)
                && let Ok(read) = CostVector::parse(&text)
            {
                proptest::prop_assert_eq!(read.schema_version, SCHEMA_VERSION);
            }
        }
    }
}

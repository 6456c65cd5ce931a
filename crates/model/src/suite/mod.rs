//! A suite: the TOML file that says which experiments to run, as plain data.
//!
//! Every field is written out in `docs/formats.md`. Unknown keys are refused. What is wrong with a
//! file is said once, with the file, the line and the key ([`SuiteError`]).

mod cpus;
mod experiment;
mod found;
mod guest_clock;
#[cfg(test)]
mod mutated;
mod network;
mod parse;
#[cfg(test)]
mod schema;
mod serving;
mod sweep;
mod system;
mod validate;
mod vcpus;
mod way_in;
mod web;
mod web_table;
mod written;
mod written_loads;
mod written_reservation;
mod written_vm;

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

pub use experiment::{Experiment, Load, Probe, Service, ServiceKind, Vcpu, Vm, Wild, Workload};
pub use found::Found;
pub use guest_clock::{ClockSource, Pause};
pub use network::{Network, Tap, User, interface};
pub(crate) use parse::toml_of;
pub use parse::{SuiteError, parse, read};
pub use sweep::{Budgets, Sweep};
pub use system::{Disk, KernelChoice, System};
pub use way_in::{Ssh, WayIn};
pub use web::{Own, Ready, Server, Web};

use crate::{Mechanism, Placement, Reservation, control::Control, duration};
use written_reservation::ReservationTable;

/// The JSON Schema of suites, for editors; `docs/suite.schema.json`.
pub const SCHEMA: &str = include_str!("../../../../docs/suite.schema.json");

/// A list of experiments and what they have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Names the result folder; letters, digits, `-` and `_`.
    pub name: String,
    /// One line for the report: which protocol this is.
    #[serde(default)]
    pub description: String,
    /// The machine and how it is prepared.
    #[serde(default)]
    pub host: HostSettings,
    /// How the guests look.
    #[serde(default)]
    pub guest: GuestSettings,
    /// What counts as a noisy repetition.
    #[serde(default)]
    pub noise: NoiseSettings,
    /// For `rtplan simulate` alone; a measurement does not heed it.
    #[serde(default, skip_serializing_if = "SimulateSettings::is_default")]
    pub simulate: SimulateSettings,
    /// The experiments, in the order in which they run; once parsed, with those of the sweeps.
    #[serde(rename = "experiment")]
    pub experiments: Vec<Experiment>,
    /// Which of them differ in nothing but the budget.
    #[serde(rename = "sweep", default, skip_serializing_if = "Vec::is_empty")]
    pub sweeps: Vec<Sweep>,
}

/// Which CPUs to use and how to prepare them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(transform = cpus::both_names))]
#[serde(deny_unknown_fields, default)]
pub struct HostSettings {
    /// The CPUs on which everything is measured, each once, or the only one; where absent, the best
    /// (`docs/host-setup.md`). What names no CPU of its own is on the first of them.
    #[serde(
        alias = "measured_cpu",
        deserialize_with = "cpus::list",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[cfg_attr(test, schemars(with = "cpus::OneOrList"))]
    pub measured_cpus: Vec<u32>,
    /// Keep the measured CPUs out of idle; where absent, as `orchestrator check` finds it needed.
    pub keep_awake: Option<bool>,
    /// Watch each measured CPU for stalls with a SCHED_DEADLINE sentinel.
    pub sentinel: bool,
    /// Trace when the VM's threads ran; where absent, where tracefs works.
    pub trace: Option<bool>,
    /// Move interrupts away from the measured CPUs and fix their frequency, as far as the host lets.
    pub quiet: bool,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            measured_cpus: Vec::new(),
            keep_awake: None,
            sentinel: true,
            trace: None,
            quiet: false,
        }
    }
}

/// How the guest's instructions are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum AcceleratorChoice {
    /// KVM where it boots the real guest within 10 s, else TCG.
    #[default]
    Auto,
    /// KVM or exit code 3.
    Kvm,
    /// QEMU's emulation.
    Tcg,
}

/// The virtual machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct GuestSettings {
    /// KVM, TCG, or whichever works.
    pub accelerator: AcceleratorChoice,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// QEMU's buffer for translated code in MiB, at the most, for each emulated guest.
    pub translation_mib: u32,
    /// How clients reach a service in the guest.
    pub network: Network,
}

impl Default for GuestSettings {
    fn default() -> Self {
        Self {
            accelerator: AcceleratorChoice::Auto,
            memory_mib: 256,
            translation_mib: 1024,
            network: Network::default(),
        }
    }
}

/// When a repetition is too noisy to count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct NoiseSettings {
    /// The largest share of the time in which a measured CPU may have run nobody, in 0..=1.
    pub max_stalled: f64,
    /// How many more times a noisy repetition is tried; the quietest attempt counts.
    pub retries: u32,
}

impl Default for NoiseSettings {
    fn default() -> Self {
        Self { max_stalled: 0.005, retries: 3 }
    }
}

/// Under which conditions the suite is simulated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SimulateSettings {
    /// A measured result folder from which execution times, stalls and the tick are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibrate: Option<PathBuf>,
    /// The scheduler's tick, at which budgets are enforced; `0`: exactly.
    #[cfg_attr(test, schemars(with = "crate::suite::schema::DurationText"))]
    #[serde(with = "optional_duration", skip_serializing_if = "Option::is_none")]
    pub tick: Option<Duration>,
    /// CPU time lost whenever the CPU goes to another thread.
    #[cfg_attr(test, schemars(with = "crate::suite::schema::DurationText"))]
    #[serde(with = "duration")]
    pub switch_overhead: Duration,
    /// Seed of every random choice.
    pub seed: u64,
}

impl SimulateSettings {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// An optional duration as its text.
mod optional_duration {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    use crate::duration;

    pub fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => duration::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        duration::deserialize(deserializer).map(Some)
    }
}

/// Where the workload runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// On the host, on the measured CPU.
    Host,
    /// In a guest whose vCPU runs on the measured CPU.
    Guest,
}

impl Place {
    /// Whether it is a guest.
    #[must_use]
    pub fn is_guest(self) -> bool {
        self == Self::Guest
    }
}

/// What a job of a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// The same CPU time, whatever the machine gets done in it.
    #[default]
    Paced,
    /// The same work, as much as the host does in the execution time: it takes longer on a slower
    /// machine.
    Fixed,
}

impl Work {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The word in suites.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Paced => "paced",
            Self::Fixed => "fixed",
        }
    }

    /// The kind of work of that name.
    ///
    /// # Errors
    /// One sentence, where there is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        [Self::Paced, Self::Fixed]
            .into_iter()
            .find(|work| work.name() == text)
            .ok_or_else(|| format!("`{text}`: give `paced` or `fixed`"))
    }
}

/// A reservation and the mechanism that enforces it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "ReservationTable", into = "ReservationTable")]
pub struct ReservationSettings {
    /// Q, on each vCPU; the greatest, where a law of control chooses it.
    pub budget: Duration,
    /// P.
    pub period: Duration,
    /// How it is enforced.
    pub mechanism: Mechanism,
    /// How much of an unused quota may be saved up; for the mechanisms that have one.
    pub burst: Duration,
    /// Where the vCPU threads are meanwhile; in the partition of the measured CPU where absent.
    pub placement: Option<Placement>,
    /// The law that chooses the budget, and the least one; none where it is fixed.
    pub control: Option<Control>,
}

impl ReservationSettings {
    /// (Q, P) in one word, or between which budgets which law chooses.
    #[must_use]
    pub fn text(&self) -> String {
        let reservation = self.reservation();
        self.control.map_or_else(
            || reservation.to_string(),
            |Control { law, min, .. }| format!("{}..{reservation} by {law}", duration::format(min)),
        )
    }

    /// (Q, P); checked when the suite was parsed.
    ///
    /// # Panics
    /// Where the settings were made by hand and not checked by [`parse`].
    #[must_use]
    pub fn reservation(&self) -> Reservation {
        Reservation::new(self.budget, self.period).expect("checked by suite::parse")
    }
}

/// Where QEMU's main loop and helper threads run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum EmulatorPlace {
    /// On the housekeeping CPUs.
    #[default]
    Housekeeping,
    /// On the measured CPU, as ordinary threads beside the vCPU.
    Shared,
}

/// Where QEMU's other threads run, or the reservation of their own on the measured CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Emulator {
    /// `"housekeeping"` or `"shared"`.
    Place(EmulatorPlace),
    /// `{ budget, period }`: on the measured CPU, in a SCHED_DEADLINE reservation of their own.
    Reserved(EmulatorReservation),
}

/// The reservation of QEMU's main loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EmulatorReservation {
    /// Q.
    #[cfg_attr(test, schemars(with = "crate::suite::schema::DurationText"))]
    #[serde(with = "duration")]
    pub budget: Duration,
    /// P.
    #[cfg_attr(test, schemars(with = "crate::suite::schema::DurationText"))]
    #[serde(with = "duration")]
    pub period: Duration,
}

impl Default for Emulator {
    fn default() -> Self {
        Self::Place(EmulatorPlace::default())
    }
}

impl Suite {
    /// The experiment of this name.
    #[must_use]
    pub fn experiment(&self, name: &str) -> Option<&Experiment> {
        self.experiments.iter().find(|experiment| experiment.name == name)
    }
}

//! A guest's clock: where its kernel takes the time from, and a pause in which the guest stands still.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Vm;
use crate::duration;

/// What the guest's kernel reads the time from; names as in
/// `/sys/devices/system/clocksource/clocksource0/available_clocksource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ClockSource {
    /// The processor's time stamp counter.
    Tsc,
    /// A page that KVM keeps up to date; of guests under KVM only.
    KvmClock,
    /// The High Precision Event Timer, which QEMU emulates.
    Hpet,
    /// The ACPI power management timer, which QEMU emulates.
    #[serde(rename = "acpi_pm")]
    AcpiPm,
}

impl ClockSource {
    /// The kernel's word, as on its command line (`clocksource=`).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tsc => "tsc",
            Self::KvmClock => "kvm-clock",
            Self::Hpet => "hpet",
            Self::AcpiPm => "acpi_pm",
        }
    }
}

/// The guest is stopped for a while, as by `virsh suspend` and `virsh resume`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// When, from the begin of the measurement.
    #[cfg_attr(test, schemars(with = "crate::suite::schema::DurationText"))]
    #[serde(with = "duration")]
    pub at: Duration,
    /// For how long.
    #[cfg_attr(test, schemars(with = "crate::suite::schema::DurationText"))]
    #[serde(rename = "for", with = "duration")]
    pub length: Duration,
}

/// The rules of both. Clients and tasks would wait for a guest that stands still, and count that as its response times.
pub(super) fn validate(vm: &Vm, experiment: Duration) -> Result<(), String> {
    if vm.clock_source.is_some() && vm.system.disk().is_some() {
        return Err("keys `disk` and `clock_source`: a disk has its own kernel command line; put \
                    `clocksource=` there, and leave the key out"
            .to_owned());
    }
    let Some(Pause { at, length }) = vm.pause else { return Ok(()) };
    if vm.services.is_empty() || vm.services.iter().any(|service| service.probe().is_none()) {
        return Err(
            "key `pause`: it is for a VM whose only service is `probe = \"clock\"`; leave it \
                    out, or give the other services a VM of their own"
                .to_owned(),
        );
    }
    if length.is_zero() || length > LONGEST {
        return Err(format!(
            "key `pause.for` is {}; it is above 0 and at most {}",
            duration::format(length),
            duration::format(LONGEST)
        ));
    }
    if at >= experiment {
        return Err(format!(
            "key `pause.at` is {}, not before the end of the measurement, {}",
            duration::format(at),
            duration::format(experiment)
        ));
    }
    Ok(())
}

/// What waits for an answer of the guest gives up later than that.
const LONGEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use crate::suite::{ClockSource, Suite, SuiteError, parse};

    fn suite(keys: &str, service: &str) -> Result<Suite, SuiteError> {
        let text = format!(
            "name = \"s\"\n[[experiment]]\nname = \"e\"\nduration = \"10s\"\n[[experiment.vm]]\n\
             name = \"g\"\nvcpus = [{{}}]\n{keys}\nservice = [{{ {service} }}]\n"
        );
        parse(&text, "s.toml")
    }

    const PROBE: &str = "probe = \"clock\"";

    #[test]
    fn every_word_of_the_kernel_is_read_and_written_back() {
        use ClockSource::{AcpiPm, Hpet, KvmClock, Tsc};
        for source in [Tsc, KvmClock, Hpet, AcpiPm] {
            let own = suite(&format!("clock_source = \"{}\"", source.name()), PROBE).unwrap();
            assert_eq!(own.experiments[0].vms[0].clock_source, Some(source));
            assert_eq!(parse(&toml::to_string(&own).unwrap(), "s.toml").unwrap(), own);
        }
        let error = suite("clock_source = \"jiffies\"", PROBE).unwrap_err().to_string();
        assert!(error.contains("kvm-clock"), "{error}");
    }

    #[test]
    fn a_pause_is_within_the_measurement_of_a_probe() {
        let own = suite("pause = { at = \"3s\", for = \"2s\" }", PROBE).unwrap();
        assert_eq!(parse(&toml::to_string(&own).unwrap(), "s.toml").unwrap(), own);
        for (keys, service, what) in [
            ("pause = { at = \"3s\", for = \"2s\" }", "tasks = [\"1ms/9ms\"]", "`pause`"),
            ("pause = { at = \"3s\", for = \"0s\" }", PROBE, "`pause.for` is 0"),
            ("pause = { at = \"3s\", for = \"61s\" }", PROBE, "at most 60s"),
            ("pause = { at = \"10s\", for = \"1s\" }", PROBE, "`pause.at` is 10s"),
            ("pause = { at = \"1s\" }", PROBE, "for"),
            (
                "disk = \"x.qcow2\"\nclock_source = \"hpet\"",
                PROBE,
                "keys `disk` and `clock_source`",
            ),
            ("pid = 7\nclock_source = \"hpet\"", "web = {}", "keys `pid` and `clock_source`"),
            (
                "pid = 7\npause = { at = \"1s\", for = \"1s\" }",
                "web = {}",
                "keys `pid` and `pause`",
            ),
        ] {
            let error = suite(keys, service).unwrap_err().to_string();
            assert!(error.contains(what), "{keys}: {error}");
        }
    }
}

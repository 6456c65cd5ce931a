//! The clock source of this system, and the time that its hypervisor took from it.

use std::{fs, path::Path};

use kernel::procfs::Proc;
use serde::Serialize;

/// Where the kernel tells its clock sources.
pub const CLOCK_SOURCES: &str = "/sys/devices/system/clocksource/clocksource0";

/// `current_clocksource` and `available_clocksource`; null where the kernel does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The one in use.
    pub current: Option<String>,
    /// All that could be.
    pub available: Option<Vec<String>>,
}

impl Source {
    /// Reads them below `folder`.
    #[must_use]
    pub fn read(folder: &Path) -> Self {
        let text = |name: &str| fs::read_to_string(folder.join(name)).ok();
        let current = text("current_clocksource").map(|text| text.trim().to_owned());
        let list = |text: String| text.split_whitespace().map(str::to_owned).collect();
        Self { current, available: text("available_clocksource").map(list) }
    }
}

/// Steal time of the CPU since boot in ns, to 10 ms, as this system sees it.
#[must_use]
pub fn steal_ns(cpu: u32) -> Option<u64> {
    Proc::default().cpu_times(cpu).ok().map(|times| times.steal_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_does_not_tell_is_unknown() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Source::read(folder.path()), Source { current: None, available: None });
        fs::write(folder.path().join("current_clocksource"), "tsc\n").unwrap();
        fs::write(folder.path().join("available_clocksource"), "tsc hpet acpi_pm \n").unwrap();
        let Source { current, available } = Source::read(folder.path());
        assert_eq!(current.as_deref(), Some("tsc"));
        assert_eq!(available.unwrap(), ["tsc", "hpet", "acpi_pm"]);
    }
}

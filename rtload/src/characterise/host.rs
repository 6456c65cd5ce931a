//! The host that a vector is of.

use std::path::Path;

use kernel::{cpuid, procfs::Proc};
use model::{costs::MeasuredHost, host::Platform};

use crate::{caches, calibration::cpu_model};

/// What the kernel and the processor say.
pub fn facts(cpu: u32) -> MeasuredHost {
    let proc = Proc::default();
    let line = |name: &str| {
        let text = proc.text(&format!("sys/kernel/{name}")).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let (hypervisor, cpu_model) = (cpuid::hypervisor(), cpu_model());
    let emulated = cpu_model.as_deref().is_some_and(Platform::is_emulated_processor);
    let platform = match &hypervisor {
        Some(signature) => Some(Platform::under(signature, cpu_model.as_deref())),
        None => emulated.then_some(Platform::Emulated),
    };
    let sizes = caches::data(Path::new("/sys"), cpu);
    MeasuredHost {
        name: line("hostname"),
        cpu_model,
        kernel: line("osrelease"),
        hypervisor,
        platform,
        cache_bytes: sizes.into_iter().map(|(level, size)| (level, size.0)).collect(),
    }
}

//! KVM or TCG.

use std::{fmt, fs, path::Path, sync::atomic::AtomicBool, time::Duration};

use model::suite::AcceleratorChoice;
use serde::{Deserialize, Serialize};

use super::{
    Guest, GuestSpec, Launch, Qemu,
    kvm_probe::{self, Key},
    process::check,
};
use crate::error::Refusal;

/// The device behind `-accel kvm`.
const KVM: &str = "/dev/kvm";

/// How long the real guest may take to boot under KVM.
const KVM_LIMIT: Duration = Duration::from_secs(30);

/// How long a guest may take under TCG: far above what it needs, so that only a dead one fails.
const TCG_LIMIT: Duration = Duration::from_secs(60);

/// How QEMU executes the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accelerator {
    /// By the processor.
    Kvm,
    /// By translation, with a thread for each vCPU.
    Tcg,
}

impl Accelerator {
    /// QEMU's options; its buffer for translated code has `translation_mib` at the most.
    pub(super) fn arguments(self, translation_mib: u32) -> [String; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"].map(str::to_owned),
            // The level x86-64-v2, which some distributions' programs need. AVX would only make
            // every context switch slower.
            Self::Tcg => [
                "-accel".to_owned(),
                format!("tcg,thread=multi,tb-size={translation_mib}"),
                "-cpu".to_owned(),
                "qemu64,+cx16,+lahf-lm,+popcnt,+sse4.1,+sse4.2,+ssse3".to_owned(),
            ],
        }
    }

    /// How long a boot may take.
    #[must_use]
    pub fn boot_limit(self) -> Duration {
        match self {
            Self::Kvm => KVM_LIMIT,
            Self::Tcg => TCG_LIMIT,
        }
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

/// An accelerator and why it was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// The one to use.
    pub accelerator: Accelerator,
    /// In words, for the manifest.
    pub reason: String,
}

impl Chosen {
    /// What to tell the user at once: guests are emulated though the suite would have taken KVM.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        self.reason.starts_with(WITHOUT_KVM).then(|| {
            format!(
                "{}; guests are emulated (in a checkout, `make kvm` runs the figures under real KVM \
                 in an emulated host)",
                self.reason
            )
        })
    }
}

/// Chooses the accelerator by booting `spec` under KVM, unless the outcome for this boot of the
/// host, this kernel and this QEMU is remembered in the cache.
///
/// # Errors
/// [`Refusal::Lacking`] where KVM is asked for and does not work, with the reason; what keeps the
/// guest from being started or from booting under TCG.
pub fn choose(
    choice: AcceleratorChoice,
    host: &dyn Launch,
    qemu: &Qemu,
    spec: &GuestSpec,
    stop: &AtomicBool,
) -> anyhow::Result<Chosen> {
    if choice == AcceleratorChoice::Tcg {
        return Ok(Chosen { accelerator: Accelerator::Tcg, reason: "as the suite says".into() });
    }
    let kvm_fails = probe(host, qemu, spec, stop)?;
    decide(choice, kvm_fails).map_err(anyhow::Error::from)
}

/// How the reason for emulation begins where KVM was tried.
const WITHOUT_KVM: &str = "KVM does not work on this host";

fn decide(choice: AcceleratorChoice, kvm_fails: Option<String>) -> Result<Chosen, Refusal> {
    match kvm_fails {
        None => {
            let reason = "the guest booted under KVM".to_owned();
            Ok(Chosen { accelerator: Accelerator::Kvm, reason })
        }
        Some(why) if choice == AcceleratorChoice::Kvm => Err(Refusal::Lacking(format!(
            "accelerator = \"kvm\", but {WITHOUT_KVM}: {why}; use \"tcg\" or \"auto\""
        ))),
        Some(why) => {
            let reason = format!("{WITHOUT_KVM}: {why}");
            Ok(Chosen { accelerator: Accelerator::Tcg, reason })
        }
    }
}

/// Why KVM does not work here, if so.
fn probe(
    host: &dyn Launch,
    qemu: &Qemu,
    spec: &GuestSpec,
    stop: &AtomicBool,
) -> anyhow::Result<Option<String>> {
    let key = Key {
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
        guest_kernel: spec.kernel.release.clone(),
        qemu: qemu.version.clone(),
    };
    let logs = tempfile::tempdir()?;
    let guest = GuestSpec {
        name: "kvm-probe".to_owned(),
        logs: logs.path().to_owned(),
        network: super::Network::None,
        ..spec.clone()
    };
    kvm_probe::probe(Path::new(KVM), &spec.cache, key, &mut |accelerator| {
        let limit = accelerator.boot_limit();
        match Guest::launch(host, qemu, &guest, accelerator, limit, stop) {
            Ok(booted) => booted.shutdown(),
            Err(error) => {
                check(stop)?;
                Err(error)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_and_the_outcome_decide() {
        let fails = || Some("it hangs".to_owned());
        let auto = decide(AcceleratorChoice::Auto, fails()).unwrap();
        assert_eq!(auto.accelerator, Accelerator::Tcg);
        assert!(auto.reason.contains("it hangs"));
        let refused = decide(AcceleratorChoice::Kvm, fails()).unwrap_err();
        assert!(matches!(&refused, Refusal::Lacking(text) if text.contains("it hangs")));
        let works = decide(AcceleratorChoice::Kvm, None).unwrap();
        assert_eq!(works.accelerator, Accelerator::Kvm);
    }
}

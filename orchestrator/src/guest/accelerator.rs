//! KVM or TCG. That /dev/kvm exists proves nothing: only a guest that booted does.

use std::{fmt, fs, path::Path, sync::atomic::AtomicBool, time::Duration};

use anyhow::Context;
use model::suite::AcceleratorChoice;
use serde::{Deserialize, Serialize};

use super::{Guest, GuestSpec, Launch, Qemu, process::check};
use crate::error::Refusal;

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
    /// QEMU's options.
    pub(super) fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // The level x86-64-v2, which some distributions' programs need. AVX would only make
            // every context switch slower.
            Self::Tcg => [
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "qemu64,+cx16,+lahf-lm,+popcnt,+sse4.1,+sse4.2,+ssse3",
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

/// What a remembered result of the probe holds for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    boot_id: String,
    guest_kernel: String,
    qemu: String,
    /// Why KVM does not work; none if it does.
    kvm_fails: Option<String>,
}

/// Chooses the accelerator by booting `spec` under KVM, unless the outcome for this boot of the
/// host, this kernel and this QEMU is remembered in the cache.
///
/// # Errors
/// [`Refusal::Lacking`] where KVM is asked for and does not boot the guest, with the reason.
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

fn decide(choice: AcceleratorChoice, kvm_fails: Option<String>) -> Result<Chosen, Refusal> {
    match kvm_fails {
        None => {
            let reason = "the guest booted under KVM".to_owned();
            Ok(Chosen { accelerator: Accelerator::Kvm, reason })
        }
        Some(why) if choice == AcceleratorChoice::Kvm => Err(Refusal::Lacking(format!(
            "accelerator = \"kvm\", but this host cannot boot a guest under KVM: {why}; use \
             \"tcg\" or \"auto\""
        ))),
        Some(why) => {
            let reason = format!("KVM does not boot the guest: {why}");
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
    if let Err(error) = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        return Ok(Some(format!("/dev/kvm: {error}")));
    }
    let file = spec.cache.join("accelerator.json");
    let mut now = Remembered {
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
        guest_kernel: spec.kernel.release.clone(),
        qemu: qemu.version.clone(),
        kvm_fails: None,
    };
    if let Some(before) = recall(&file, &now) {
        return Ok(before.kvm_fails);
    }
    let logs = tempfile::tempdir()?;
    let spec = GuestSpec {
        name: "kvm-probe".to_owned(),
        logs: logs.path().to_owned(),
        network: super::Network::None,
        ..spec.clone()
    };
    match Guest::launch(host, qemu, &spec, Accelerator::Kvm, KVM_LIMIT, stop) {
        Ok(guest) => guest.shutdown()?,
        Err(error) => {
            check(stop)?;
            now.kvm_fails = Some(format!("{error:#}"));
        }
    }
    remember(&file, &now)?;
    Ok(now.kvm_fails)
}

/// The remembered outcome, if it holds for `now`.
fn recall(file: &Path, now: &Remembered) -> Option<Remembered> {
    let before: Remembered = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let same = (&before.boot_id, &before.guest_kernel, &before.qemu)
        == (&now.boot_id, &now.guest_kernel, &now.qemu);
    same.then_some(before)
}

fn remember(file: &Path, outcome: &Remembered) -> anyhow::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let aside =
        tempfile::NamedTempFile::new_in(folder).with_context(|| folder.display().to_string())?;
    serde_json::to_writer_pretty(&aside, outcome)?;
    aside.persist(file).with_context(|| file.display().to_string())?;
    Ok(())
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

    #[test]
    fn an_outcome_holds_for_one_boot_kernel_and_qemu() {
        let cache = tempfile::tempdir().unwrap();
        let file = cache.path().join("accelerator.json");
        let outcome = Remembered {
            boot_id: "b".into(),
            guest_kernel: "k".into(),
            qemu: "q".into(),
            kvm_fails: Some("it hangs".into()),
        };
        assert_eq!(recall(&file, &outcome), None);
        remember(&file, &outcome).unwrap();
        let now = Remembered { kvm_fails: None, ..outcome.clone() };
        assert_eq!(recall(&file, &now), Some(outcome.clone()));
        for other in [
            Remembered { boot_id: "other".into(), ..now.clone() },
            Remembered { guest_kernel: "other".into(), ..now.clone() },
            Remembered { qemu: "other".into(), ..now.clone() },
        ] {
            assert_eq!(recall(&file, &other), None);
        }
    }
}

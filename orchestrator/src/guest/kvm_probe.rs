//! Whether KVM works here. That /dev/kvm exists proves nothing: only a guest that booted does.
//!
//! KVM is blamed only for a guest that was started under it, did not boot, and boots under TCG: a
//! missing library or a broken initramfs is an error of its own. Remembered, for this boot of the
//! host, are a guest that booted and one that hung or crashed QEMU. What may change at any time is
//! looked at again by the next run: `/dev/kvm` that cannot be opened, QEMU's own refusal.

use std::{fs, path::Path};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{Accelerator, launch::NotBooted, process::End};

/// What a remembered outcome holds for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    pub boot_id: String,
    pub guest_kernel: String,
    pub qemu: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    #[serde(flatten)]
    key: Key,
    /// Why KVM does not work; none if it does.
    kvm_fails: Option<String>,
}

/// Outcomes are remembered here, below the cache.
const MEMORY: &str = "kvm.json";
/// What QEMU and the guest said when KVM failed last.
const LOG: &str = "kvm-probe.log";

/// Why KVM does not work here, in one sentence; none if it does. `boot` boots the guest and ends
/// it.
///
/// # Errors
/// What kept the guest from being started, or from booting under TCG as well.
pub(super) fn probe(
    device: &Path,
    cache: &Path,
    key: Key,
    boot: &mut dyn FnMut(Accelerator) -> anyhow::Result<()>,
) -> anyhow::Result<Option<String>> {
    if let Err(error) = fs::OpenOptions::new().read(true).write(true).open(device) {
        return Ok(Some(format!("{} cannot be opened: {error}", device.display())));
    }
    let memory = cache.join(MEMORY);
    if let Some(kvm_fails) = recall(&memory, &key) {
        return Ok(kvm_fails);
    }
    let Err(error) = boot(Accelerator::Kvm) else {
        remember(&memory, &Remembered { key, kvm_fails: None })?;
        return Ok(None);
    };
    let Some(end) = error.downcast_ref::<NotBooted>().map(|failed| failed.end) else {
        return Err(error);
    };
    boot(Accelerator::Tcg)?;
    let log = cache.join(LOG);
    fs::write(&log, format!("{error:#}\n")).with_context(|| log.display().to_string())?;
    let why = format!("{end}; see {}", log.display());
    if matches!(end, End::None | End::Signal(_)) {
        remember(&memory, &Remembered { key, kvm_fails: Some(why.clone()) })?;
    }
    Ok(Some(why))
}

/// The remembered outcome, if it holds for `key`.
fn recall(file: &Path, key: &Key) -> Option<Option<String>> {
    let before: Remembered = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    (before.key == *key).then_some(before.kvm_fails)
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
    use anyhow::anyhow;

    use super::*;

    fn key() -> Key {
        Key { boot_id: "b".into(), guest_kernel: "k".into(), qemu: "q".into() }
    }

    fn not_booted(accelerator: Accelerator, end: End) -> anyhow::Error {
        anyhow!("qemu: kvm_buf_set_msrs: Assertion `ret == cpu->kvm_msr_buf->nmsrs' failed")
            .context(NotBooted { guest: "kvm-probe".into(), accelerator, end })
    }

    /// A host with `/dev/kvm`, and a count of the guests it launched.
    struct Host {
        cache: tempfile::TempDir,
        launched: u32,
    }

    impl Host {
        fn new() -> Self {
            let cache = tempfile::tempdir().unwrap();
            fs::write(cache.path().join("kvm"), "").unwrap();
            Self { cache, launched: 0 }
        }

        fn probe(
            &mut self,
            key: Key,
            mut kvm: impl FnMut() -> anyhow::Result<()>,
            mut tcg: impl FnMut() -> anyhow::Result<()>,
        ) -> anyhow::Result<Option<String>> {
            let cache = self.cache.path();
            probe(&cache.join("kvm"), cache, key, &mut |accelerator| {
                self.launched += 1;
                match accelerator {
                    Accelerator::Kvm => kvm(),
                    Accelerator::Tcg => tcg(),
                }
            })
        }

        /// Probes twice a host whose KVM fails like this; returns the reason and how many guests
        /// the second probe launched.
        fn twice(end: End) -> (String, u32) {
            let mut host = Self::new();
            let fails = || Err(not_booted(Accelerator::Kvm, end));
            let first = host.probe(key(), fails, || Ok(())).unwrap().unwrap();
            let before = host.launched;
            let second = host.probe(key(), fails, || Ok(())).unwrap().unwrap();
            assert_eq!(first, second);
            (first, host.launched - before)
        }
    }

    #[test]
    fn a_guest_that_hangs_or_crashes_qemu_is_remembered() {
        let (hung, launched) = Host::twice(End::None);
        assert!(hung.starts_with("the guest did not answer in time; see "), "{hung}");
        assert_eq!(launched, 0);
        let (crashed, launched) = Host::twice(End::Signal(6));
        assert!(crashed.starts_with("QEMU crashed with signal 6; see "), "{crashed}");
        assert_eq!(launched, 0);
    }

    #[test]
    fn what_qemu_or_the_kernel_refuses_is_looked_at_again() {
        assert_eq!(Host::twice(End::Code(1)).1, 2);
        assert_eq!(Host::twice(End::Panic).1, 2);
    }

    #[test]
    fn people_read_one_sentence_and_the_log_has_the_rest() {
        let mut host = Host::new();
        let fails = || Err(not_booted(Accelerator::Kvm, End::Signal(6)));
        let why = host.probe(key(), fails, || Ok(())).unwrap().unwrap();
        assert!(!why.contains("Assertion") && !why.contains('\n'), "{why}");
        let log = fs::read_to_string(why.split_once("see ").unwrap().1).unwrap();
        assert!(log.contains("Assertion"), "{log}");
    }

    #[test]
    fn a_guest_that_tcg_does_not_boot_either_is_no_fault_of_kvm() {
        let mut host = Host::new();
        let (kvm, tcg) = (Accelerator::Kvm, Accelerator::Tcg);
        let error = host
            .probe(key(), || Err(not_booted(kvm, End::None)), || Err(not_booted(tcg, End::Panic)))
            .unwrap_err();
        assert!(error.to_string().contains("under tcg"), "{error:#}");
        assert_eq!(host.probe(key(), || Ok(()), || Ok(())).unwrap(), None, "it was remembered");
    }

    #[test]
    fn what_keeps_a_guest_from_being_started_is_an_error_of_its_own() {
        let mut host = Host::new();
        let lacks = || Err(anyhow!("rtload: needs libc.so.6, not installed here"));
        let error = host.probe(key(), lacks, || Ok(())).unwrap_err();
        assert!(error.to_string().contains("libc.so.6"), "{error:#}");
        assert_eq!(host.launched, 1);
        assert_eq!(host.probe(key(), || Ok(()), || Ok(())).unwrap(), None, "it was remembered");
    }

    #[test]
    fn a_device_that_cannot_be_opened_is_looked_at_again() {
        let mut host = Host::new();
        let device = host.cache.path().join("kvm");
        fs::remove_file(&device).unwrap();
        let why = host.probe(key(), || Ok(()), || Ok(())).unwrap().unwrap();
        assert!(why.contains("cannot be opened: No such file"), "{why}");
        assert_eq!(host.launched, 0);
        fs::write(&device, "").unwrap();
        assert_eq!(host.probe(key(), || Ok(()), || Ok(())).unwrap(), None);
        assert_eq!(host.launched, 1);
    }

    #[test]
    fn an_outcome_holds_for_one_boot_kernel_and_qemu() {
        let mut host = Host::new();
        host.probe(key(), || Ok(()), || Ok(())).unwrap();
        host.probe(key(), || Ok(()), || Ok(())).unwrap();
        assert_eq!(host.launched, 1);
        for (launched, other) in [
            (2, Key { boot_id: "other".into(), ..key() }),
            (3, Key { guest_kernel: "other".into(), ..key() }),
            (4, Key { qemu: "other".into(), ..key() }),
        ] {
            host.probe(other, || Ok(()), || Ok(())).unwrap();
            assert_eq!(host.launched, launched);
        }
    }
}

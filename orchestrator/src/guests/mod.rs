//! The guests that a run boots, and what their threads use.

pub(crate) mod kvm;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use kernel::affinity::Tid;
use model::{
    duration,
    manifest::{AcceleratorFacts, VmFacts},
    suite::{self, AcceleratorChoice, GuestSettings},
};

use crate::{
    guest::{
        Accelerator, Chosen, Contents, Guest, GuestSpec, KernelImage, Network, Plain, Qemu, choose,
        default_cache, ensure_kernel, find_qemu, unconfined,
    },
    host::{Roots, Stage, Stop, program},
    mechanism::Vm,
};

/// All that is needed to boot one.
pub struct Guests {
    qemu: Qemu,
    kernel: KernelImage,
    chosen: Chosen,
    cache: PathBuf,
    contents: Contents,
}

/// A guest that answers, and what its threads have used.
pub struct Booted {
    /// The guest.
    pub guest: Guest,
    /// From QEMU's start to the agent's hello.
    pub boot_ns: u64,
    accelerator: Accelerator,
}

/// CPU time used by the vCPU threads and by QEMU's others, and what KVM counted.
#[derive(Debug, Clone)]
pub struct Usage {
    vcpus_ns: u64,
    others_ns: u64,
    kvm: Option<kvm::Counted>,
}

impl Guests {
    /// Finds QEMU and a kernel, and the accelerator by booting.
    ///
    /// # Errors
    /// [`crate::error::Refusal::Lacking`] in the chain where something is missing.
    pub fn prepare(choice: AcceleratorChoice, stop: &Stop) -> Result<Self> {
        let cache = default_cache()?;
        let (qemu, kernel) = (find_qemu()?, ensure_kernel(&cache)?);
        let contents = Contents::default().with_program(&program("rtload")?);
        let spec = GuestSpec {
            kernel: kernel.clone(),
            cache: cache.clone(),
            contents: contents.clone(),
            ..GuestSpec::default()
        };
        let chosen = choose(choice, &Plain, &qemu, &spec, stop.flag())?;
        for why in unconfined(&qemu, chosen.accelerator) {
            model::say!("note: {why}");
        }
        Ok(Self { qemu, kernel, chosen, cache, contents })
    }

    /// What every guest holds.
    #[must_use]
    pub fn contents(&self) -> Contents {
        self.contents.clone()
    }

    /// Boots the guest of `vm`, which holds `contents`, with its logs in `folder`.
    ///
    /// # Errors
    /// What did not happen in time.
    pub fn boot(
        &self,
        stage: &Stage,
        settings: &GuestSettings,
        vm: &suite::Vm,
        folder: &Path,
        contents: Contents,
        network: Network,
    ) -> Result<Booted> {
        let spec = GuestSpec {
            name: vm.name.clone(),
            memory_mib: vm.memory_mib.unwrap_or(settings.memory_mib),
            translation_mib: settings.translation_mib,
            vcpus: vm.vcpus.len() as u32,
            kernel: self.kernel.clone(),
            cache: self.cache.clone(),
            contents,
            network,
            append: vm
                .clock_source
                .map_or_else(String::new, |own| format!("clocksource={}", own.name())),
            logs: folder.to_owned(),
            ..GuestSpec::default()
        };
        let accelerator = self.chosen.accelerator;
        let limit = accelerator.boot_limit().max(Duration::from_secs(30));
        let guest =
            Guest::launch(&stage.guard, &self.qemu, &spec, accelerator, limit, stage.stop.flag())?;
        let boot_ns = duration::as_ns(guest.boot);
        Ok(Booted { guest, boot_ns, accelerator })
    }

    /// QEMU's version.
    #[must_use]
    pub fn qemu_version(&self) -> String {
        self.qemu.version.clone()
    }

    /// The guest's kernel.
    #[must_use]
    pub fn kernel_version(&self) -> String {
        self.kernel.release.clone()
    }

    /// What to tell the user of the accelerator at once, if anything.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        self.chosen.advice()
    }

    /// KVM or TCG, and why.
    #[must_use]
    pub fn accelerator(&self) -> AcceleratorFacts {
        AcceleratorFacts {
            name: self.chosen.accelerator.to_string(),
            reason: self.chosen.reason.clone(),
        }
    }
}

impl Booted {
    /// The threads that a mechanism attaches.
    #[must_use]
    pub fn vm(&self) -> Vm {
        Vm { pid: self.guest.pid(), vcpus: self.guest.vcpu_threads() }
    }

    /// What QEMU's threads have used until now; none where the kernel does not say.
    #[must_use]
    pub fn usage(&self, roots: &Roots) -> Option<Usage> {
        // The guest answers first: what that takes belongs to no workload.
        let steal_ns = self.guest_steal_ns();
        self.usage_with(roots, steal_ns)
    }

    fn guest_steal_ns(&self) -> Option<u64> {
        (self.accelerator == Accelerator::Kvm).then(|| kvm::guest_steal_ns(&self.guest)).flatten()
    }

    fn usage_with(&self, roots: &Roots, guest_steal_ns: Option<u64>) -> Option<Usage> {
        let others = self.guest.other_threads().ok()?;
        let usage = Usage::of(roots, &self.vm(), others, self.accelerator == Accelerator::Kvm)?;
        Some(Usage { kvm: usage.kvm.map(|kvm| kvm.with_guest(guest_steal_ns)), ..usage })
    }

    /// Writes down the shares of a CPU used since `before`, `elapsed_ns` ago.
    pub fn account(
        &self,
        roots: &Roots,
        before: Option<Usage>,
        elapsed_ns: u64,
        facts: &mut VmFacts,
    ) {
        // Here the guest answers last, for the same reason.
        if let Some((before, mut now)) = before.zip(self.usage_with(roots, None)) {
            now.kvm = now.kvm.map(|kvm| kvm.with_guest(self.guest_steal_ns()));
            now.account(before, elapsed_ns, facts);
        }
    }
}

impl Usage {
    /// Of a machine with these other threads; none where the kernel does not say.
    pub fn of(roots: &Roots, vm: &Vm, others: Vec<Tid>, kvm: bool) -> Option<Self> {
        let cpu_ns = |tid: Tid| roots.proc.thread_times(tid).ok().map(|times| times.cpu_ns);
        let vcpus_ns: u64 = vm.vcpus.iter().map(|&tid| cpu_ns(tid)).sum::<Option<_>>()?;
        let others_ns = others.into_iter().filter_map(cpu_ns).sum();
        let kvm = kvm.then(|| kvm::Counted::on_host(roots, vm.pid, &vm.vcpus));
        Some(Self { vcpus_ns, others_ns, kvm })
    }

    /// Writes down the shares of a CPU used since `before`, `elapsed_ns` ago.
    pub fn account(self, before: Self, elapsed_ns: u64, facts: &mut VmFacts) {
        let share = |then: u64, now: u64| now.saturating_sub(then) as f64 / elapsed_ns as f64;
        facts.vcpu_share = Some(share(before.vcpus_ns, self.vcpus_ns));
        facts.emulator_share = Some(share(before.others_ns, self.others_ns));
        facts.kvm = self.kvm.zip(before.kvm).map(|(now, before)| now.since(&before));
    }
}

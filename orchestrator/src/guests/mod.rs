//! The guests that a run boots, and what their threads use.

pub(crate) mod kvm;
mod settle;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use kernel::affinity::Tid;
use model::{
    duration,
    manifest::{AcceleratorFacts, DiskFacts, VmFacts},
    suite::{self, AcceleratorChoice, GuestSettings, KernelChoice, System},
};

use crate::{
    error::Refusal,
    guest::{
        Accelerator, Chosen, Contents, DiskImage, Guest, GuestSpec, KernelImage, Network, OwnDisk,
        Plain, Qemu, choose, default_cache, ensure_kernel, ensure_kind, find_qemu, make_seed,
        static_programs, unconfined,
    },
    host::{Roots, Stage, Stop, program},
    mechanism::Vm,
};

/// All that is needed to boot one.
pub struct Guests {
    qemu: Qemu,
    kernel: KernelImage,
    /// Those that VMs boot.
    kernels: Vec<(KernelChoice, KernelImage)>,
    /// The user's disks that VMs boot, and by what the programs enter them.
    disks: Vec<DiskImage>,
    seed: Option<Arc<File>>,
    chosen: Chosen,
    cache: PathBuf,
    contents: Contents,
}

/// Memory, in MiB, without which a distribution does not start at its ease.
const DISTRIBUTION_MIB: u32 = 1024;

/// A guest that answers, and what its threads have used.
pub struct Booted {
    /// The guest.
    pub guest: Guest,
    /// From QEMU's start to the agent's hello.
    pub boot_ns: u64,
    /// What the report should know of the boot.
    pub warnings: Vec<String>,
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
    /// Finds QEMU and the kernels, disks and programs of `systems`, and the accelerator by booting.
    ///
    /// # Errors
    /// [`crate::error::Refusal::Lacking`] in the chain where something is missing.
    pub fn prepare(choice: AcceleratorChoice, systems: &[&System], stop: &Stop) -> Result<Self> {
        let cache = default_cache()?;
        let (kernels, disks) = (kernels(systems, &cache)?, disks(systems)?);
        let seed = if disks.is_empty() { None } else { Some(Arc::new(seed()?)) };
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
        Ok(Self { qemu, kernel, kernels, disks, seed, chosen, cache, contents })
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
        let own_disk = vm.system.disk().map(|disk| self.own_disk(disk)).transpose()?;
        let (least_mib, network) = match (&own_disk, network) {
            // A distribution waits long for a network card that never comes.
            (Some(_), Network::None) => (DISTRIBUTION_MIB, Network::User { forwards: Vec::new() }),
            (Some(_), network) => (DISTRIBUTION_MIB, network),
            (None, network) => (0, network),
        };
        let spec = GuestSpec {
            name: vm.name.clone(),
            memory_mib: vm.memory_mib.unwrap_or(settings.memory_mib.max(least_mib)),
            translation_mib: settings.translation_mib,
            vcpus: vm.vcpus.len() as u32,
            kernel: self.kernel_of(&vm.system).clone(),
            cache: self.cache.clone(),
            contents,
            network,
            append: vm
                .clock_source
                .map_or_else(String::new, |own| format!("clocksource={}", own.name())),
            own_disk,
            logs: folder.to_owned(),
            ..GuestSpec::default()
        };
        let accelerator = self.chosen.accelerator;
        let built_in = || accelerator.boot_limit().max(Duration::from_secs(30));
        let limit = vm.system.disk().map_or_else(built_in, |disk| disk.boot_within);
        let guest =
            Guest::launch(&stage.guard, &self.qemu, &spec, accelerator, limit, stage.stop.flag())?;
        let warning = match &spec.own_disk {
            Some(_) => settle::wait(&guest, limit.saturating_sub(guest.boot), &stage.stop)?,
            None => None,
        };
        let several = spec.vcpus > 1 && accelerator == Accelerator::Tcg;
        let unsafe_qemu = several.then(|| self.qemu.breaks_guests_of_several_vcpus()).flatten();
        let warnings = warning.into_iter().chain(unsafe_qemu).collect();
        let boot_ns = duration::as_ns(guest.boot);
        Ok(Booted { guest, boot_ns, warnings, accelerator })
    }

    fn kernel_of(&self, system: &System) -> &KernelImage {
        let System::BuiltIn(choice) = system else { return &self.kernel };
        let found = self.kernels.iter().find(|(own, _)| own == choice);
        found.map_or(&self.kernel, |(_, kernel)| kernel)
    }

    fn own_disk(&self, disk: &suite::Disk) -> Result<OwnDisk> {
        let image = self.disks.iter().find(|own| own.path == disk.image);
        let image = image.context("the plan does not have this disk")?.clone();
        let seed = self.seed.clone().context("the plan has no disk")?;
        Ok(OwnDisk { image, seed })
    }

    /// The disks of the user's that VMs boot.
    #[must_use]
    pub fn disks(&self) -> Vec<DiskFacts> {
        self.disks.iter().map(|own| own.facts.clone()).collect()
    }

    /// QEMU's version.
    #[must_use]
    pub fn qemu_version(&self) -> String {
        self.qemu.version.clone()
    }

    /// The kernel of guests that ask for no other.
    #[must_use]
    pub fn kernel_version(&self) -> String {
        self.kernel.release.clone()
    }

    /// The kernels of the built-in guests that VMs boot; none where all boot disks of the user's.
    #[must_use]
    pub fn kernels_in_use(&self) -> Option<String> {
        let releases: Vec<_> = self.kernels.iter().map(|(_, own)| own.release.as_str()).collect();
        (!releases.is_empty()).then(|| releases.join(", "))
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

/// The kernels that these systems ask for, each once.
fn kernels(systems: &[&System], cache: &Path) -> Result<Vec<(KernelChoice, KernelImage)>> {
    let mut kernels: Vec<(KernelChoice, KernelImage)> = Vec::new();
    for system in systems {
        let System::BuiltIn(choice) = system else { continue };
        if kernels.iter().all(|(own, _)| own != choice) {
            kernels.push((choice.clone(), ensure_kind(cache, choice)?));
        }
    }
    Ok(kernels)
}

/// The disks that these systems ask for, each once.
fn disks(systems: &[&System]) -> Result<Vec<DiskImage>> {
    let mut disks: Vec<DiskImage> = Vec::new();
    for disk in systems.iter().filter_map(|system| system.disk()) {
        if disks.iter().all(|own| own.path != disk.image) {
            disks.push(DiskImage::look(&disk.image).map_err(Refusal::Usage)?);
        }
    }
    Ok(disks)
}

fn seed() -> Result<File> {
    let [agent, rtload] = static_programs()?;
    make_seed(&agent, &rtload)
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
        Some(usage.with_guest(guest_steal_ns))
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
            now = now.with_guest(self.guest_steal_ns());
            now.account(before, elapsed_ns, facts);
        }
    }
}

impl Usage {
    /// With the steal time as the guest's kernel sees it.
    #[must_use]
    pub fn with_guest(self, steal_ns: Option<u64>) -> Self {
        Self { kvm: self.kvm.map(|kvm| kvm.with_guest(steal_ns)), ..self }
    }

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

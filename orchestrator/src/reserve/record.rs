//! The result folder of a reservation (`--out`): the supply is traced as in a run.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use model::{
    Manifest, Suite, duration,
    manifest::{
        AcceleratorFacts, Facts, KeepAwake, RepetitionRecord, SCHEMA_VERSION, Status, TraceFacts,
        Versions,
    },
    sample::{Supply, read_csv},
    suite::{self, Experiment, ReservationSettings, Vcpu},
};

use crate::{
    error::Refusal,
    folder::{Folder, now_utc},
    host::{Cpus, Roots, Stage},
    mechanism::Vm,
    trace::{self, Tracer, recorder::SUPPLY},
};

/// What is recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Purpose {
    /// Of the folder's suite and only experiment.
    pub name: &'static str,
    /// What is done to the machine.
    pub what: &'static str,
    /// Why the CPU is not kept awake.
    pub cpus: &'static str,
}

/// A trace that has been recorded.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// The result folder.
    pub folder: PathBuf,
    /// The rows, in the order in which they were written.
    pub rows: Vec<Supply>,
    /// How the trace came out.
    pub facts: TraceFacts,
    /// What to know of it.
    pub warnings: Vec<String>,
}

/// A trace that is being recorded, and where it goes.
pub(crate) struct Record {
    purpose: Purpose,
    folder: Folder,
    partial: PathBuf,
    manifest: Manifest,
    started: (String, Instant),
    tracer: Tracer,
}

impl Record {
    /// Makes the folder, before anything is touched.
    ///
    /// # Errors
    /// [`Refusal`] where it cannot be made, or this host cannot be traced.
    pub fn prepare(out: &Path, roots: &Roots) -> Result<Folder, Refusal> {
        trace::available(roots).map_err(|why| Refusal::Lacking(format!("--out: {why}")))?;
        Folder::make(out)
    }

    /// Starts to trace.
    ///
    /// # Errors
    /// What tracefs or the file system refused.
    pub fn start(
        folder: Folder,
        stage: &mut Stage,
        vm: &Vm,
        purpose: Purpose,
        reservation: Option<ReservationSettings>,
    ) -> Result<Self> {
        let mut manifest = manifest(&stage.roots, &stage.cpus, vm, purpose, reservation);
        manifest.cleared = stage.cleared();
        folder.save(&manifest)?;
        let partial = folder.begin(purpose.name, 0)?;
        let tracer = Tracer::start(stage, &[(suite::Vm::NAME, vm)], false, &partial)?;
        let started = (now_utc(), Instant::now());
        Ok(Self { purpose, folder, partial, manifest, started, tracer })
    }

    /// The folder of the repetition that is being recorded, for what else is written into it.
    pub fn repetition(&self) -> &Path {
        &self.partial
    }

    /// Ends the trace, with what the mechanism said.
    ///
    /// # Errors
    /// Where the recorder failed.
    pub fn finish(mut self, mechanism: Vec<String>) -> Result<Recorded> {
        let traced = self.tracer.stop()?;
        let warnings = trace::warnings(&traced);
        warnings.iter().for_each(|warning| model::say!("warning: {warning}"));
        let (started_utc, since) = self.started;
        self.manifest.finished_utc = Some(now_utc());
        let record = RepetitionRecord {
            experiment: self.purpose.name.to_owned(),
            attempt: 0,
            repetition: 0,
            status: Status::Done,
            error: None,
            started_utc,
            elapsed_ns: duration::as_ns(since.elapsed()),
            stalled_share: None,
            noisy: false,
            counts: true,
            facts: Facts { trace: Some(traced), mechanism, warnings, ..Facts::default() },
        };
        self.folder.commit(&self.partial, &record)?;
        self.manifest.repetitions.push(record);
        self.folder.save(&self.manifest)?;
        let folder = self.folder.path().to_owned();
        drop(self.folder);
        Recorded::read(&folder)
    }
}

impl Recorded {
    /// Reads it from its folder.
    ///
    /// # Errors
    /// Where it holds no trace.
    pub fn read(folder: &Path) -> Result<Self> {
        let results::Folder { path, manifest } = results::Folder::open(folder)?;
        let record = manifest.repetitions.first().context("no repetition")?;
        let facts = record.facts.trace.clone().context("no trace")?;
        let rows = read_csv(&results::folder::place_of(&path, record).join(SUPPLY))?;
        Ok(Self { folder: path, rows, facts, warnings: record.facts.warnings.clone() })
    }
}

fn manifest(
    roots: &Roots,
    cpus: &Cpus,
    vm: &Vm,
    purpose: Purpose,
    reservation: Option<ReservationSettings>,
) -> Manifest {
    let experiment = Experiment {
        name: purpose.name.to_owned(),
        duration: Duration::ZERO,
        repetitions: 1,
        loads: Vec::new(),
        services: Vec::new(),
        vms: vec![suite::Vm {
            name: suite::Vm::NAME.to_owned(),
            found: None,
            way_in: None,
            system: suite::System::default(),
            vcpus: vm
                .vcpus
                .iter()
                .map(|_| Vcpu { cpu: None, reservation: reservation.clone() })
                .collect(),
            emulator: suite::Emulator::default(),
            memory_mib: None,
            clock_source: None,
            pause: None,
            services: Vec::new(),
        }],
        trace: Some(true),
        work: suite::Work::default(),
        surge: None,
    };
    let description =
        format!("{} of process {}, which somebody else started", purpose.what, vm.pid);
    Manifest {
        schema_version: SCHEMA_VERSION,
        suite: Suite {
            name: purpose.name.to_owned(),
            description,
            host: suite::HostSettings { sentinel: false, ..Default::default() },
            guest: suite::GuestSettings::default(),
            noise: suite::NoiseSettings::default(),
            simulate: suite::SimulateSettings::default(),
            experiments: vec![experiment],
            sweeps: Vec::new(),
        },
        started_utc: now_utc(),
        finished_utc: None,
        host: roots.host_facts(cpus),
        versions: Versions {
            bench: env!("CARGO_PKG_VERSION").to_owned(),
            qemu: None,
            guest_kernel: None,
        },
        seed: 0,
        accelerator: accelerator(roots, vm.pid),
        keep_awake: KeepAwake { on: false, reason: purpose.cpus.to_owned(), idle_cost: None },
        disks: Vec::new(),
        cleared: None,
        analyses: Vec::new(),
        impossible: Vec::new(),
        resumed: Vec::new(),
        repetitions: Vec::new(),
    }
}

/// A process under KVM has a virtual machine of KVM's open.
pub(crate) fn accelerator(roots: &Roots, pid: i32) -> Option<AcceleratorFacts> {
    let open = fs::read_dir(roots.proc.path(&format!("{pid}/fd"))).ok()?;
    let is_vm = |link: PathBuf| link.to_string_lossy().contains("kvm-vm");
    let kvm = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).any(is_vm);
    let (name, reason) = if kvm {
        ("kvm", "it has KVM's virtual machine open")
    } else {
        ("tcg", "it has none of KVM's")
    };
    Some(AcceleratorFacts { name: name.to_owned(), reason: reason.to_owned() })
}

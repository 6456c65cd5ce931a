//! The result folder of a reservation (`--out`): the supply is traced as in a run.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Result;
use model::{
    Manifest, Suite, TaskSet, duration,
    manifest::{
        AcceleratorFacts, Facts, KeepAwake, RepetitionRecord, SCHEMA_VERSION, Status, Versions,
    },
    suite::{Experiment, Place, ReservationSettings},
};

use crate::{
    error::Refusal,
    host::{Cpus, Roots, Stage},
    mechanism::Vm,
    run::{folder::Folder, record::now_utc},
    trace::{self, Tracer},
};

/// The only experiment of the folder.
const EXPERIMENT: &str = "reserve";

/// A trace that is being recorded, and where it goes.
pub(super) struct Record {
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
        reservation: Option<ReservationSettings>,
    ) -> Result<Self> {
        let mut manifest = manifest(&stage.roots, &stage.cpus, vm, reservation);
        manifest.cleared = stage.cleared();
        folder.save(&manifest)?;
        let partial = folder.begin(EXPERIMENT, 0)?;
        let tracer = Tracer::start(stage, vm, &partial)?;
        let started = (now_utc(), Instant::now());
        Ok(Self { folder, partial, manifest, started, tracer })
    }

    /// Ends the trace, with what the mechanism said; where the folder is.
    ///
    /// # Errors
    /// Where the recorder failed.
    pub fn finish(mut self, mechanism: Vec<String>) -> Result<PathBuf> {
        let traced = self.tracer.stop()?;
        let warnings = trace::warnings(&traced);
        warnings.iter().for_each(|warning| model::say!("warning: {warning}"));
        let (started_utc, since) = self.started;
        self.manifest.finished_utc = Some(now_utc());
        let record = RepetitionRecord {
            experiment: EXPERIMENT.to_owned(),
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
        Ok(self.folder.path().to_owned())
    }
}

fn manifest(
    roots: &Roots,
    cpus: &Cpus,
    vm: &Vm,
    reservation: Option<ReservationSettings>,
) -> Manifest {
    let experiment = Experiment {
        name: EXPERIMENT.to_owned(),
        place: Place::Guest,
        tasks: TaskSet::default(),
        web: None,
        duration: Duration::ZERO,
        repetitions: 1,
        load: None,
        reservation,
        emulator: model::suite::Emulator::default(),
        trace: Some(true),
        work: model::suite::Work::default(),
    };
    let description = format!("reservation of process {}, which somebody else started", vm.pid);
    Manifest {
        schema_version: SCHEMA_VERSION,
        suite: Suite {
            name: EXPERIMENT.to_owned(),
            description,
            host: model::suite::HostSettings { sentinel: false, ..Default::default() },
            guest: model::suite::GuestSettings::default(),
            noise: model::suite::NoiseSettings::default(),
            simulate: model::suite::SimulateSettings::default(),
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
        keep_awake: KeepAwake {
            on: false,
            reason: "a reservation leaves the host's CPUs as they are".to_owned(),
            idle_cost: None,
        },
        cleared: None,
        analyses: Vec::new(),
        impossible: Vec::new(),
        resumed: Vec::new(),
        repetitions: Vec::new(),
    }
}

/// A process under KVM has a virtual machine of KVM's open.
fn accelerator(roots: &Roots, pid: i32) -> Option<AcceleratorFacts> {
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

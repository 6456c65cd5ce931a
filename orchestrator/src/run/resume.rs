//! Going on in the folder of an earlier run, from whatever instant it ended at.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use kernel::affinity::format_list;
use model::{
    Manifest, Suite,
    manifest::{RepetitionRecord, Resumption, SCHEMA_VERSION},
};

use super::{noise, plan::Plan};
use crate::error::Refusal;
use crate::folder::{Folder, now_utc};

/// What the user says of it.
#[derive(Debug, Clone, Copy)]
pub struct Resume<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// Whether also on a host that has been rebooted since.
    pub after_reboot: bool,
}

/// A folder and its manifest, before the first attempt of this program.
#[derive(Debug)]
pub(super) struct Begun {
    pub folder: Folder,
    pub manifest: Manifest,
    /// Whether an earlier run had settled how the CPU is kept awake.
    pub resumed: bool,
}

impl Begun {
    /// A run that begins.
    pub fn new(folder: Folder, manifest: Manifest) -> Self {
        Self { folder, manifest, resumed: false }
    }
}

/// Opens the folder and makes its manifest complete; `now` is what a new run's would be.
///
/// # Errors
/// [`Refusal::Usage`] where this is another run, or the host has been rebooted and nobody said that
/// this does not matter.
pub(super) fn go_on(plan: &Plan, resume: &Resume, now: Manifest) -> Result<Begun> {
    let usage =
        |why: String| Refusal::Usage(format!("--resume: {}: {why}", resume.folder.display()));
    let (folder, earlier) = Folder::resume(resume.folder, &plan.text)?;
    let Some(earlier) = earlier else { return Ok(Begun::new(folder, now)) };
    same_host(&earlier, &now).map_err(usage)?;
    let rebooted = rebooted(&earlier, &now);
    if rebooted && !resume.after_reboot {
        return Err(usage(
            "the host has been rebooted since, and may be another now (speed, settings, neighbours); \
             give --after-reboot to go on all the same, which the manifest will say"
                .to_owned(),
        )
        .into());
    }
    let boot_id = now.host.boot_id.clone();
    let mut manifest = merge(earlier, now, plan).map_err(usage)?;
    manifest.resumed.push(Resumption { utc: now_utc(), boot_id, after_reboot: rebooted });
    manifest.finished_utc = None;
    adopt(&folder, &mut manifest)?;
    Ok(Begun { folder, manifest, resumed: true })
}

/// Why a run cannot go on in this folder: the first thing that differs.
fn same_host(before: &Manifest, now: &Manifest) -> Result<(), String> {
    if before.schema_version != now.schema_version {
        return Err(format!(
            "the folder has layout version {}, this program writes {SCHEMA_VERSION}",
            before.schema_version
        ));
    }
    let host = |manifest: &Manifest| {
        let facts = &manifest.host;
        [
            ("processor", format!("{:?}", facts.cpu_model)),
            ("number of CPUs", facts.cpus.to_string()),
            ("memory", format!("{:?}", facts.memory_bytes)),
            ("kernel", facts.kernel.clone()),
            ("measured CPUs", format_list(&facts.measured())),
        ]
    };
    let guests = |manifest: &Manifest| {
        [
            ("name", manifest.host.name.clone()),
            ("QEMU", manifest.versions.qemu.clone()),
            ("guest kernel", manifest.versions.guest_kernel.clone()),
            ("accelerator", manifest.accelerator.as_ref().map(|one| one.name.clone())),
        ]
    };
    for ((what, was), (_, is)) in host(before).into_iter().zip(host(now)) {
        if was != is {
            return Err(format!("the host differs: {what} was {was} and is {is}"));
        }
    }
    // A piece of the suite may have no guests, and folders of earlier versions no name.
    for ((what, was), (_, is)) in guests(before).into_iter().zip(guests(now)) {
        if let (Some(was), Some(is)) = (&was, &is)
            && was != is
        {
            return Err(format!("the host differs: {what} was {was} and is {is}"));
        }
    }
    for disk in &now.disks {
        if let Some(was) = before.disks.iter().find(|own| own.image == disk.image && *own != disk) {
            return Err(format!(
                "the disk {} was changed: it had {} bytes, changed {}, and has {}, changed {}",
                disk.image.display(),
                was.bytes,
                was.modified_utc,
                disk.bytes,
                disk.modified_utc
            ));
        }
    }
    Ok(())
}

fn rebooted(earlier: &Manifest, now: &Manifest) -> bool {
    let last = earlier.resumed.last().and_then(|one| one.boot_id.as_ref());
    let before = last.or(earlier.host.boot_id.as_ref());
    matches!((before, &now.host.boot_id), (Some(before), Some(now)) if before != now)
}

/// The earlier manifest, with the experiments of `plan` that it does not have yet: a suite is run in
/// pieces with `--only`.
fn merge(mut earlier: Manifest, now: Manifest, plan: &Plan) -> Result<Manifest, String> {
    let settings = |suite: &Suite| {
        let (experiments, sweeps) = (Vec::new(), Vec::new());
        Suite { experiments, sweeps, ..suite.clone() }
    };
    if settings(&earlier.suite) != settings(&now.suite) {
        return Err("the suite's settings differ from those that the folder was begun with".into());
    }
    for experiment in &now.suite.experiments {
        match earlier.suite.experiment(&experiment.name) {
            Some(own) if own != experiment => {
                return Err(format!(
                    "the suite differs: experiment `{}` is not as the folder was begun with",
                    experiment.name
                ));
            }
            Some(_) => {}
            None => earlier.suite.experiments.push(experiment.clone()),
        }
    }
    // In the order of the file.
    let place = |name: &str| plan.order.iter().position(|one| one == name);
    earlier.suite.experiments.sort_by_key(|one| place(&one.name));
    for sweep in now.suite.sweeps {
        let same = |own: &model::suite::Sweep| {
            (&own.experiment, &own.vm) == (&sweep.experiment, &sweep.vm)
        };
        match earlier.suite.sweeps.iter_mut().find(|own| same(own)) {
            Some(own) => *own = sweep,
            None => earlier.suite.sweeps.push(sweep),
        }
    }
    for analysis in now.analyses {
        if !earlier.analyses.iter().any(|own| own.is_as(&analysis)) {
            earlier.analyses.push(analysis);
        }
    }
    earlier
        .impossible
        .retain(|own| now.suite.experiments.iter().all(|one| one.name != own.experiment));
    earlier.impossible.extend(now.impossible);
    earlier.accelerator = earlier.accelerator.or(now.accelerator);
    for disk in now.disks {
        if !earlier.disks.contains(&disk) {
            earlier.disks.push(disk);
        }
    }
    earlier.versions.qemu = earlier.versions.qemu.or(now.versions.qemu);
    earlier.versions.guest_kernel = earlier.versions.guest_kernel.or(now.versions.guest_kernel);
    Ok(earlier)
}

/// Takes up attempts whose folders appeared before the run was killed, and not the manifest's entry;
/// removes the beginnings of others.
fn adopt(folder: &Folder, manifest: &mut Manifest) -> Result<()> {
    let names: Vec<String> =
        manifest.suite.experiments.iter().map(|one| one.name.clone()).collect();
    for name in names {
        remove_partial(&folder.path().join(&name))?;
        for (attempt, record) in folder.attempts(&name)? {
            let is_it = |one: &RepetitionRecord| one.experiment == name && one.attempt == attempt;
            if manifest.repetitions.iter().any(is_it) {
                continue;
            }
            // One without a record is of no known repetition; it is left where it is.
            let Some(record) = record.filter(is_it) else { continue };
            let repetition = record.repetition;
            manifest.repetitions.push(record);
            noise::choose(&mut manifest.repetitions, &name, repetition);
        }
    }
    folder.save(manifest)
}

fn remove_partial(experiment: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(experiment) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(".rep-") && name.ends_with(".partial") {
            fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

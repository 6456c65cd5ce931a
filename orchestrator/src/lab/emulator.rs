//! The QEMU that emulates the lab host: version 10 or later.
//!
//! See [`Qemu::emulates_several_cpus`] for why. Where the host has an older one, the distribution's
//! backports have it; it is unpacked into the cache and runs with this host's libraries.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    error::Refusal,
    guest::{Qemu, fetch_from_backports, find_qemu},
};

const PACKAGES: [&str; 3] = ["qemu-system-x86", "qemu-system-common", "qemu-system-data"];

/// The host's own QEMU where it is new enough, else one in the cache, else one fetched into it.
///
/// # Errors
/// [`Refusal::Lacking`] where none can be had.
pub(super) fn ensure(cache: &Path) -> Result<Qemu> {
    let own = find_qemu()?;
    if own.emulates_several_cpus() {
        return Ok(own);
    }
    let folder = cache.join("qemu");
    if let Some(qemu) = unpacked(&folder).and_then(|root| at(&root).ok()) {
        return Ok(qemu);
    }
    let root = fetch_from_backports(cache, &PACKAGES, &folder).with_context(|| {
        Refusal::Lacking(format!(
            "the lab host needs QEMU 10 or later, and this host has {}; install a newer one",
            own.version
        ))
    })?;
    at(&root)
}

/// A QEMU that was unpacked below `folder`.
fn unpacked(folder: &Path) -> Option<PathBuf> {
    let roots = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    roots.into_iter().find(|root| program(root).is_file())
}

fn program(root: &Path) -> PathBuf {
    root.join("usr/bin/qemu-system-x86_64")
}

/// The QEMU in an unpacked package, with the firmware of this host beside its own.
fn at(root: &Path) -> Result<Qemu> {
    let data = [root.join("usr/share/qemu"), "/usr/share/seabios".into()];
    Qemu::at(program(root), data.into()).context("the QEMU in the cache does not run here")
}

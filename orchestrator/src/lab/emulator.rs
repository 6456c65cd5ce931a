//! The QEMU that emulates the lab host: version 11 or later.
//!
//! See [`Qemu::emulates_a_host`] for why. Where the host has an older one, Debian's backports have
//! it; it is unpacked into the cache with the libraries it was built for, which may be newer than
//! this host's, and runs with them.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result};

use crate::{
    error::Refusal,
    guest::{Qemu, fetch_root, find_qemu},
};

/// The release of Debian whose backports have it.
const RELEASE: &str = "trixie";

const PACKAGES: [&str; 2] = ["qemu-system-x86", "seabios"];

/// The program in the unpacked root that starts QEMU.
const START: &str = "start-qemu";

/// QEMU with its own loader, libraries and modules. `exec`: the process is QEMU's own.
const SCRIPT: &str = "#!/bin/sh
root=$(dirname \"$0\")
lib=$root/usr/lib/x86_64-linux-gnu
export QEMU_MODULE_DIR=\"$lib/qemu\"
exec \"$lib/ld-linux-x86-64.so.2\" --library-path \"$lib\" \"$root/usr/bin/qemu-system-x86_64\" \"$@\"
";

/// The host's own QEMU where it is new enough, else one in the cache, else one fetched into it.
///
/// # Errors
/// [`Refusal::Lacking`] where none can be had.
pub(super) fn ensure(cache: &Path) -> Result<Qemu> {
    let own = find_qemu()?;
    if own.emulates_a_host() {
        return Ok(own);
    }
    let folder = cache.join("qemu");
    if let Some(qemu) = cached(&folder) {
        return Ok(qemu);
    }
    let root = fetch_root(cache, RELEASE, &PACKAGES, &folder).with_context(|| {
        Refusal::Lacking(format!(
            "the lab host needs QEMU 11 or later, and this host has {}; install a newer one",
            own.version
        ))
    })?;
    make_startable(&root).context("the QEMU in the cache")?;
    at(&root)
}

/// One that was unpacked below `folder` and runs.
fn cached(folder: &Path) -> Option<Qemu> {
    let roots = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    roots.filter_map(|root| at(&root).ok()).find(Qemu::emulates_a_host)
}

fn make_startable(root: &Path) -> Result<()> {
    let start = root.join(START);
    fs::write(&start, SCRIPT)?;
    Ok(fs::set_permissions(&start, fs::Permissions::from_mode(0o755))?)
}

/// The QEMU in an unpacked root, with its firmware.
fn at(root: &Path) -> Result<Qemu> {
    let data = ["usr/share/qemu", "usr/share/seabios"].map(|folder| root.join(folder));
    Qemu::at(root.join(START), data.into()).context("the QEMU in the cache does not run here")
}

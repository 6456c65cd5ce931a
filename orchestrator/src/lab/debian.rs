//! A whole Debian for the lab host: systemd, libvirt with its QEMU driver, Apache; made once with
//! mmdebstrap from this host's own mirror, cached, and never written to afterwards.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    error::Refusal,
    guest::{Disk, Guest, Mirror, run_quietly},
    host::{Stop, program},
};

/// The distribution's own console service would read what services print there.
pub(super) const KERNEL_ARGUMENTS: &str = "systemd.mask=serial-getty@ttyS0.service \
     systemd.mask=getty@tty1.service systemd.mask=e2scrub_reap.service systemd.log_level=warning \
     quiet";

const PACKAGES: &str = "systemd,systemd-sysv,udev,dbus,kmod,iproute2,procps,util-linux,\
     libvirt-daemon-system,libvirt-daemon-driver-qemu,libvirt-clients,qemu-system-x86,apache2-bin";

/// Sparse: only what is written takes space.
const ROOT_SIZE: &str = "4G";
const DISK_SIZE: &str = "2G";

/// The root disk: the cached image, or a copy of it that keeps what is written.
///
/// # Errors
/// [`Refusal::Lacking`] where it cannot be made here.
pub(super) fn root_disk(cache: &Path, persistent: Option<&Path>) -> Result<Disk> {
    if let Some(path) = persistent.filter(|path| path.exists()) {
        return Ok(Disk { image: path.to_owned(), persistent: true });
    }
    let image = image(cache)?;
    let Some(path) = persistent else { return Ok(Disk { image, persistent: false }) };
    let mut copy = Command::new("cp");
    copy.args(["--sparse=always", "--reflink=auto"]).arg(&image).arg(path);
    run_quietly(&mut copy).with_context(|| format!("--disk {}", path.display()))?;
    Ok(Disk { image: path.to_owned(), persistent: true })
}

/// A disk with an empty file system, made if it is not there.
///
/// # Errors
/// It cannot be made.
pub(super) fn plain_disk(path: &Path) -> Result<Disk> {
    if !path.exists() {
        let mut make = Command::new(mkfs()?);
        run_quietly(make.arg("-q").arg(path).arg(DISK_SIZE))
            .with_context(|| format!("--disk {}", path.display()))?;
    }
    Ok(Disk { image: path.to_owned(), persistent: true })
}

/// The cached image; its name changes with what is in it.
fn image(cache: &Path) -> Result<PathBuf> {
    let mirror = Mirror::of_this_host()?;
    let folder = cache.join("lab-debian");
    let path = folder.join(format!("{}-{}.ext4", mirror.release, PACKAGES.len()));
    if path.is_file() {
        return Ok(path);
    }
    if !nix::unistd::geteuid().is_root() {
        bail!(Refusal::Lacking("making the Debian root needs root, once".to_owned()));
    }
    let mmdebstrap = program("mmdebstrap").map_err(|_none| {
        Refusal::Lacking("mmdebstrap is not installed, with which the Debian root is made".into())
    })?;
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let aside = tempfile::Builder::new().prefix(".new-").tempdir_in(&folder)?;
    let (root, new) = (aside.path().join("root"), aside.path().join("image"));
    model::say!("making a Debian root for the lab host, once (about two minutes)");
    let mut bootstrap = Command::new(mmdebstrap);
    bootstrap.args(["--quiet", "--variant=minbase", &format!("--include={PACKAGES}")]);
    bootstrap.arg(&mirror.release).arg(&root);
    bootstrap.arg(format!("deb {} {} main", mirror.uri, mirror.release));
    run_quietly(&mut bootstrap).context("making the Debian root")?;
    fs::write(root.join("etc/hostname"), "lab\n")?;
    fs::write(root.join("etc/fstab"), "")?;
    let mut make = Command::new(mkfs()?);
    run_quietly(make.args(["-q", "-d"]).arg(&root).arg(&new).arg(ROOT_SIZE))
        .context("making the Debian root's image")?;
    fs::rename(&new, &path).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn mkfs() -> Result<PathBuf> {
    let system = ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"].map(PathBuf::from);
    system.into_iter().find(|path| path.is_file()).map_or_else(
        || {
            program("mkfs.ext4").map_err(|_none| {
                Refusal::Lacking("mkfs.ext4 is not installed (package e2fsprogs)".into()).into()
            })
        },
        Ok,
    )
}

/// Waits until systemd has started what it starts; services that failed are named.
///
/// # Errors
/// It takes longer than `limit`.
pub(super) fn wait_for_services(guest: &Guest, limit: Duration, stop: &Stop) -> Result<()> {
    let wait = ["systemctl", "is-system-running", "--wait"];
    let output =
        guest.run(&wait, limit, stop.flag()).context("waiting for the lab host's services")?;
    if output.status.success() {
        return Ok(());
    }
    let list = ["systemctl", "list-units", "--failed", "--plain", "--no-legend"];
    let failed = guest.run(&list, Duration::from_secs(30), stop.flag())?;
    let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let failed = String::from_utf8_lossy(&failed.stdout).trim().to_owned();
    model::say!("lab host: warning: the system is {state}: {failed}");
    Ok(())
}

//! What a guest boots from, as QEMU gets it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{GuestSpec, identity::Identity, own_disk, qemu};

/// What a guest boots from.
pub(super) enum Medium {
    /// The kernel of the specification, and this initramfs.
    Initramfs(PathBuf),
    Disk(own_disk::Opened),
}

impl Medium {
    /// Builds the initramfs, or finds it, or opens the disk.
    ///
    /// # Errors
    /// What is missing, or not as it was.
    pub fn of(spec: &GuestSpec) -> anyhow::Result<Self> {
        match &spec.own_disk {
            Some(own) => own.open().map(Self::Disk),
            None => spec.initramfs().map(Self::Initramfs),
        }
    }

    /// Adds it to `command`; `folder` is where a QEMU of another identity may read.
    ///
    /// # Errors
    /// The file system's.
    pub fn give(
        self,
        command: &mut Command,
        spec: &GuestSpec,
        identity: Option<Identity>,
        folder: &Path,
    ) -> anyhow::Result<()> {
        let initramfs = match self {
            Self::Disk(disk) => return disk.give(command, identity.is_some()),
            Self::Initramfs(path) => path,
        };
        let lend = |file: &Path, name: &str| match identity {
            Some(identity) => identity.lend(file, folder, name),
            None => Ok(file.to_owned()),
        };
        let (kernel, initrd) =
            (lend(&spec.kernel.image, "kernel")?, lend(&initramfs, "initramfs")?);
        command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
        command.args(["-append", &qemu::kernel_arguments(spec)]);
        Ok(())
    }
}

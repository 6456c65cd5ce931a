//! A guest that only spins: the smallest hog of a virtual machine, which runs under KVM even where
//! no kernel boots. Reservations on real KVM vCPU threads are tried on it.

use std::{fs, path::Path, sync::atomic::AtomicBool};

use anyhow::Context;
use tempfile::TempDir;

use super::{Launch, Qemu, Qmp, launch, process::Process};

/// `cli; jmp to itself`, and the signature that the firmware looks for.
fn image() -> [u8; 512] {
    let mut sector = [0; 512];
    sector[..3].copy_from_slice(&[0xfa, 0xeb, 0xfe]);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// A virtual machine whose vCPU spins for ever. Dropping it kills QEMU.
#[derive(Debug)]
pub struct SpinningGuest {
    process: Process,
    vcpu: i32,
    _qmp: Qmp,
    _folder: TempDir,
}

impl SpinningGuest {
    /// QEMU's process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// The vCPU's thread on the host.
    #[must_use]
    pub fn vcpu_thread(&self) -> i32 {
        self.vcpu
    }
}

/// Launches it under KVM. The firmware runs for some 100 ms before the sector does.
///
/// # Errors
/// KVM does not run it here.
pub fn spin(
    host: &dyn Launch,
    qemu: &Qemu,
    logs: &Path,
    stop: &AtomicBool,
) -> anyhow::Result<SpinningGuest> {
    let folder = tempfile::tempdir()?;
    let disk = folder.path().join("sector.img");
    fs::write(&disk, image()).with_context(|| disk.display().to_string())?;
    let mut command = std::process::Command::new(&qemu.program);
    command
        .args(["-name", "rtvm-spinning,debug-threads=on"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args(["-M", "pc", "-accel", "kvm", "-cpu", "qemu64", "-m", "16"])
        .arg("-drive")
        .arg(format!("file={},format=raw,if=ide,snapshot=on", disk.display()));
    let (mut process, mut qmp, sockets) = launch::launch_bare(host, &mut command, logs, stop)
        .context("a spinning guest under KVM")?;
    let threads = qmp.vcpu_threads(stop).map_err(|error| process.explain(error))?;
    let vcpu = *threads.first().context("QEMU lists no vCPU")?;
    drop(sockets);
    Ok(SpinningGuest { process, vcpu, _qmp: qmp, _folder: folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sector_is_one_that_firmware_boots() {
        let sector = image();
        assert_eq!(sector[510..], [0x55, 0xaa]);
        // The jump's displacement counts from the next instruction: -2 is the jump itself.
        assert_eq!(sector[2].cast_signed(), -2);
    }
}

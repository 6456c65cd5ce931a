//! A system on a disk of the user's, as QEMU gets it: the image below an overlay that ends with QEMU,
//! the drive by which the programs enter, and no path of either.

use std::{
    env,
    fs::{self, File},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context, Result};
use command_fds::{CommandFdExt, FdMapping};

use super::{DiskImage, identity::closed, seed};
use crate::{error::Refusal, host::program};

/// What is booted in place of the built-in guest.
#[derive(Debug, Clone)]
pub struct OwnDisk {
    /// The user's image.
    pub image: DiskImage,
    /// The drive for cloud-init.
    pub seed: Arc<File>,
}

/// The two files, opened for reading alone: not even a QEMU that goes wrong can write to them.
pub(super) struct Opened {
    format: &'static str,
    image: File,
    seed: File,
}

/// The files' numbers in QEMU.
const IMAGE: i32 = 10;
const SEED: i32 = 11;

impl OwnDisk {
    pub(super) fn open(&self) -> Result<Opened> {
        // By its number: the file has no name, and is open for writing here.
        let seed = format!("/proc/self/fd/{}", self.seed.as_raw_fd());
        let seed = File::open(&seed).context("the drive for cloud-init")?;
        Ok(Opened { format: self.image.format, image: self.image.open()?, seed })
    }
}

impl Opened {
    /// Adds both drives to `command`, and the files to what QEMU inherits. `stranger`: QEMU runs under
    /// a user that is not ours.
    pub fn give(self, command: &mut Command, stranger: bool) -> Result<()> {
        let Self { format, image, seed } = self;
        command.args(["-add-fd", &format!("fd={IMAGE},set=1")]);
        // QEMU makes the overlay, without a name in $TMPDIR or /var/tmp, and opens what is below it
        // for reading.
        let image_drive = format!("file=/dev/fdset/1,format={format},if=none,id=own,snapshot=on");
        command.args(["-drive", &image_drive, "-device", "virtio-blk-pci,drive=own,bootindex=1"]);
        command.args(["-add-fd", &format!("fd={SEED},set=2")]);
        command.args(["-drive", "file=/dev/fdset/2,format=raw,if=none,id=seed,readonly=on"]);
        let seed_drive = format!("virtio-blk-pci,drive=seed,serial={}", seed::SERIAL);
        command.args(["-device", &seed_drive]);
        if stranger && !is_everybodys(&env::temp_dir()) {
            command.env_remove("TMPDIR");
        }
        let at = |file: File, child_fd| FdMapping { parent_fd: OwnedFd::from(file), child_fd };
        command.fd_mappings(vec![at(image, IMAGE), at(seed, SEED)])?;
        Ok(())
    }
}

/// Whether everybody may make files in a folder.
fn is_everybodys(folder: &Path) -> bool {
    let writable = |found: fs::Metadata| found.permissions().mode() & 0o003 == 0o003;
    closed(folder).is_none() && fs::metadata(folder).is_ok_and(writable)
}

/// The programs that enter any distribution: agent and load generator, without shared libraries.
///
/// # Errors
/// [`Refusal::Lacking`] where they were not built so.
pub fn static_programs() -> Result<[PathBuf; 2], Refusal> {
    let of = |name: &str| {
        let built = program(&format!("{name}-static")).or_else(|_none| program(name));
        built.ok().filter(|path| is_static(path)).ok_or_else(|| {
            Refusal::Lacking(format!(
                "a VM with a system of its own needs the program `{name}` without shared libraries, \
                 which is not there; `make build` (scripts/static.sh) makes it, where a static C library is \
                 installed"
            ))
        })
    };
    Ok([of(seed::AGENT)?, of(seed::RTLOAD)?])
}

/// Whether nothing else has to be loaded for the program to run.
fn is_static(path: &Path) -> bool {
    let Ok(content) = fs::read(path) else { return false };
    goblin::elf::Elf::parse(&content)
        .is_ok_and(|elf| elf.interpreter.is_none() && elf.libraries.is_empty())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn qemu_gets_the_files_open_and_no_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let mut sector = [0; 512];
        (sector[0], sector[510], sector[511]) = (0xf4, 0x55, 0xaa);
        fs::write(&path, sector).unwrap();
        let mut seed = tempfile::tempfile().unwrap();
        seed.write_all(b"seed").unwrap();
        let own = OwnDisk { image: DiskImage::look(&path).unwrap(), seed: Arc::new(seed) };
        let mut command = Command::new("sh");
        let script = "cmp -s /proc/self/fd/10 \"$IMAGE\" && cat /proc/self/fd/11 && grep flags \
                      /proc/self/fdinfo/10 /proc/self/fdinfo/11";
        command.args(["-c", script]).env("IMAGE", &path);
        own.open().unwrap().give(&mut command, false).unwrap();
        let line: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        let line = line.join(" ");
        assert!(!line.contains(&*path.to_string_lossy()), "{line}");
        for part in [
            "-add-fd fd=10,set=1 -drive file=/dev/fdset/1,format=raw,if=none,id=own,snapshot=on",
            "-drive file=/dev/fdset/2,format=raw,if=none,id=seed,readonly=on",
            "virtio-blk-pci,drive=seed,serial=rt-vm-bench",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.starts_with("seed"), "{output:?}");
        // Octal, with O_RDONLY in the last digit.
        let flags: Vec<_> = said.lines().filter(|line| line.contains("flags")).collect();
        assert!(flags.len() == 2 && flags.iter().all(|line| line.ends_with('0')), "{flags:?}");
    }

    #[test]
    fn an_overlay_goes_only_where_everybody_may_write() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |mode| {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            is_everybodys(folder.path())
        };
        assert!(!mode(0o755) && !mode(0o700));
        // Where the way to it is everybody's.
        assert_eq!(mode(0o1777), closed(folder.path()).is_none());
    }

    #[test]
    fn a_program_with_libraries_is_not_static() {
        assert!(!is_static(&std::env::current_exe().unwrap()));
        assert!(!is_static(Path::new("/no/such/program")));
    }
}

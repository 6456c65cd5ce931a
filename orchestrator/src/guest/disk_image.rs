//! A disk image of the user's: what it is, looked at before anything boots from it. It is opened for
//! reading alone, here and by QEMU.

use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use model::manifest::DiskFacts;
use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};

use super::qcow2::{self, Header, SECTOR};

/// Where QEMU locks a byte of an image for as long as somebody may write to it: the place of the
/// permission "write" (block/file-posix.c, RAW_LOCK_PERM_BASE and BLK_PERM_WRITE).
const WRITER: i64 = 100 + 1;

/// The end of a boot sector.
const SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// A boot sector's program; a table of partitions stands behind it.
const BOOT_PROGRAM: usize = 440;

/// An image from which a PC can boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskImage {
    /// The file.
    pub path: PathBuf,
    /// `qcow2` or `raw`.
    pub format: &'static str,
    /// For the manifest.
    pub facts: DiskFacts,
}

impl DiskImage {
    /// Looks at the image `path`.
    ///
    /// # Errors
    /// Why nothing can be booted from it, and what to do, in one sentence that names the file.
    pub fn look(path: &Path) -> Result<Self, String> {
        let named = |why: String| format!("{}: {why}", path.display());
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => named("there is no such file; give a disk image".to_owned()),
            _ => named(error.to_string()),
        })?;
        let found = file.metadata().map_err(|error| named(error.to_string()))?;
        if !found.is_file() {
            return Err(named("it is no file; give a disk image, qcow2 or raw".to_owned()));
        }
        let (format, virtual_bytes, sector) = inside(&file, &found).map_err(named)?;
        boots(&sector).map_err(named)?;
        let modified = found.modified().map_err(|error| named(error.to_string()))?;
        let modified =
            jiff::Timestamp::try_from(modified).map_err(|error| named(error.to_string()))?;
        let facts = DiskFacts {
            image: path.to_owned(),
            format: format.to_owned(),
            bytes: found.len(),
            virtual_bytes,
            modified_utc: modified.to_string(),
        };
        Ok(Self { path: path.to_owned(), format, facts })
    }

    /// Opens it for reading, unless it is another than it was.
    ///
    /// # Errors
    /// What changed, or the file system's.
    pub(super) fn open(&self) -> Result<File> {
        let now = Self::look(&self.path).map_err(anyhow::Error::msg)?;
        if now != *self {
            anyhow::bail!(
                "{}: it was changed since the run began; leave an image alone while it is measured",
                self.path.display()
            );
        }
        File::open(&self.path).with_context(|| self.path.display().to_string())
    }
}

/// Its format, the size of the disk that is in it, and that disk's first sector.
fn inside(file: &File, found: &Metadata) -> Result<(&'static str, u64, [u8; SECTOR]), String> {
    if writer(file).map_err(|error| error.to_string())? {
        return Err("another QEMU uses it and may write to it; shut that VM down, or give a copy"
            .to_owned());
    }
    let mut sector = [0; SECTOR];
    let whole = found.len() >= SECTOR as u64;
    if whole {
        file.read_exact_at(&mut sector, 0).map_err(|error| error.to_string())?;
    }
    if sector.starts_with(&qcow2::MAGIC) {
        let header = Header::of(file)?;
        let sector = header
            .first_sector(file)
            .map_err(|error| format!("its tables or data are damaged: {error}"))?;
        return Ok(("qcow2", header.size, sector));
    }
    if whole && sector.ends_with(&SIGNATURE) {
        return Ok(("raw", found.len(), sector));
    }
    Err("it is no disk image: neither qcow2 nor a raw disk with a boot sector; of other formats \
         `qemu-img convert -O qcow2 IMAGE NEW` makes one"
        .to_owned())
}

/// Whether somebody may write to it, as QEMU and its tools say by locks.
fn writer(file: &File) -> io::Result<bool> {
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: WRITER,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

/// Whether a PC's BIOS finds a program there.
fn boots(sector: &[u8; SECTOR]) -> Result<(), String> {
    if sector.ends_with(&SIGNATURE) && sector[..BOOT_PROGRAM].iter().any(|byte| *byte != 0) {
        return Ok(());
    }
    Err("there is no boot program in its first sector: it is for another architecture, or boots by \
         UEFI alone; give an image for x86-64 that boots by BIOS, as most distributions' cloud images \
         do"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    /// A boot sector with a program, if of one byte only.
    fn boot_sector() -> [u8; SECTOR] {
        let mut sector = [0; SECTOR];
        sector[0] = 0xf4;
        sector[510..].copy_from_slice(&SIGNATURE);
        sector
    }

    fn look(content: &[u8]) -> Result<DiskImage, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let looked = DiskImage::look(file.path());
        looked.map_err(|why| why.replace(&file.path().display().to_string(), "FILE"))
    }

    #[test]
    fn raw_disks_and_qcow2_are_known_by_what_is_in_them() {
        let raw = look(&[&boot_sector()[..], &[7; 512]].concat()).unwrap();
        assert_eq!((raw.format, raw.facts.bytes, raw.facts.virtual_bytes), ("raw", 1024, 1024));
        let qcow2 = look(&qcow2::tests::image(&boot_sector())).unwrap();
        assert_eq!((qcow2.format, qcow2.facts.virtual_bytes), ("qcow2", 1 << 20));
        assert!(qcow2.facts.modified_utc.ends_with('Z'), "{:?}", qcow2.facts);
    }

    #[test]
    fn what_is_no_disk_of_a_pc_is_refused() {
        for no_image in [&b"x"[..], &[0; 4096], b"#!/bin/sh\necho no image\n"] {
            assert!(look(no_image).unwrap_err().starts_with("FILE: it is no disk image"));
        }
        let mut of_another = boot_sector();
        of_another[0] = 0;
        for disk in
            [of_another.to_vec(), qcow2::tests::image(&of_another), qcow2::tests::image(&[0; 512])]
        {
            let why = look(&disk).unwrap_err();
            assert!(why.contains("another architecture"), "{why}");
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(DiskImage::look(folder.path()).unwrap_err().contains("it is no file"));
        let none = DiskImage::look(&folder.path().join("none.qcow2")).unwrap_err();
        assert!(none.contains("none.qcow2: there is no such file"), "{none}");
    }

    #[test]
    fn an_image_that_changes_while_it_is_measured_is_not_booted_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        fs::write(&path, boot_sector()).unwrap();
        let image = DiskImage::look(&path).unwrap();
        assert!(image.open().is_ok());
        fs::write(&path, [boot_sector(), boot_sector()].concat()).unwrap();
        let error = image.open().unwrap_err().to_string();
        assert!(error.contains("it was changed since the run began"), "{error}");
    }

    /// As QEMU does for a disk that a VM may write to.
    #[test]
    fn an_image_that_another_qemu_may_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        fs::write(&path, boot_sector()).unwrap();
        let other = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let lock = libc::flock {
            l_type: libc::F_RDLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: WRITER,
            l_len: 1,
            l_pid: 0,
        };
        fcntl(&other, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
        assert!(DiskImage::look(&path).unwrap_err().contains("another QEMU uses it"));
        drop(other);
        DiskImage::look(&path).unwrap();
    }
}

//! From the initramfs to a root file system on a disk: a whole distribution with its own first
//! process, which then starts this program as a service.

use std::{
    ffi::CStr,
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    mount::{MsFlags, mount},
    unistd::{chdir, chroot, execv},
};

/// Names the block device of the other root, for example `/dev/vda`. No file: no other root.
pub const ROOT: &str = "/switch.root";

/// What is copied onto the other root before it is entered.
pub const OVERLAY: &str = "/overlay";

/// Where the disk of a guest without another root is mounted; its device stands in this file.
pub const DISK: &str = "/disk.device";

const NEW_ROOT: &str = "/newroot";
const DISK_FOLDER: &str = "/disk";
const FIRST_PROCESS: &CStr = c"/sbin/init";

/// A disk's driver needs some moments to find it.
const DEVICE_LIMIT: Duration = Duration::from_secs(10);

/// Enters the other root, where one is asked for, and becomes its first process. Returns only where
/// none is asked for, or where that fails.
///
/// # Errors
/// The device does not appear or holds no root file system.
pub fn to_other_root() -> io::Result<()> {
    let Ok(device) = fs::read_to_string(ROOT) else { return Ok(()) };
    let device = device.trim();
    enter(device).map_err(|error| io::Error::other(format!("the root on {device}: {error}")))
}

/// Mounts the disk that [`DISK`] names, if it does; what fails is a warning.
pub fn mount_extra_disk(warnings: &mut Vec<String>) {
    let Ok(device) = fs::read_to_string(DISK) else { return };
    if let Err(error) = mount_disk(device.trim(), DISK_FOLDER) {
        warnings.push(format!("mounting {} on {DISK_FOLDER}: {error}", device.trim()));
    }
}

fn enter(device: &str) -> io::Result<()> {
    mount_disk(device, NEW_ROOT)?;
    copy(Path::new(OVERLAY), Path::new(NEW_ROOT))?;
    chdir(NEW_ROOT)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
    chroot(".")?;
    chdir("/")?;
    let Err(error) = execv(FIRST_PROCESS, &[FIRST_PROCESS]);
    Err(error.into())
}

fn mount_disk(device: &str, folder: &str) -> io::Result<()> {
    let give_up = Instant::now() + DEVICE_LIMIT;
    while !Path::new(device).exists() && Instant::now() < give_up {
        sleep(Duration::from_millis(5));
    }
    fs::create_dir_all(folder)?;
    Ok(mount(Some(device), folder, Some("ext4"), MsFlags::empty(), None::<&str>)?)
}

/// Copies a tree of folders, files and symbolic links; what is there is replaced, links among the
/// folders of the target are followed.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if !target.is_dir() {
                fs::create_dir(&target)?;
            }
            copy(&source, &target)?;
            continue;
        }
        match fs::remove_file(&target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else {
            fs::copy(&source, &target)?;
            let mode = fs::metadata(&source)?.permissions().mode();
            fs::set_permissions(&target, fs::Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_copied_over_another() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(from.path().join("usr/bin")).unwrap();
        fs::write(from.path().join("usr/bin/new"), "new").unwrap();
        symlink("new", from.path().join("usr/bin/link")).unwrap();
        fs::create_dir_all(to.path().join("real")).unwrap();
        symlink("real", to.path().join("usr")).unwrap();
        fs::create_dir_all(to.path().join("real/bin")).unwrap();
        fs::write(to.path().join("real/bin/new"), "much older").unwrap();
        copy(from.path(), to.path()).unwrap();
        assert_eq!(fs::read_to_string(to.path().join("real/bin/link")).unwrap(), "new");
    }
}

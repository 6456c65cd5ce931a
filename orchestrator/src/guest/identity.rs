//! The user under which QEMU runs: one of its own, whom nobody else on the host is, so that a guest
//! that breaks out of QEMU finds nothing that it may read, and nobody whom it may stop.
//!
//! It gets its console and its messages as open files, its sockets in a folder of its own, and the
//! kernel as a link there: it needs no right on any other path.

use std::{
    fs, io,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use kernel::procfs::Proc;
use nix::unistd::{Uid, User};

use super::{Accelerator, GuestSpec, Network, Qemu};

/// Ids that systemd keeps for users of the moment: no file and no login belongs to one.
const IDS: std::ops::RangeInclusive<u32> = 61184..=65519;

const KVM: &str = "/dev/kvm";

/// A user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    uid: u32,
    gid: u32,
}

/// Why QEMU would not be as confined as it could be, for a guest without disks and bridges.
#[must_use]
pub fn unconfined(qemu: &Qemu, accelerator: Accelerator) -> Vec<String> {
    let seccomp = "this QEMU was built without seccomp: a guest that breaks out of it may start \
                   programs; distributions build it with seccomp";
    let own = Identity::choose(qemu, &GuestSpec::default(), accelerator).err();
    let own = own
        .filter(|_| Uid::effective().is_root())
        .map(|why| format!("QEMU runs as root, not as a user of its own: {why}"));
    (!qemu.sandbox).then(|| seccomp.to_owned()).into_iter().chain(own).collect()
}

impl Identity {
    /// One for this guest.
    ///
    /// # Errors
    /// Why QEMU has to run under our own user.
    pub fn choose(qemu: &Qemu, spec: &GuestSpec, accelerator: Accelerator) -> Result<Self, String> {
        if !Uid::effective().is_root() {
            return Err("this program is not root".to_owned());
        }
        if !spec.disks.is_empty() || spec.lock_memory {
            return Err("the guest has disks, or its memory is locked".to_owned());
        }
        if matches!(spec.network, Network::Tap { .. }) {
            return Err("the helper of a bridge needs root".to_owned());
        }
        if let Some(closed) = closed(&qemu.program) {
            return Err(format!("{} is not everybody's", closed.display()));
        }
        let uid = unused(&Proc::default(), std::process::id()).ok_or("all ids are in use")?;
        let gid = match accelerator {
            Accelerator::Tcg => uid,
            Accelerator::Kvm => kvm_group(Path::new(KVM), uid)?,
        };
        Ok(Self { uid, gid })
    }

    /// Has `command` run under it.
    pub fn apply(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives it a file or a folder.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub fn own(self, path: &Path) -> Result<()> {
        chown(path, Some(self.uid), Some(self.gid)).with_context(|| path.display().to_string())
    }

    /// Where in its folder it can read `file`: a link, or a copy where there can be none.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub fn lend(self, file: &Path, folder: &Path, name: &str) -> Result<PathBuf> {
        let lent = folder.join(name);
        let readable =
            fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o004 != 0);
        if readable && fs::hard_link(file, &lent).is_ok() {
            return Ok(lent);
        }
        fs::copy(file, &lent).with_context(|| file.display().to_string())?;
        self.own(&lent)?;
        Ok(lent)
    }
}

/// The first folder on the way to `program`, or itself, that not everybody may enter or start.
pub(super) fn closed(program: &Path) -> Option<PathBuf> {
    let way = program.ancestors().filter(|part| !part.as_os_str().is_empty());
    let open = |part: &Path| -> io::Result<bool> {
        Ok(fs::metadata(part)?.permissions().mode() & 0o001 != 0)
    };
    way.filter(|part| !open(part).unwrap_or(false)).last().map(Path::to_owned)
}

/// An id that is no user's and under which nothing runs; the search begins at a place of this
/// process's own, so that two at once find two.
fn unused(proc: &Proc, start: u32) -> Option<u32> {
    let used: Vec<u32> = proc
        .processes()
        .ok()?
        .into_iter()
        .filter_map(|pid| Some(fs::metadata(proc.path(&pid.to_string())).ok()?.uid()))
        .collect();
    let count = IDS.end() - IDS.start() + 1;
    let free = |uid: &u32| {
        !used.contains(uid) && !matches!(User::from_uid(Uid::from_raw(*uid)), Ok(Some(_)))
    };
    (0..count).map(|step| IDS.start() + (start.wrapping_add(step)) % count).find(free)
}

/// The group that may use KVM; `uid`, as a group, where everybody may.
fn kvm_group(device: &Path, uid: u32) -> Result<u32, String> {
    let found = fs::metadata(device).map_err(|error| format!("{}: {error}", device.display()))?;
    match found.permissions().mode() {
        mode if mode & 0o006 == 0o006 => Ok(uid),
        mode if mode & 0o060 == 0o060 && found.gid() != 0 => Ok(found.gid()),
        _ => Err(format!("{} is root's alone", device.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_in_a_folder_that_others_may_not_enter_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("qemu");
        fs::write(&program, "").unwrap();
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&program, 0o755);
        mode(dir.path(), 0o700);
        assert_eq!(closed(&program).as_deref(), Some(dir.path()));
        mode(dir.path(), 0o755);
        assert_eq!(closed(&program), None);
        mode(&program, 0o700);
        assert_eq!(closed(&program), Some(program));
    }

    #[test]
    fn an_id_is_nobodys() {
        let proc = tempfile::tempdir().unwrap();
        let found = unused(&Proc::at(proc.path()), 7).unwrap();
        assert!(IDS.contains(&found) && found >= IDS.start() + 7, "{found}");
        let start = found - IDS.start();
        fs::create_dir(proc.path().join("1")).unwrap();
        if chown(proc.path().join("1"), Some(found), None).is_ok() {
            assert_ne!(
                unused(&Proc::at(proc.path()), start),
                Some(found),
                "process 1 runs under it"
            );
        }
    }

    #[test]
    fn the_group_of_kvm_is_taken_where_only_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let device = dir.path().join("kvm");
        fs::write(&device, "").unwrap();
        let mode = |mode| fs::set_permissions(&device, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o666);
        assert_eq!(kvm_group(&device, 9), Ok(9));
        mode(0o600);
        assert!(kvm_group(&device, 9).unwrap_err().contains("root's alone"));
        if chown(&device, None, Some(78)).is_ok() {
            mode(0o660);
            assert_eq!(kvm_group(&device, 9), Ok(78));
        }
    }
}

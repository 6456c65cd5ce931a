//! Files in their places, and away again.

use std::{
    fs,
    io::{self, ErrorKind, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use model::answer;

use super::HOOK;
use crate::error::Refusal;

/// libvirt's folder of hooks.
const HOOKS: &str = "etc/libvirt/hooks";

/// Every program in it is run for the events of QEMU's domains (libvirt 6.5 and later).
const HOOK_FILE: &str = "etc/libvirt/hooks/qemu.d/rt-vm-bench";

/// Where the administrator's units are.
const UNIT_FILE: &str = "etc/systemd/system/rt-vm-bench-reserve@.service";

/// Where a package has put the unit already.
const PACKAGED: &str = "usr/lib/systemd/system/rt-vm-bench-reserve@.service";

/// In a line near the top of every file of ours.
const OURS: &str = "# Installed by `orchestrator hook install`";

/// Installs the hook, and the unit where no package brought it.
///
/// # Errors
/// [`Refusal::Lacking`] without libvirt's folder of hooks; [`Refusal::Usage`] where a file is not
/// ours: then nothing was touched.
pub(super) fn install(root: &Path, unit: &str) -> Result<()> {
    let hooks = root.join(HOOKS);
    if !hooks.is_dir() {
        let text = format!(
            "there is no folder {}: install libvirt first (libvirt-daemon-system)",
            hooks.display()
        );
        return Err(Refusal::Lacking(text).into());
    }
    // The hook last: where a write fails, no hook is left without its unit.
    let mut files = Vec::new();
    if !root.join(PACKAGED).is_file() {
        files.push((root.join(UNIT_FILE), unit, 0o644));
    }
    files.push((root.join(HOOK_FILE), HOOK, 0o755));
    let found = files.iter().map(|(path, ..)| ours(path)).collect::<Result<Vec<_>>>()?;
    for ((path, text, mode), before) in files.iter().zip(found) {
        if before.as_deref() == Some(text) {
            answer!("{}: is there already", path.display())?;
        } else {
            put(path, text, *mode).with_context(|| path.display().to_string())?;
            answer!("{}: installed", path.display())?;
        }
    }
    answer!(
        "libvirt sees its first hook when it is started: `systemctl restart libvirtd` (or virtqemud) \
         once; domains go on meanwhile. {} says what is reserved for which domain",
        model::reservations::FILE
    )?;
    Ok(())
}

/// Removes what [`install`] made, as far as it is there.
///
/// # Errors
/// [`Refusal::Usage`] where a file is not ours: then nothing was touched.
pub(super) fn remove(root: &Path) -> Result<()> {
    let files = [root.join(HOOK_FILE), root.join(UNIT_FILE)];
    let found = files.iter().map(|path| ours(path)).collect::<Result<Vec<_>>>()?;
    let there: Vec<&PathBuf> =
        files.iter().zip(&found).filter(|(_, text)| text.is_some()).map(|(path, _)| path).collect();
    for path in &there {
        fs::remove_file(path).with_context(|| path.display().to_string())?;
        answer!("{}: removed", path.display())?;
    }
    if there.is_empty() {
        answer!("nothing to remove")?;
    }
    // Only where it is empty.
    if let Some(folder) = files[0].parent() {
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

/// What is in a file of ours; none where it is not there.
///
/// # Errors
/// [`Refusal::Usage`] where somebody else made it.
fn ours(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) if text.lines().take(3).any(|line| line.starts_with(OURS)) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() != ErrorKind::InvalidData => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Err(Refusal::Usage(format!(
            "{}: is not from `orchestrator hook install` and is left as it is; move it away first",
            path.display()
        ))
        .into()),
    }
}

/// Puts a file in its place, whole.
fn put(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)?;
    // In the folder above: libvirt runs whatever program it finds beside the hook.
    let mut file = tempfile::NamedTempFile::new_in(folder.parent().unwrap_or(folder))?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "# Installed by `orchestrator hook install`\n[Unit]\n";

    /// A system with libvirt.
    fn system() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join(HOOKS)).unwrap();
        root
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_installed_is_removed() {
        let root = system();
        install(root.path(), UNIT).unwrap();
        let (hook, unit) = (root.path().join(HOOK_FILE), root.path().join(UNIT_FILE));
        assert_eq!(fs::read_to_string(&hook).unwrap(), HOOK);
        assert_eq!((mode(&hook), mode(&unit)), (0o755, 0o644));
        // An older one of ours is replaced, and installing twice is fine.
        fs::write(&unit, format!("{UNIT}# older\n")).unwrap();
        install(root.path(), UNIT).unwrap();
        assert_eq!(fs::read_to_string(&unit).unwrap(), UNIT);
        remove(root.path()).unwrap();
        assert!(!hook.exists() && !unit.exists() && root.path().join(HOOKS).is_dir());
        assert!(!hook.parent().unwrap().exists());
        remove(root.path()).unwrap();
    }

    #[test]
    fn somebody_elses_file_is_left_and_nothing_else_is_done() {
        for file in [HOOK_FILE, UNIT_FILE] {
            let root = system();
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, b"#!/bin/sh\necho mine \xff\n").unwrap();
            for done in [install(root.path(), UNIT), remove(root.path())] {
                let error = done.unwrap_err();
                assert_eq!(crate::error::exit_of(&error), model::Exit::Usage, "{error:#}");
                assert!(error.to_string().contains(file), "{error:#}");
            }
            assert!(fs::read(&path).unwrap().ends_with(b"mine \xff\n"));
            let other = if file == HOOK_FILE { UNIT_FILE } else { HOOK_FILE };
            assert!(!root.path().join(other).exists(), "{file}");
        }
    }

    #[test]
    fn others_hooks_and_a_packaged_unit_stay_as_they_are() {
        let root = system();
        let script = root.path().join("etc/libvirt/hooks/qemu");
        let other = root.path().join("etc/libvirt/hooks/qemu.d/other");
        let packaged = root.path().join(PACKAGED);
        for path in [&script, &other, &packaged] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "theirs").unwrap();
        }
        install(root.path(), UNIT).unwrap();
        assert!(root.path().join(HOOK_FILE).exists() && !root.path().join(UNIT_FILE).exists());
        remove(root.path()).unwrap();
        for path in [script, other, packaged] {
            assert_eq!(fs::read_to_string(path).unwrap(), "theirs");
        }
    }

    #[test]
    fn where_the_unit_cannot_be_written_there_is_no_hook() {
        let root = system();
        // A link to nothing, below which no folder can be made.
        std::os::unix::fs::symlink("/no/such/folder", root.path().join("etc/systemd")).unwrap();
        let error = install(root.path(), UNIT).unwrap_err();
        assert!(error.to_string().contains(UNIT_FILE), "{error:#}");
        assert!(!root.path().join(HOOK_FILE).exists());
    }

    #[test]
    fn without_libvirt_it_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let error = install(root.path(), UNIT).unwrap_err();
        assert_eq!(crate::error::exit_of(&error), model::Exit::Lacking, "{error:#}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}

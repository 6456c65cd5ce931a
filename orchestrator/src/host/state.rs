//! The state folder: where the journals are. Whoever can write into it decides what `restore` does as
//! root, so nobody else may.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The folder of the journals: `$RTVM_STATE_DIR`, else `/run/rt-vm-bench` for root and
/// `$XDG_RUNTIME_DIR/rt-vm-bench` for others (where that is not set, one with their id in the
/// temporary folder).
#[must_use]
pub fn state_dir() -> PathBuf {
    if let Some(dir) = env::var_os("RTVM_STATE_DIR") {
        return dir.into();
    }
    let user = nix::unistd::geteuid();
    match env::var_os("XDG_RUNTIME_DIR") {
        _ if user.is_root() => "/run/rt-vm-bench".into(),
        Some(own) => PathBuf::from(own).join("rt-vm-bench"),
        None => env::temp_dir().join(format!("rt-vm-bench-{user}")),
    }
}

/// Makes the folder, for its owner alone, where it is not there.
///
/// # Errors
/// The file system's, with the path; those of [`trusted`].
pub(super) fn make(dir: &Path) -> io::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", dir.display())))?;
    trusted(dir)
}

/// Refuses a folder that is not this user's own, or that somebody else can write into. One that is
/// not there is fine.
///
/// # Errors
/// `PermissionDenied` with the remedy.
pub(super) fn trusted(dir: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let owner = nix::unistd::geteuid().as_raw();
    let why = if !found.is_dir() {
        "is no folder".to_owned()
    } else if found.uid() != owner {
        format!("belongs to user {}, not to user {owner}", found.uid())
    } else if found.permissions().mode() & 0o022 != 0 {
        format!("can be written by others (mode {:03o})", found.permissions().mode() & 0o777)
    } else {
        return Ok(());
    };
    let text = format!(
        "the state folder {} {why}: what it lists would be done to this host; it must be a folder \
         of user {owner} with mode 700",
        dir.display()
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Journal, fake::Fake, release, restore};

    #[test]
    fn it_is_made_for_its_owner_alone() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("a/state");
        make(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_others_can_write_is_neither_written_nor_replayed() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/run", &link).unwrap();
        for (folder, why) in [(dir.path(), "mode 777"), (&*link, "is no folder")] {
            let text = Journal::create(folder).unwrap_err().to_string();
            assert!(text.contains(why) && text.contains("mode 700"), "{text}");
            let said = format!("{:#}", restore(&Fake::default(), folder).unwrap_err());
            assert!(said.contains(why), "{said}");
            release(&Fake::default(), folder, None).unwrap_err();
        }
    }

    #[test]
    fn a_folder_of_somebody_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        // Only root can give it away.
        if std::os::unix::fs::chown(dir.path(), Some(65534), None).is_ok() {
            let text = trusted(dir.path()).unwrap_err().to_string();
            assert!(text.contains("belongs to user 65534"), "{text}");
        }
    }
}

//! A program of the user's.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
};

use model::suite::Own;
use nix::unistd::{AccessFlags, access};

use crate::{error::Refusal, guest::libraries_of};

/// The program that `own` starts, a file of this host.
///
/// # Errors
/// [`Refusal::Usage`] where there is none, or a guest could not run it.
pub fn program_of(own: &Own, in_guest: bool) -> Result<PathBuf, Refusal> {
    let name = &own.command[0];
    let usage = |text: String| Refusal::Usage(format!("key `web.command`: {text}"));
    let found = if name.contains('/') {
        Some(PathBuf::from(name)).filter(|path| is_program(path))
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|folder| folder.join(name)).find(|path| is_program(path))
    };
    let found = found.ok_or_else(|| {
        usage(format!("`{name}` is no program of this host; give a file that can be executed"))
    })?;
    if in_guest {
        libraries_of(&found, &mut BTreeMap::new()).map_err(|error| {
            usage(format!(
                "{error:#}; a guest holds the program and its shared libraries, and no interpreter: \
                 give a compiled program"
            ))
        })?;
    }
    Ok(found)
}

fn is_program(path: &Path) -> bool {
    access(path, AccessFlags::X_OK).is_ok() && path.is_file()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use model::suite::Ready;

    use super::*;

    fn own(name: &str) -> Own {
        let ready = Ready { request: None, within: Ready::STARTING };
        Own { command: vec![name.to_owned()], listen: 1, path: "/".to_owned(), ready }
    }

    #[test]
    fn a_program_is_a_file_or_a_name_in_the_path() {
        assert!(program_of(&own("sh"), true).unwrap().ends_with("sh"));
        assert_eq!(program_of(&own("/bin/sh"), false).unwrap(), Path::new("/bin/sh"));
        for missing in ["/no/such/server", "no-such-server", "/etc/passwd", "/bin"] {
            let error = program_of(&own(missing), false).unwrap_err().to_string();
            assert!(error.contains("`web.command`") && error.contains(missing), "{error}");
        }
    }

    #[test]
    fn a_script_runs_on_the_host_and_in_no_guest() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("server");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let own = own(script.to_str().unwrap());
        program_of(&own, false).unwrap();
        let error = program_of(&own, true).unwrap_err().to_string();
        assert!(error.contains("no interpreter") && error.contains("server"), "{error}");
    }
}

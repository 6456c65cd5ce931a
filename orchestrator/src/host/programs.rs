//! Where the project's other programs are, wherever they are installed.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::error::Refusal;

/// Below the folder above the one of this program: what is started by programs only. An installed
/// `/usr/bin/orchestrator` has its helpers in `/usr/libexec/rt-vm-bench`.
const LIBEXEC: &str = "libexec/rt-vm-bench";

/// The program `name`: beside this one, else in the folder of helpers, else in `$PATH`.
///
/// # Errors
/// [`Refusal::Lacking`] with the folders that were looked at, and how to build or install it.
pub fn program(name: &str) -> Result<PathBuf, Refusal> {
    // Links are resolved: a link to an installed orchestrator finds what was installed with it.
    let own = env::current_exe().ok();
    let path: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    find(name, &installed(own.as_deref()), &path)
}

/// The folders of the installation that the program `own` belongs to.
fn installed(own: Option<&Path>) -> Vec<PathBuf> {
    let Some(beside) = own.and_then(Path::parent) else { return Vec::new() };
    let libexec = beside.parent().map(|above| above.join(LIBEXEC));
    [beside.to_owned()].into_iter().chain(libexec).collect()
}

fn find(name: &str, installed: &[PathBuf], path: &[PathBuf]) -> Result<PathBuf, Refusal> {
    let candidates = installed.iter().chain(path).map(|folder| folder.join(name));
    candidates.into_iter().find(|candidate| is_program(candidate)).ok_or_else(|| {
        let list = |folders: &[PathBuf]| {
            let names: Vec<_> = folders.iter().map(|one| one.display().to_string()).collect();
            names.join(", ")
        };
        Refusal::Lacking(format!(
            "the program `{name}` is not in {}, nor in PATH ({}); build it with `cargo build \
             --release`, or install it beside orchestrator",
            list(installed),
            list(path)
        ))
    })
}

fn is_program(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok() && path.is_file()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    /// An installation below a folder of its own, with these programs.
    fn tree(programs: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let root = tempfile::tempdir().unwrap();
        for name in programs {
            let file = root.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let folders = installed(Some(&root.path().join("bin/orchestrator")));
        (root, folders)
    }

    #[test]
    fn programs_are_found_beside_then_among_the_helpers_then_in_path() {
        let all = ["bin/rtload", "libexec/rt-vm-bench/guest-agent", "other/rtload", "other/virsh"];
        let (root, folders) = tree(&all);
        let path = [root.path().join("other")];
        let found = |name| find(name, &folders, &path).unwrap();
        assert_eq!(found("rtload"), root.path().join("bin/rtload"));
        assert_eq!(found("guest-agent"), root.path().join("libexec/rt-vm-bench/guest-agent"));
        assert_eq!(found("virsh"), root.path().join("other/virsh"));
    }

    #[test]
    fn one_that_is_missing_is_an_error_with_every_place() {
        let (root, folders) = tree(&["bin/orchestrator"]);
        let path = [PathBuf::from("/somewhere"), PathBuf::from("/else")];
        // A file that nobody may execute is none, and a folder neither.
        fs::write(root.path().join("bin/rtload"), "").unwrap();
        fs::create_dir_all(root.path().join("libexec/rt-vm-bench/rtload")).unwrap();
        let error = find("rtload", &folders, &path).unwrap_err();
        assert!(matches!(error, Refusal::Lacking(_)), "{error:?}");
        let (said, root) = (error.to_string(), root.path().display());
        for place in
            [&format!("{root}/bin"), &format!("{root}/libexec/rt-vm-bench"), "/somewhere, /else"]
        {
            assert!(said.contains(place), "{said}");
        }
        assert!(said.contains("cargo build --release"), "{said}");
    }
}

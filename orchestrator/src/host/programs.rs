//! Where the project's other programs are.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::error::Refusal;

/// The program `name`: beside this one, else in `$PATH`.
///
/// # Errors
/// [`Refusal::Lacking`] with how to build it.
pub fn program(name: &str) -> Result<PathBuf, Refusal> {
    let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(name)));
    let path = env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(env::split_paths(&path).map(|folder| folder.join(name)))
        .find(|candidate| is_program(candidate))
        .ok_or_else(|| {
            Refusal::Lacking(format!(
                "the program `{name}` is neither beside orchestrator nor in PATH; \
                 build it with `cargo build --release`"
            ))
        })
}

fn is_program(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok() && path.is_file()
}

//! What a lab host holds: the bench's programs, the kernel of its guests, and, without a
//! distribution, the tools, QEMU and Apache of this host.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Read,
    path::{Component, Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use guest_agent::boot::SETTINGS;

use super::{OUT, WORK};
use crate::{
    error::Refusal,
    guest::{Contents, KernelImage, find_qemu, kernel_files},
    host::program,
    service,
};

/// Where the programs of the bench are.
const BIN: &str = "/usr/local/bin";

/// `XDG_CACHE_HOME` there.
const CACHE: &str = "/var/cache";

/// The programs of the bench; those with `-static` are not built everywhere.
const BENCH: [&str; 10] = [
    "orchestrator",
    "rtload",
    "webload",
    "cgi-rotate",
    "cgi-rotate-static",
    "rtload-static",
    "guest-agent-static",
    "rtplan",
    "reports",
    "guest-agent",
];

/// What scripts expect of a host, as far as this host has it.
const TOOLS: &[&str] = &[
    "awk", "bash", "cat", "chgrp", "chmod", "chown", "chrt", "cp", "cut", "date", "dd", "df",
    "dmesg", "du", "echo", "env", "false", "find", "free", "grep", "head", "hostname", "id", "ip",
    "kill", "ln", "ls", "mkdir", "mknod", "mktemp", "mount", "mv", "nice", "nproc", "pgrep",
    "pkill", "ps", "pwd", "readlink", "renice", "rm", "rmdir", "sed", "seq", "setpriv", "setsid",
    "sh", "sleep", "sort", "stat", "stdbuf", "sync", "tail", "tar", "taskset", "tee", "test",
    "timeout", "touch", "tr", "true", "umount", "uname", "uniq", "vmstat", "wc", "xargs", "yes",
];

/// Where the loader and those who look for libraries like it learn of folders.
const LIBRARY_FOLDERS: [&str; 3] = ["/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"];

/// Variables of the command.
pub(super) fn environment() -> [(&'static str, &'static str); 3] {
    [("OUT", OUT), ("HOME", "/root"), ("XDG_CACHE_HOME", CACHE)]
}

/// The bench's programs, in `folder` or beside this one.
///
/// # Errors
/// [`Refusal::Lacking`] where one is missing.
pub(super) fn bench(folder: Option<&Path>) -> Result<Vec<PathBuf>, Refusal> {
    let find = |name: &str| match folder.map(|folder| folder.join(name)) {
        Some(path) if path.is_file() => Ok(path),
        Some(path) => Err(Refusal::Lacking(format!("{} is missing", path.display()))),
        None => program(name),
    };
    let found = BENCH.into_iter().map(|name| (name, find(name)));
    found
        .filter(|(name, path)| path.is_ok() || !name.ends_with("-static"))
        .map(|(_, path)| path)
        .collect()
}

/// The agent among these programs.
///
/// # Errors
/// It is not there.
pub(super) fn agent(bench: &[PathBuf]) -> Result<PathBuf> {
    let found = bench.iter().find(|path| path.ends_with("guest-agent"));
    found.cloned().context("guest-agent is not among the programs")
}

/// The kernels of a lab host.
#[derive(Debug, Clone)]
pub(super) struct Kernels {
    /// Its own.
    pub own: KernelImage,
    /// That of its guests.
    pub nested: KernelImage,
}

impl Kernels {
    /// Where its own kernel's configuration is in a host, and here: it tells how long the tick is.
    fn config(&self) -> Option<(PathBuf, PathBuf)> {
        let name = format!("config-{}", self.own.release);
        let here = self.own.packed.with_file_name(&name);
        here.is_file().then(|| (Path::new("/boot").join(name), here))
    }
}

/// A root file system made of this host's own programs.
///
/// # Errors
/// [`Refusal`] where QEMU or a program of the bench is missing.
pub(super) fn minimal(bench: &[PathBuf], kernels: &Kernels, with: &[PathBuf]) -> Result<Contents> {
    let mut contents = Contents::default();
    common(&mut contents.programs, &mut contents.files, Path::new("/"), bench, kernels, with)?;
    for name in TOOLS {
        if let Some(path) = tool(name) {
            contents.programs.insert(Path::new("/usr/bin").join(name), path);
        }
    }
    add_qemu(&mut contents)?;
    if let Ok(apache) = service::find() {
        let modules = apache.modules.into_iter().map(|(_, path)| path);
        contents.programs.extend(modules.map(|path| (path.clone(), path)));
        contents.programs.insert(apache.program.clone(), apache.program);
    }
    for path in LIBRARY_FOLDERS {
        add_files(&mut contents.files, Path::new(path), Path::new(path))?;
    }
    if let Ok(target) = fs::canonicalize("/etc/os-release") {
        contents.files.insert("/etc/os-release".into(), target);
    }
    contents.texts.insert("/etc/hosts".into(), "127.0.0.1 localhost lab\n".into());
    contents.texts.insert(SETTINGS.into(), "/proc/sys/kernel/hostname lab\n".into());
    // As on this host, where programs expect libraries below both names.
    for link in ["/bin", "/sbin", "/lib", "/lib64"] {
        if let Ok(target) = fs::read_link(link) {
            contents.links.insert(link.into(), Path::new("/").join(target));
        }
    }
    Ok(contents)
}

/// What is copied onto a distribution's root: it has tools and libraries of its own.
///
/// # Errors
/// [`Refusal`] where a program of the bench is missing.
pub(super) fn on_disk(
    contents: &mut Contents,
    bench: &[PathBuf],
    kernels: &Kernels,
    with: &[PathBuf],
) -> Result<()> {
    let overlay = Path::new(guest_agent::switch::OVERLAY);
    common(&mut contents.bare_programs, &mut contents.files, overlay, bench, kernels, with)?;
    let units = overlay.join("etc/systemd/system");
    let unit = format!(
        "[Unit]\nDescription=Agent of the lab host\n\n[Service]\nExecStart={BIN}/guest-agent \
         --service\n\n[Install]\nWantedBy=multi-user.target\n"
    );
    contents.texts.insert(units.join("rtvm-agent.service"), unit);
    let wanted = units.join("multi-user.target.wants/rtvm-agent.service");
    contents.links.insert(wanted, "../rtvm-agent.service".into());
    contents.texts.insert(guest_agent::switch::ROOT.into(), "/dev/vda\n".into());
    contents.texts.insert(SETTINGS.into(), String::new());
    Ok(())
}

/// The bench's programs, its guests' kernel and the user's files, below `root`.
fn common(
    programs: &mut BTreeMap<PathBuf, PathBuf>,
    files: &mut BTreeMap<PathBuf, PathBuf>,
    root: &Path,
    bench: &[PathBuf],
    kernels: &Kernels,
    with: &[PathBuf],
) -> Result<()> {
    let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    for path in bench {
        let name = path.file_name().unwrap_or_default();
        programs.insert(below(Path::new(BIN)).join(name), path.clone());
    }
    let nested = kernel_files(&kernels.nested, &Path::new(CACHE).join("rt-vm-bench"))?;
    for (path, host) in nested.into_iter().chain(kernels.config()) {
        files.insert(below(&path), host);
    }
    for path in with {
        add_files(files, path, &below(&in_work(path)?))?;
    }
    Ok(())
}

/// Where a file of the user is put: under its own relative path, or under its name.
fn in_work(path: &Path) -> Result<PathBuf, Refusal> {
    let plain = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
    let inside =
        if path.components().all(plain) { Some(path.as_os_str()) } else { path.file_name() };
    let inside = inside.filter(|_| path.exists()).ok_or_else(|| {
        Refusal::Usage(format!("--with {}: there is no such file or folder", path.display()))
    })?;
    Ok(Path::new(WORK).join(inside))
}

/// Adds a file, or the files of a folder and of those in it; nothing where it does not exist.
fn add_files(files: &mut BTreeMap<PathBuf, PathBuf>, host: &Path, inside: &Path) -> Result<()> {
    if host.is_file() {
        files.insert(inside.to_owned(), host.to_owned());
    } else if host.is_dir() {
        for entry in fs::read_dir(host).with_context(|| host.display().to_string())? {
            let entry = entry?;
            add_files(files, &entry.path(), &inside.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// A tool of this host, unless it is a script.
fn tool(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = system.into_iter().chain(env::split_paths(&path)).map(|folder| folder.join(name));
    found.filter_map(|path| path.canonicalize().ok()).find(|path| is_elf(path))
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && magic == *b"\x7fELF"
}

/// This host's QEMU and its firmware, for the lab host's guests.
fn add_qemu(contents: &mut Contents) -> Result<()> {
    let qemu = find_qemu()?;
    let name = qemu.program.file_name().unwrap_or_default();
    contents.programs.insert(Path::new("/usr/bin").join(name), qemu.program.canonicalize()?);
    let listed = Command::new(&qemu.program)
        .args(["-L", "help"])
        .output()
        .with_context(|| qemu.program.display().to_string())?;
    let text = String::from_utf8_lossy(&listed.stdout);
    for folder in text.lines().map(Path::new).filter(|folder| folder.is_dir()) {
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "bin") && path.is_file() {
                contents.files.insert(path.clone(), path);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_user_keep_their_relative_path() {
        assert_eq!(in_work(Path::new("src")).unwrap(), Path::new("/work/src"));
        assert_eq!(in_work(Path::new("./src/lab")).unwrap(), Path::new("/work/./src/lab"));
        assert_eq!(in_work(Path::new("/etc/hosts")).unwrap(), Path::new("/work/hosts"));
        let error = in_work(Path::new("no/such/file")).unwrap_err();
        assert!(error.to_string().contains("--with no/such/file"));
    }

    #[test]
    fn a_shell_and_its_kin_are_found_and_scripts_are_not() {
        assert!(is_elf(&tool("sh").unwrap()));
        assert_eq!(tool("no-such-tool"), None);
    }
}

//! What has to be there before anything runs in the guest: file systems, modules, settings.

use std::{fs, os::unix::fs::symlink, path::Path};

use nix::{
    errno::Errno,
    kmod::{ModuleInitFlags, finit_module},
    mount::{MsFlags, mount},
};

/// Lists the modules' paths in the order in which they load, one a line.
pub const MODULE_LIST: &str = "/modules.list";

/// Holds the kernel settings of this guest, one `PATH VALUE` a line.
pub const SETTINGS: &str = "/settings.list";

/// Source, target, type and options of each mount.
const MOUNTS: [(&str, &str, &str, &str); 10] = [
    ("proc", "/proc", "proc", ""),
    ("sysfs", "/sys", "sysfs", ""),
    ("devtmpfs", "/dev", "devtmpfs", "mode=0755"),
    ("devpts", "/dev/pts", "devpts", "mode=0620"),
    ("tmpfs", "/dev/shm", "tmpfs", "mode=1777"),
    ("tmpfs", "/tmp", "tmpfs", "mode=1777"),
    ("tmpfs", "/run", "tmpfs", "mode=0755"),
    ("cgroup2", "/sys/fs/cgroup", "cgroup2", ""),
    ("tracefs", "/sys/kernel/tracing", "tracefs", ""),
    ("debugfs", "/sys/kernel/debug", "debugfs", ""),
];

/// Mounts what a Linux program expects; what fails is a warning.
pub fn mount_all(warnings: &mut Vec<String>) {
    for (source, target, kind, options) in MOUNTS {
        // A folder inside a mounted pseudo file system cannot be made, only found.
        if !Path::new(target).exists()
            && let Err(error) = fs::create_dir_all(target)
        {
            warnings.push(format!("{target}: {error}"));
            continue;
        }
        match mount(Some(source), target, Some(kind), MsFlags::empty(), Some(options)) {
            // Some kernels mount devtmpfs before /init runs.
            Ok(()) | Err(Errno::EBUSY) => {}
            Err(error) => warnings.push(format!("mounting {kind} on {target}: {error}")),
        }
    }
    for (target, link) in [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
    ] {
        if !Path::new(link).exists()
            && let Err(error) = symlink(target, link)
        {
            warnings.push(format!("{link}: {error}"));
        }
    }
}

/// Loads the modules in the order of [`MODULE_LIST`]; what fails is a warning.
pub fn load_modules(warnings: &mut Vec<String>) {
    let list = match fs::read_to_string(MODULE_LIST) {
        Ok(list) => list,
        Err(error) => {
            warnings.push(format!("{MODULE_LIST}: {error}"));
            return;
        }
    };
    for path in list.lines().filter(|line| !line.is_empty()) {
        let loaded = fs::File::open(path).map_err(|error| error.to_string()).and_then(|file| {
            match finit_module(&file, c"", ModuleInitFlags::empty()) {
                Ok(()) | Err(Errno::EEXIST) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        });
        if let Err(error) = loaded {
            warnings.push(format!("module {path}: {error}"));
        }
    }
}

/// Writes the kernel settings of [`SETTINGS`]; what fails is a warning.
pub fn apply_settings(warnings: &mut Vec<String>) {
    let list = fs::read_to_string(SETTINGS).unwrap_or_default();
    for (path, value) in list.lines().filter_map(|line| line.split_once(' ')) {
        if let Err(error) = fs::write(path, value) {
            warnings.push(format!("{path}: {error}"));
        }
    }
}

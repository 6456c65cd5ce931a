//! A virtual machine that runs already: somebody else started it, and it is left as it was.

use std::{fmt, path::PathBuf};

/// By what it is found, as `orchestrator reserve` finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The name of a libvirt domain.
    Libvirt(String),
    /// The QMP socket of a QEMU.
    Qmp(PathBuf),
    /// The process of a QEMU, Cloud Hypervisor or Firecracker.
    Pid(i32),
}

impl Found {
    /// The key in suites.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Libvirt(_) => "libvirt",
            Self::Qmp(_) => "qmp",
            Self::Pid(_) => "pid",
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Libvirt(name) => write!(f, "domain `{name}`"),
            Self::Qmp(socket) => write!(f, "the QEMU behind {}", socket.display()),
            Self::Pid(pid) => write!(f, "process {pid}"),
        }
    }
}

//! Memory that does not fault while something is measured.

use std::{hint::black_box, io};

use nix::sys::{
    mman::{MlockAllFlags, mlockall, munlockall},
    resource::{RLIM_INFINITY, Resource, setrlimit},
};

use crate::procfs::Proc;

/// CAP_IPC_LOCK, as a bit of the capability masks in /proc.
const CAP_IPC_LOCK: u64 = 1 << 14;

/// How much of the memory is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked {
    /// What there is, and what will be allocated.
    AllToCome,
    /// What there is. Under a limit, allocations beyond it would fail if those to come were locked.
    Present,
}

/// Locks the pages of the process into memory: those to come as well where nothing limits them.
///
/// # Errors
/// EPERM or ENOMEM where RLIMIT_MEMLOCK is too small and CAP_IPC_LOCK is missing.
pub fn lock_all() -> io::Result<Locked> {
    // Where the limit can be lifted, there is none.
    let lifted = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_ok();
    if lifted || is_privileged(&Proc::default()) {
        mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE)?;
        return Ok(Locked::AllToCome);
    }
    mlockall(MlockAllFlags::MCL_CURRENT)?;
    Ok(Locked::Present)
}

/// Undoes [`lock_all`].
///
/// # Errors
/// None on Linux in practice.
pub fn unlock_all() -> io::Result<()> {
    Ok(munlockall()?)
}

/// Whether RLIMIT_MEMLOCK does not count. In a user namespace the capability is there by name only.
fn is_privileged(proc: &Proc) -> bool {
    let capable = proc.status_mask("CapEff").is_some_and(|mask| mask & CAP_IPC_LOCK != 0);
    let whole = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
    capable && proc.text("self/uid_map").is_ok_and(whole)
}

/// Touches 256 KiB of the calling thread's stack, so that no job is the first to fault it in.
#[inline(never)]
pub fn touch_stack() {
    let mut stack = [0_u8; 256 * 1024];
    for byte in stack.iter_mut().step_by(4096) {
        *byte = 1;
    }
    black_box(&stack);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privilege_is_the_capability_in_the_first_user_namespace() {
        let root = tempfile::tempdir().unwrap();
        let proc = Proc::at(root.path());
        let privileged = |mask: &str, map: &str| {
            std::fs::create_dir_all(root.path().join("self")).unwrap();
            std::fs::write(root.path().join("self/status"), format!("CapEff:\t{mask}\n")).unwrap();
            std::fs::write(root.path().join("self/uid_map"), map).unwrap();
            is_privileged(&proc)
        };
        let whole = "         0          0 4294967295\n";
        assert!(privileged("000001ffffffffff", whole));
        assert!(!privileged("0000000000000000", whole));
        assert!(!privileged("000001ffffffffff", "0 1000 1\n"));
    }
}

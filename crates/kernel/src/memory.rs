//! Memory that does not fault while something is measured.

use std::{hint::black_box, io};

use nix::sys::mman::{MlockAllFlags, mlockall};

/// Locks all present and future pages of the process into memory.
///
/// # Errors
/// EPERM or ENOMEM where RLIMIT_MEMLOCK is too small and CAP_IPC_LOCK is missing.
pub fn lock_all() -> io::Result<()> {
    Ok(mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE)?)
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

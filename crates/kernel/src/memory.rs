//! Memory that does not fault while something is measured, and faults that are what is measured.

use std::{ffi::c_void, hint::black_box, io, mem, num::NonZeroUsize, ptr::NonNull};

use nix::{
    errno::Errno,
    sys::{
        mman::{
            MapFlags, MlockAllFlags, MmapAdvise, ProtFlags, madvise, mlockall, mmap_anonymous,
            munlockall, munmap,
        },
        resource::{RLIM_INFINITY, Resource, setrlimit},
    },
    unistd::{SysconfVar, sysconf},
};

use crate::procfs::Proc;

/// CAP_IPC_LOCK, as a bit of the capability masks in /proc.
const CAP_IPC_LOCK: u64 = 1 << 14;

/// Bytes of a page of x86-64 that is not huge.
const PAGE: usize = 4096;

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

/// Asks for huge pages behind `memory`, which is large and not touched yet: a fault for each 2 MiB
/// instead of each 4 KiB, and fewer misses of the TLB afterwards. Returns whether the kernel will try.
pub fn prefer_huge_pages<T>(memory: &mut [T]) -> bool {
    let Ok(Some(page)) = sysconf(SysconfVar::PAGE_SIZE) else { return false };
    let begin = memory.as_mut_ptr() as usize;
    let end = begin + mem::size_of_val(memory);
    // Whole pages only: others may share the first and the last one.
    let first = begin.next_multiple_of(page as usize);
    let length = (end / page as usize * page as usize).saturating_sub(first);
    let Some(start) = NonNull::new(memory.as_mut_ptr().cast::<c_void>()) else { return false };
    if length == 0 {
        return false;
    }
    // SAFETY: all of `first..first + length` lies in `memory`, which is borrowed mutably, and this advice
    // changes what lies behind the pages, never what is in them.
    unsafe { madvise(start.byte_add(first - begin), length, MmapAdvise::MADV_HUGEPAGE).is_ok() }
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

/// Maps so many fresh anonymous pages, writes to each once, and gives them back: a page fault each,
/// whatever the host's policy on huge pages.
///
/// # Errors
/// ENOMEM where there are not so many; EINVAL for none.
pub fn fault_in(pages: usize) -> io::Result<()> {
    let bytes = NonZeroUsize::new(pages.saturating_mul(PAGE)).ok_or(Errno::EINVAL)?;
    let writable = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the kernel chooses the address: the mapping covers nothing that anybody else uses.
    let start = unsafe { mmap_anonymous(None, bytes, writable, MapFlags::MAP_PRIVATE) }?;
    // A kernel without huge pages refuses, and makes none.
    // SAFETY: the range is that mapping; the advice changes no contents.
    let _refused = unsafe { madvise(start, bytes.get(), MmapAdvise::MADV_NOHUGEPAGE) };
    let first = start.cast::<u8>();
    for page in 0..pages {
        // SAFETY: within the mapping, which is writable and known to nobody else.
        unsafe { first.add(page * PAGE).write_volatile(1) };
    }
    // SAFETY: the range is that mapping, and no reference into it was ever made.
    unsafe { munmap(start, bytes.get()) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use nix::sys::resource::{UsageWho, getrusage};

    use super::*;

    #[test]
    fn every_fresh_page_is_a_fault() {
        let faults = || {
            let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
            usage.minor_page_faults()
        };
        // Twice what a huge page holds.
        let before = faults();
        fault_in(1024).unwrap();
        let taken = faults() - before;
        assert!((1024..1100).contains(&taken), "{taken}");
        assert_eq!(fault_in(0).unwrap_err().raw_os_error(), Some(Errno::EINVAL as i32));
    }

    #[test]
    fn huge_pages_change_nothing_in_memory() {
        assert!(!prefer_huge_pages(&mut [1_u8; 100]), "it may not have a whole page");
        let mut memory = vec![7_u8; 8 << 20];
        prefer_huge_pages(&mut memory);
        assert!(memory.iter().all(|&byte| byte == 7));
    }

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

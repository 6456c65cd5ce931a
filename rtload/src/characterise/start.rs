//! The start of a program that ends at once: what the kernel does of it, without the loading of
//! libraries, which is page faults and work of the program's.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsRawFd,
    process::Command,
};

use kernel::clock::thread_cpu_ns;
use nix::sys::{
    memfd::{MFdFlags, memfd_create},
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

/// Bytes of the headers of [`image`], which are followed by its code.
const HEADERS: u64 = 64 + 56;

/// `exit(0)`: xor edi, edi; mov eax, 60; syscall.
const CODE: [u8; 9] = [0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];

/// A program in memory; the same bytes on every host.
pub struct Trivial(File);

impl Trivial {
    /// Makes it.
    ///
    /// # Errors
    /// Where the kernel has no files in memory.
    pub fn new() -> io::Result<Self> {
        let mut file = File::from(memfd_create(c"trivial", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&image())?;
        Ok(Self(file))
    }

    /// The CPU time of so many starts, from the fork to the wait for its end: this thread's and the
    /// children's, of which this process must have no others meanwhile.
    ///
    /// # Errors
    /// Where it cannot be started, for example because the host lets no file in memory be executed.
    pub fn start(&self, times: u64) -> io::Result<u64> {
        let (own, children) = (thread_cpu_ns(), children_ns()?);
        for _ in 0..times {
            let status = Command::new(format!("/proc/self/fd/{}", self.0.as_raw_fd())).status()?;
            if !status.success() {
                return Err(io::Error::other(format!("a trivial program ended with {status}")));
            }
        }
        Ok(thread_cpu_ns() - own + (children_ns()? - children))
    }
}

fn children_ns() -> io::Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let both = usage.user_time().num_nanoseconds() + usage.system_time().num_nanoseconds();
    Ok(both.unsigned_abs())
}

/// An executable of x86-64 with one segment (ELF 64 as of the System V ABI): headers and code.
fn image() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    let length = HEADERS + CODE.len() as u64;
    let mut image = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves = |values: &[u16]| values.iter().flat_map(|own| own.to_le_bytes()).collect();
    let words = |values: &[u32]| values.iter().flat_map(|own| own.to_le_bytes()).collect();
    let doubles = |values: &[u64]| values.iter().flat_map(|own| own.to_le_bytes()).collect();
    let parts: [Vec<u8>; 7] = [
        // ET_EXEC, EM_X86_64; version.
        halves(&[2, 62]),
        words(&[1]),
        // Entry, program headers, section headers; flags.
        doubles(&[BASE + HEADERS, 64, 0]),
        words(&[0]),
        // Sizes and numbers: this header, one program header, no section.
        halves(&[64, 56, 1, 0, 0, 0]),
        // PT_LOAD, to be read and executed; offset, addresses, sizes, alignment.
        words(&[1, 5]),
        doubles(&[0, BASE, BASE, length, length, 4096]),
    ];
    image.extend(parts.concat());
    image.extend(CODE);
    image
}

#[cfg(test)]
mod tests {
    use nix::unistd::getppid;

    use super::*;

    #[test]
    fn the_program_starts_and_takes_its_time() {
        assert_eq!(image().len() as u64, HEADERS + CODE.len() as u64);
        let trivial = Trivial::new().unwrap();
        let spent = trivial.start(20).unwrap();
        let begin = thread_cpu_ns();
        (0..20).for_each(|_| {
            std::hint::black_box(getppid());
        });
        let calls = thread_cpu_ns() - begin;
        assert!(spent > 10 * calls, "{spent} {calls}");
    }
}

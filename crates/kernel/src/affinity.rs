//! Which CPUs a thread may run on.

use std::io;

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

/// A thread id as the kernel counts them; 0 is the calling thread.
pub type Tid = i32;

/// The calling thread, for every function that takes a [`Tid`].
pub const SELF: Tid = 0;

/// Lets thread `tid` run on `cpus` only.
///
/// # Errors
/// EINVAL where none of them is online or allowed by the thread's cpuset, EPERM for another user's
/// thread, ESRCH where it is gone.
pub fn set(tid: Tid, cpus: &[u32]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu as usize)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(tid), &set)?)
}

/// The CPUs that thread `tid` may run on, ascending.
///
/// # Errors
/// ESRCH where the thread is gone.
pub fn get(tid: Tid) -> io::Result<Vec<u32>> {
    let set = sched_getaffinity(Pid::from_raw(tid))?;
    Ok((0..CpuSet::count() as u32)
        .filter(|&cpu| set.is_set(cpu as usize).unwrap_or(false))
        .collect())
}

/// The CPU on which the calling thread runs at this moment; none where the kernel does not tell.
#[must_use]
pub fn current_cpu() -> Option<u32> {
    sched_getcpu().ok().and_then(|cpu| u32::try_from(cpu).ok())
}

/// Parses the kernel's list format: `0-3,8` is 0, 1, 2, 3, 8. `None` where it is malformed.
#[must_use]
pub fn parse_list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        match part.split_once('-') {
            Some((first, last)) => cpus.extend(first.parse().ok()?..=last.parse::<u32>().ok()?),
            None => cpus.push(part.parse().ok()?),
        }
    }
    Some(cpus)
}

/// Writes CPUs in the kernel's list format, one by one: `0,1,3`.
#[must_use]
pub fn format_list(cpus: &[u32]) -> String {
    cpus.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// Parses the kernel's mask format: `5` is 0, 2; words of 32 bits are separated by commas, the
/// highest first. `None` where it is malformed.
#[must_use]
pub fn parse_mask(text: &str) -> Option<Vec<u32>> {
    let words: Vec<u32> = text
        .trim()
        .split(',')
        .map(|word| u32::from_str_radix(word, 16).ok())
        .collect::<Option<_>>()?;
    let bit = |word: u32, bit: u32| (word >> bit & 1 == 1).then_some(bit);
    let cpus = words.iter().rev().zip(0u32..);
    Some(
        cpus.flat_map(|(&word, index)| {
            (0..32).filter_map(move |own| bit(word, own).map(|own| index * 32 + own))
        })
        .collect(),
    )
}

/// Writes CPUs in the kernel's mask format.
#[must_use]
pub fn format_mask(cpus: &[u32]) -> String {
    let words = cpus.iter().max().map_or(1, |most| most / 32 + 1);
    let word = |index: u32| {
        cpus.iter().filter(|&&cpu| cpu / 32 == index).fold(0u32, |word, cpu| word | 1 << (cpu % 32))
    };
    (0..words).rev().map(|index| format!("{:x}", word(index))).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_the_affinity_it_is_given() {
        std::thread::spawn(|| {
            let first = get(SELF).unwrap()[0];
            set(SELF, &[first]).unwrap();
            assert_eq!(get(SELF).unwrap(), [first]);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn lists_are_read() {
        assert_eq!(parse_list("0-2,8\n"), Some(vec![0, 1, 2, 8]));
        assert_eq!(parse_list(""), Some(vec![]));
        assert_eq!(parse_list("x"), None);
        assert_eq!(format_list(&[0, 1, 3]), "0,1,3");
    }

    #[test]
    fn masks_are_read_and_written() {
        assert_eq!(parse_mask("5\n"), Some(vec![0, 2]));
        assert_eq!(parse_mask("00000001,80000000"), Some(vec![31, 32]));
        assert_eq!(parse_mask("x"), None);
        assert_eq!((&*format_mask(&[0, 2]), &*format_mask(&[31, 32])), ("5", "1,80000000"));
        assert_eq!(format_mask(&[64]), "1,0,0");
    }
}

//! The state of a SCHED_DEADLINE thread's constant bandwidth server, from `/proc/<tid>/sched`.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use crate::affinity::Tid;

/// The open file of one thread, so that a look costs one system call (some 10 µs).
#[derive(Debug)]
pub struct DeadlineState {
    file: File,
    buffer: Vec<u8>,
}

/// The line with the budget that is left stands behind some forty others.
const ROOM: usize = 8192;

impl DeadlineState {
    /// Opens the state of thread `tid` below `proc` (`/proc`).
    ///
    /// # Errors
    /// ENOENT where the thread is gone, or the kernel shows no scheduling state (CONFIG_SCHED_DEBUG).
    pub fn open(proc: &Path, tid: Tid) -> io::Result<Self> {
        let file = File::open(proc.join(format!("{tid}/sched")))?;
        Ok(Self { file, buffer: vec![0; ROOM] })
    }

    /// What is left of the budget in nanoseconds, negative where it was overrun, as of the last
    /// instant at which the kernel accounted for it: for a thread that is not running, exactly.
    /// None where the thread is not in SCHED_DEADLINE (any more).
    ///
    /// # Errors
    /// ESRCH where the thread is gone.
    pub fn budget_left_ns(&mut self) -> io::Result<Option<i64>> {
        let length = self.file.read_at(&mut self.buffer, 0)?;
        Ok(budget_left(&self.buffer[..length]))
    }
}

fn budget_left(text: &[u8]) -> Option<i64> {
    const KEY: &[u8] = b"\ndl.runtime";
    let at = text.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let line = text[at..].split(|&byte| byte == b'\n').next()?;
    let value = line.split(|&byte| byte == b':').nth(1)?;
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_found_and_may_be_overrun() {
        let text = b"x (1, #threads: 1)\nprio : -1\n\
            dl.runtime                                   :            -12345\n\
            dl.deadline                                  :   748055370890\n";
        assert_eq!(budget_left(text), Some(-12345));
        assert_eq!(budget_left(b"prio : 120\n"), None);
        assert_eq!(budget_left(b"\ndl.runtime : x"), None);
    }

    #[test]
    fn an_ordinary_thread_has_none() {
        let pid = std::process::id() as i32;
        if let Ok(mut state) = DeadlineState::open(Path::new("/proc"), pid) {
            assert_eq!(state.budget_left_ns().unwrap(), None);
        }
        assert!(DeadlineState::open(Path::new("/no/such"), pid).is_err());
    }
}

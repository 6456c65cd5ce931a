//! Memory traffic in place of arithmetic: what a neighbour does to caches and memory, which no
//! reservation of CPU time keeps away.
//!
//! Both kinds read and write a buffer until the thread has used the CPU time of the job. `memory` goes
//! through it from one end to the other, so that every line comes from memory and goes back there
//! where the buffer is larger than the caches. `cache` visits its lines in an order that
//! prefetchers do not follow well, each once before any comes again: a linear congruential generator
//! with a period of the number of lines (Hull and Dobell 1962).
//! A buffer as large as the last cache throws out of it what others have there.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use clap::ValueEnum;
use kernel::{clock::thread_cpu_ns, procfs::Proc};
use model::duration::as_ns;
use serde::Serialize;

use crate::{Error, bytes::Bytes, caches};

/// What a load keeps busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadKind {
    /// The processor alone: arithmetic in registers
    #[default]
    Cpu,
    /// The cache: lines in an order that prefetchers do not follow well, by default as many as the
    /// last cache has
    Cache,
    /// Memory: from one end to the other, by default of 64MiB
    Memory,
}

/// Larger than most caches, and there also on small machines.
const MEMORY: Bytes = Bytes(64 << 20);

/// The last cache where the kernel does not tell.
const CACHE: Bytes = Bytes(32 << 20);

/// The words of a line of 64 bytes.
const LINE: usize = 8;

/// What is done between two looks at the clock: 64 KiB, some microseconds.
const PIECE_LINES: usize = 1024;

/// A load's traffic, as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    /// What it keeps busy; not the processor.
    pub kind: LoadKind,
    /// Its buffer.
    pub size: Bytes,
}

impl Spec {
    /// None for arithmetic; on `cpu`, whose last cache is the default size.
    #[must_use]
    pub fn of(kind: LoadKind, size: Option<Bytes>, cpu: u32) -> Option<Self> {
        let default = match kind {
            LoadKind::Cpu => return None,
            LoadKind::Memory => MEMORY,
            LoadKind::Cache => last_cache(Path::new("/sys"), cpu).unwrap_or(CACHE),
        };
        Some(Self { kind, size: size.unwrap_or(default) })
    }

    /// Refuses buffers for so many tasks that need more memory than is available.
    ///
    /// # Errors
    /// [`Error::Usage`] with the option.
    pub fn check_room(self, tasks: usize) -> Result<(), Error> {
        let needed = self.size.0.saturating_mul(tasks as u64);
        match available(&Proc::default()) {
            Some(available) if needed > available => Err(Error::Usage(format!(
                "--size: buffers of {} for {tasks} task(s) need more than the {} of memory that are \
                 available; use a smaller size, for example `--size 64MiB`, or fewer tasks",
                in_mib(self.size.0),
                in_mib(available)
            ))),
            _ => Ok(()),
        }
    }
}

fn in_mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// The bytes that the kernel can give without swapping; none where it does not tell.
pub(crate) fn available(proc: &Proc) -> Option<u64> {
    let text = proc.text("meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The size of the last cache of `cpu`.
fn last_cache(sys: &Path, cpu: u32) -> Option<Bytes> {
    caches::data(sys, cpu).into_values().next_back()
}

/// What was moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes that were read, changed and written.
    pub bytes: u64,
    /// The CPU time that this took.
    pub cpu_ns: u64,
}

/// A buffer, and how far the load has come in it.
#[derive(Debug)]
pub struct Traffic {
    kind: LoadKind,
    words: Vec<u64>,
    /// The next line.
    at: usize,
    /// Since the beginning.
    pub moved: Moved,
}

impl Traffic {
    /// With every page touched: for a thread that has no real-time policy yet.
    ///
    /// # Errors
    /// [`Error::Usage`] where there is no such memory.
    pub fn new(spec: Spec) -> Result<Self, Error> {
        let lines = (spec.size.0 / 64) as usize;
        let lines = match spec.kind {
            // The generator's period is a power of two.
            LoadKind::Cache => 1 << lines.ilog2(),
            LoadKind::Cpu | LoadKind::Memory => lines,
        };
        let mut words = Vec::new();
        words.try_reserve_exact(lines * LINE).map_err(|error| {
            let size = in_mib(spec.size.0);
            Error::Usage(format!(
                "--size: no memory for a buffer of {size} ({error}); use a smaller one, for example \
                 `--size 64MiB`"
            ))
        })?;
        words.resize(lines * LINE, 1);
        Ok(Self { kind: spec.kind, words, at: 0, moved: Moved::default() })
    }

    /// Goes on for so much CPU time; `false` where `stop` was set before the end.
    pub fn run(&mut self, execution: Duration, stop: &AtomicBool) -> bool {
        let begin_ns = thread_cpu_ns();
        let end_ns = begin_ns + as_ns(execution);
        loop {
            let now_ns = thread_cpu_ns();
            if now_ns >= end_ns || stop.load(Ordering::Relaxed) {
                self.moved.cpu_ns += now_ns - begin_ns;
                return now_ns >= end_ns;
            }
            self.piece();
            self.moved.bytes += 64 * PIECE_LINES as u64;
        }
    }

    /// The next [`PIECE_LINES`] lines, round and round where there are fewer.
    fn piece(&mut self) {
        let lines = self.words.len() / LINE;
        match self.kind {
            LoadKind::Cache => {
                for _ in 0..PIECE_LINES {
                    self.words[self.at * LINE] = self.words[self.at * LINE].wrapping_add(1);
                    self.at = next_line(self.at, lines);
                }
            }
            LoadKind::Cpu | LoadKind::Memory => {
                let mut left = PIECE_LINES;
                while left > 0 {
                    let end = (self.at + left).min(lines);
                    for word in &mut self.words[self.at * LINE..end * LINE] {
                        *word = word.wrapping_add(1);
                    }
                    left -= end - self.at;
                    self.at = if end == lines { 0 } else { end };
                }
            }
        }
    }
}

/// The line after `line` of a power of two: every line comes once in a period, since the increment
/// is odd and the factor is 1 more than a multiple of 4.
fn next_line(line: usize, lines: usize) -> usize {
    line.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) & (lines - 1)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::bytes::{LEAST, MOST};

    #[test]
    fn every_line_of_a_cache_is_visited_once_before_any_comes_again() {
        for lines in [1_usize, 2, 64, 4096] {
            let mut seen = vec![false; lines];
            let mut at = 0;
            for _ in 0..lines {
                assert!(!seen[at], "{lines}");
                seen[at] = true;
                at = next_line(at, lines);
            }
            assert_eq!(at, 0);
        }
    }

    #[test]
    fn traffic_goes_on_for_its_cpu_time_and_counts_what_it_moved() {
        for kind in [LoadKind::Cache, LoadKind::Memory] {
            let mut traffic = Traffic::new(Spec { kind, size: Bytes(100 << 10) }).unwrap();
            let stop = AtomicBool::new(false);
            assert!(traffic.run(Duration::from_millis(2), &stop));
            assert!(traffic.moved.cpu_ns >= 2_000_000);
            // Each line was changed as often as it was moved.
            let (begin, each) = match kind {
                LoadKind::Cache => (traffic.words.len() / LINE, LINE),
                _ => (traffic.words.len(), 1),
            };
            let changes: u64 = traffic.words.iter().step_by(each).sum::<u64>() - begin as u64;
            assert_eq!(changes * 8 * each as u64, traffic.moved.bytes, "{kind:?}");
            stop.store(true, Ordering::Relaxed);
            assert!(!traffic.run(Duration::from_secs(10), &stop));
        }
    }

    #[test]
    fn a_buffer_smaller_than_a_piece_is_gone_through_several_times() {
        for kind in [LoadKind::Cache, LoadKind::Memory] {
            let mut traffic = Traffic::new(Spec { kind, size: Bytes(4 << 10) }).unwrap();
            traffic.piece();
            let rounds = (PIECE_LINES * LINE / traffic.words.len()) as u64;
            assert!(traffic.words.iter().step_by(LINE).all(|word| *word == 1 + rounds), "{kind:?}");
        }
    }

    #[test]
    fn memory_that_is_not_there_is_refused_and_no_abort() {
        let spec = |size| Spec { kind: LoadKind::Memory, size: Bytes(size) };
        for refused in [Traffic::new(spec(MOST)).map(drop), spec(MOST).check_room(1)] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains("--size") && error.contains("1073741824 MiB"), "{error}");
        }
        assert!(spec(LEAST).check_room(1).is_ok());
        assert!(spec(MOST / 2).check_room(usize::MAX).is_err());
        let root = tempfile::tempdir().unwrap();
        let text = "MemTotal:       8000 kB\nMemFree:        1000 kB\nMemAvailable:   2000 kB\n";
        fs::write(root.path().join("meminfo"), text).unwrap();
        assert_eq!(available(&Proc::at(root.path())), Some(2_048_000));
    }
}

//! Reading `jobs.csv` fast, without holding its rows: ten million of them in seconds.
//!
//! The columns as this project writes them are read by hand. Whatever looks otherwise (other
//! columns, quotation, a malformed row) is left to [`model::sample::read_csv`], which knows more and
//! complains better.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use model::sample::{self, Columns, Job, SampleError};

use crate::sample::Sample;

/// The jobs of one task of a file, with their releases as they stand there, not yet counted from the
/// first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskJobs {
    /// `tau1`, …
    pub task: String,
    /// Of the last row.
    pub deadline_ns: u64,
    /// In the order of their release.
    pub samples: Vec<Sample>,
}

/// The jobs of a service in a file, task by task; `expected` says how many jobs of a task there
/// should be.
///
/// # Errors
/// A malformed row.
pub(crate) fn read(
    path: &Path,
    of: Owner,
    expected: impl Fn(&str) -> usize,
) -> Result<Vec<TaskJobs>, SampleError> {
    let mut tasks = Tasks { found: Vec::new(), last: 0, of, expected };
    if by_hand(path, &mut tasks).is_none() {
        return Ok(self::of(&sample::read_csv::<Job>(path)?, of));
    }
    Ok(tasks.sorted())
}

/// Whose rows are wanted: those of a service in a VM, or on the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Owner<'a> {
    pub vm: &'a str,
    pub service: &'a str,
}

impl Owner<'_> {
    /// Rows of files with one service need not name it.
    pub fn has(self, vm: &str, service: &str) -> bool {
        service.is_empty() || (service == self.service && vm == self.vm)
    }
}

/// The same of rows that were read already.
pub(crate) fn of(rows: &[Job], of: Owner) -> Vec<TaskJobs> {
    let mut tasks = Tasks { found: Vec::new(), last: 0, of, expected: |_: &str| 0 };
    let text = |cell: &Option<String>| cell.clone().unwrap_or_default();
    for job in rows.iter().filter(|job| of.has(&text(&job.vm), &text(&job.service))) {
        let row = Row {
            release_ns: job.release_ns,
            response_ns: job.response_ns,
            cpu_ns: job.cpu_ns,
            deadline_ns: job.deadline_ns,
            missed: job.missed,
            stalled_ns: job.stalled_ns,
        };
        tasks.add(&job.task, &row);
    }
    tasks.sorted()
}

/// The cells of a row that are kept.
struct Row {
    release_ns: u64,
    response_ns: u64,
    cpu_ns: Option<u64>,
    deadline_ns: u64,
    missed: bool,
    stalled_ns: Option<u64>,
}

struct Tasks<'a, E> {
    found: Vec<TaskJobs>,
    /// Where the last row's task stands.
    last: usize,
    of: Owner<'a>,
    expected: E,
}

impl<E: Fn(&str) -> usize> Tasks<'_, E> {
    fn add(&mut self, task: &str, row: &Row) {
        if self.found.get(self.last).is_none_or(|own| own.task != task) {
            let at = self.found.iter().position(|own| own.task == task);
            self.last = at.unwrap_or_else(|| {
                let samples = Vec::with_capacity((self.expected)(task));
                self.found.push(TaskJobs { task: task.to_owned(), deadline_ns: 0, samples });
                self.found.len() - 1
            });
        }
        let own = &mut self.found[self.last];
        own.deadline_ns = row.deadline_ns;
        let sample = Sample::new(row.release_ns, row.response_ns);
        own.samples.push(sample.with(row.cpu_ns, row.missed, row.stalled_ns));
    }

    fn sorted(mut self) -> Vec<TaskJobs> {
        for own in &mut self.found {
            if !own.samples.is_sorted_by_key(|sample| sample.at_ns) {
                own.samples.sort_by_key(|sample| sample.at_ns);
            }
        }
        self.found
    }
}

/// None where anything is not as this project writes it.
fn by_hand<E: Fn(&str) -> usize>(path: &Path, tasks: &mut Tasks<'_, E>) -> Option<()> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).ok()?);
    let mut line = Vec::with_capacity(256);
    file.read_until(b'\n', &mut line).ok()?;
    if line.strip_suffix(b"\n")? != Job::COLUMNS.join(",").as_bytes() {
        return None;
    }
    loop {
        // Whole lines of the buffer at once; a line across its end is put together.
        let buffer = file.fill_buf().ok()?;
        if buffer.is_empty() {
            return Some(());
        }
        let whole = memchr::memrchr(b'\n', buffer).map_or(0, |at| at + 1);
        if whole > 0 {
            rows(&buffer[..whole], tasks)?;
            file.consume(whole);
            continue;
        }
        line.clear();
        file.read_until(b'\n', &mut line).ok()?;
        rows(&line, tasks)?;
    }
}

/// Rows that each end with a line break.
fn rows<E: Fn(&str) -> usize>(mut bytes: &[u8], tasks: &mut Tasks<'_, E>) -> Option<()> {
    while !bytes.is_empty() {
        let mut cells = Cells { rest: bytes };
        cells.text()?;
        cells.optional(b',')?;
        let task = std::str::from_utf8(cells.text()?).ok()?;
        cells.number(b',')?;
        let release_ns = cells.number(b',')?;
        cells.number(b',')?;
        cells.number(b',')?;
        let row = Row {
            release_ns,
            response_ns: cells.number(b',')?,
            cpu_ns: cells.optional(b',')?,
            deadline_ns: cells.number(b',')?,
            missed: match cells.number(b',')? {
                0 => false,
                1 => true,
                _ => return None,
            },
            stalled_ns: cells.optional(b',')?,
        };
        let vm = std::str::from_utf8(cells.text()?).ok()?;
        let service = std::str::from_utf8(cells.last()?).ok()?;
        if tasks.of.has(vm, service) {
            tasks.add(task, &row);
        }
        bytes = cells.rest;
    }
    Some(())
}

struct Cells<'a> {
    rest: &'a [u8],
}

impl<'a> Cells<'a> {
    /// Up to the next comma; not a quoted cell, nor one beyond the line.
    fn text(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'))?;
        let cell = &self.rest[..end];
        self.rest = self.rest[end..].strip_prefix(b",")?;
        Some(cell)
    }

    /// Up to the end of the line.
    fn last(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'))?;
        let cell = &self.rest[..end];
        self.rest = self.rest[end..].strip_prefix(b"\n")?;
        Some(cell)
    }

    /// A whole number and what must follow it.
    fn number(&mut self, end: u8) -> Option<u64> {
        self.optional(end)?
    }

    /// The same, or nothing.
    fn optional(&mut self, end: u8) -> Option<Option<u64>> {
        let mut value = 0_u64;
        for (at, &byte) in self.rest.iter().enumerate() {
            if byte == end {
                self.rest = &self.rest[at + 1..];
                return Some((at > 0).then_some(value));
            }
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn job(task: usize, n: u64, [response_ns, cpu_ns, stalled_ns]: [u64; 3]) -> Job {
        let release_ns = 5_000_000_000 + n * 1_000_000;
        Job {
            experiment: Some("x".into()),
            repetition: Some(0),
            task: format!("tau{task}"),
            job: n,
            release_ns,
            start_ns: release_ns,
            finish_ns: release_ns + response_ns,
            response_ns,
            cpu_ns: (cpu_ns > 0).then_some(cpu_ns),
            deadline_ns: 1_000_000,
            missed: response_ns > 1_000_000,
            stalled_ns: stalled_ns.checked_sub(1),
            vm: Some(["a", "b"][n as usize % 2].into()),
            service: Some("s".into()),
        }
    }

    const OWNER: Owner = Owner { vm: "a", service: "s" };

    fn by_hand_only(path: &Path) -> Option<Vec<TaskJobs>> {
        let mut tasks = Tasks { found: Vec::new(), last: 0, of: OWNER, expected: |_: &str| 0 };
        by_hand(path, &mut tasks).map(|()| tasks.found)
    }

    proptest! {
        #[test]
        fn both_ways_of_reading_agree(
            cells in prop::collection::vec((1..3_usize, prop::array::uniform3(0..2_000_000_u64)), 0..40),
        ) {
            let rows: Vec<Job> =
                cells.iter().zip(0..).map(|((task, values), n)| job(*task, n, *values)).collect();
            let file = file("");
            sample::write_csv(file.path(), &rows).unwrap();
            let fast = by_hand_only(file.path()).unwrap();
            // A blank behind the last title, and the slow way is taken.
            let text = std::fs::read_to_string(file.path()).unwrap();
            let slow = self::file(&text.replacen("service\n", "service,more\n", 1)
                .replace('\n', ",\n").replacen(",more,\n", ",more\n", 1));
            prop_assert_eq!(by_hand_only(slow.path()), None);
            prop_assert!(fast.iter().flat_map(|own| &own.samples).count() <= rows.len().div_ceil(2));
            prop_assert_eq!(fast, read(slow.path(), OWNER, |_| 0).unwrap());
        }
    }

    #[test]
    fn what_is_malformed_is_complained_of_as_ever() {
        let header = Job::COLUMNS.join(",");
        let text = format!("{header}\nx,0,tau1,0,10,10,20,10,many,1000,0,0,,\n");
        let said = read(file(&text).path(), OWNER, |_| 0).unwrap_err().to_string();
        assert!(
            said.ends_with("line 2, column `cpu_ns`: `many` is not a whole number in its range"),
            "{said}"
        );
    }
}

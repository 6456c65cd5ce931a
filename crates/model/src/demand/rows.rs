//! `demand.csv`, and other files that tell when work arrived.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::Demand;
use crate::{
    busy::{busy, is_vcpu},
    manifest::TraceFacts,
    sample::{Columns, Job, SampleError, Supply, read_csv},
};

/// One wake-up of a vCPU and what it asked for: a row of `demand.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The vCPU: `vcpu0`, `vcpu1`, …
    pub thread: String,
    /// When it became runnable. The first and the last row of a thread, without work, tell when the
    /// observation began and ended.
    pub woken_ns: u64,
    /// CPU time that it took before it slept again.
    pub cpu_ns: u64,
    /// Time in which it could have run and did not, until it slept again.
    pub waited_ns: Option<u64>,
}

impl Columns for Asked {
    const COLUMNS: &'static [&'static str] = &["thread", "woken_ns", "cpu_ns", "waited_ns"];
}

/// The rows of `demand.csv` for a trace: those of `vcpus` threads, one busy interval each.
#[must_use]
pub fn arrivals(rows: &[Supply], facts: &TraceFacts, vcpus: usize) -> Vec<Asked> {
    let mut all = Vec::new();
    for thread in (0..vcpus).map(|number| format!("vcpu{number}")) {
        debug_assert!(is_vcpu(&thread));
        let mut own: Vec<&Supply> = rows.iter().filter(|row| row.thread == thread).collect();
        own.sort_by_key(|row| row.start_ns);
        let asked = |woken_ns, cpu_ns, waited_ns| Asked {
            thread: thread.clone(),
            woken_ns,
            cpu_ns,
            waited_ns,
        };
        all.push(asked(facts.from_ns, 0, None));
        all.extend(busy(&own, facts).iter().map(|one| {
            let cpu_ns = one.supplied_ns();
            asked(one.from_ns, cpu_ns, Some(one.length_ns() - cpu_ns))
        }));
        all.push(asked(facts.to_ns, 0, None));
    }
    all
}

/// The demand of each thread in a file: `demand.csv`, or a `jobs.csv`, whose jobs are work that
/// arrives at their releases on one vCPU, that of their VM where one is named.
/// Jobs that never finished have no row, and no part in the demand.
///
/// # Errors
/// [`SampleError`] with file, line and column.
pub fn read(path: &Path) -> Result<BTreeMap<String, Demand>, SampleError> {
    let mut threads: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    if is_of_jobs(path)? {
        let jobs: Vec<Job> = read_csv(path)?;
        let whose = |job: &Job| (job.experiment.clone(), job.repetition);
        for (line, job) in (2..).zip(&jobs) {
            if whose(job) != whose(&jobs[0]) {
                return Err(several(path, line));
            }
            let cpu_ns = job.cpu_ns.ok_or_else(|| no_cpu_time(path, line))?;
            let machine = job.vm.clone().unwrap_or_else(|| "vcpu0".to_owned());
            let arrivals = threads.entry(machine).or_default();
            arrivals.extend([(job.release_ns, cpu_ns), (job.finish_ns, 0)]);
        }
    } else {
        for row in read_csv::<Asked>(path)? {
            threads.entry(row.thread).or_default().push((row.woken_ns, row.cpu_ns));
        }
    }
    Ok(threads.into_iter().map(|(thread, arrivals)| (thread, Demand::of(arrivals))).collect())
}

fn is_of_jobs(path: &Path) -> Result<bool, SampleError> {
    let failed = |error| SampleError::File { path: path.display().to_string(), error };
    let mut header = Vec::new();
    BufReader::new(File::open(path).map_err(failed)?)
        .read_until(b'\n', &mut header)
        .map_err(failed)?;
    Ok(String::from_utf8_lossy(&header).split(',').any(|title| title.trim() == "release_ns"))
}

/// Each repetition begins at its own zero: work of two would be counted as asked for at once.
fn several(path: &Path, line: u64) -> SampleError {
    SampleError::Line {
        path: path.display().to_string(),
        line,
        what: "another experiment or repetition than in line 2; give the jobs of one".to_owned(),
    }
}

fn no_cpu_time(path: &Path, line: u64) -> SampleError {
    SampleError::Cell {
        path: path.display().to_string(),
        line,
        column: "cpu_ns".to_owned(),
        value: String::new(),
        wrong: "is not known; the demand is made of the CPU time of each job".to_owned(),
    }
}

//! What the kernel's trace of a measured reservation tells the simulator: how much CPU time the
//! tasks really took, and when the sentinel looked.
//!
//! None of it is read off the response times that the simulation predicts.

use std::path::Path;

use model::{
    duration::as_ns,
    manifest::{RepetitionRecord, TraceFacts},
    sample::{Ended, Job, Occupied, SampleError, Stall, Supply, read_csv},
    stats::percentile,
    suite::Experiment,
};

use super::{calibrate::MOST_LATENCY_NS, chance::Times, experiment::SENTINEL_INTERVAL_NS};

/// The sentinel's name in `cpu.csv`.
const SENTINEL: &str = "rtvm-sentinel";

/// A guest without a job wakes for less than this.
const HOUSEKEEPING_NS: u64 = 2_000_000;

/// The emulator's locks put a running vCPU to sleep for less than this.
const NAP_NS: u64 = 200_000;

/// What a job's CPU time may be by that asked for, in millionths; above and below it was none.
const BELIEVED: std::ops::Range<u64> = 920_000..1_080_000;

/// Fewer looks, or fewer busy intervals, tell nothing.
const LEAST: usize = 10;

/// A traced attempt.
#[derive(Debug)]
pub(super) struct Traced {
    /// From wake-up to sleep: when it began, and CPU time without stalls.
    busy: Vec<(u64, u64)>,
    /// Start and length of the sentinel's looks, ascending.
    looks: Vec<(u64, u64)>,
    jobs: Vec<Job>,
}

impl Traced {
    /// Reads an attempt's folder; none where it was not traced, or has more than one vCPU.
    pub fn read(place: &Path, record: &RepetitionRecord) -> Result<Option<Self>, SampleError> {
        let [supply, cpu, jobs, stalls] =
            ["supply.csv", "cpu.csv", "jobs.csv", "stalls.csv"].map(|name| place.join(name));
        let Some(facts) = &record.facts.trace else { return Ok(None) };
        if ![&supply, &cpu, &jobs].iter().all(|file| file.exists()) {
            return Ok(None);
        }
        let mut rows: Vec<Supply> = read_csv(&supply)?;
        if rows.iter().any(|row| row.thread == "vcpu1") {
            return Ok(None);
        }
        rows.retain(|row| row.thread == "vcpu0");
        rows.sort_by_key(|row| row.start_ns);
        let stalls = if stalls.exists() { read_csv(&stalls)? } else { Vec::new() };
        let mut looks: Vec<(u64, u64)> = read_csv::<Occupied>(&cpu)?
            .iter()
            .filter(|row| row.thread == SENTINEL)
            .map(|row| (row.start_ns, row.end_ns - row.start_ns))
            .collect();
        looks.sort_unstable();
        Ok(Some(Self { busy: busy(&rows, facts, &stalls), looks, jobs: read_csv(&jobs)? }))
    }

    /// CPU time by that asked for, in millionths, of each busy interval in which every task had one
    /// job: of those within [`BELIEVED`] of it, less the median wake-up.
    fn speeds(&self, asked: u64) -> Vec<u64> {
        let wait = |job: &Job| job.start_ns.saturating_sub(job.release_ns);
        let mut waits: Vec<u64> =
            self.jobs.iter().map(wait).filter(|&ns| ns < MOST_LATENCY_NS).collect();
        waits.sort_unstable();
        let waking = percentile(&waits, 50.0).unwrap_or(0);
        let speed = |&(_, cpu): &(u64, u64)| {
            let taken = u128::from(cpu.saturating_sub(waking));
            u64::try_from(taken * 1_000_000 / u128::from(asked.max(1))).ok()
        };
        self.busy.iter().filter_map(speed).filter(|speed| BELIEVED.contains(speed)).collect()
    }

    /// From the beginning of a busy interval to the sentinel's next look, by its interval: the
    /// median of what goes round in a circle.
    fn phase(&self) -> Option<u64> {
        let (interval, half) = (SENTINEL_INTERVAL_NS, SENTINEL_INTERVAL_NS / 2);
        let next = |&(start, _): &(u64, u64)| {
            let at = self.looks.partition_point(|look| look.0 < start);
            Some((self.looks.get(at)?.0 - start) % interval)
        };
        let mut phases: Vec<u64> = self.busy.iter().filter_map(next).collect();
        let first = *phases.first().filter(|_| phases.len() >= LEAST)?;
        phases.iter_mut().for_each(|phase| *phase = (*phase + interval + half - first) % interval);
        phases.sort_unstable();
        Some((percentile(&phases, 50.0)? + first + half) % interval)
    }
}

/// What the vCPU ran from waking up to going to sleep while the workload ran, housekeeping left out.
fn busy(rows: &[Supply], facts: &TraceFacts, stalls: &[Stall]) -> Vec<(u64, u64)> {
    let stalled = |row: &Supply| -> u64 {
        let within = |stall: &Stall| {
            let (start, end) = (stall.start_ns, stall.start_ns + stall.length_ns);
            end.min(row.end_ns).saturating_sub(start.max(row.start_ns))
        };
        let from = stalls.partition_point(|stall| stall.start_ns + stall.length_ns < row.start_ns);
        stalls[from..].iter().take_while(|stall| stall.start_ns < row.end_ns).map(within).sum()
    };
    let within = |row: &&Supply| {
        row.start_ns >= facts.workload_from_ns.unwrap_or(facts.from_ns)
            && row.end_ns <= facts.workload_to_ns.unwrap_or(facts.to_ns)
    };
    let mut found = Vec::new();
    let mut begun: Option<(u64, u64)> = None;
    let mut asleep_since = None;
    for row in rows.iter().filter(within) {
        if asleep_since.is_some_and(|since| row.start_ns.saturating_sub(since) > NAP_NS) {
            found.extend(begun.take());
        }
        let (_, cpu) = begun.get_or_insert((row.start_ns, 0));
        *cpu += (row.end_ns - row.start_ns).saturating_sub(stalled(row));
        asleep_since = (row.ended == Some(Ended::Slept)).then_some(row.end_ns);
    }
    found.retain(|(_, cpu)| *cpu > HOUSEKEEPING_NS);
    found
}

/// CPU time that the tasks take by that asked for, in millionths: the median of busy intervals with
/// one job of each task, as they follow a release of all of them at once.
pub(super) fn speed(traced: &[Traced], experiment: &Experiment) -> Option<u64> {
    let asked: u64 = experiment.tasks.iter().map(|task| as_ns(task.execution())).sum();
    let mut speeds: Vec<u64> = traced.iter().flat_map(|own| own.speeds(asked)).collect();
    speeds.sort_unstable();
    percentile(&speeds, 50.0).filter(|_| speeds.len() >= LEAST)
}

/// How long the sentinel's looks are: the median, since a stall that hits one is billed to it.
pub(super) fn look(traced: &[Traced]) -> Option<Times> {
    let mut lengths: Vec<u64> =
        traced.iter().flat_map(|own| &own.looks).map(|look| look.1).collect();
    lengths.sort_unstable();
    percentile(&lengths, 50.0).filter(|_| lengths.len() >= LEAST).map(Times::Constant)
}

/// When it looks after a release, one for each traced attempt.
pub(super) fn looks_at(traced: &[Traced]) -> Vec<u64> {
    traced.iter().filter_map(Traced::phase).collect()
}

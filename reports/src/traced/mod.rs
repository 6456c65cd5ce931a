//! What the kernel's trace tells of an attempt, read from its folder: when the VM's threads ran, its
//! busy intervals, and their parts that no stall touches.

pub mod holes;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use model::{
    busy::is_vcpu,
    manifest::{RepetitionRecord, SentinelFacts, ThreadFacts, TraceFacts},
    sample::{self, Occupied, Stall, Supply},
    segment::{Segment, Window},
};

use crate::error::ReportError;

/// An attempt that was traced.
#[derive(Debug)]
pub struct Traced {
    /// Its number.
    pub attempt: u32,
    /// Its folder.
    place: PathBuf,
    /// How the trace came out.
    pub facts: TraceFacts,
    /// When the VM's threads ran, in the order of time.
    pub rows: Vec<Supply>,
    /// The same of the other VMs of the experiment, and of its VM's vCPUs that the service is not on.
    pub neighbours: Vec<Supply>,
    /// When the machine ran no thread on a CPU that its vCPUs were on.
    pub stalls: Vec<Stall>,
    /// From one look of the sentinel to the next.
    look_interval_ns: u64,
    /// The vCPUs' busy intervals.
    pub busy: Vec<Segment>,
    /// Their parts that no stall touches.
    pub quiet: Vec<Segment>,
}

impl Traced {
    /// Reads what an attempt's trace tells of a VM; `None` where there is none. With `vcpu`, its other
    /// vCPUs are neighbours.
    ///
    /// # Errors
    /// A malformed row.
    pub fn read(
        place: &Path,
        record: &RepetitionRecord,
        vm: Option<&str>,
        vcpu: Option<u32>,
    ) -> Result<Option<Self>, ReportError> {
        let file = place.join("supply.csv");
        let known = record.facts.of(vm).trace.filter(|_| vm.is_some() && file.exists());
        let Some(mut facts) = known else { return Ok(None) };
        let mut rows: Vec<Supply> = sample::read_csv(&file)?;
        rows.sort_by_key(|row| row.start_ns);
        let thread = vcpu.map(|number| format!("vcpu{number}"));
        let other = |name: &str| is_vcpu(name) && thread.as_deref().is_some_and(|own| own != name);
        facts.threads.retain(|own| !other(&own.thread));
        let own =
            |row: &Supply| (row.vm.is_none() || row.vm.as_deref() == vm) && !other(&row.thread);
        let (rows, neighbours): (Vec<_>, Vec<_>) = rows.into_iter().partition(own);
        let cpus = cpus_of(&rows);
        let stalls = place.join("stalls.csv");
        let mut stalls: Vec<Stall> =
            if stalls.exists() { sample::read_csv(&stalls)? } else { Vec::new() };
        stalls.retain(|stall| stall.is_on(&cpus));
        let mut vcpus: BTreeMap<&str, Vec<&Supply>> = BTreeMap::new();
        for row in rows.iter().filter(|row| is_vcpu(&row.thread)) {
            vcpus.entry(&row.thread).or_default().push(row);
        }
        let busy: Vec<Segment> =
            vcpus.values().flat_map(|rows| model::busy::busy(rows, &facts)).collect();
        let look_interval_ns = record
            .facts
            .sentinel_on(cpus.first().copied())
            .map_or(SentinelFacts::usual_interval_ns(), |sentinel| sentinel.interval_ns);
        let quiet = holes::undisturbed(&busy, &holes::holes(&stalls, look_interval_ns, 0));
        let (attempt, place) = (record.attempt, place.to_owned());
        Ok(Some(Self {
            attempt,
            place,
            facts,
            rows,
            neighbours,
            stalls,
            look_interval_ns,
            busy,
            quiet,
        }))
    }

    /// Parts of the busy intervals in which the server's periods follow each other evenly: their
    /// first P left out, and a P behind each stall.
    #[must_use]
    pub fn steady(&self, period_ns: u64) -> Vec<Segment> {
        let headless = holes::headless(&self.busy, period_ns);
        let holes = holes::holes(&self.stalls, self.look_interval_ns, period_ns);
        holes::undisturbed(&headless, &holes)
    }

    /// The time in which the workload ran, in ns.
    #[must_use]
    pub fn window(&self) -> (u64, u64) {
        let facts = &self.facts;
        let from_ns = facts.workload_from_ns.unwrap_or(facts.from_ns);
        (from_ns, facts.workload_to_ns.unwrap_or(facts.to_ns))
    }

    /// Busy intervals from their begin to their end or first stall. Nobody knows since when the first
    /// in a trace was busy: it is none of them.
    #[must_use]
    pub fn from_begin(&self) -> Vec<Segment> {
        let begins = |own: &&Segment| {
            own.from_ns > self.facts.from_ns
                && self.busy.iter().any(|busy| busy.from_ns == own.from_ns)
        };
        self.quiet.iter().filter(begins).cloned().collect()
    }

    /// Who else had the measured CPU in `window`, and for how long, the longest first; those with
    /// less than a twentieth of it left out.
    #[must_use]
    pub fn others(&self, window: &Window) -> Vec<(String, u64)> {
        let (from, to) = (window.start_ns, window.start_ns + window.length_ns);
        // Read only here, where a promise was broken: it is by far the largest file.
        let mut rows: Vec<Occupied> =
            sample::read_csv(&self.place.join("cpu.csv")).unwrap_or_default();
        let cpu = cpus_of(&self.rows).first().copied();
        rows.retain(|row| row.is_on(cpu));
        rows.extend(self.neighbours_on(cpu));
        let mut ran: BTreeMap<String, u64> = BTreeMap::new();
        for row in rows.into_iter().filter(|row| row.start_ns < to && row.end_ns > from) {
            *ran.entry(row.thread).or_default() += row.end_ns.min(to) - row.start_ns.max(from);
        }
        let mut ran: Vec<(String, u64)> =
            ran.into_iter().filter(|(_, ns)| *ns >= window.length_ns / 20).collect();
        ran.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
        ran
    }

    /// The neighbours' threads on a CPU (on any, where it is not known which is measured), as what
    /// else ran there.
    pub fn neighbours_on(&self, cpu: Option<u32>) -> impl Iterator<Item = Occupied> + '_ {
        let mut threads: Vec<String> = Vec::new();
        let there = move |row: &&Supply| cpu.is_none() || row.cpu == cpu;
        self.neighbours.iter().filter(there).map(move |row| {
            let thread = format!("{} {}", row.vm.as_deref().unwrap_or("VM"), row.thread);
            let at = threads.iter().position(|own| *own == thread).unwrap_or_else(|| {
                threads.push(thread.clone());
                threads.len() - 1
            });
            // Ids of threads are positive; these are numbers of their own.
            let tid = -1 - i32::try_from(at).unwrap_or(0);
            Occupied { start_ns: row.start_ns, end_ns: row.end_ns, thread, tid, cpu: row.cpu }
        })
    }

    /// Why nothing can be concluded from this trace.
    #[must_use]
    pub fn flaw(&self) -> Option<String> {
        let lost = self.facts.lost_events;
        if lost > 0 {
            return Some(format!("the trace of rep-{:03} lost {lost} events", self.attempt));
        }
        let wrong = self.facts.threads.iter().find(|one| is_vcpu(&one.thread) && differs(one))?;
        Some(format!(
            "the trace of rep-{:03} and the CPU clock of {} differ by more than {}",
            self.attempt,
            wrong.thread,
            crate::units::percent(DIFFERENT)
        ))
    }
}

/// Where each vCPU ran last, which is its measured CPU; each once, in the order of the vCPUs.
fn cpus_of(rows: &[Supply]) -> Vec<u32> {
    let vcpus = rows.iter().filter(|row| is_vcpu(&row.thread));
    let last: BTreeMap<&str, u32> =
        vcpus.filter_map(|row| Some((row.thread.as_str(), row.cpu?))).collect();
    let mut cpus = Vec::new();
    for cpu in last.into_values() {
        if !cpus.contains(&cpu) {
            cpus.push(cpu);
        }
    }
    cpus
}

/// The share by which a trace may differ from the CPU clock and still be used: interrupts and what a
/// hypervisor takes are part of a run in the trace, but need not be billed to the thread.
const DIFFERENT: f64 = 0.03;

/// A running thread's clock is read as of the last tick, at the begin and at the end.
const CLOCK_STEP_NS: u64 = 8_000_000;

fn differs(thread: &ThreadFacts) -> bool {
    thread.clock_ns.is_some_and(|clock_ns| {
        let allowed_ns = CLOCK_STEP_NS.max((clock_ns as f64 * DIFFERENT) as u64);
        clock_ns.abs_diff(thread.traced_ns) > allowed_ns
    })
}

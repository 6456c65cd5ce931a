//! What time looks like inside a guest: `clock.csv` of every probe, its gaps matched with the traced
//! supply.

pub mod matched;
pub mod table;

use model::{
    clock,
    duration::as_ns,
    manifest::ClockFacts,
    sample::{ClockName, ClockRow, ClockWhat, Ended, Supply},
    stats::Summary,
};
use serde::Serialize;

use self::matched::{Cause, Gap, Ran};
use crate::{
    folder::{Case, Results},
    supply::{Traced, is_vcpu},
};

/// How many, and the greatest; null where there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// How many.
    pub count: u64,
    /// The longest, or farthest.
    pub longest_ns: Option<u64>,
}

impl Counted {
    fn add(&mut self, ns: u64) {
        self.count += 1;
        self.longest_ns = self.longest_ns.max(Some(ns));
    }
}

/// Gaps between successive reads of CLOCK_MONOTONIC, by cause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Gaps {
    /// All of them.
    pub all: Counted,
    /// The virtual CPU did not run.
    pub scheduling: Counted,
    /// It did.
    pub discontinuity: Counted,
    /// Nobody knows.
    pub unknown: Counted,
}

impl Gaps {
    fn add(&mut self, cause: Cause, ns: u64) {
        self.all.add(ns);
        match cause {
            Cause::Scheduling => self.scheduling.add(ns),
            Cause::Discontinuity => self.discontinuity.add(ns),
            Cause::Unknown => self.unknown.add(ns),
        }
    }
}

/// Steps of one clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Steps {
    /// The clock.
    pub clock: ClockName,
    /// Reads below the one before.
    pub backward: Counted,
    /// Steps against CLOCK_MONOTONIC; null for that clock itself.
    pub steps: Option<Counted>,
}

/// The guest's clock against the host's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// Guest minus host at the first reading.
    pub offset_ns: i64,
    /// Growth of the offset outside of jumps, as a share of the time; null where it only jumped.
    pub drift: Option<f64>,
    /// By how much it jumped between two readings, more than a clock may drift; all jumps together.
    /// A guest whose clock stood still for 2 s has −2 s.
    pub jumped_ns: i64,
    /// Between the least and the greatest offset of all readings.
    pub range_ns: u64,
    /// A reading is known to within this, at worst.
    pub uncertainty_ns: u64,
    /// Readings.
    pub readings: u64,
}

/// What the probe of an experiment saw, in all repetitions that count.
#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    /// The experiment, with VM and service where it has several services.
    pub experiment: String,
    /// The VM; null on the host.
    pub vm: Option<String>,
    /// Repetitions.
    pub repetitions: u64,
    /// Those of them in which the VM was traced.
    pub traced: u64,
    /// The clock source in use.
    pub clock_source: Option<String>,
    /// All that could be used.
    pub clock_sources: Option<Vec<String>>,
    /// Reads of the clocks.
    pub reads: u64,
    /// Time in which they were read.
    pub read_ns: u64,
    /// What is a gap, or a step.
    pub threshold_ns: Option<u64>,
    /// Gaps between reads.
    pub gaps: Gaps,
    /// Of each clock.
    pub clocks: Vec<Steps>,
    /// Wake-up minus due, on an idle CPU.
    pub timer_ns: Option<Summary>,
    /// The same on a busy CPU.
    pub timer_busy_ns: Option<Summary>,
    /// P − Q and a tick of the host: how late a timer is expected to be at most under a reservation.
    pub expected_ns: Option<u64>,
    /// Steal time as the guest sees it, to 10 ms.
    pub steal_ns: Option<u64>,
    /// Time in which the virtual CPU was runnable and did not run; null where it was not traced.
    pub held_ns: Option<u64>,
    /// The clock against the host's, of each repetition; empty on the host.
    pub drifts: Vec<Drift>,
}

/// What every probe of a folder saw, in the order of the suite.
#[must_use]
pub fn all(results: &Results) -> Vec<Seen> {
    let probed = results.cases.iter().filter(|case| case.workload().probe().is_some());
    probed.map(|case| seen(results, case)).collect()
}

fn seen(results: &Results, case: &Case) -> Seen {
    let workload = case.workload();
    let vm = workload.vm.map(|vm| vm.name.as_str());
    let tick_ns = results.manifest.host.tick_hz.map(|hz| 1_000_000_000 / u64::from(hz.max(1)));
    let reserved = case.reservation().zip(tick_ns);
    let mut own = Seen {
        experiment: case.name().to_owned(),
        vm: vm.map(str::to_owned),
        repetitions: 0,
        traced: 0,
        clock_source: None,
        clock_sources: None,
        reads: 0,
        read_ns: 0,
        threshold_ns: None,
        gaps: Gaps::default(),
        clocks: ClockName::ALL.map(steps_of).to_vec(),
        timer_ns: None,
        timer_busy_ns: None,
        expected_ns: reserved.map(|(own, tick)| as_ns(own.period - own.budget) + tick),
        steal_ns: None,
        held_ns: None,
        drifts: Vec::new(),
    };
    let (mut idle, mut busy) = (Vec::new(), Vec::new());
    for record in &case.counted {
        let rows = case.clocks.iter().find(|(attempt, _)| *attempt == record.attempt);
        let Some((_, rows)) = rows else { continue };
        let traced = case.traced.iter().find(|one| one.attempt == record.attempt);
        let service = workload.service.map_or("", |service| &service.name);
        let facts = record.facts.clocks.iter();
        let mut facts = facts.filter(|own| own.vm.as_deref() == vm && own.service == service);
        own.enter(facts.next(), traced);
        let ran = traced.map(ran);
        for row in rows {
            match (row.what, row.length_ns) {
                (ClockWhat::Timer, Some(ns)) => idle.push(ns),
                (ClockWhat::TimerBusy, Some(ns)) => busy.push(ns),
                _ => own.count(row, ran.as_ref()),
            }
        }
        own.drifts.extend(drift(rows));
    }
    (own.timer_ns, own.timer_busy_ns) = (Summary::of(&mut idle), Summary::of(&mut busy));
    own
}

fn steps_of(clock: ClockName) -> Steps {
    let steps = (clock != ClockName::Monotonic).then(Counted::default);
    Steps { clock, backward: Counted::default(), steps }
}

impl Seen {
    /// Enters what is known of a repetition beside its rows.
    fn enter(&mut self, facts: Option<&ClockFacts>, traced: Option<&Traced>) {
        self.repetitions += 1;
        if let Some(facts) = facts {
            self.clock_source = self.clock_source.take().or_else(|| facts.clock_source.clone());
            self.clock_sources = self.clock_sources.take().or_else(|| facts.clock_sources.clone());
            self.reads += facts.reads;
            self.read_ns += facts.read_ns;
            self.threshold_ns = self.threshold_ns.or(Some(facts.threshold_ns));
            self.steal_ns = sum(self.steal_ns, facts.steal_ns);
        }
        if let Some(traced) = traced {
            self.traced += 1;
            // A trace that misses runs would take them for time without supply.
            let held_ns = traced.flaw().is_none().then(|| held_ns(&traced.rows, traced.window()));
            self.held_ns = sum(self.held_ns, held_ns);
        }
    }

    fn count(&mut self, row: &ClockRow, ran: Option<&Ran>) {
        let Some(length_ns) = row.length_ns else { return };
        let clock = &mut self.clocks[row.clock as usize];
        match row.what {
            ClockWhat::Backward => clock.backward.add(length_ns),
            ClockWhat::Step => clock.steps.get_or_insert_default().add(length_ns),
            ClockWhat::Gap => {
                let uncertainty_ns = row.uncertainty_ns.unwrap_or(u64::MAX);
                let gap = Gap { start_ns: row.start_ns, length_ns, uncertainty_ns };
                self.gaps.add(matched::cause(ran, gap), length_ns);
            }
            ClockWhat::Timer | ClockWhat::TimerBusy | ClockWhat::Offset => {}
        }
    }
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    }
}

/// When the (first) virtual CPU ran.
fn ran(traced: &Traced) -> Ran {
    let runs = vcpu(&traced.rows).map(|row| (row.start_ns, row.end_ns)).collect();
    let facts = &traced.facts;
    Ran::of((facts.from_ns, facts.to_ns), runs, traced.flaw().is_some())
}

fn vcpu(rows: &[Supply]) -> impl Iterator<Item = &Supply> {
    let first = rows.iter().map(|row| row.thread.as_str()).filter(|name| is_vcpu(name)).min();
    rows.iter().filter(move |row| Some(row.thread.as_str()) == first)
}

/// The time in `window` in which the virtual CPU was runnable and did not run.
fn held_ns(rows: &[Supply], (from_ns, to_ns): (u64, u64)) -> u64 {
    let mut held_ns = 0;
    let mut before: Option<&Supply> = None;
    for row in vcpu(rows) {
        let since_ns = match before {
            Some(last) if last.ended == Some(Ended::Runnable) => Some(last.end_ns),
            _ => row.woken_ns,
        };
        if let Some(since_ns) = since_ns {
            held_ns += row.start_ns.min(to_ns).saturating_sub(since_ns.max(from_ns));
        }
        before = Some(row);
    }
    held_ns
}

/// Of the readings of the guest's clock; none where there are fewer than two.
fn drift(rows: &[ClockRow]) -> Option<Drift> {
    let readings: Vec<(&ClockRow, i64)> = rows
        .iter()
        .filter(|row| row.what == ClockWhat::Offset)
        .filter_map(|row| Some((row, row.offset_ns?)))
        .collect();
    if readings.len() < 2 {
        return None;
    }
    let (mut jumped_ns, mut grown_ns, mut even_ns) = (0, 0, 0);
    for pair in readings.windows(2) {
        let ((before, from_ns), (after, to_ns)) = (pair[0], pair[1]);
        let elapsed_ns = after.start_ns.saturating_sub(before.start_ns);
        let known_ns = before.uncertainty_ns? + after.uncertainty_ns?;
        let change_ns = to_ns - from_ns;
        if change_ns.unsigned_abs() > elapsed_ns / clock::DRIFT + known_ns {
            jumped_ns += change_ns;
        } else {
            grown_ns += change_ns;
            even_ns += elapsed_ns;
        }
    }
    let offsets = || readings.iter().map(|(_, offset)| *offset);
    Some(Drift {
        offset_ns: readings[0].1,
        drift: (even_ns > 0).then(|| grown_ns as f64 / even_ns as f64),
        jumped_ns,
        range_ns: offsets().max()?.abs_diff(offsets().min()?),
        uncertainty_ns: readings.iter().filter_map(|(row, _)| row.uncertainty_ns).max()?,
        readings: readings.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_is_the_time_in_which_the_vcpu_was_runnable_and_did_not_run() {
        let row = |thread: &str, (start_ns, end_ns), woken_ns, ended| Supply {
            start_ns,
            end_ns,
            thread: thread.into(),
            cpu: None,
            woken_ns,
            ended: Some(ended),
            vm: None,
        };
        let rows = [
            row("vcpu0", (10, 20), None, Ended::Runnable),
            row("main-loop", (20, 25), None, Ended::Slept),
            // Held for 10, then asleep until 55, held for 5 more.
            row("vcpu0", (30, 40), None, Ended::Slept),
            row("vcpu0", (60, 70), Some(55), Ended::Runnable),
            row("vcpu0", (90, 95), None, Ended::Slept),
        ];
        assert_eq!(held_ns(&rows, (0, 100)), 10 + 5 + 20);
        assert_eq!(held_ns(&rows, (25, 80)), 5 + 5 + 10, "in the window alone");
    }
}

//! A probe of the clock: `rtload clock` in a guest or on the host, and how its rows get on the host's
//! clock.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use model::{
    clock::{Reading, Timeline},
    duration,
    manifest::{ClockFacts, Facts},
    sample::{ClockName, ClockRow, ClockWhat, read_csv, write_csv},
    suite::{ClockSource, Vm, Workload},
};
use serde::Deserialize;

use super::{
    names::Names,
    tasks::{self, What, limit},
};
use crate::{
    guest::{ClockOffset, Guest, Inside, Running},
    host::{Background, Stage, Stop, pause, program},
};

/// From one reading of a guest's clock to the next: ten in the usual length of an experiment.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Exchanges of a reading: each wakes the agent in the guest, beside the probe.
const EXCHANGES: u32 = 8;
/// How often the end is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// The file of the rows inside a guest.
const IN_GUEST: &str = "clock.csv";

/// What `rtload clock` says beside its rows.
#[derive(Debug, Deserialize)]
struct Said {
    reads: u64,
    read_ns: u64,
    threshold_ns: u64,
    timer_period_ns: u64,
    clock_source: Source,
    steal: Steal,
    warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Source {
    current: Option<String>,
    available: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Steal {
    stolen_ns: Option<u64>,
}

/// What a probe came to, for the facts.
#[derive(Debug)]
pub(super) struct Told {
    clock: ClockFacts,
    warnings: Vec<String>,
}

impl Told {
    /// From the summary that the probe printed.
    fn read(workload: Workload, printed: &[u8]) -> Result<Self> {
        let said: Said =
            serde_json::from_slice(printed).context("the summary of `rtload clock`")?;
        let clock = ClockFacts {
            vm: workload.vm.map(|vm| vm.name.clone()),
            service: name_of(workload),
            clock_source: said.clock_source.current,
            clock_sources: said.clock_source.available,
            reads: said.reads,
            read_ns: said.read_ns,
            threshold_ns: said.threshold_ns,
            timer_period_ns: said.timer_period_ns,
            steal_ns: said.steal.stolen_ns,
        };
        let mut warnings = said.warnings;
        warnings.extend(other_source(workload, clock.clock_source.as_deref()));
        Ok(Self { clock, warnings })
    }

    /// Enters it into the facts of the attempt.
    pub fn tell(self, facts: &mut Facts) {
        facts.clocks.push(self.clock);
        facts.warnings.extend(self.warnings);
    }
}

/// The kernel takes another where it has not the one that it was told to take.
fn other_source(workload: Workload, current: Option<&str>) -> Option<String> {
    let vm = workload.vm?;
    let wanted = vm.clock_source.map(ClockSource::name)?;
    let current = current.filter(|current| *current != wanted)?;
    Some(format!(
        "vm `{}`: its clock source is `{current}`: its kernel has no `{wanted}` here",
        vm.name
    ))
}

fn name_of(workload: Workload) -> String {
    workload.service.map_or_else(String::new, |service| service.name.clone())
}

fn arguments(what: What, cpu: u32, out: &str) -> Vec<String> {
    let experiment = what.workload.experiment;
    let (cpu, attempt) = (cpu.to_string(), what.attempt.to_string());
    let length = duration::format(experiment.duration);
    let words = [
        ["--cpu", &cpu],
        ["--duration", &length],
        ["--experiment", &experiment.name],
        ["--repetition", &attempt],
        ["--out", out],
        ["--summary", "json"],
    ];
    std::iter::once("clock").chain(words.into_iter().flatten()).map(str::to_owned).collect()
}

/// Starts it on its measured CPU of the host.
///
/// # Errors
/// Where rtload cannot be started.
pub(super) fn start_on_host(stage: &Stage, what: What, names: &Names) -> Result<Background> {
    let rows = names.file("clock.csv").display().to_string();
    let cpu = stage.cpus.of(what.workload.cpu());
    let arguments = arguments(what, cpu, &rows);
    let mut command = stage.on_measured(cpu, &program("rtload")?, arguments)?;
    let (out, log) = (names.file("clock.json"), names.file("clock.log"));
    Background::start_apart(&stage.guard, "rtload clock", &mut command, &out, &log)
}

/// Waits for its end.
///
/// # Errors
/// Where rtload fails; what it saw until then stays in the folder.
pub(super) fn finish_on_host(
    stage: &Stage,
    what: What,
    going: Background,
    names: &Names,
) -> Result<Told> {
    going.finish(limit(what), &stage.stop)?;
    Told::read(what.workload, &fs::read(names.file("clock.json"))?)
}

/// Starts it in the guest.
///
/// # Errors
/// Where it cannot be started.
pub(super) fn start_on_guest<'a>(
    guest: &'a Inside,
    what: What,
    stop: &Stop,
) -> Result<Running<'a>> {
    let mut command = vec![guest.programs.rtload.clone()];
    let rows = guest.programs.file(IN_GUEST);
    command.extend(arguments(what, what.workload.vcpu().unwrap_or(0), &rows));
    guest.start(&command, &[], stop.flag())
}

/// Waits for its end in the guest, and fetches what it saw.
///
/// # Errors
/// Where rtload or the guest fails; what can still be fetched is.
pub(super) fn finish_on_guest(
    guest: &Inside,
    what: What,
    running: &Running<'_>,
    names: &Names,
    stop: &Stop,
) -> Result<Told> {
    let ended = guest.wait(running, limit(what), stop.flag(), |_, _| ());
    let printed = ended.and_then(|output| tasks::printed("rtload clock", output));
    let fetched = guest.get(&guest.programs.file(IN_GUEST), &names.file("clock.csv"), stop.flag());
    let printed = printed?;
    fetched?;
    fs::write(names.file("clock.json"), &printed)?;
    Told::read(what.workload, &printed)
}

/// A guest's clock, read while a probe runs there.
#[derive(Debug)]
pub(super) struct Readings {
    vm: String,
    found: Vec<ClockOffset>,
    /// Why it did not stand still, where it should have.
    pub not_paused: Option<String>,
}

impl Readings {
    /// Reads it now and then until `going` is unset, and once more; just before and after its pause
    /// as well, so that all but that stretch keeps its place on the host's clock. Only a guest that was
    /// booted for it is paused.
    pub fn take(
        vm: &Vm,
        (inside, guest): (&Inside, Option<&Guest>),
        going: &AtomicBool,
        stop: &Stop,
    ) -> Self {
        let begun = Instant::now();
        let mut own = Self { vm: vm.name.clone(), found: Vec::new(), not_paused: None };
        let mut pause = vm.pause;
        loop {
            let last = !going.load(Ordering::Relaxed);
            // A guest that does not answer is told elsewhere.
            own.found.extend(inside.clock_offset_by(EXCHANGES, stop.flag()));
            if last || stop.check().is_err() {
                return own;
            }
            let next = Instant::now() + READ_EVERY;
            while Instant::now() < next && going.load(Ordering::Relaxed) {
                let now = pause.take_if(|pause| begun.elapsed() >= pause.at);
                if let Some((now, guest)) = now.zip(guest) {
                    own.stand_still(guest, now.length, stop);
                    break;
                }
                thread::sleep(LOOK);
            }
        }
    }

    fn stand_still(&mut self, guest: &Guest, length: Duration, stop: &Stop) {
        self.found.extend(guest.clock_offset_by(EXCHANGES, stop.flag()));
        let paused = guest.pause(stop.flag()).and_then(|()| {
            // Who interrupts ends the guest, paused or not.
            let _ = pause(length, stop);
            guest.resume(stop.flag())
        });
        self.not_paused = paused.err().map(|error| format!("vm `{}`: {error:#}", self.vm));
    }
}

/// The readings of all guests with a probe, from the threads that take them.
#[derive(Debug, Default)]
pub(super) struct AllReadings(Mutex<Vec<Readings>>);

impl AllReadings {
    pub fn add(&self, own: Readings) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(own);
    }

    pub fn into_inner(self) -> Vec<Readings> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rows of a probe, as it left them.
#[derive(Debug)]
pub(super) struct Seen {
    /// Its file.
    pub file: PathBuf,
    /// Its VM; none on the host.
    pub vm: Option<String>,
    /// Its name.
    pub service: String,
    /// The guest's clock as the workload began.
    pub begin: Option<ClockOffset>,
}

/// Writes the rows of every probe into one file, on the host's clock, with the readings of the guests'
/// clocks in between.
///
/// # Errors
/// Rows that cannot be read or written, or of a guest whose clock was never read.
pub(super) fn join(all: &[Seen], readings: &[Readings], together: &Path) -> Result<()> {
    let mut rows = Vec::new();
    for seen in all.iter().filter(|seen| seen.file.exists()) {
        let own: Vec<ClockRow> = read_csv(&seen.file)?;
        rows.extend(placed(own, seen, readings)?);
    }
    if rows.is_empty() {
        return Ok(());
    }
    // Never in place: what was seen is there whole, joined or not.
    let aside = together.with_file_name(".clock.csv.new");
    write_csv(&aside, &rows)?;
    fs::rename(&aside, together).with_context(|| together.display().to_string())?;
    for seen in all.iter().filter(|seen| seen.file != together) {
        let _ = fs::remove_file(&seen.file);
    }
    Ok(())
}

/// The rows of one probe on the host's clock.
fn placed(mut rows: Vec<ClockRow>, seen: &Seen, readings: &[Readings]) -> Result<Vec<ClockRow>> {
    if let Some(vm) = &seen.vm {
        let own = readings.iter().filter(|own| own.vm == *vm).flat_map(|own| &own.found);
        let taken: Vec<Reading> = seen.begin.iter().chain(own).map(reading).collect();
        let line = Timeline::of(taken.clone())
            .with_context(|| format!("{}: the clock of vm `{vm}` was not read", seen.service))?;
        for row in &mut rows {
            let (start_ns, uncertainty_ns) = line.host_ns(row.start_ns);
            (row.start_ns, row.uncertainty_ns) = (start_ns, Some(uncertainty_ns));
        }
        let label = rows.first().map(|row| (row.experiment.clone(), row.repetition));
        let (experiment, repetition) = label.unwrap_or_default();
        rows.extend(taken.iter().map(|own| ClockRow {
            experiment: experiment.clone(),
            repetition,
            vm: None,
            service: None,
            what: ClockWhat::Offset,
            clock: ClockName::Monotonic,
            start_ns: own.at_ns,
            length_ns: None,
            offset_ns: Some(own.offset_ns),
            uncertainty_ns: Some(own.uncertainty_ns),
        }));
    } else {
        rows.iter_mut().for_each(|row| row.uncertainty_ns = Some(0));
    }
    for row in &mut rows {
        (row.vm, row.service) = (seen.vm.clone(), Some(seen.service.clone()));
    }
    rows.sort_by_key(|row| row.start_ns);
    Ok(rows)
}

fn reading(own: &ClockOffset) -> Reading {
    Reading { at_ns: own.at_ns, offset_ns: own.offset_ns, uncertainty_ns: own.uncertainty_ns }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(what: ClockWhat, start_ns: u64) -> ClockRow {
        ClockRow {
            experiment: Some("x".into()),
            repetition: Some(0),
            vm: None,
            service: None,
            what,
            clock: ClockName::Monotonic,
            start_ns,
            length_ns: Some(30),
            offset_ns: None,
            uncertainty_ns: None,
        }
    }

    #[test]
    fn rows_stand_in_one_file_on_the_hosts_clock_with_the_readings() {
        let folder = tempfile::tempdir().unwrap();
        let seen = |vm: Option<&str>, name: &str, start_ns, begin| {
            let file = folder.path().join(name);
            write_csv(&file, &[row(ClockWhat::Gap, start_ns)]).unwrap();
            Seen { file, vm: vm.map(str::to_owned), service: "probe".into(), begin }
        };
        let offset = |at_ns, offset_ns| ClockOffset { offset_ns, uncertainty_ns: 4, at_ns };
        let all = [
            seen(Some("a"), "a.clock.csv", 1_500, Some(offset(900, 500))),
            seen(None, "host.clock.csv", 77, None),
        ];
        let found = vec![offset(1_100, 500)];
        let readings = [Readings { vm: "a".into(), found, not_paused: None }];
        let together = folder.path().join("clock.csv");
        join(&all, &readings, &together).unwrap();
        let rows: Vec<ClockRow> = read_csv(&together).unwrap();
        let of = |row: &ClockRow| (row.vm.clone(), row.what, row.start_ns, row.uncertainty_ns);
        let found: Vec<_> = rows.iter().map(of).collect();
        let a = || Some("a".to_owned());
        assert_eq!(
            found,
            [
                (a(), ClockWhat::Offset, 900, Some(4)),
                (a(), ClockWhat::Gap, 1_000, Some(4)),
                (a(), ClockWhat::Offset, 1_100, Some(4)),
                (None, ClockWhat::Gap, 77, Some(0)),
            ]
        );
        assert!(all.iter().all(|seen| !seen.file.exists()));
        // A guest whose clock nobody read has no place on the host's.
        let lost = [seen(Some("b"), "b.clock.csv", 5, None)];
        let said = join(&lost, &readings, &together).unwrap_err().to_string();
        assert!(said.contains("vm `b`"), "{said}");
        assert!(lost[0].file.exists(), "what was seen stays");
    }

    #[test]
    fn rtload_gets_what_the_experiment_says() {
        let suite = model::suite::parse(
            "name = \"s\"\n[[experiment]]\nname = \"free\"\nwhere = \"guest\"\n\
             probe = \"clock\"\nduration = \"10s\"",
            "s.toml",
        )
        .unwrap();
        let workload = suite.experiments[0].workloads()[0];
        let what = What { workload, attempt: 2, stop_above: None };
        assert_eq!(
            arguments(what, 1, "/tmp/clock.csv").join(" "),
            "clock --cpu 1 --duration 10s --experiment free --repetition 2 --out /tmp/clock.csv \
             --summary json"
        );
    }
}

//! One attempt at a repetition: prepare, load, measure, collect, tear down.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use model::{
    manifest::{Cleared, SentinelFacts},
    sample::{Job, Stall, read_csv, write_csv},
    suite::Experiment,
};
use serde::Serialize;

use super::{
    admission,
    bench::{Attempted, Bench},
    host_bench::HostBench,
    measure::Measured,
    probe,
    services::{self, Part},
    stalls,
};
use crate::{
    host::{Counters, Listener, deadline_bandwidth_limit},
    sentinel::{self, Sentinel},
};

#[derive(Serialize)]
struct BeforeAndAfter {
    before: Counters,
    after: Counters,
}

impl Bench for HostBench {
    fn attempt(&mut self, experiment: &Experiment, attempt: u32, folder: &Path) -> Attempted {
        let mut attempted = Attempted::default();
        if let Err(error) = self.prepare_guests(experiment, folder) {
            attempted.error = Some(error);
            return attempted;
        }
        let mark = self.stage.guard.mark();
        self.watched(experiment, attempt, folder, &mut attempted);
        attempted.fail(self.stage.guard.undo_to(mark));
        self.stage.forget_domain();
        attempted
    }

    fn watch(&mut self, listener: Listener) -> Result<()> {
        self.stage.watch(listener)
    }

    fn cleared(&self) -> Option<Cleared> {
        self.stage.cleared()
    }
}

impl HostBench {
    /// Ends the kept guests, and undoes everything that was done to the host.
    ///
    /// # Errors
    /// What could not be undone.
    pub fn end(mut self) -> Result<()> {
        self.end_guests()?;
        self.stage.finish()
    }

    /// Runs the workloads under the eyes of the sentinel and the host's counters.
    fn watched(
        &mut self,
        experiment: &Experiment,
        attempt: u32,
        folder: &Path,
        attempted: &mut Attempted,
    ) {
        let before = self.stage.roots.counters(self.stage.cpus.measured);
        let stalls_csv = folder.join("stalls.csv");
        let sentinel = match self.start_sentinel(experiment, &stalls_csv, folder) {
            Ok(sentinel) => sentinel,
            Err(error) => return attempted.fail(Err(error)),
        };
        let mut measured = Measured::default();
        let result = self.measure(experiment, attempt, folder, &mut measured);
        let watched = sentinel.map(Sentinel::stop).transpose();
        let after = self.stage.roots.counters(self.stage.cpus.measured);
        let facts = watched.as_ref().ok().cloned().flatten();
        attempted.facts = std::mem::take(&mut measured.facts);
        attempted.facts.warnings.extend(self.without.clone());
        attempted.facts.warnings.extend(self.stage.changes_by_others());
        attempted.fail(result);
        attempted.fail(watched.map(drop));
        attempted.fail(write_counters(folder, &BeforeAndAfter { before, after }));
        let seen = facts.as_ref().map(|facts| seen(facts, &stalls_csv, attempted)).transpose();
        let stalls = seen.map(Option::flatten).and_then(|stalls| {
            let joined = join(&measured.parts, stalls.as_deref(), &folder.join("jobs.csv"));
            joined.map(|()| stalls)
        });
        let clock_csv = folder.join("clock.csv");
        attempted.fail(probe::join(&measured.seen, &measured.readings, &clock_csv));
        if let (Ok(Some(stalls)), Some((from, to))) = (&stalls, measured.window) {
            attempted.stalled_share = Some(stalls::share(stalls, from, to));
        }
        if let Ok(Some(_)) = &stalls {
            attempted.facts.warnings.extend(measured.parts.iter().filter_map(Part::too_coarse));
        }
        attempted.fail(stalls.map(drop));
        attempted.facts.sentinel = facts;
    }

    /// Starts the sentinel, with as much of the CPU as `experiment` leaves it.
    fn start_sentinel(
        &self,
        experiment: &Experiment,
        stalls_csv: &Path,
        folder: &Path,
    ) -> Result<Option<Sentinel>> {
        if !self.sentinel {
            return Ok(None);
        }
        let most = admission::sentinel(experiment, deadline_bandwidth_limit(&self.stage.roots));
        Sentinel::start(&self.stage, most, stalls_csv, &folder.join("sentinel.log")).map(Some)
    }
}

fn write_counters(folder: &Path, counters: &BeforeAndAfter) -> Result<()> {
    let path = folder.join("host.json");
    let text = serde_json::to_string_pretty(counters)?;
    fs::write(&path, text + "\n").with_context(|| path.display().to_string())
}

/// The stalls that the sentinel saw, unless it saw too little.
fn seen(
    facts: &SentinelFacts,
    stalls_csv: &Path,
    attempted: &mut Attempted,
) -> Result<Option<Vec<Stall>>> {
    if let Some(why) = sentinel::blind(facts) {
        attempted.facts.warnings.push(why);
        return Ok(None);
    }
    Ok(Some(read_csv(stalls_csv)?))
}

/// Writes the rows of every service of tasks into one file: to whom they belong, and which stalls
/// may have delayed them, as far as anybody watched and the clocks tell.
fn join(parts: &[Part], stalls: Option<&[Stall]>, together: &Path) -> Result<()> {
    let mut all: Vec<Job> = Vec::new();
    for part in parts.iter().filter(|part| part.file.exists()) {
        let mut jobs: Vec<Job> = read_csv(&part.file)?;
        if let Some((stalls, clock)) = stalls.zip(part.exact_clock()) {
            stalls::mark(&mut jobs, stalls, clock);
        }
        for job in &mut jobs {
            (job.vm, job.service) = (part.vm.clone(), Some(part.service.clone()));
        }
        all.append(&mut jobs);
    }
    if all.is_empty() {
        return Ok(());
    }
    // Never in place: what was measured is there whole, joined or not.
    let aside = together.with_file_name(".jobs.csv.new");
    write_csv(&aside, &all)?;
    fs::rename(&aside, together).with_context(|| together.display().to_string())?;
    services::remove(parts, together);
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::clock::ClockMap;

    use super::*;
    use crate::run::guest_clock::JobsClock;

    const HEADER: &str = "experiment,repetition,task,job,release_ns,start_ns,finish_ns,\
                          response_ns,cpu_ns,deadline_ns,missed,stalled_ns,vm,service\n";

    #[test]
    fn rows_of_several_services_stand_in_one_file_each_on_its_own_clock() {
        let folder = tempfile::tempdir().unwrap();
        let part = |vm: &str, offset_ns: i64, release: u64| {
            let file = folder.path().join(format!("{vm}.tasks.jobs.csv"));
            let row = format!("x,0,tau1,0,{release},{release},{},10,9,50,0,,,\n", release + 10);
            fs::write(&file, format!("{HEADER}{row}")).unwrap();
            let map = ClockMap { offset_ns, since_ns: 0, drift: 0.0 };
            let clock = Some(JobsClock { map, uncertainty_ns: 0 });
            let service = "tasks".to_owned();
            Part { file, vm: Some(vm.to_owned()), service, clock, shortest_ns: 50 }
        };
        // Guest clocks are the host's plus the offset: both jobs ran from 1000 to 1010.
        let parts = [part("a", 500, 1_500), part("b", -300, 700)];
        let together = folder.path().join("jobs.csv");
        let stalls = [Stall { start_ns: 1_004, length_ns: 3 }];
        join(&parts, Some(&stalls), &together).unwrap();
        let jobs: Vec<Job> = read_csv(&together).unwrap();
        let of = |job: &Job| (job.vm.clone().unwrap(), job.stalled_ns);
        let found: Vec<_> = jobs.iter().map(of).collect();
        assert_eq!(found, [("a".to_owned(), Some(3)), ("b".to_owned(), Some(3))]);
        assert!(parts.iter().all(|part| !part.file.exists()));
        // Where the clock is coarser than the tasks, nobody knows either: that is told, once.
        let mut coarse = part("a", 500, 1_500);
        coarse.clock = coarse.clock.map(|own| JobsClock { uncertainty_ns: 26, ..own });
        assert!(coarse.too_coarse().unwrap().contains("known to within 26ns"), "{coarse:?}");
        join(&[coarse], Some(&stalls), &together).unwrap();
        assert_eq!(read_csv::<Job>(&together).unwrap()[0].stalled_ns, None);
        assert_eq!(part("a", 0, 9).too_coarse(), None);
        // Where nobody watched, nobody knows.
        let one = [part("a", 0, 9)];
        join(&one, None, &together).unwrap();
        assert_eq!(read_csv::<Job>(&together).unwrap()[0].stalled_ns, None);
        join(&[], None, &folder.path().join("none.csv")).unwrap();
        assert!(!folder.path().join("none.csv").exists(), "nothing is made up");
    }
}

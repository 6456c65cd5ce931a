//! One attempt at a repetition: prepare, load, measure, collect, tear down.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use model::{
    manifest::Cleared,
    sample::{Job, read_csv, write_csv},
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
    watched::Seen,
};
use crate::{
    host::{Counters, Listener, deadline_bandwidth_limit},
    sentinel::{Sentinel, Watched},
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

    /// Runs the workloads under the eyes of the sentinels and the host's counters.
    fn watched(
        &mut self,
        experiment: &Experiment,
        attempt: u32,
        folder: &Path,
        attempted: &mut Attempted,
    ) {
        let before = self.stage.roots.counters(self.stage.cpus.first());
        let sentinels = match self.start_sentinels(experiment, folder) {
            Ok(sentinels) => sentinels,
            Err(error) => return attempted.fail(Err(error)),
        };
        let mut measured = Measured::default();
        let result = self.measure(experiment, attempt, folder, &mut measured);
        let (seen, ended) = stop(sentinels);
        let after = self.stage.roots.counters(self.stage.cpus.first());
        attempted.facts = std::mem::take(&mut measured.facts);
        attempted.facts.warnings.extend(self.without.clone());
        attempted.facts.warnings.extend(self.stage.changes_by_others());
        attempted.fail(result);
        ended.into_iter().for_each(|error| attempted.fail(Err(error)));
        attempted.fail(write_counters(folder, &BeforeAndAfter { before, after }));
        attempted.fail(seen.write(&folder.join("stalls.csv")));
        attempted.fail(join(&measured.parts, &seen, &folder.join("jobs.csv")));
        let clock_csv = folder.join("clock.csv");
        attempted.fail(probe::join(&measured.seen, &measured.readings, &clock_csv));
        let watched = measured.parts.iter().filter(|part| seen.on(part.cpu).is_some());
        attempted.facts.warnings.extend(watched.filter_map(Part::too_coarse));
        attempted.stalled_share = measured.window.and_then(|(from, to)| seen.share(from, to));
        seen.tell(&mut attempted.facts);
    }

    /// Starts a sentinel on each measured CPU, with as much of it as `experiment` leaves.
    fn start_sentinels(
        &self,
        experiment: &Experiment,
        folder: &Path,
    ) -> Result<Vec<(u32, Sentinel)>> {
        if !self.sentinel {
            return Ok(Vec::new());
        }
        let (stage, limit) = (&self.stage, deadline_bandwidth_limit(&self.stage.roots));
        let several = stage.cpus.measured.len() > 1;
        let start = |&cpu: &u32| {
            let most = admission::sentinel(experiment, &stage.cpus, cpu, limit);
            let log = if several { format!("sentinel-{cpu}.log") } else { "sentinel.log".into() };
            Sentinel::start(stage, cpu, most, &folder.join(log)).map(|sentinel| (cpu, sentinel))
        };
        stage.cpus.measured.iter().map(start).collect()
    }
}

/// Ends the sentinels: what they saw, and what was wrong with them.
fn stop(sentinels: Vec<(u32, Sentinel)>) -> (Seen, Vec<anyhow::Error>) {
    let (mut watched, mut errors): (Vec<(u32, Watched)>, _) = (Vec::new(), Vec::new());
    for (cpu, sentinel) in sentinels {
        match sentinel.stop() {
            Ok(own) => watched.push((cpu, own)),
            Err(error) => errors.push(error),
        }
    }
    (Seen::of(watched), errors)
}

fn write_counters(folder: &Path, counters: &BeforeAndAfter) -> Result<()> {
    let path = folder.join("host.json");
    let text = serde_json::to_string_pretty(counters)?;
    fs::write(&path, text + "\n").with_context(|| path.display().to_string())
}

/// Writes the rows of every service of tasks into one file: to whom they belong, and which stalls of
/// their CPU may have delayed them, as far as anybody watched it and the clocks
/// tell.
fn join(parts: &[Part], seen: &Seen, together: &Path) -> Result<()> {
    let mut all: Vec<Job> = Vec::new();
    for part in parts.iter().filter(|part| part.file.exists()) {
        let mut jobs: Vec<Job> = read_csv(&part.file)?;
        if let Some((stalls, clock)) = seen.on(part.cpu).zip(part.exact_clock()) {
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
    use model::{clock::ClockMap, manifest::SentinelFacts, sample::Stall};

    use super::*;
    use crate::run::guest_clock::JobsClock;

    const HEADER: &str = "experiment,repetition,task,job,release_ns,start_ns,finish_ns,\
                          response_ns,cpu_ns,deadline_ns,missed,stalled_ns,vm,service\n";

    #[test]
    fn rows_of_several_services_stand_in_one_file_each_on_its_own_clock() {
        let folder = tempfile::tempdir().unwrap();
        let part = |vm: &str, cpu: u32, offset_ns: i64, release: u64| {
            let file = folder.path().join(format!("{vm}.tasks.jobs.csv"));
            let row = format!("x,0,tau1,0,{release},{release},{},10,9,50,0,,,\n", release + 10);
            fs::write(&file, format!("{HEADER}{row}")).unwrap();
            let map = ClockMap { offset_ns, since_ns: 0, drift: 0.0 };
            let clock = Some(JobsClock { map, uncertainty_ns: 0 });
            let service = "tasks".to_owned();
            Part { file, vm: Some(vm.to_owned()), service, cpu, clock, shortest_ns: 50 }
        };
        // Guest clocks are the host's plus the offset: both jobs ran from 1000 to 1010.
        let parts = [part("a", 1, 500, 1_500), part("b", 2, -300, 700)];
        let together = folder.path().join("jobs.csv");
        let watched = |cpu, length_ns| {
            let stalls = vec![Stall { start_ns: 1_004, length_ns, cpu: Some(cpu) }];
            (cpu, Watched { stalls, facts: SentinelFacts::default() })
        };
        join(&parts, &Seen::of([watched(1, 3), watched(2, 5)]), &together).unwrap();
        let jobs: Vec<Job> = read_csv(&together).unwrap();
        let of = |job: &Job| (job.vm.clone().unwrap(), job.stalled_ns);
        let found: Vec<_> = jobs.iter().map(of).collect();
        assert_eq!(found, [("a".to_owned(), Some(3)), ("b".to_owned(), Some(5))], "of its CPU");
        assert!(parts.iter().all(|part| !part.file.exists()));
        // Where the clock is coarser than the tasks, nobody knows either: that is told, once.
        let mut coarse = part("a", 1, 500, 1_500);
        coarse.clock = coarse.clock.map(|own| JobsClock { uncertainty_ns: 26, ..own });
        assert!(coarse.too_coarse().unwrap().contains("known to within 26ns"), "{coarse:?}");
        join(&[coarse], &Seen::of([watched(1, 3)]), &together).unwrap();
        assert_eq!(read_csv::<Job>(&together).unwrap()[0].stalled_ns, None);
        assert_eq!(part("a", 1, 0, 9).too_coarse(), None);
        // Where nobody watched, nobody knows.
        let one = [part("a", 1, 0, 9)];
        join(&one, &Seen::of([watched(2, 5)]), &together).unwrap();
        assert_eq!(read_csv::<Job>(&together).unwrap()[0].stalled_ns, None);
        join(&[], &Seen::default(), &folder.path().join("none.csv")).unwrap();
        assert!(!folder.path().join("none.csv").exists(), "nothing is made up");
    }
}

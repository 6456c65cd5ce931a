//! What the sentinels of an attempt saw, one on each measured CPU.

use std::path::Path;

use anyhow::Result;
use model::{
    manifest::{Facts, SentinelFacts},
    sample::{Stall, write_csv},
};

use super::stalls;
use crate::sentinel::{self, Watched};

/// What was seen; nothing where nobody watched.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// In the order of the measured CPUs.
    cpus: Vec<OnCpu>,
}

#[derive(Debug)]
struct OnCpu {
    cpu: u32,
    watched: Watched,
    /// Why it is not known how much the CPU was stalled.
    blind: Option<String>,
}

impl Seen {
    /// By the sentinels of these CPUs.
    pub fn of(watched: impl IntoIterator<Item = (u32, Watched)>) -> Self {
        let on_cpu = |(cpu, watched): (u32, Watched)| {
            let blind = sentinel::blind(&watched.facts);
            OnCpu { cpu, watched, blind }
        };
        Self { cpus: watched.into_iter().map(on_cpu).collect() }
    }

    /// The stalls of a CPU; none where nobody watched it, or too little was seen.
    pub fn on(&self, cpu: u32) -> Option<&[Stall]> {
        let own = self.cpus.iter().find(|own| own.cpu == cpu && own.blind.is_none())?;
        Some(&own.watched.stalls)
    }

    /// The share of `from..to` in which the CPU that was stalled most ran no thread; none where one of
    /// them is not known.
    pub fn share(&self, from: u64, to: u64) -> Option<f64> {
        let share = |own: &OnCpu| Some(stalls::share(self.on(own.cpu)?, from, to));
        let shares: Vec<f64> = self.cpus.iter().map(share).collect::<Option<_>>()?;
        shares.into_iter().reduce(f64::max)
    }

    /// Writes the stalls of all CPUs, where any was watched.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, file: &Path) -> Result<()> {
        if self.cpus.is_empty() {
            return Ok(());
        }
        let mut all: Vec<Stall> =
            self.cpus.iter().flat_map(|own| own.watched.stalls.clone()).collect();
        all.sort_by_key(|stall| stall.start_ns);
        Ok(write_csv(file, &all)?)
    }

    /// Enters how each watched, and what it could not see.
    pub fn tell(self, facts: &mut Facts) {
        let several = self.cpus.len() > 1;
        for OnCpu { cpu, blind, .. } in &self.cpus {
            let whose = if several { format!("CPU {cpu}: ") } else { String::new() };
            facts.warnings.extend(blind.iter().map(|why| format!("{whose}{why}")));
        }
        let mut all: Vec<SentinelFacts> =
            self.cpus.into_iter().map(|own| own.watched.facts).collect();
        facts.sentinel = all.first().cloned();
        if !several {
            all.clear();
        }
        facts.sentinels = all;
    }
}

#[cfg(test)]
mod tests {
    use model::sample::read_csv;

    use super::*;

    fn watched(cpu: u32, stalls: &[(u64, u64)], held_back_ns: u64) -> (u32, Watched) {
        let row =
            |&(start_ns, length_ns): &(u64, u64)| Stall { start_ns, length_ns, cpu: Some(cpu) };
        let facts = SentinelFacts {
            cpu: Some(cpu),
            watched_ns: 1_000,
            held_back_ns,
            ..SentinelFacts::default()
        };
        (cpu, Watched { stalls: stalls.iter().map(row).collect(), facts })
    }

    #[test]
    fn each_cpu_has_its_own_stalls_and_the_worst_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stalls.csv");
        let seen = Seen::of([watched(2, &[(300, 10)], 0), watched(1, &[(100, 50), (400, 20)], 0)]);
        assert_eq!(seen.on(1).unwrap().len(), 2);
        assert!((seen.share(0, 1_000).unwrap() - 0.07).abs() < 1e-12);
        assert!(seen.on(0).is_none());
        seen.write(&file).unwrap();
        let rows: Vec<Stall> = read_csv(&file).unwrap();
        let cpus: Vec<_> = rows.iter().map(|row| (row.start_ns, row.cpu)).collect();
        assert_eq!(cpus, [(100, Some(1)), (300, Some(2)), (400, Some(1))]);
        let mut facts = Facts::default();
        seen.tell(&mut facts);
        assert_eq!((facts.sentinel.as_ref().unwrap().cpu, facts.sentinels.len()), (Some(2), 2));
        assert_eq!(facts.sentinel_on(Some(1)).unwrap().cpu, Some(1));
        assert_eq!((facts.all_sentinels().count(), facts.warnings.len()), (2, 0));
    }

    #[test]
    fn where_one_saw_too_little_the_share_is_not_known_and_the_other_jobs_are() {
        let seen = Seen::of([watched(2, &[(300, 10)], 900), watched(1, &[(100, 50)], 0)]);
        assert_eq!((seen.on(2), seen.share(0, 1_000)), (None, None));
        assert_eq!(seen.on(1).unwrap().len(), 1);
        let mut facts = Facts::default();
        seen.tell(&mut facts);
        assert!(facts.warnings[0].starts_with("CPU 2: how much the CPU was stalled"), "{facts:?}");
        let one = Seen::of([watched(1, &[], 0)]);
        let mut facts = Facts::default();
        one.tell(&mut facts);
        assert!(facts.sentinels.is_empty() && facts.sentinel.is_some());
        let nobody = Seen::default();
        let file = tempfile::tempdir().unwrap().path().join("none.csv");
        nobody.write(&file).unwrap();
        assert!(!file.exists() && nobody.share(0, 9).is_none());
    }
}

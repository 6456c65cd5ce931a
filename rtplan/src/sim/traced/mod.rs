//! What the kernel's trace of a measured vCPU tells the simulator: how long a job's wake-up and
//! the job itself kept the vCPU on the CPU, what held it up, and when budgets were looked at.
//!
//! Times *on the CPU* are what goes into a simulation; when the vCPU gets the CPU is what comes out.

mod budget;
mod jobs;

use std::path::Path;

use model::{
    manifest::RepetitionRecord,
    sample::{Job, Occupied, SampleError, Supply, read_csv},
};

pub(super) use budget::tick_phase;

/// The sentinel's name in `cpu.csv`.
const SENTINEL: &str = "rtvm-sentinel";

/// Less than this share of the time on the CPU is no bill, but a clock read too early.
const LEAST_BILLED: f64 = 0.97;

/// A guest's clock that is known less exactly than this does not lay jobs of milliseconds beside what its
/// vCPU got: so it is where programs entered by QEMU's guest agent.
const COARSE_NS: u64 = 5_000_000;

/// Fewer observations tell nothing.
pub(super) const LEAST: usize = 10;

/// A traced attempt, on the host's clock.
#[derive(Debug)]
pub(super) struct Traced {
    pub experiment: String,
    /// The vCPU on the CPU, ascending.
    supply: Vec<Supply>,
    /// Time on the CPU before each of `supply`.
    before: Vec<u64>,
    /// What a nanosecond on the CPU is billed as, in millionths: interrupts are not the vCPU's.
    billed: u64,
    /// When the sentinel looked, ascending.
    looks: Vec<u64>,
    jobs: Vec<Job>,
}

impl Traced {
    /// Reads an attempt's folder; none where it was not traced, had no tasks, more than one vCPU, or a
    /// clock by which its jobs cannot be laid beside the trace.
    pub fn read(place: &Path, record: &RepetitionRecord) -> Result<Option<Self>, SampleError> {
        let [supply, cpu, jobs] =
            ["supply.csv", "cpu.csv", "jobs.csv"].map(|name| place.join(name));
        let Some(facts) = &record.facts.trace else { return Ok(None) };
        if ![&supply, &cpu, &jobs].iter().all(|file| file.exists()) {
            return Ok(None);
        }
        if record.facts.guest_clock_uncertainty_ns.is_some_and(|ns| ns > COARSE_NS) {
            return Ok(None);
        }
        let mut supply: Vec<Supply> = read_csv(&supply)?;
        if supply.iter().any(|row| row.thread == "vcpu1") {
            return Ok(None);
        }
        supply.retain(|row| row.thread == "vcpu0");
        supply.sort_by_key(|row| row.start_ns);
        let on = supply.last().and_then(|row| row.cpu);
        let looks = read_csv::<Occupied>(&cpu)?
            .iter()
            .filter(|row| row.thread == SENTINEL && row.is_on(on))
            .map(|row| row.start_ns)
            .collect();
        let clock = record.facts.jobs_clock(facts.workload_from_ns.unwrap_or(facts.from_ns));
        let mut jobs: Vec<Job> = read_csv(&jobs)?;
        for job in &mut jobs {
            for instant in [&mut job.release_ns, &mut job.start_ns, &mut job.finish_ns] {
                *instant = clock.host_ns(*instant);
            }
        }
        let own = facts.threads.iter().find(|own| own.thread == "vcpu0");
        let billed = own.and_then(|own| Some(own.clock_ns? as f64 / own.traced_ns.max(1) as f64));
        let billed = (billed.unwrap_or(1.0).clamp(LEAST_BILLED, 1.0) * 1e6) as u64;
        Ok(Some(Self::new(&record.experiment, supply, billed, looks, jobs)))
    }

    fn new(
        experiment: &str,
        supply: Vec<Supply>,
        billed: u64,
        mut looks: Vec<u64>,
        jobs: Vec<Job>,
    ) -> Self {
        looks.sort_unstable();
        let before = supply
            .iter()
            .scan(0, |sum, row| {
                let before = *sum;
                *sum += row.end_ns - row.start_ns;
                Some(before)
            })
            .collect();
        Self { experiment: experiment.to_owned(), supply, before, billed, looks, jobs }
    }

    /// Time on the CPU until `instant`.
    fn until(&self, instant: u64) -> u64 {
        match self.supply.partition_point(|row| row.start_ns < instant).checked_sub(1) {
            None => 0,
            Some(at) => {
                let row = &self.supply[at];
                self.before[at] + instant.min(row.end_ns) - row.start_ns
            }
        }
    }

    /// CPU time of the vCPU, as its server bills it.
    fn between(&self, from: u64, to: u64) -> u64 {
        bill(self.until(to).saturating_sub(self.until(from)), self.billed)
    }
}

/// By any stall.
fn untouched(job: &Job) -> bool {
    job.stalled_ns.is_none_or(|ns| ns == 0)
}

fn bill(on: u64, millionths: u64) -> u64 {
    u64::try_from(u128::from(on) * u128::from(millionths) / 1_000_000).unwrap_or(on)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::sample::Ended;

    pub const US: u64 = 1_000;
    pub const MS: u64 = 1_000 * US;

    pub fn run(start_ns: u64, end_ns: u64, ended: Ended) -> Supply {
        let ended = Some(ended);
        let thread = "vcpu0".into();
        Supply { start_ns, end_ns, thread, cpu: Some(1), woken_ns: None, ended, vm: None }
    }

    pub fn job(task: &str, number: u64, times: [u64; 3]) -> Job {
        let [release_ns, start_ns, finish_ns] = times;
        Job {
            experiment: Some("x".into()),
            repetition: Some(0),
            task: task.into(),
            job: number,
            release_ns,
            start_ns,
            finish_ns,
            response_ns: finish_ns - release_ns,
            cpu_ns: None,
            deadline_ns: 100 * MS,
            missed: false,
            stalled_ns: Some(0),
            vm: None,
            service: None,
        }
    }

    /// Twenty jobs, one each 200 ms. The vCPU wakes 180 µs after a release, starts the job 320 µs
    /// later, is throttled by the tick after 28 ms, goes on 50.04 ms after its wake-up, finishes the
    /// job after 2 ms more and sleeps 100 µs later. In each first burst it naps for 30 µs.
    pub fn reserved() -> Traced {
        let (mut supply, mut jobs) = (Vec::new(), Vec::new());
        for k in 1..=20 {
            let release = k * 200 * MS;
            let (woken, on) = (release + 180 * US, release + 50_220 * US);
            supply.push(run(woken, woken + 10 * MS, Ended::Slept));
            supply.push(run(woken + 10_030 * US, woken + 28 * MS, Ended::Runnable));
            supply.push(run(on, on + 2_100 * US, Ended::Slept));
            jobs.push(job("tau1", k - 1, [release, release + 500 * US, on + 2 * MS]));
        }
        let looks = (0..4400).map(|k| k * MS + 300 * US).collect();
        Traced::new("x", supply, 1_000_000, looks, jobs)
    }

    #[test]
    fn supply_adds_up_to_any_instant() {
        let traced = reserved();
        assert_eq!(traced.until(0), 0);
        assert_eq!(traced.between(200 * MS, 201 * MS), 820 * US);
        assert_eq!(traced.between(200 * MS, 300 * MS), 30_070 * US);
        assert_eq!(Traced { billed: 990_000, ..reserved() }.between(202 * MS, 203 * MS), 990 * US);
    }
}

//! When budgets were looked at and came back, and what held up the vCPU meanwhile.

use model::{
    duration::as_ns,
    sample::{Ended, Job, Supply},
    stats::percentile,
    suite::ReservationSettings,
};

use super::{LEAST, Traced, untouched};
use crate::sim::{
    chance::Times,
    experiment::{Phases, SENTINEL_INTERVAL_NS},
};

/// In a millisecond, the sentinel and the emulator's locks take less than this from a running vCPU.
const HELD_UP_NS: u64 = 400_000;

/// A budget comes back later than this after a stall only.
const LATE_NS: u64 = 200_000;

/// A throttled vCPU is off the CPU for longer than this; a preempted one for less.
const THROTTLED_NS: u64 = 2_000_000;

/// A preemption by the sentinel begins this close to the look that it is.
const AT_LOOK_NS: u64 = 60_000;

impl Traced {
    /// What holds up the vCPU from one of the sentinel's looks to the next, while jobs run: the look
    /// itself, interrupts, and what the emulator's locks make it sleep for.
    pub fn look(&self) -> Option<Times> {
        let mut held = Vec::new();
        // A look at a throttled vCPU holds up nobody.
        let ran = |look: u64| self.between(look.saturating_sub(AT_LOOK_NS), look) > 0;
        for job in self.jobs.iter().filter(|job| untouched(job)) {
            let from = self.looks.partition_point(|look| *look < job.start_ns);
            let to = self.looks.partition_point(|look| *look <= job.finish_ns);
            let pairs = self.looks[from.min(to)..to].windows(2);
            held.extend(pairs.filter_map(|pair| {
                let off = pair[1] - pair[0] - (self.until(pair[1]) - self.until(pair[0]));
                let unbilled = pair[1] - pair[0] - off - self.between(pair[0], pair[1]);
                (off < HELD_UP_NS && ran(pair[0]) && ran(pair[1])).then_some(off + unbilled)
            }));
        }
        (held.len() >= LEAST).then(|| Times::Samples(held.into()))
    }

    /// Where a throttled vCPU stopped and went on.
    fn throttled(&self) -> impl Iterator<Item = (u64, u64)> {
        let pairs = self.supply.windows(2).map(|pair| (&pair[0], pair[1].start_ns));
        pairs
            .filter(|(run, next)| {
                run.ended == Some(Ended::Runnable) && next - run.end_ns > THROTTLED_NS
            })
            .map(|(run, next)| (run.end_ns, next))
    }

    /// How long after its deadline a throttled vCPU went on. A server's periods begin as the vCPU
    /// wakes up after having been idle.
    pub fn timer_latency(&self, reservation: Option<&ReservationSettings>) -> u64 {
        let Some(own) = reservation else { return 0 };
        let period = as_ns(own.reservation().period());
        let idle = |pair: &&[Supply]| {
            pair[0].ended == Some(Ended::Slept) && pair[1].start_ns > pair[0].end_ns + period
        };
        let woken: Vec<u64> =
            self.supply.windows(2).filter(idle).map(|pair| pair[1].start_ns).collect();
        let late = |next: u64| {
            let since = woken.partition_point(|woken| *woken < next).checked_sub(1)?;
            Some((next - woken[since]) % period)
        };
        let mut late: Vec<u64> = self.throttled().filter_map(|(_, next)| late(next)).collect();
        late.retain(|&late| late < LATE_NS);
        late.sort_unstable();
        percentile(&late, 50.0).filter(|_| late.len() >= LEAST).unwrap_or(0)
    }

    /// When the vCPU was throttled without the sentinel's having looked.
    fn throttled_at_tick(&self) -> impl Iterator<Item = u64> {
        let alone = |end: u64| {
            let next = self.looks.partition_point(|look| look + AT_LOOK_NS < end);
            self.looks.get(next).is_none_or(|look| *look > end + AT_LOOK_NS)
        };
        self.throttled().map(|(end, _)| end).filter(move |&end| alone(end))
    }

    /// When budgets were looked at; `tick` is the period and the phase of the host's.
    pub fn phases(&self, tick: Option<(u64, u64)>) -> Phases {
        let next_look = |job: &Job| {
            let next = self.looks.partition_point(|look| *look < job.release_ns);
            Some(self.looks.get(next)? - job.release_ns)
        };
        let looks: Vec<u64> = self.jobs.iter().filter_map(next_look).collect();
        let to_tick = |(period, phase): (u64, u64)| {
            let to_next = |job: &Job| (period + phase - job.release_ns % period) % period;
            let ticks: Vec<u64> = self.jobs.iter().map(to_next).collect();
            circular_median(&ticks, period)
        };
        Phases { look: circular_median(&looks, SENTINEL_INTERVAL_NS), tick: tick.and_then(to_tick) }
    }
}

/// The median of instants that go round in a circle; none where there are too few.
fn circular_median(instants: &[u64], period: u64) -> Option<u64> {
    let first = instants.first().filter(|_| instants.len() >= LEAST)? % period;
    let half = period / 2;
    let mut turned: Vec<u64> = instants
        .iter()
        .map(|instant| (instant % period + period + half - first) % period)
        .collect();
    turned.sort_unstable();
    Some((percentile(&turned, 50.0)? + first + period - half) % period)
}

/// When, in its period, the host's tick comes: where the budgets of `reserved` vCPUs ended and
/// nobody else looked.
pub fn tick_phase<'a>(reserved: impl Iterator<Item = &'a Traced>, period: u64) -> Option<u64> {
    let ends: Vec<u64> = reserved.flat_map(Traced::throttled_at_tick).collect();
    circular_median(&ends, period)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::traced::tests::{MS, US, reserved};

    #[test]
    fn the_tick_is_where_budgets_end_and_nobody_looks() {
        let period = 4 * MS;
        // Throttled 28.18 ms after a release at a multiple of 4 ms.
        assert_eq!(tick_phase([reserved()].iter(), period), Some(180 * US));
        let phases = reserved().phases(Some((period, 180 * US)));
        assert_eq!(phases, Phases { look: Some(300 * US), tick: Some(180 * US) });
        // Where the sentinel looked at that instant, it was no tick.
        let mut looked = reserved();
        looked.looks = (0..4400).map(|k| k * MS + 190 * US).collect();
        assert_eq!(tick_phase([looked].iter(), period), None);
    }

    #[test]
    fn a_throttled_vcpu_goes_on_late() {
        let text = "name = \"s\"\n[[experiment]]\nname = \"x\"\nwhere = \"guest\"\n\
            tasks = [\"30ms/100ms\"]\nreservation = { budget = \"28ms\", period = \"50ms\" }\n";
        let suite = model::suite::parse(text, "suite.toml").unwrap();
        // The first time it was not seen to have been idle before.
        assert_eq!(reserved().timer_latency(suite.experiments[0].vms[0].reservation()), 40 * US);
    }

    #[test]
    fn naps_and_interrupts_hold_it_up() {
        let Some(Times::Samples(held)) = reserved().look() else { panic!("no looks") };
        // A nap in one of the 28 whole milliseconds of each job's first burst, and of the second.
        assert_eq!(held.iter().filter(|&&ns| ns == 30 * US).count(), 20);
        assert!(held.iter().all(|&ns| ns == 0 || ns == 30 * US), "{held:?}");
        let billed = Traced { billed: 990_000, ..reserved() };
        let Some(Times::Samples(held)) = billed.look() else { panic!("no looks") };
        assert_eq!(held.iter().min(), Some(&(10 * US)));
    }

    #[test]
    fn a_median_of_what_goes_round() {
        let instants: Vec<u64> = [95, 99, 0, 3, 7].into_iter().cycle().take(15).collect();
        assert_eq!(circular_median(&instants, 100), Some(0));
        assert_eq!(circular_median(&instants[..9], 100), None);
    }
}

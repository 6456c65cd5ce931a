//! Batches of operations, and what they say.

use std::{io, time::Duration};

use kernel::clock::{monotonic_ns, thread_cpu_ns};
use model::{costs::Cost, duration::as_ns, stats::percentile};

/// Something that can be done again and again.
pub struct Probe<'a> {
    /// Does so many units, and tells the CPU time that they took in nanoseconds.
    run: Box<dyn FnMut(u64) -> io::Result<u64> + 'a>,
    /// Operations in a unit.
    each: u64,
    /// Units in a batch.
    units: u64,
    /// Nanoseconds of an operation, one a batch.
    costs: Vec<f64>,
}

impl<'a> Probe<'a> {
    /// What `run` does and measures itself; a unit is `each` operations.
    pub fn new(each: u64, run: impl FnMut(u64) -> io::Result<u64> + 'a) -> Self {
        Self { run: Box::new(run), each, units: 1, costs: Vec::new() }
    }

    /// What takes this thread's CPU time.
    pub fn timed(each: u64, mut run: impl FnMut(u64) + 'a) -> Self {
        Self::new(each, move |units| {
            let begin = thread_cpu_ns();
            run(units);
            Ok(thread_cpu_ns() - begin)
        })
    }

    /// Finds out how many units take `batch`, by as many as take a quarter of it; this also warms up
    /// what they use.
    pub fn size(&mut self, batch: Duration) -> io::Result<()> {
        loop {
            // The shorter of two: a stall must not make batches short.
            let elapsed = self.length()?.min(self.length()?).max(1);
            if elapsed >= as_ns(batch) / 4 {
                let fit = self.units as f64 * as_ns(batch) as f64 / elapsed as f64;
                self.units = (fit as u64).max(1);
                return Ok(());
            }
            self.units *= 2;
        }
    }

    fn length(&mut self) -> io::Result<u64> {
        let begin = monotonic_ns();
        (self.run)(self.units)?;
        Ok(monotonic_ns() - begin)
    }

    /// One more batch.
    pub fn add(&mut self) -> io::Result<()> {
        let spent = (self.run)(self.units)?;
        self.costs.push(spent as f64 / (self.units * self.each) as f64);
        Ok(())
    }

    /// Median, 10th and 90th percentile; none before the first batch, and where the clock of the CPU
    /// time did not move.
    pub fn cost(&self, size_bytes: Option<u64>) -> Option<Cost> {
        let mut sorted = self.costs.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let cost = Cost {
            per_operation_ns: percentile(&sorted, 50.0)?,
            low_ns: percentile(&sorted, 10.0)?,
            high_ns: percentile(&sorted, 90.0)?,
            batches: sorted.len() as u32,
            batch_operations: self.units * self.each,
            size_bytes,
        };
        (cost.low_ns > 0.0).then_some(cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_in_a_batch_moves_neither_the_cost_nor_its_interval() {
        let mut batch = 0_u64;
        let mut probe = Probe::new(10, move |units| {
            batch += 1;
            // One in twenty is hit by 25 ms, and the speed drifts by 2 % meanwhile.
            let stall = if batch % 20 == 7 { 25_000_000 } else { 0 };
            Ok(units * (1000 + batch / 2) + stall)
        });
        (0..40).for_each(|_| probe.add().unwrap());
        let cost = probe.cost(None).unwrap();
        assert_eq!((cost.batches, cost.batch_operations), (40, 10));
        assert!((100.0..102.0).contains(&cost.per_operation_ns), "{cost:?}");
        assert!(cost.low_ns >= 100.0 && cost.high_ns <= 102.0, "{cost:?}");
    }

    #[test]
    fn nothing_measured_is_not_zero() {
        assert_eq!(Probe::new(1, |_| Ok(0)).cost(None), None);
        let mut still = Probe::new(1, |_| Ok(0));
        still.add().unwrap();
        assert_eq!(still.cost(None), None);
    }

    #[test]
    fn a_batch_takes_about_as_long_as_asked_for() {
        let mut probe = Probe::timed(1, super::super::loops::latency);
        probe.size(Duration::from_millis(4)).unwrap();
        let mut lengths: Vec<u64> = (0..9).map(|_| (probe.run)(probe.units).unwrap()).collect();
        lengths.sort_unstable();
        // What else runs beside the test can only make them shorter.
        assert!(probe.units > 1 && lengths[4] < 16_000_000, "{lengths:?}");
    }
}

//! LFS++, the legacy feedback scheduler: T. Cucinotta, F. Checconi, L. Abeni and L. Palopoli,
//! *Self-tuning schedulers for legacy real-time applications*, EuroSys 2010; its predictors are those
//! of L. Palopoli, T. Cucinotta, L. Marzario and G. Lipari, *AQuoSA: adaptive quality of service
//! architecture*, Software: Practice and Experience 39(1), 2009.
//!
//! The grant is (1 + x) times a prediction of what will be consumed: a quantile of what was consumed in
//! the last intervals. Where the budget was exhausted, what was consumed says nothing of the demand, and
//! the grant is raised by a factor until it no longer is. The paper finds the period by the activations
//! that it observes in one task; here the period is the user's, and consumption is counted over control
//! intervals of many periods, as nobody knows the tasks of a VM.

use std::collections::VecDeque;

use super::{MARGIN, Sample};

/// Samples that the predictor remembers.
pub const WINDOW: usize = 5;

/// The quantile that it predicts: the second largest of five, so that one interval in which more
/// happened than usual changes nothing.
const QUANTILE: f64 = 0.8;

/// The factor by which an exhausted budget grows: two intervals more than double it.
const RAISE: f64 = 1.5;

#[derive(Debug, Clone, Default)]
pub(super) struct Lfs {
    consumed: VecDeque<f64>,
}

impl Lfs {
    /// The share that it wishes for.
    pub fn wish(&mut self, sample: &Sample) -> f64 {
        if self.consumed.len() == WINDOW {
            self.consumed.pop_front();
        }
        self.consumed.push_back(sample.consumed);
        if sample.exhausted {
            return sample.granted * RAISE;
        }
        (1.0 + MARGIN) * self.predicted()
    }

    /// The quantile, by nearest rank.
    fn predicted(&self) -> f64 {
        let mut sorted: Vec<f64> = self.consumed.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let rank = (QUANTILE * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(consumed: f64, exhausted: bool) -> Sample {
        Sample { consumed, waited: 0.0, granted: 0.4, exhausted }
    }

    #[test]
    fn the_prediction_is_a_quantile_of_the_last_samples() {
        let mut law = Lfs::default();
        let wishes: Vec<f64> = [0.2, 0.3, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1]
            .into_iter()
            .map(|consumed| law.wish(&sample(consumed, false)) / (1.0 + MARGIN))
            .collect();
        // One outlier is left out as soon as there are five samples; after five more it is forgotten.
        let expected = [0.2, 0.3, 0.3, 0.3, 0.3, 0.3, 0.1, 0.1, 0.1, 0.1];
        let same = wishes.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-12);
        assert!(same, "{wishes:?}");
    }

    #[test]
    fn an_exhausted_budget_is_raised_whatever_was_consumed() {
        let mut law = Lfs::default();
        assert!((law.wish(&sample(0.4, true)) - 0.6).abs() < 1e-12);
    }
}

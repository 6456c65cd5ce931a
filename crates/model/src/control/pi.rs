//! A PI law on the scheduling error: L. Abeni, L. Palopoli, G. Lipari and J. Walpole, *Analysis of a
//! reservation-based feedback scheduler*, RTSS 2002.
//!
//! There, the scheduling error of a job is the time by which it ends after its deadline, were it served
//! by its reservation alone: max(ε, 0) + c/b − T, where c is its execution time and T its period. Here
//! the job is all that a vCPU consumes in a control interval S; what it could not be given meanwhile it
//! asks for in the next, so the term max(ε, 0) is part of the next c. The target is that the job takes
//! S / (1 + x) of its reservation. The error relative to that target,
//!
//! e = (1 + x) c / b − 1,
//!
//! is zero where the grant is (1 + x) times the demand. Of an exhausted budget it cannot be more than
//! x, however late the VM's work is; then it is x + w, with the share w in which the vCPU waited: what
//! it would have used at most.
//!
//! The law in its velocity form, which needs no protection against windup where bounds or admission cut
//! a wish: b' = b (1 + Ki e + Kp (e − e₋)). With a constant demand and b* = (1 + x) d, b e = b* − b.
//! Near b* the deviation follows z² − (1 − Ki − Kp) z − Kp = 0, whose roots are inside the unit circle,
//! by Jury's criterion, exactly for [`is_stable`]: |Kp| < 1 and 0 < Ki < 2 (1 − Kp). With Kp = 0 the
//! loop is linear, and this holds from everywhere; Ki = 1 is then the dead-beat law, b' = (1 + x) c
//! (AQuoSA has it as stochastic dead beat, with a prediction in the place of c).

use super::{MARGIN, Sample};

/// Ki. With Kp the roots are 0.43 and −0.23: an error is below 5 % of what it was after four intervals.
pub const INTEGRAL: f64 = 0.7;

/// Kp.
pub const PROPORTIONAL: f64 = 0.1;

/// Whether the loop with these gains is stable around a constant demand.
#[must_use]
pub fn is_stable(integral: f64, proportional: f64) -> bool {
    proportional.abs() < 1.0 && integral > 0.0 && integral < 2.0 * (1.0 - proportional)
}

#[derive(Debug, Clone)]
pub(super) struct Pi {
    integral: f64,
    proportional: f64,
    before: Option<f64>,
}

impl Default for Pi {
    fn default() -> Self {
        Self::with(INTEGRAL, PROPORTIONAL)
    }
}

impl Pi {
    pub(super) fn with(integral: f64, proportional: f64) -> Self {
        Self { integral, proportional, before: None }
    }

    /// The share that it wishes for.
    pub fn wish(&mut self, sample: &Sample) -> f64 {
        let error = match sample.exhausted {
            true => MARGIN + sample.waited,
            false => (1.0 + MARGIN) * sample.consumed / sample.granted - 1.0,
        };
        let change = error - self.before.replace(error).unwrap_or(error);
        sample.granted * (1.0 + self.integral * error + self.proportional * change)
    }
}

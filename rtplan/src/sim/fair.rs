//! The kernel's fair server: what ordinary threads get although fixed priorities want everything.

use model::{Reservation, duration::as_ns};

use super::server::NEVER;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No ordinary thread is ready.
    Off,
    /// They may still get their time without help; that counts.
    Deferred,
    /// Served by deadline.
    Active,
    /// The budget is used up, until the deadline.
    Throttled,
}

/// A deadline server for all ordinary threads of a CPU that begins as late as it can (Linux 6.8,
/// `fair_server`; the deferral since 6.12).
#[derive(Debug)]
pub(super) struct FairServer {
    q: i64,
    p: u64,
    budget: i64,
    pub deadline: u64,
    state: State,
}

impl FairServer {
    pub fn new(reservation: Reservation) -> Self {
        let (q, p) = (as_ns(reservation.budget()) as i64, as_ns(reservation.period()));
        Self { q, p, budget: 0, deadline: 0, state: State::Off }
    }

    /// Takes note of the time and of whether an ordinary thread is `ready`; `enforced`: whether a
    /// used-up budget shows now.
    pub fn update(&mut self, now: u64, ready: bool, enforced: bool) {
        if !ready {
            self.state = State::Off;
            return;
        }
        if self.state == State::Off {
            let left = u128::from(u64::try_from(self.budget).unwrap_or(0)) * u128::from(self.p);
            if self.deadline <= now || left > u128::from(self.deadline - now) * self.q as u128 {
                self.renew(now);
            }
            self.state = State::Deferred;
        }
        if self.state == State::Deferred {
            if self.budget <= 0 {
                self.renew(now);
            }
            if self.latest_start() <= now {
                self.state = State::Active;
            }
        }
        if self.state == State::Active && self.budget <= 0 && enforced {
            self.state = State::Throttled;
        }
        if self.state == State::Throttled && self.deadline <= now {
            while self.budget <= 0 {
                self.budget += self.q;
                self.deadline = self.deadline.saturating_add(self.p);
            }
            self.state = State::Active;
        }
    }

    fn renew(&mut self, now: u64) {
        self.deadline = now.saturating_add(self.p);
        self.budget = self.q;
    }

    /// The last instant at which the whole budget fits before the deadline.
    fn latest_start(&self) -> u64 {
        self.deadline.saturating_sub(self.budget.max(0) as u64)
    }

    /// Whether it competes by deadline.
    pub fn active(&self) -> bool {
        self.state == State::Active
    }

    /// An ordinary thread had the CPU for `length`.
    pub fn spend(&mut self, length: u64) {
        if matches!(self.state, State::Deferred | State::Active) {
            self.budget -= length as i64;
        }
    }

    /// When the state changes next, where an ordinary thread is `running` or not.
    pub fn next(&self, now: u64, running: bool) -> u64 {
        let used_up = now.saturating_add(self.budget.max(0) as u64);
        match self.state {
            State::Off => NEVER,
            State::Deferred if running => used_up,
            State::Deferred => self.latest_start(),
            State::Active if running => used_up,
            State::Active => NEVER,
            State::Throttled => self.deadline,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_as_long_as_it_can_and_then_keeps_its_period() {
        let mut fair = FairServer::new(crate::sim::tests::reservation(50, 1000));
        fair.update(0, true, true);
        assert!(!fair.active());
        assert_eq!(fair.next(0, false), 950);
        fair.update(950, true, true);
        assert!(fair.active());
        fair.spend(50);
        fair.update(1000, true, true);
        assert!(fair.active() && fair.deadline == 2000, "a new budget at the deadline");
        fair.spend(50);
        fair.update(1050, true, true);
        assert!(!fair.active() && fair.next(1050, false) == 2000);
    }

    #[test]
    fn what_ordinary_threads_get_anyhow_counts() {
        let mut fair = FairServer::new(crate::sim::tests::reservation(50, 1000));
        fair.update(0, true, true);
        fair.spend(20);
        assert_eq!(fair.next(20, false), 970);
        fair.spend(30);
        fair.update(500, true, true);
        assert_eq!(fair.next(500, false), 1450, "a new period");
    }
}

//! The rules by which a thread's budget is spent and comes back.

use std::time::Duration;

use super::{
    ready::Ready,
    setup::{Server, Thread},
};
use model::{Reservation, duration::as_ns};

/// Never.
pub(super) const NEVER: u64 = u64::MAX;

/// The period of the controlling thread that ends the budgets of `timer-server` by preempting: it has
/// the earlier deadline only so long before the server's (`orchestrator::mechanism::timer_server`).
fn looks(reservation: Reservation) -> Duration {
    let slack = (reservation.period() - reservation.budget()) / 2;
    slack.clamp(Duration::from_micros(500), Duration::from_millis(2))
}

/// What happens when the budget is used up, and when it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// There is none.
    Free,
    /// Throttled until the deadline.
    HardCbs,
    /// The deadline moves.
    SoftCbs,
    /// Comes back with the clock; passes while unused.
    Periodic,
    /// Comes back with the clock; kept while unused.
    Kept,
}

/// A thread as it runs.
#[derive(Debug)]
pub(super) struct Actor {
    /// Its place in the set-up.
    pub origin: usize,
    pub rule: Rule,
    /// Q, in nanoseconds.
    q: i64,
    /// P.
    p: u64,
    /// What is left of Q; below zero where more was used.
    pub budget: i64,
    /// The instant by which Linux and EDF order servers.
    pub deadline: u64,
    /// When the budget comes back next.
    pub timer: u64,
    /// So late a used-up one.
    latency: u64,
    /// Its budget ends on time, whatever the tick, so long before the deadline or earlier.
    sharp: Option<u64>,
    pub throttled: bool,
    pub ready: Ready,
    pub edf: bool,
    /// CPU time still to be lost before the thread's work goes on.
    pub debt: u64,
    pub weight: u32,
    /// Time on the CPU divided by weight, as the kernel's fair scheduler counts it.
    pub virtual_ns: u64,
    /// Time on the CPU.
    pub ran: u64,
}

impl Actor {
    pub fn new(origin: usize, thread: &Thread, ready: Ready) -> Self {
        let rule = match thread.server {
            Server::HardCbs(_) | Server::TimerServer(_) => Rule::HardCbs,
            Server::SoftCbs(_) => Rule::SoftCbs,
            Server::Periodic(_) => Rule::Periodic,
            Server::Deferrable(_) | Server::RtQuota { .. } | Server::Quota { .. } => Rule::Kept,
            Server::Fifo { .. } | Server::Share { .. } => Rule::Free,
        };
        let by_clock = matches!(rule, Rule::Periodic | Rule::Kept);
        let ns = |of: fn(Reservation) -> std::time::Duration| {
            thread.server.reservation().map_or(0, |reservation| as_ns(of(reservation)))
        };
        let weight = match thread.server {
            Server::Quota { weight, .. } | Server::Share { weight } => weight.max(1),
            _ => 1,
        };
        Self {
            origin,
            rule,
            q: ns(Reservation::budget) as i64,
            p: ns(Reservation::period),
            budget: 0,
            deadline: 0,
            timer: if by_clock { thread.phase } else { NEVER },
            latency: thread.timer_latency,
            sharp: match thread.server {
                Server::TimerServer(reservation) => Some(as_ns(looks(reservation))),
                _ => None,
            },
            throttled: by_clock,
            ready,
            edf: thread.edf,
            debt: 0,
            weight,
            virtual_ns: 0,
            ran: 0,
        }
    }

    /// Whether a budget that is used up at `instant` ends there, whatever the tick.
    #[inline]
    pub fn ends_on_time(&self, instant: u64) -> bool {
        self.sharp.is_some_and(|reach| instant.saturating_add(reach) < self.deadline)
    }

    #[inline]
    pub fn runnable(&self) -> bool {
        !self.throttled && !self.ready.is_empty()
    }

    /// A job has come where there was none. The wake-up rule of the constant bandwidth server: the
    /// old budget and deadline stay only where together they do not exceed Q/P.
    #[inline]
    pub fn wake(&mut self, now: u64) {
        if matches!(self.rule, Rule::HardCbs | Rule::SoftCbs)
            && !self.throttled
            && (self.deadline <= now || self.overflows(now))
        {
            self.renew(now);
        }
    }

    /// budget / (deadline − now) > Q / P, without division (`dl_entity_overflow` in Linux).
    fn overflows(&self, now: u64) -> bool {
        let budget = u64::try_from(self.budget).unwrap_or(0);
        u128::from(budget) * u128::from(self.p) > u128::from(self.deadline - now) * self.q as u128
    }

    /// Has another budget from when it comes back next.
    pub fn grant(&mut self, budget_ns: u64) {
        self.q = budget_ns as i64;
    }

    fn renew(&mut self, now: u64) {
        self.deadline = now.saturating_add(self.p);
        self.budget = self.q;
    }

    /// The budget has been found to be used up.
    pub fn exhaust(&mut self, now: u64) {
        match self.rule {
            Rule::Free => {}
            Rule::SoftCbs => self.replenish(),
            Rule::Periodic | Rule::Kept => self.throttled = true,
            Rule::HardCbs => {
                self.throttled = true;
                self.timer = self.deadline.saturating_add(self.latency);
                if self.deadline <= now {
                    self.ring(now);
                }
            }
        }
    }

    /// The timer has come.
    pub fn ring(&mut self, now: u64) {
        match self.rule {
            Rule::Free | Rule::SoftCbs => self.timer = NEVER,
            Rule::HardCbs => {
                self.timer = NEVER;
                self.throttled = false;
                self.replenish();
                if self.deadline < now {
                    self.renew(now);
                }
            }
            Rule::Periodic | Rule::Kept => {
                self.deadline = self.timer.saturating_add(self.p);
                self.timer = self.deadline;
                // What was used too much is taken off.
                self.budget = self.q + self.budget.min(0);
                self.throttled = self.budget <= 0;
            }
        }
    }

    /// As many budgets as it takes to be above zero; the deadline moves as often.
    fn replenish(&mut self) {
        if self.budget <= 0 {
            let times = (-self.budget / self.q) as u64 + 1;
            self.budget += self.q * times as i64;
            self.deadline = self.deadline.saturating_add(self.p.saturating_mul(times));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(server: Server) -> Actor {
        let thread = Thread { server, ..Thread::hog(server) };
        Actor::new(0, &thread, Ready::new(vec![0], true))
    }

    fn cbs() -> Actor {
        actor(Server::HardCbs(crate::sim::tests::reservation(28, 50)))
    }

    #[test]
    fn a_woken_server_keeps_what_does_not_exceed_its_share() {
        let mut cbs = cbs();
        cbs.wake(100);
        assert_eq!((cbs.budget, cbs.deadline), (28, 150));
        // 10 in 20 is below 28 in 50: kept.
        cbs.budget = 10;
        cbs.wake(130);
        assert_eq!((cbs.budget, cbs.deadline), (10, 150));
        // 10 in 15 is above: a new period.
        cbs.wake(135);
        assert_eq!((cbs.budget, cbs.deadline), (28, 185));
    }

    #[test]
    fn an_overrun_is_paid_back_in_whole_periods() {
        let mut cbs = cbs();
        cbs.wake(0);
        cbs.budget = -2;
        cbs.exhaust(30);
        assert!(cbs.throttled && cbs.timer == 50);
        cbs.ring(50);
        assert_eq!((cbs.budget, cbs.deadline, cbs.throttled), (26, 100, false));
        // More than a whole budget, seen after the deadline: several at once.
        cbs.budget = -28;
        cbs.exhaust(110);
        assert_eq!((cbs.budget, cbs.deadline, cbs.throttled), (28, 200, false));
    }

    #[test]
    fn a_timer_ends_budgets_but_for_those_close_to_the_deadline() {
        let ms = 1_000_000;
        let mut timer = actor(Server::TimerServer("28ms/50ms".parse().unwrap()));
        timer.wake(0);
        assert!(timer.ends_on_time(28 * ms) && timer.ends_on_time(48 * ms - 1));
        assert!(!timer.ends_on_time(48 * ms));
        assert!(!cbs().ends_on_time(0));
    }

    #[test]
    fn a_soft_server_goes_on_with_a_later_deadline() {
        let mut soft = actor(Server::SoftCbs(crate::sim::tests::reservation(28, 50)));
        soft.wake(0);
        soft.budget = 0;
        soft.exhaust(28);
        assert_eq!((soft.budget, soft.deadline, soft.throttled), (28, 100, false));
    }

    #[test]
    fn budgets_by_the_clock_do_not_add_up() {
        let mut kept = actor(Server::Deferrable(crate::sim::tests::reservation(28, 50)));
        kept.ring(0);
        assert_eq!((kept.budget, kept.timer), (28, 50));
        kept.ring(50);
        assert_eq!((kept.budget, kept.timer), (28, 100));
        kept.budget = -30;
        kept.ring(100);
        assert!(kept.throttled);
        kept.ring(150);
        assert_eq!((kept.budget, kept.throttled), (26, false));
    }
}

//! What one look tells: a stall, nothing, or that it cannot tell.

use model::{duration::as_ns, sample::Stall};

use super::{SLOW_WAKE_UP, THRESHOLD, account::Account, pace::Pace};

/// One look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// When it was to be.
    pub due_ns: u64,
    /// When it was.
    pub now_ns: u64,
    /// CPU time of the thread since the look before.
    pub ran_ns: u64,
}

/// What it tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The CPU ran no thread.
    pub stall: Option<Stall>,
    /// The sentinel was late by this much, and its own budget may be the reason.
    pub held_back_ns: u64,
}

/// Judges look after look.
#[derive(Debug)]
pub(super) struct Judge {
    account: Account,
    look_ns: u64,
    pace: Pace,
}

impl Judge {
    /// For looks that take `look_ns`.
    pub fn new(look_ns: u64, pace: Pace) -> Self {
        Self { account: Account::new(pace.budget_ns, pace.period_ns), look_ns, pace }
    }

    pub fn judge(&mut self, look: Look) -> Seen {
        let Look { due_ns, now_ns, ran_ns } = look;
        let threshold = as_ns(THRESHOLD).max(SLOW_WAKE_UP * self.look_ns);
        let late_ns = now_ns.saturating_sub(due_ns);
        self.account.spend(ran_ns);
        let held_until = self.account.wake(due_ns, now_ns, self.look_ns);
        // A stall that hit the sentinel itself was billed to it, and then the kernel holds it back
        // for the overrun: the bill is the stall, and being late is not.
        if ran_ns > threshold + self.look_ns {
            let start_ns = due_ns.saturating_sub(self.pace.interval_ns);
            return Seen {
                stall: Some(Stall { start_ns, length_ns: ran_ns, cpu: None }),
                held_back_ns: 0,
            };
        }
        if late_ns <= threshold {
            return Seen::default();
        }
        // What it used since the last look it may have used in this one, before it was seen: each
        // budget cost it a period.
        let held_until =
            held_until.max(due_ns + ran_ns / self.pace.budget_ns * self.pace.period_ns);
        let length_ns = now_ns.saturating_sub(held_until);
        let stall = Stall { start_ns: held_until, length_ns, cpu: None };
        Seen {
            stall: Some(stall).filter(|stall| stall.length_ns > threshold),
            held_back_ns: held_until.min(now_ns) - due_ns,
        }
    }
}

/// When to look after `look`: on the grid, and not before the period of this look is over, so that
/// the next one begins its own.
pub(super) fn next_ns(look: Look, pace: Pace) -> u64 {
    let interval = pace.interval_ns;
    let over = look.now_ns + pace.period_ns;
    look.due_ns + interval * over.saturating_sub(look.due_ns).div_ceil(interval).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;
    const MS: u64 = 1_000_000;

    const fn pace(budget_us: u64) -> Pace {
        Pace { interval_ns: MS, period_ns: 800 * US, budget_ns: budget_us * US }
    }

    /// Sums of what a series of looks tells, each late by `late_us` and `ran_us` long.
    fn told(budget_us: u64, look_us: u64, series: &[(u64, u64)]) -> (u64, u64) {
        let mut judge = Judge::new(look_us * US, pace(budget_us));
        let (mut due_ns, mut stalled, mut held_back) = (MS, 0, 0);
        for &(late_us, ran_us) in series {
            let look = Look { due_ns, now_ns: due_ns + late_us * US, ran_ns: ran_us * US };
            let seen = judge.judge(look);
            stalled += seen.stall.map_or(0, |stall| stall.length_ns);
            held_back += seen.held_back_ns;
            due_ns = next_ns(look, pace(budget_us));
        }
        (stalled, held_back)
    }

    #[test]
    fn a_late_look_within_the_budget_is_a_stall() {
        let series = [(5, 10), (5, 10), (7000, 10), (5, 10), (300, 12)];
        assert_eq!(told(25, 10, &series), (7300 * US, 0));
    }

    #[test]
    fn late_looks_of_a_sentinel_whose_budget_is_too_small_are_none() {
        // As a slow host has it: 100 µs a look, 25 µs in 800 µs: it wakes when it may.
        let series: Vec<_> =
            (0..200).map(|look| (if look % 2 == 0 { 900 } else { 20 }, 100)).collect();
        let (stalled, held_back) = told(25, 100, &series);
        assert!(held_back > 50 * MS, "{held_back}");
        assert_eq!(stalled, 0);
        // The same lateness with budget to spare would be stalls.
        let (stalled, held_back) = told(200, 100, &series);
        assert_eq!((stalled, held_back), (90 * MS, 0));
    }

    #[test]
    fn a_stall_longer_than_its_budget_explains_is_one_all_the_same() {
        // Two budgets used: held back for two periods at the most, 1.6 ms.
        assert_eq!(told(25, 10, &[(5, 10), (5, 10), (50_000, 60)]), (48_400 * US, 1600 * US));
    }

    #[test]
    fn a_stall_billed_to_the_sentinel_is_one_and_the_holding_back_after_it_is_not() {
        let mut series = vec![(5, 10); 10];
        series.push((5, 4000));
        // Held back until the overrun of 160 budgets is paid.
        series.push((70_000, 10));
        series.extend([(5, 10); 10]);
        assert_eq!(told(25, 10, &series), (4 * MS, 70 * MS));
    }

    #[test]
    fn after_a_stall_the_next_look_begins_a_period_of_its_own() {
        let look = |late| Look { due_ns: MS, now_ns: MS + late, ran_ns: 0 };
        let next = |late| next_ns(look(late), pace(25));
        assert_eq!(next(5 * US), 2 * MS);
        assert_eq!(next(600 * US), 3 * MS);
        assert_eq!(next(2 * MS + 700 * US), 5 * MS);
    }
}

//! What the kernel leaves of the sentinel's budget, reckoned from its own CPU clock.
//!
//! SCHED_DEADLINE is a hard constant bandwidth server (Abeni and Buttazzo 1998, as
//! `kernel/sched/deadline.c` has it): a budget that is used up comes back at the deadline, which
//! moves on by a period for each budget that it takes until something is left; a wake-up begins a
//! new period where the old deadline has passed, or where what is left would exceed the bandwidth
//! until then. CPU clock and budget are charged alike, so the clock tells what was used.

/// The server of one thread.
#[derive(Debug)]
pub(super) struct Account {
    budget_ns: u64,
    period_ns: u64,
    left_ns: i64,
    deadline_ns: u64,
}

impl Account {
    pub fn new(budget_ns: u64, period_ns: u64) -> Self {
        Self { budget_ns, period_ns, left_ns: 0, deadline_ns: 0 }
    }

    /// The thread has used `ran_ns` since it was last spoken of, and sleeps.
    pub fn spend(&mut self, ran_ns: u64) {
        self.left_ns = self.left_ns.saturating_sub_unsigned(ran_ns);
    }

    /// It was to wake at `due_ns` for work of `needed_ns`, and runs at `now_ns`. Returns until when
    /// its reservation may have held it back: `due_ns` where it woke with a deadline within a period
    /// and enough of a budget, so that only the machine can delay it; else its deadline, by which
    /// EDF gives each its budget where all that is admitted fits.
    pub fn wake(&mut self, due_ns: u64, now_ns: u64, needed_ns: u64) -> u64 {
        let back_ns = self.deadline_ns;
        let used_up = self.left_ns <= 0;
        if used_up {
            let budgets = self.left_ns.unsigned_abs() / self.budget_ns + 1;
            self.left_ns += (budgets * self.budget_ns) as i64;
            self.deadline_ns += budgets * self.period_ns;
        }
        if used_up && back_ns > due_ns {
            return self.deadline_ns;
        }
        if self.begins_anew(due_ns) {
            self.left_ns = self.budget_ns as i64;
            // The latest it can be: it woke between the two.
            self.deadline_ns = now_ns + self.period_ns;
            return due_ns;
        }
        let early = self.deadline_ns <= due_ns + self.period_ns;
        let enough = self.left_ns.unsigned_abs() >= needed_ns;
        if early && enough { due_ns } else { self.deadline_ns }
    }

    /// Whether a wake-up at `at_ns` begins a period: the deadline has passed, or what is left until
    /// then exceeds the bandwidth.
    fn begins_anew(&self, at_ns: u64) -> bool {
        let Some(until) = self.deadline_ns.checked_sub(at_ns) else { return true };
        let (left, budget) = (u128::from(self.left_ns.unsigned_abs()), u128::from(self.budget_ns));
        left * u128::from(self.period_ns) > u128::from(until) * budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;
    const LOOK: u64 = 10 * US;

    /// (25 µs, 500 µs), woken on time every millisecond, using `ran_us` each time: whether its
    /// reservation may have held it back.
    fn series(ran_us: &[u64]) -> Vec<bool> {
        let mut account = Account::new(25 * US, 500 * US);
        let looks = ran_us.iter().zip(1..);
        looks
            .map(|(&ran, number)| {
                account.spend(ran * US);
                let due = number * 1000 * US;
                account.wake(due, due + 5 * US, LOOK) > due
            })
            .collect()
    }

    #[test]
    fn within_its_budget_it_is_always_first() {
        assert!(!series(&[10, 12, 24, 10, 3]).contains(&true));
    }

    #[test]
    fn one_budget_overrun_is_made_up_for_by_the_next_period() {
        assert!(!series(&[10, 30, 10, 30, 10]).contains(&true));
    }

    #[test]
    fn more_than_its_bandwidth_holds_it_back() {
        // 80 µs a millisecond, 50 promised.
        let held = series(&[80; 40]).into_iter().filter(|held| *held).count();
        assert!(held > 20, "{held}");
    }

    #[test]
    fn what_a_stall_was_billed_is_paid_back_for_long() {
        // 2 ms are 80 budgets: 40 ms.
        let mut ran = vec![10; 100];
        ran[9] = 2000;
        let series = series(&ran);
        let held: Vec<_> = (0..100).filter(|&at| series[at]).collect();
        assert!(held.first().is_some_and(|&at| at == 9 || at == 10), "{held:?}");
        assert!(held.len() >= 30 && held.last().is_some_and(|&at| at < 65), "{held:?}");
    }
}

//! What several vCPUs with laws of their own share of one CPU, by weight.
//!
//! Weighted max-min fairness (Bertsekas and Gallager, *Data Networks*, 1992, section 6.5.2), with a
//! least budget for each: no vCPU gets more than it wishes for, and what is left is dealt by weight
//! among those that wish for more. AQuoSA's supervisor compresses requests by weight likewise
//! (Palopoli et al. 2009).

use std::time::Duration;

use super::Bounds;

/// The weight of a VM that names none.
pub const WEIGHT: u32 = 1;

/// The greatest weight.
pub const MOST_WEIGHT: u32 = 10_000;

/// A CPU's share for budgets that adapt, and who has how much of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    available: f64,
    members: Vec<Member>,
}

#[derive(Debug, Clone, PartialEq)]
struct Member {
    bounds: Bounds,
    weight: f64,
    /// What it wished for last.
    wish: Duration,
    /// What it has.
    held: Duration,
    gone: bool,
}

impl Member {
    fn share(&self, budget: Duration) -> f64 {
        budget.as_secs_f64() / self.bounds.period().as_secs_f64()
    }

    /// Its part where a unit of weight gets `level` of a CPU.
    fn at(&self, level: f64) -> f64 {
        if self.gone {
            return 0.0;
        }
        let least = self.share(self.bounds.min());
        (level * self.weight).min(self.share(self.wish)).max(least)
    }
}

impl Pool {
    /// Nobody yet, and this share of a CPU. Where that is infinite nobody is held back.
    #[must_use]
    pub fn new(available: f64) -> Self {
        Self { available, members: Vec::new() }
    }

    /// A vCPU more, which wishes for its greatest budget; its number.
    pub fn join(&mut self, bounds: Bounds, weight: u32) -> usize {
        let (wish, held) = (bounds.max(), bounds.min());
        self.members.push(Member { bounds, weight: f64::from(weight), wish, held, gone: false });
        self.members.len() - 1
    }

    /// The budgets with which all begin, in the order in which they joined: as if each wished for its
    /// greatest.
    #[must_use]
    pub fn begin(&mut self) -> Vec<Duration> {
        let level = self.level();
        for member in &mut self.members {
            member.held = member.bounds.nearest(member.at(level));
        }
        self.members.iter().map(|member| member.held).collect()
    }

    /// How much of a wish a vCPU may have now: its fair part, and no more than the others have left.
    /// What they have to give back they do when they are asked next, so a raise may take two steps.
    pub fn allows(&mut self, number: usize, wish: Duration) -> Duration {
        self.members[number].wish = wish;
        if self.available.is_infinite() {
            return wish;
        }
        let level = self.level();
        let others = self.members.iter().enumerate().filter(|(own, it)| *own != number && !it.gone);
        let others: f64 = others.map(|(_, it)| it.share(it.held)).sum();
        let member = &self.members[number];
        let fair = member.bounds.nearest(member.at(level));
        let room = member.bounds.nearest((self.available - others).max(0.0));
        wish.min(fair).min(room)
    }

    /// Notes what a vCPU has from now on.
    pub fn holds(&mut self, number: usize, budget: Duration) {
        self.members[number].held = budget;
    }

    /// A vCPU that is followed no more leaves what it had to the others.
    pub fn leave(&mut self, number: usize) {
        self.members[number].gone = true;
    }

    /// How much of a CPU a unit of weight gets. The sum of all parts grows with it, so it is found by
    /// halving, to 2^-50 of the greatest that makes a difference.
    fn level(&self) -> f64 {
        let sum = |level: f64| self.members.iter().map(|member| member.at(level)).sum::<f64>();
        let highest = self.members.iter().map(|own| own.share(own.wish) / own.weight);
        let highest = highest.fold(0.0, f64::max);
        if sum(highest) <= self.available {
            return highest;
        }
        let (mut low, mut high) = (0.0, highest);
        for _ in 0..50 {
            let middle = f64::midpoint(low, high);
            if sum(middle) <= self.available { low = middle } else { high = middle }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PERIOD: Duration = Duration::from_millis(50);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn pool(available: f64, members: &[(u64, u64, u32)]) -> Pool {
        let mut pool = Pool::new(available);
        for &(min, max, weight) in members {
            pool.join(Bounds::new(ms(min), ms(max), PERIOD).unwrap(), weight);
        }
        pool
    }

    #[test]
    fn what_there_is_is_dealt_by_weight_between_bounds() {
        // 0.8 of a CPU are 40 ms of every 50 ms.
        assert_eq!(pool(0.8, &[(5, 35, 1), (5, 35, 1)]).begin(), [ms(20), ms(20)]);
        assert_eq!(pool(0.8, &[(5, 35, 3), (5, 35, 1)]).begin(), [ms(30), ms(10)]);
        assert_eq!(
            pool(0.8, &[(5, 20, 3), (5, 35, 1)]).begin(),
            [ms(20), ms(20)],
            "no more than max"
        );
        assert_eq!(pool(0.8, &[(5, 35, 7), (15, 35, 1)]).begin(), [ms(25), ms(15)], "at least min");
        assert_eq!(pool(0.9, &[(5, 20, 1), (5, 20, 9)]).begin(), [ms(20), ms(20)], "all fits");
    }

    #[test]
    fn who_wishes_for_more_waits_until_the_other_has_given_back() {
        let mut pool = pool(0.8, &[(5, 35, 1), (5, 35, 1)]);
        assert_eq!(pool.begin(), [ms(20), ms(20)]);
        assert_eq!(pool.allows(0, ms(10)), ms(10));
        pool.holds(0, ms(10));
        assert_eq!(pool.allows(1, ms(35)), ms(30), "what is left");
        pool.holds(1, ms(30));
        assert_eq!(pool.allows(0, ms(35)), ms(10), "its part is 20 ms, but the other holds it");
        assert_eq!(pool.allows(1, ms(35)), ms(20), "it has to give back");
        pool.holds(1, ms(20));
        assert_eq!(pool.allows(0, ms(35)), ms(20));
        pool.leave(1);
        assert_eq!(pool.allows(0, ms(35)), ms(35));
    }

    #[test]
    fn without_a_limit_every_wish_is_granted() {
        let mut pool = pool(f64::INFINITY, &[(5, 50, 1), (5, 50, 1)]);
        assert_eq!(pool.begin(), [ms(50), ms(50)]);
        assert_eq!(pool.allows(1, ms(40)), ms(40));
    }

    proptest! {
        /// Nothing is dealt twice, nobody is below its least or above its wish, and nothing is kept
        /// back from those that wish for more.
        #[test]
        fn it_is_fair(
            members in prop::collection::vec((1_u64..10, 0_u64..40, 1_u32..20), 1..6),
            spare in 0.0..1.0_f64,
        ) {
            let members: Vec<_> =
                members.into_iter().map(|(min, more, weight)| (min, min + more, weight)).collect();
            let least: u64 = members.iter().map(|own| own.0).sum();
            let available = least as f64 / 50.0 + spare;
            let budgets = pool(available, &members).begin();
            let sum: f64 = budgets.iter().map(|own| own.as_secs_f64() / 0.05).sum();
            prop_assert!(sum <= available + 1e-9);
            let wishes: f64 = members.iter().map(|own| own.1 as f64 / 50.0).sum();
            // A budget is rounded down to a microsecond.
            prop_assert!(sum >= available.min(wishes) - members.len() as f64 * 2.1e-5);
            let per_weight: Vec<f64> = budgets.iter().zip(&members)
                .map(|(budget, own)| budget.as_secs_f64() / f64::from(own.2)).collect();
            for (at, (budget, own)) in budgets.iter().zip(&members).enumerate() {
                prop_assert!(*budget >= ms(own.0) && *budget <= ms(own.1));
                // Who has more for its weight has it as its least alone.
                let poorer = per_weight.iter().zip(&members).zip(&budgets).any(|((level, other), held)|
                    *level + 2e-6 < per_weight[at] && *held < ms(other.1));
                prop_assert!(!poorer || *budget == ms(own.0), "{budgets:?} of {members:?}");
            }
        }
    }
}

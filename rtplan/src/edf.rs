//! Earliest deadline first: the processor demand criterion dbf(t) ≤ sbf(t), and response times.
//!
//! Baruah, Mok and Rosier (1990) for the criterion, Shin and Lee (2003) for its form with a supply
//! bound function, Spuri (1996) for response times. Windows open with all tasks released at once,
//! which is the worst case for sporadic tasks and the safe side for tasks with known offsets.

use std::cmp::Ordering;

use crate::{
    effort::{Effort, TooHard},
    ns::{FOREVER, Ns},
    problem::{Item, Problem},
    response::Response,
    supply::Bound,
    utilisation::Utilisation,
};

/// An instant at which more is asked for than supplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Since the busy window opened.
    pub at: Ns,
    /// dbf(at), blocking included.
    pub demand: Ns,
    /// sbf(at).
    pub supply: Ns,
}

/// Work that must be done within [0, t] of a busy window, and the blocking it can suffer.
pub(crate) fn demand(items: &[Item], t: Ns) -> Ns {
    let blocking =
        items.iter().filter(|item| item.deadline <= t).map(|item| item.blocking).max().unwrap_or(0);
    blocking + items.iter().map(|item| item.deadlines(t) * item.execution).sum::<Ns>()
}

/// The earliest instant, over all scenarios, at which the demand exceeds the supply.
pub(crate) fn first_violation(problem: &Problem) -> Result<Option<Violation>, TooHard> {
    let mut effort = Effort::default();
    let mut first: Option<Violation> = None;
    for scenario in &problem.scenarios {
        let search = Search { items: &problem.items, bound: &scenario.bound };
        let found = search.first(first.map(|violation| violation.at), &mut effort)?;
        first = match (first, found) {
            (Some(a), Some(b)) if a.at <= b.at => Some(a),
            (a, b) => b.or(a),
        };
    }
    Ok(first)
}

struct Search<'a> {
    items: &'a [Item],
    bound: &'a Bound,
}

impl Search<'_> {
    /// Walks up from deadline to deadline, and over whole stretches wherever the demand at their
    /// end is within the supply at their start: both functions only grow.
    fn first(&self, below: Option<Ns>, effort: &mut Effort) -> Result<Option<Violation>, TooHard> {
        let horizon = self.horizon(effort)?.min(below.unwrap_or(FOREVER));
        let (mut now, mut stride) = (0, horizon.min(1 << 20));
        while now < horizon {
            effort.spend(self.items.len())?;
            let end = (now + stride).min(horizon);
            if demand(self.items, end) <= self.bound.provided(now) {
                (now, stride) = (end, stride * 2);
                continue;
            }
            let Some(deadline) = self.deadline_after(now) else { break };
            if deadline > horizon {
                break;
            }
            effort.spend(2 * self.items.len())?;
            let (demand, supply) = (demand(self.items, deadline), self.bound.provided(deadline));
            if demand > supply {
                return Ok(Some(Violation { at: deadline, demand, supply }));
            }
            // A stretch worth trying reaches beyond the next deadline or so.
            stride = (stride / 2).max(deadline - now);
            now = deadline;
        }
        Ok(None)
    }

    /// The least absolute deadline in the window after `t`.
    fn deadline_after(&self, t: Ns) -> Option<Ns> {
        let next = |item: &Item| {
            let nth = item.deadlines(t) * item.period + item.deadline;
            // With jitter above D the first deadlines lie before the window; blocking waits for D.
            let next = nth.saturating_sub(item.jitter);
            if item.blocking > 0 && item.deadline > t { next.min(item.deadline) } else { next }
        };
        self.items.iter().map(next).filter(|&deadline| deadline > t).min()
    }

    /// No violation lies beyond this without one before it; [`FOREVER`] where there must be one.
    fn horizon(&self, effort: &mut Effort) -> Result<Ns, TooHard> {
        let mut load = Utilisation::default();
        self.items.iter().for_each(|item| load.add(item.execution, item.period));
        match load.against(self.bound) {
            Ordering::Greater => return Ok(FOREVER),
            Ordering::Equal if self.bound.stays_behind() => return Ok(FOREVER),
            _ => {}
        }
        let latest = self.items.iter().map(|item| item.deadline).max().unwrap_or(0);
        Ok(busy_window(self.items, self.bound, effort)?.max(latest))
    }
}

/// The longest busy window: the least w > 0 with rbf(w) ≤ sbf(w).
fn busy_window(items: &[Item], bound: &Bound, effort: &mut Effort) -> Result<Ns, TooHard> {
    let blocking = items.iter().map(|item| item.blocking).max().unwrap_or(0);
    let mut end = 1;
    loop {
        effort.spend(items.len())?;
        let work: Ns = items.iter().map(|item| item.releases(end, 0) * item.execution).sum();
        let next = bound.time_for(blocking + work);
        if next <= end || next >= FOREVER {
            return Ok(next.max(end));
        }
        end = next;
    }
}

/// The worst-case response time of each rank.
pub(crate) fn responses(problem: &Problem) -> Vec<Response> {
    let mut effort = Effort::default();
    let mut worst = vec![Response::Bounded(0); problem.items.len()];
    for scenario in &problem.scenarios {
        let search = Search { items: &problem.items, bound: &scenario.bound };
        let window = search.window(&mut effort);
        for (rank, worst) in worst.iter_mut().enumerate() {
            let response = window.and_then(|window| match window {
                Some(window) => search.response(rank, window, &mut effort),
                None => Ok(Response::Unbounded),
            });
            *worst = worst.max(response.unwrap_or_else(Response::TooHard));
        }
    }
    worst
}

impl Search<'_> {
    fn window(&self, effort: &mut Effort) -> Result<Option<Ns>, TooHard> {
        if self.horizon(effort)? >= FOREVER {
            return Ok(None);
        }
        busy_window(self.items, self.bound, effort).map(Some)
    }

    /// The maximum over the arrivals in the window at which the job's deadline coincides with
    /// another one's, all others released at the opening; its own earlier jobs as late as they can.
    fn response(&self, rank: usize, window: Ns, effort: &mut Effort) -> Result<Response, TooHard> {
        let own = &self.items[rank];
        let mut worst = 0;
        for other in self.items {
            for job in 0_u32.. {
                // The job's deadline, counted from J before the opening so that it is not negative.
                let deadline = Ns::from(job) * other.period + other.deadline + own.jitter;
                let Some(deadline) = deadline.checked_sub(other.jitter) else { continue };
                let Some(arrival) = deadline.checked_sub(own.deadline) else {
                    effort.spend(1)?;
                    continue;
                };
                if arrival >= window + own.jitter {
                    break;
                }
                let finish = self.finish(rank, arrival, effort)?;
                worst = worst.max((finish + own.jitter).saturating_sub(arrival));
            }
        }
        Ok(Response::of(worst))
    }

    /// When the job of `rank` that arrives at `arrival` - J is done, with all work that is released
    /// until then and not less urgent.
    fn finish(&self, rank: usize, arrival: Ns, effort: &mut Effort) -> Result<Ns, TooHard> {
        let own = &self.items[rank];
        let limit = arrival + own.deadline;
        let work = |t: Ns| -> Ns {
            let part = |(other, item): (usize, &Item)| {
                if other == rank {
                    return (arrival / own.period + 1) * own.execution;
                }
                let urgent = (limit + item.jitter)
                    .checked_sub(own.jitter + item.deadline)
                    .map_or(0, |rest| rest / item.period + 1);
                item.releases(t, 0).min(urgent) * item.execution
            };
            own.blocking + self.items.iter().enumerate().map(part).sum::<Ns>()
        };
        let mut end = 1;
        loop {
            effort.spend(self.items.len())?;
            let next = self.bound.time_for(work(end));
            if next <= end {
                return Ok(end);
            }
            end = next;
        }
    }
}

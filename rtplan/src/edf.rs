//! Earliest deadline first: the processor demand criterion dbf(t) ≤ sbf(t), and response times.
//!
//! Baruah, Mok and Rosier (1990) for the criterion, Shin and Lee (2003) for its form with a supply
//! bound function, Spuri (1996) for response times. Windows open with all tasks released at once,
//! which is the worst case for sporadic tasks and the safe side for tasks with known offsets.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use crate::{
    effort::{Effort, TooHard},
    item::{Item, due},
    ns::{FOREVER, Ns, ceil_div, div_rem},
    problem::{Problem, cycle},
    response::Response,
    supply::Bound,
    utilisation::Utilisation,
    witness::Point,
};

/// So many deadlines are looked at before the end of the busy window is sought.
const EARLY: usize = 1000;

/// Whether every deadline holds.
pub(crate) fn schedulable(problem: &Problem) -> Result<bool, TooHard> {
    let mut effort = Effort::default();
    for scenario in &problem.scenarios {
        let search = Search { items: &problem.items, bound: &scenario.bound };
        if search.any_violation(&mut effort)?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The earliest instant, over all scenarios, at which the demand exceeds the supply.
pub(crate) fn first_violation(problem: &Problem) -> Result<Option<Point>, TooHard> {
    let mut effort = Effort::default();
    let mut first: Option<Point> = None;
    for scenario in &problem.scenarios {
        let search = Search { items: &problem.items, bound: &scenario.bound };
        let Some(found) = search.any_violation(&mut effort)? else { continue };
        let horizon = first.map_or(found, |first| first.at.min(found));
        let found = search.first(horizon, &mut effort)?;
        first = match (first, found) {
            (Some(a), Some(b)) if a.at <= b.at => Some(a),
            (a, b) => b.or(a),
        };
    }
    Ok(first)
}

/// All deadlines of the busy window with the demand up to each; `None` where there are more than
/// `most`, or no end of them.
pub(crate) fn all_points(problem: &Problem, most: usize) -> Option<Vec<(Ns, Ns)>> {
    let mut effort = Effort::default();
    let scenario = problem.scenarios.first()?;
    let search = Search { items: &problem.items, bound: &scenario.bound };
    let horizon = search.horizon(&mut effort).ok()?;
    let mut ahead = Deadlines::after(&problem.items, 0);
    let mut points = Vec::new();
    while points.len() <= most {
        let at = ahead.pass();
        if at > horizon {
            return Some(points);
        }
        points.push((at, ahead.demand()));
    }
    None
}

struct Search<'a> {
    items: &'a [Item],
    bound: &'a Bound,
}

impl Search<'_> {
    /// An instant with a violation at or before it, by the quick processor-demand analysis (Zhang
    /// and Burns, 2009) with sbf⁻¹ in place of t: walks down, and leaps over each stretch whose
    /// whole demand is supplied at its start.
    fn any_violation(&self, effort: &mut Effort) -> Result<Option<Ns>, TooHard> {
        if let Some(early) = self.early_violation() {
            return Ok(Some(early));
        }
        let horizon = self.horizon(effort)?;
        if horizon >= FOREVER {
            return Ok(Some(FOREVER));
        }
        let mut next = self.deadline_before(horizon + 1);
        while let Some(now) = next {
            effort.spend(2 * self.items.len())?;
            let demand = due(self.items, now);
            if demand > self.bound.provided(now) {
                return Ok(Some(now));
            }
            next = self.deadline_before(self.bound.time_for(demand));
        }
        Ok(None)
    }

    /// A violation at one of the first deadlines. Most sets that fail do so there, and where the load
    /// is close to the supply the horizon is much harder to find.
    fn early_violation(&self) -> Option<Ns> {
        let mut ahead = Deadlines::after(self.items, 0);
        let mut instants = (0..EARLY).map(|_| (ahead.pass(), ahead.demand()));
        instants.find_map(|(at, demand)| (demand > self.bound.provided(at)).then_some(at))
    }

    /// The greatest deadline in the window that lies before `t`.
    fn deadline_before(&self, t: Ns) -> Option<Ns> {
        let last = t.checked_sub(1)?;
        let greatest = |item: &Item| {
            let jobs = item.deadlines(last).checked_sub(1)?;
            Some((jobs * item.period + item.deadline).saturating_sub(item.jitter))
        };
        self.items.iter().filter_map(greatest).max()
    }

    /// The first violation up to `horizon`, walking up: over whole stretches wherever the demand at
    /// their end is within the supply at their start, else from deadline to deadline.
    fn first(&self, horizon: Ns, effort: &mut Effort) -> Result<Option<Point>, TooHard> {
        let (mut now, mut stride) = (0, 1 << 20);
        loop {
            effort.spend(2 * self.items.len())?;
            let end = now + stride;
            if end < horizon && due(self.items, end) <= self.bound.provided(now) {
                (now, stride) = (end, stride * 2);
                continue;
            }
            let start = now;
            let mut ahead = Deadlines::after(self.items, now);
            for _ in 0..self.items.len() + 8 {
                let supply = self.bound.provided(now);
                if ahead.demand() > supply {
                    return Ok(Some(Point { at: now, demand: ahead.demand(), supply }));
                }
                effort.spend(1)?;
                now = ahead.pass();
                if now > horizon {
                    return Ok(None);
                }
            }
            stride = 2 * (now - start);
        }
    }

    /// No violation lies beyond this without one before it; [`FOREVER`] where there must be one.
    ///
    /// The longest busy window, or where that is shorter the point from which on the straight line
    /// above the demand stays below the one under the supply (Baruah, Mok and Rosier 1990), or from
    /// which on both repeat.
    fn horizon(&self, effort: &mut Effort) -> Result<Ns, TooHard> {
        let (load, excess) = (self.load(), self.excess());
        let limit = match load.against(self.bound) {
            Ordering::Greater => return Ok(FOREVER),
            // Up to a common multiple of the periods as much is due as is supplied in the long run.
            Ordering::Equal if self.bound.stays_behind() && self.is_constrained() => {
                return Ok(FOREVER);
            }
            // dbf(t) ≤ Σ C/T · t ≤ sbf(t).
            _ if excess == 0 && self.bound.is_full() => return Ok(0),
            _ => load.overtaken(self.bound, excess).unwrap_or(FOREVER).min(self.repeats()),
        };
        let window = busy_window(self.items, self.bound, limit.max(self.latest()), effort)?;
        if window >= FOREVER { Err(effort.give_up()) } else { Ok(window.max(self.latest())) }
    }

    fn load(&self) -> Utilisation {
        let mut load = Utilisation::default();
        self.items.iter().for_each(|item| load.add(item.execution, item.period));
        load
    }

    /// The greatest relative deadline.
    fn latest(&self) -> Ns {
        self.items.iter().map(|item| item.deadline).max().unwrap_or(0)
    }

    fn is_constrained(&self) -> bool {
        self.items.iter().all(|item| item.deadline <= item.period)
    }

    /// Where demand and supply have been through all that they do over and over: every task has had
    /// a deadline, the supply has begun, and a common multiple of all periods has passed. From then
    /// on the demand is no closer to the supply than it was one such multiple before, if in the long
    /// run it does not exceed it.
    fn repeats(&self) -> Ns {
        let settled = self.latest().max(self.bound.time_for(1));
        settled.saturating_add(cycle(self.items, self.bound)).min(FOREVER)
    }

    /// How far the demand can lie above Σ C/T · t.
    fn excess(&self) -> Ns {
        let blocking = self.items.iter().map(|item| item.blocking).max().unwrap_or(0);
        let early = |item: &Item| {
            let early = (item.period + item.jitter).saturating_sub(item.deadline);
            ceil_div(item.execution.saturating_mul(early), item.period)
        };
        self.items.iter().map(early).fold(blocking, Ns::saturating_add)
    }
}

/// The deadlines of a window in their order, and the demand up to the last one passed.
struct Deadlines<'a> {
    items: &'a [Item],
    /// The next deadline of each rank.
    next: BinaryHeap<Reverse<(Ns, usize)>>,
    work: Ns,
    blocking: Ns,
}

impl<'a> Deadlines<'a> {
    fn after(items: &'a [Item], t: Ns) -> Self {
        let next = |(rank, item): (usize, &Item)| {
            Reverse((item.deadlines(t) * item.period + item.deadline - item.jitter, rank))
        };
        let passed = || items.iter().filter(|item| item.deadlines(t) > 0);
        Self {
            items,
            next: items.iter().enumerate().map(next).collect(),
            work: passed().map(|item| item.deadlines(t) * item.execution).sum(),
            blocking: passed().map(|item| item.blocking).max().unwrap_or(0),
        }
    }

    fn demand(&self) -> Ns {
        self.work + self.blocking
    }

    /// Goes on to the next instant with a deadline, and past all deadlines there.
    fn pass(&mut self) -> Ns {
        let Some(&Reverse((now, _))) = self.next.peek() else { return FOREVER };
        while let Some(mut top) = self.next.peek_mut() {
            let Reverse((deadline, rank)) = *top;
            if deadline > now {
                break;
            }
            let item = &self.items[rank];
            self.work += item.execution;
            self.blocking = self.blocking.max(item.blocking);
            *top = Reverse((deadline + item.period, rank));
        }
        now
    }
}

/// The longest busy window, the least w > 0 with rbf(w) ≤ sbf(w); or `limit` where it is longer.
fn busy_window(
    items: &[Item],
    bound: &Bound,
    limit: Ns,
    effort: &mut Effort,
) -> Result<Ns, TooHard> {
    let blocking = items.iter().map(|item| item.blocking).max().unwrap_or(0);
    let mut end = 1;
    loop {
        effort.spend(items.len())?;
        let work: Ns = items.iter().map(|item| item.releases(end, 0) * item.execution).sum();
        let next = bound.time_for(blocking + work);
        if next <= end || next >= limit {
            return Ok(next.max(end).min(limit));
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
    /// The arrivals of a busy window that differ in their response times come before this; `None`
    /// where response times grow without limit.
    fn window(&self, effort: &mut Effort) -> Result<Option<Ns>, TooHard> {
        if self.load().against(self.bound) == Ordering::Greater {
            return Ok(None);
        }
        let window = busy_window(self.items, self.bound, self.repeats(), effort)?;
        if window >= FOREVER { Err(effort.give_up()) } else { Ok(Some(window)) }
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
                    return (div_rem(arrival, own.period).0 + 1) * own.execution;
                }
                let urgent = (limit + item.jitter)
                    .checked_sub(own.jitter + item.deadline)
                    .map_or(0, |rest| div_rem(rest, item.period).0 + 1);
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

//! Response times under fixed priorities, by fixed points of w = sbf⁻¹(rbf(w)).
//!
//! Joseph and Pandya (1986) and Lehoczky (1990) for a dedicated CPU; with a supply bound function
//! in place of t as in Shin and Lee (2003), jitter and blocking as in Audsley et al. (1993).

use std::{cmp::Ordering, ops::ControlFlow};

use crate::{
    effort::{Effort, TooHard},
    front::Front,
    item::Item,
    ns::{FOREVER, Ns},
    problem::{Problem, Scenario, cycle},
    response::Response,
    utilisation::Utilisation,
};

/// A job of a rank in a busy window, and when it is done after its arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Worst {
    pub response: Response,
    /// Counted from 0.
    pub job: Ns,
}

impl Worst {
    fn of(response: Ns, job: Ns) -> Self {
        Self { response: Response::of(response), job }
    }

    fn max(self, other: Self) -> Self {
        let worse = self.response.max(other.response) == self.response;
        if worse { self } else { other }
    }
}

/// The worst-case response time of each rank, and the job that has it.
pub(crate) fn worst_cases(problem: &Problem) -> Vec<Worst> {
    let mut effort = Effort::default();
    let mut worst = vec![Worst::of(0, 0); problem.items.len()];
    for scenario in &problem.scenarios {
        let mut window = Window::new(problem, scenario);
        let mut load = Utilisation::default();
        for (rank, item) in problem.items.iter().enumerate() {
            load.add(item.execution, item.period);
            let response = match load.against(&scenario.bound) {
                Ordering::Greater => Worst { response: Response::Unbounded, job: 0 },
                _ => window.worst(rank, None, &mut effort),
            };
            if rank >= scenario.opener {
                worst[rank] = worst[rank].max(response);
            }
        }
    }
    worst
}

/// The worst-case response time of each rank.
pub(crate) fn responses(problem: &Problem) -> Vec<Response> {
    worst_cases(problem).into_iter().map(|worst| worst.response).collect()
}

/// Whether every deadline holds.
pub(crate) fn schedulable(problem: &Problem) -> Result<bool, TooHard> {
    let mut all = true;
    find_misses(problem, |_, _| {
        all = false;
        ControlFlow::Break(())
    })?;
    Ok(all)
}

/// For each rank the first job of a busy window that misses its deadline, if any does.
pub(crate) fn misses(problem: &Problem) -> Result<Vec<Option<Ns>>, TooHard> {
    let mut missed = vec![None; problem.items.len()];
    find_misses(problem, |rank, job| {
        missed[rank] = missed[rank].or(Some(job));
        ControlFlow::Continue(())
    })?;
    Ok(missed)
}

fn find_misses(
    problem: &Problem,
    mut on_miss: impl FnMut(usize, Ns) -> ControlFlow<()>,
) -> Result<(), TooHard> {
    let mut effort = Effort::default();
    for scenario in &problem.scenarios {
        let mut window = Window::new(problem, scenario);
        for (rank, item) in problem.items.iter().enumerate() {
            let worst = window.worst(rank, Some(item.deadline), &mut effort);
            let missed = rank >= scenario.opener && !worst.response.within(item.deadline)?;
            if missed && on_miss(rank, worst.job).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The busy window of one scenario, to be asked for each rank in turn.
struct Window<'a> {
    items: &'a [Item],
    scenario: &'a Scenario,
    /// Finishing times of first jobs, all ranks released at once.
    front: Front<'a>,
}

impl<'a> Window<'a> {
    fn new(problem: &'a Problem, scenario: &'a Scenario) -> Self {
        Self { items: &problem.items, scenario, front: Front::new(&scenario.bound) }
    }

    /// The worst case of `rank`, given up once it exceeds `limit`: then something above the limit is
    /// returned, which need not be the worst.
    fn worst(&mut self, rank: usize, limit: Option<Ns>, effort: &mut Effort) -> Worst {
        let item = &self.items[rank];
        let limit = limit.unwrap_or(FOREVER);
        if self.scenario.phases.is_some() {
            return Jobs { window: self, rank, limit }.worst(0, effort);
        }
        let finish = match self.front.finish(item, limit.saturating_sub(item.jitter), effort) {
            Ok(finish) => finish,
            Err(error) => return Worst { response: Response::TooHard(error), job: 0 },
        };
        let alone = item.blocking == 0 && finish + item.jitter <= item.period;
        if alone || finish + item.jitter > limit {
            return Worst::of(finish + item.jitter, 0);
        }
        Jobs { window: self, rank, limit }.worst(finish, effort)
    }

    fn phase(&self, rank: usize) -> Ns {
        self.scenario.phases.as_ref().map_or(0, |phases| phases[rank])
    }
}

/// All jobs of one rank in its busy window.
struct Jobs<'a> {
    window: &'a Window<'a>,
    rank: usize,
    limit: Ns,
}

impl Jobs<'_> {
    /// The worst response of the jobs 0, 1, … until the window closes; `start` is a lower bound of
    /// the first one's finishing time.
    fn worst(&self, start: Ns, effort: &mut Effort) -> Worst {
        let item = &self.window.items[self.rank];
        let phase = self.window.phase(self.rank);
        let (mut worst, mut finish) = (Worst::of(0, 0), start);
        let mut last = Ns::MAX;
        for job in 0_u32.. {
            let job = Ns::from(job);
            // Arrival, counted from J before the opening so that it is never negative.
            let arrival = phase + job * item.period;
            let open = self.until(job, finish, Ns::MAX, effort);
            let busy = open.and_then(|open| {
                if arrival > 0 && open + item.jitter <= arrival {
                    return Ok(None);
                }
                let latest = arrival.saturating_add(self.limit);
                self.until(job + 1, open, latest, effort).map(Some)
            });
            match busy {
                Err(error) => return Worst { response: Response::TooHard(error), job },
                Ok(None) => break,
                Ok(Some(end)) => finish = end,
            }
            let response = (finish + item.jitter).saturating_sub(arrival);
            worst = worst.max(Worst::of(response, job));
            if job == 1 {
                last = self.last();
            }
            if response > self.limit || finish >= FOREVER || job >= last {
                break;
            }
        }
        worst
    }

    /// No later job than this takes longer than all before: after a common multiple of all periods
    /// as much work has come as before, and no less was supplied, where that keeps up at all.
    fn last(&self) -> Ns {
        let items = &self.window.items[..=self.rank];
        let bound = &self.window.scenario.bound;
        let mut load = Utilisation::default();
        items.iter().for_each(|item| load.add(item.execution, item.period));
        if load.against(bound) == Ordering::Greater {
            return Ns::MAX;
        }
        let longest = items.iter().map(|item| item.period).max().unwrap_or(0);
        (cycle(items, bound) + longest) / items[self.rank].period + 1
    }

    /// When `jobs` jobs of this rank and all more urgent work released before are done, from the
    /// lower bound `start`; stops beyond `latest`.
    fn until(&self, jobs: Ns, start: Ns, latest: Ns, effort: &mut Effort) -> Result<Ns, TooHard> {
        let item = &self.window.items[self.rank];
        let mut end = start;
        loop {
            effort.spend(self.rank + 1)?;
            let work = item.blocking + jobs * item.execution + self.interference(end);
            let next = self.window.scenario.bound.time_for(work);
            if next <= end || next >= FOREVER || next > latest {
                return Ok(next.max(end));
            }
            end = next;
        }
    }

    /// Work of the more urgent ranks released in [0, t), or at 0.
    fn interference(&self, t: Ns) -> Ns {
        let phase = |rank| self.window.phase(rank);
        let above = self.window.items[..self.rank].iter().enumerate();
        above.map(|(rank, item)| item.releases(t.max(1), phase(rank)) * item.execution).sum()
    }
}

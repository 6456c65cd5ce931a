//! Response times under fixed priorities, by fixed points of w = sbf⁻¹(rbf(w)).
//!
//! Joseph and Pandya (1986) and Lehoczky (1990) for a dedicated CPU; with a supply bound function
//! in place of t as in Shin and Lee (2003), jitter and blocking as in Audsley et al. (1993).

use std::{cmp::Ordering, ops::ControlFlow};

use crate::{
    effort::{Effort, TooHard},
    front::Front,
    ns::{FOREVER, Ns},
    problem::{Item, Problem, Scenario},
    response::Response,
    utilisation::Utilisation,
};

/// The worst-case response time of each rank.
pub(crate) fn responses(problem: &Problem) -> Vec<Response> {
    let mut effort = Effort::default();
    let mut worst = vec![Response::Bounded(0); problem.items.len()];
    for scenario in &problem.scenarios {
        let mut window = Window::new(problem, scenario);
        let mut load = Utilisation::default();
        for (rank, item) in problem.items.iter().enumerate() {
            load.add(item.execution, item.period);
            let response = match load.against(&scenario.bound) {
                Ordering::Greater => Response::Unbounded,
                Ordering::Equal if scenario.bound.stays_behind() => Response::Unbounded,
                _ => window.response(rank, None, &mut effort),
            };
            if rank >= scenario.opener {
                worst[rank] = worst[rank].max(response);
            }
        }
    }
    worst
}

/// Whether every deadline holds.
pub(crate) fn schedulable(problem: &Problem) -> Result<bool, TooHard> {
    let mut all = true;
    find_misses(problem, |_| {
        all = false;
        ControlFlow::Break(())
    })?;
    Ok(all)
}

/// For each rank whether its deadline holds.
pub(crate) fn deadlines_met(problem: &Problem) -> Result<Vec<bool>, TooHard> {
    let mut met = vec![true; problem.items.len()];
    find_misses(problem, |rank| {
        met[rank] = false;
        ControlFlow::Continue(())
    })?;
    Ok(met)
}

fn find_misses(
    problem: &Problem,
    mut on_miss: impl FnMut(usize) -> ControlFlow<()>,
) -> Result<(), TooHard> {
    let mut effort = Effort::default();
    for scenario in &problem.scenarios {
        let mut window = Window::new(problem, scenario);
        for (rank, item) in problem.items.iter().enumerate() {
            let response = window.response(rank, Some(item.deadline), &mut effort);
            let missed = rank >= scenario.opener && !response.within(item.deadline)?;
            if missed && on_miss(rank).is_break() {
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

    /// The worst response time of `rank`, given up once it exceeds `limit`: then something above
    /// the limit is returned, which need not be the worst.
    fn response(&mut self, rank: usize, limit: Option<Ns>, effort: &mut Effort) -> Response {
        let item = &self.items[rank];
        let limit = limit.unwrap_or(FOREVER);
        if self.scenario.phases.is_some() {
            return Jobs { window: self, rank, limit }.worst(0, effort);
        }
        let finish = match self.front.finish(item, limit.saturating_sub(item.jitter), effort) {
            Ok(finish) => finish,
            Err(TooHard(steps)) => return Response::TooHard(TooHard(steps)),
        };
        let alone = item.blocking == 0 && finish + item.jitter <= item.period;
        if alone || finish + item.jitter > limit {
            return Response::of(finish + item.jitter);
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
    fn worst(&self, start: Ns, effort: &mut Effort) -> Response {
        let item = &self.window.items[self.rank];
        let phase = self.window.phase(self.rank);
        let (mut worst, mut finish) = (0, start);
        for job in 0_u32.. {
            // Arrival, counted from J before the opening so that it is never negative.
            let arrival = phase + Ns::from(job) * item.period;
            let open = self.until(job.into(), finish, Ns::MAX, effort);
            let busy = open.and_then(|open| {
                if arrival > 0 && open + item.jitter <= arrival {
                    return Ok(None);
                }
                let latest = arrival.saturating_add(self.limit);
                self.until(Ns::from(job) + 1, open, latest, effort).map(Some)
            });
            match busy {
                Err(error) => return Response::TooHard(error),
                Ok(None) => break,
                Ok(Some(end)) => finish = end,
            }
            worst = worst.max((finish + item.jitter).saturating_sub(arrival));
            if worst > self.limit || finish >= FOREVER {
                break;
            }
        }
        Response::of(worst)
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

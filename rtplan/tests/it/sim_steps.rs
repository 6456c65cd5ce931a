//! The simulator against one that walks time unit by unit and is too simple to be wrong.

use proptest::prelude::*;
use rtplan::sim::{Cpu, Done, Entry, Server, Stalls, Task, Thread, Tick, Times, simulate};

use crate::support::{ns, reservation};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Fifo,
    Hard,
    Soft,
    Periodic,
    Deferrable,
}

/// A thread: its kind, (Q, P), tasks (C, T, offset) and whether EDF orders them.
#[derive(Debug, Clone)]
struct Plan {
    kind: Kind,
    q: i64,
    p: i64,
    tasks: Vec<(i64, i64, i64)>,
    edf: bool,
}

#[derive(Debug, Clone, Default)]
struct State {
    budget: i64,
    deadline: i64,
    throttled: bool,
    /// Task, release, what is left.
    jobs: Vec<(usize, i64, i64)>,
}

type Finished = (usize, usize, i64, i64);

struct Stepper<'a> {
    plans: &'a [Plan],
    states: Vec<State>,
    current: Option<usize>,
}

impl Stepper<'_> {
    fn runnable(&self, i: usize) -> bool {
        !self.states[i].throttled && !self.states[i].jobs.is_empty()
    }

    fn exhaust(&mut self, i: usize) {
        let (plan, state) = (&self.plans[i], &mut self.states[i]);
        if plan.kind == Kind::Fifo || state.budget > 0 || state.throttled {
            return;
        }
        if plan.kind == Kind::Soft {
            while state.budget <= 0 {
                state.budget += plan.q;
                state.deadline += plan.p;
            }
        } else {
            state.throttled = true;
        }
    }

    fn timers(&mut self, now: i64) {
        for (plan, state) in self.plans.iter().zip(&mut self.states) {
            match plan.kind {
                Kind::Hard if state.throttled && now >= state.deadline => {
                    while state.budget <= 0 {
                        state.budget += plan.q;
                        state.deadline += plan.p;
                    }
                    if state.deadline < now {
                        (state.budget, state.deadline) = (plan.q, now + plan.p);
                    }
                    state.throttled = false;
                }
                Kind::Periodic | Kind::Deferrable if now % plan.p == 0 => {
                    state.budget = plan.q + state.budget.min(0);
                    state.throttled = state.budget <= 0;
                    state.deadline = now + plan.p;
                }
                _ => {}
            }
        }
    }

    fn releases(&mut self, now: i64) {
        for (plan, state) in self.plans.iter().zip(&mut self.states) {
            let asleep = state.jobs.is_empty();
            for (task, &(c, t, offset)) in plan.tasks.iter().enumerate() {
                if now >= offset && (now - offset) % t == 0 {
                    state.jobs.push((task, now, c));
                }
            }
            let cbs = matches!(plan.kind, Kind::Hard | Kind::Soft);
            if cbs && asleep && !state.jobs.is_empty() && !state.throttled {
                let left = state.deadline - now;
                if left <= 0 || state.budget * plan.p > left * plan.q {
                    (state.budget, state.deadline) = (plan.q, now + plan.p);
                }
            }
        }
    }

    fn pick(&self) -> Option<usize> {
        let all = 0..self.plans.len();
        let by_deadline = |&i: &usize| self.plans[i].kind != Kind::Fifo && self.runnable(i);
        let key = |&i: &usize| (self.states[i].deadline, self.current != Some(i), i);
        let server = all.clone().filter(by_deadline).min_by_key(key);
        server.or_else(|| all.clone().find(|&i| self.runnable(i)))
    }

    /// An idle periodic server whose budget passes.
    fn passing(&self, chosen: Option<usize>) -> Option<usize> {
        let limit = chosen
            .filter(|&i| self.plans[i].kind != Kind::Fifo)
            .map_or(i64::MAX, |i| self.states[i].deadline);
        let idle = |&i: &usize| {
            let state = &self.states[i];
            self.plans[i].kind == Kind::Periodic
                && !state.throttled
                && state.jobs.is_empty()
                && state.deadline < limit
        };
        (0..self.plans.len()).filter(idle).min_by_key(|&i| self.states[i].deadline)
    }

    /// One unit of work for the chosen thread; the job that is done by it, if one is.
    fn work(&mut self, i: usize, now: i64) -> Option<Finished> {
        let plan = &self.plans[i];
        let state = &mut self.states[i];
        state.budget -= 1;
        let urgency = |&(task, release, _): &(usize, i64, i64)| match plan.edf {
            true => (release + plan.tasks[task].1, task as i64, release),
            false => (task as i64, release, 0),
        };
        let at = (0..state.jobs.len()).min_by_key(|&at| urgency(&state.jobs[at])).unwrap();
        state.jobs[at].2 -= 1;
        (state.jobs[at].2 == 0).then(|| {
            let (task, release, _) = state.jobs.remove(at);
            (i, task, release, now + 1)
        })
    }
}

fn walk(
    plans: &[Plan],
    tick: Option<(i64, i64)>,
    stalls: &[(i64, i64)],
    end: i64,
) -> Vec<Finished> {
    let states = vec![State::default(); plans.len()];
    let mut all = Stepper { plans, states, current: None };
    for (plan, state) in plans.iter().zip(&mut all.states) {
        state.throttled = matches!(plan.kind, Kind::Periodic | Kind::Deferrable);
    }
    let mut finished = Vec::new();
    for now in 0..end {
        all.timers(now);
        all.releases(now);
        if stalls.iter().any(|&(start, length)| (start..start + length).contains(&now)) {
            if let Some(i) = all.current.filter(|&i| all.runnable(i)) {
                all.states[i].budget -= 1;
            }
            continue;
        }
        // What a stall took shows when it is over.
        if let Some(i) = all.current.filter(|_| tick_at(tick, now)) {
            all.exhaust(i);
            all.timers_if_due(i, now);
        }
        let chosen = all.pick();
        if let Some(before) = all.current.filter(|_| chosen != all.current) {
            all.exhaust(before);
        }
        all.current = chosen;
        let passing = all.passing(chosen);
        if let Some(i) = chosen {
            let done = all.work(i, now);
            finished.extend(done);
            let asleep = all.states[i].jobs.is_empty();
            if tick_at(tick, now + 1) || asleep {
                all.exhaust(i);
            }
        }
        if let Some(i) = passing {
            all.states[i].budget -= 1;
            all.states[i].throttled = all.states[i].budget <= 0;
        }
    }
    finished.sort_unstable();
    finished
}

impl Stepper<'_> {
    /// A hard server whose deadline has passed goes on at once.
    fn timers_if_due(&mut self, i: usize, now: i64) {
        if self.plans[i].kind == Kind::Hard && self.states[i].throttled {
            let only = self.plans[i].clone();
            let mut one =
                Stepper { plans: &[only], states: vec![self.states[i].clone()], current: None };
            one.timers(now);
            self.states[i] = one.states.remove(0);
        }
    }
}

fn tick_at(tick: Option<(i64, i64)>, now: i64) -> bool {
    tick.is_none_or(|(period, phase)| now >= phase && (now - phase) % period == 0)
}

fn cpu(plans: &[Plan], tick: Option<(i64, i64)>, stalls: &[(i64, i64)], end: i64) -> Cpu {
    let thread = |(index, plan): (usize, &Plan)| {
        let own = || reservation(plan.q as u64, plan.p as u64);
        let server = match plan.kind {
            Kind::Fifo => Server::Fifo { priority: 99 - index as u32 },
            Kind::Hard => Server::HardCbs(own()),
            Kind::Soft => Server::SoftCbs(own()),
            Kind::Periodic => Server::Periodic(own()),
            Kind::Deferrable => Server::Deferrable(own()),
        };
        let task = |&(c, t, offset): &(i64, i64, i64)| Task {
            execution: Times::Constant(c as u64),
            surge: None,
            period: t as u64,
            gap: Times::Constant(0),
            deadline: t as u64,
            offset: offset as u64,
            delay: Times::Constant(0),
            entry: Entry::FREE,
            backlog: model::load::Backlog::Keep,
        };
        Thread {
            server,
            control: None,
            phase: 0,
            timer_latency: 0,
            tasks: plan.tasks.iter().map(task).collect(),
            edf: plan.edf,
            above: 0,
            measured: true,
            names: (0..plan.tasks.len()).collect(),
        }
    };
    let threads = plans.iter().enumerate().map(thread).collect();
    let stalls: Vec<(u64, u64)> = stalls.iter().map(|&(s, l)| (s as u64, l as u64)).collect();
    Cpu {
        tick: tick.map(|(period, phase)| Tick { period: period as u64, phase: phase as u64 }),
        stalls: Stalls::At(stalls.into()),
        drain: 0,
        ..Cpu::new(threads, ns(end as u64))
    }
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    use Kind::{Deferrable, Fifo, Hard, Periodic, Soft};
    let task = (3..40_i64).prop_flat_map(|t| (1..=(t / 2).max(1), Just(t), 0..t));
    let tasks = prop::collection::vec(task, 1..=3);
    let kind = prop::sample::select(vec![Fifo, Hard, Hard, Soft, Periodic, Deferrable]);
    let plan = (kind, 4..30_i64, 0..30_i64, tasks, any::<bool>())
        .prop_map(|(kind, p, q, tasks, edf)| Plan { kind, q: 1 + q % (p / 3), p, tasks, edf });
    prop::collection::vec(plan, 1..=3)
}

/// Ascending and apart.
fn stalls() -> impl Strategy<Value = Vec<(i64, i64)>> {
    prop::collection::vec((1..60_i64, 1..12_i64), 0..4).prop_map(|gaps| {
        let mut from = 0;
        let mut stall = |(gap, length): (i64, i64)| {
            let start = from + gap;
            from = start + length;
            (start, length)
        };
        gaps.into_iter().map(&mut stall).collect()
    })
}

const END: i64 = 300;

fn compare(
    plans: &[Plan],
    tick: Option<(i64, i64)>,
    stalls: &[(i64, i64)],
) -> Result<(), TestCaseError> {
    let mut got = Vec::new();
    let mut see = |done: &Done| {
        got.push((done.thread, done.task, done.release_ns as i64, done.finish_ns as i64));
    };
    simulate(&cpu(plans, tick, stalls, END), 0, &mut see).unwrap();
    got.sort_unstable();
    prop_assert_eq!(got, walk(plans, tick, stalls, END));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn every_job_ends_at_the_same_instant(plans in plans()) {
        compare(&plans, None, &[])?;
    }

    #[test]
    fn with_ticks_too(plans in plans(), period in 1..9_i64, phase in 0..9_i64) {
        compare(&plans, Some((period, phase)), &[])?;
    }

    #[test]
    fn with_stalls_too(plans in plans(), stalls in stalls()) {
        compare(&plans, None, &stalls)?;
    }
}

//! The event loop of one CPU.
//!
//! Time jumps from event to event: a release, a completion, a used-up budget, a budget's return, the
//! edge of a stall. At one instant they are taken in this order: completion, used-up budget,
//! returns, releases, stalls. The loop allocates nothing.

mod adapt;
mod dispatch;
mod events;
mod state;

use std::cmp::Reverse;

use model::{control::Pool, load::Backlog};

use self::{adapt::Adapting, state::State};
use super::{
    chance::{StallSource, generator},
    fair::FairServer,
    observe::{Count, Observer, Outcome, ThreadOutcome},
    ready::{Calendar, Ready},
    server::{Actor, NEVER, Rule},
    setup::{Cpu, Server, Tick},
};

const NONE: usize = usize::MAX;

pub(super) struct Engine<'a, O> {
    now: u64,
    /// Servers by deadline, then fixed priorities from the highest, then ordinary threads.
    actors: Vec<Actor>,
    /// The first actor with a fixed priority.
    fixed: usize,
    /// The first ordinary one.
    ordinary: usize,
    has_periodic: bool,
    states: Vec<State>,
    calendar: Calendar,
    current: usize,
    /// Where the current actor's budget is found to be used up.
    exhaust_at: u64,
    /// An idle periodic server whose budget passes.
    passing: usize,
    next_timer: u64,
    tick: Option<Tick>,
    switch_overhead: u64,
    /// When the current ordinary thread has had its slice.
    slice_end: u64,
    virtual_floor: u64,
    fair: Option<FairServer>,
    /// Threads whose budgets adapt, and when the first of their laws decides.
    adapting: Vec<Adapting>,
    /// In the order of `adapting`.
    pool: Pool,
    next_decision: u64,
    stalls: StallSource,
    stall: (u64, u64),
    in_stall: bool,
    stalled_total: u64,
    /// Stalled time before the busy period of the measured jobs.
    stalled_before: u64,
    /// Measured jobs that are not done.
    open: u64,
    /// Measured tasks that are still released.
    to_come: usize,
    duration: u64,
    end: u64,
    observer: &'a mut O,
}

impl<'a, O: Observer> Engine<'a, O> {
    pub fn new(cpu: &Cpu, seed: u64, observer: &'a mut O) -> Self {
        let mut order: Vec<usize> = (0..cpu.threads.len()).collect();
        order.sort_by_key(|&index| class(cpu.threads[index].server));
        let end = cpu.duration.saturating_add(cpu.drain);
        let mut engine = Self {
            now: 0,
            actors: Vec::new(),
            fixed: 0,
            ordinary: 0,
            has_periodic: false,
            states: Vec::new(),
            calendar: Calendar::new(Vec::new()),
            current: NONE,
            exhaust_at: NEVER,
            passing: NONE,
            next_timer: 0,
            tick: cpu.tick,
            switch_overhead: cpu.switch_overhead,
            slice_end: 0,
            virtual_floor: 0,
            fair: None,
            adapting: Vec::new(),
            pool: Pool::new(cpu.adaptable),
            next_decision: NEVER,
            stalls: StallSource::of(&cpu.stalls, seed),
            stall: (NEVER, NEVER),
            in_stall: false,
            stalled_total: 0,
            stalled_before: 0,
            open: 0,
            to_come: 0,
            duration: cpu.duration,
            end,
            observer,
        };
        for index in order {
            engine.add(cpu, index, seed);
        }
        // Without a fixed priority nothing keeps ordinary threads from running.
        if engine.fixed < engine.ordinary && engine.ordinary < engine.actors.len() {
            engine.fair = cpu.fair_server.map(FairServer::new);
        }
        engine.stall = engine.stalls.after(0);
        engine.calendar = Calendar::new(
            engine.states.iter().enumerate().map(|(i, task)| (task.ready_at, i as u32)).collect(),
        );
        engine.set_timer();
        engine
    }

    fn add(&mut self, cpu: &Cpu, index: usize, seed: u64) {
        let thread = &cpu.threads[index];
        let first = self.states.len() as u32;
        let tasks: Vec<u32> = (first..first + thread.tasks.len() as u32).collect();
        let actor = Actor::new(index, thread, Ready::new(tasks, !thread.edf));
        self.has_periodic |= actor.rule == Rule::Periodic;
        self.adapting.extend(Adapting::of(self.actors.len(), thread));
        self.actors.push(actor);
        self.fixed += usize::from(class(thread.server).0 < 1);
        self.ordinary += usize::from(class(thread.server).0 < 2);
        for (rank, task) in thread.tasks.iter().enumerate() {
            let above = rank < thread.above;
            let measured = thread.measured && !above;
            let stream = (index as u64) << 32 | rank as u64;
            let mut rng = generator(seed, stream);
            let until = if measured { self.duration } else { self.end };
            let delay = task.delay.draw(&mut rng);
            self.to_come += usize::from(measured);
            self.states.push(State {
                actor: self.actors.len() as u32 - 1,
                rank: rank as u64,
                above,
                measured,
                drop: task.backlog == Backlog::Drop,
                name: if above { u32::MAX } else { thread.names[rank - thread.above] as u32 },
                period: task.period,
                gap: task.gap.clone(),
                gaps: [generator(seed, stream | 1 << 31), generator(seed, stream | 1 << 31)],
                deadline: task.deadline,
                arrival: task.offset,
                ready_at: task.offset.saturating_add(delay),
                until,
                job: 0,
                head: 0,
                cost: 0,
                left: 0,
                start: NEVER,
                entering: 0,
                pending: 0,
                execution: task.execution.clone(),
                surge: task.surge,
                delay: task.delay.clone(),
                entry: task.entry.clone(),
                rng,
                count: Count::default(),
            });
        }
    }

    /// Runs to the end.
    pub fn run(mut self, threads: usize) -> Outcome {
        self.begin_to_adapt();
        self.timers();
        self.releases();
        self.stall_edges();
        while self.now < self.end && (self.now < self.duration || self.open > 0 || self.to_come > 0)
        {
            if !self.in_stall {
                self.dispatch();
            }
            let next = self.next_event();
            self.advance(next);
            self.events();
        }
        self.outcome(threads)
    }

    #[inline]
    fn next_event(&mut self) -> u64 {
        let horizon = if self.now < self.duration { self.duration } else { self.end };
        let stall = if self.in_stall { self.stall.1 } else { self.stall.0 };
        let mut next = horizon.min(stall).min(self.next_timer).min(self.calendar.next().0);
        next = next.min(self.next_decision);
        self.exhaust_at = NEVER;
        if self.in_stall {
            return next;
        }
        if self.current != NONE {
            let actor = &self.actors[self.current];
            let work = actor.debt.saturating_add(self.states[actor.ready.top() as usize].left);
            next = next.min(self.now.saturating_add(work));
            if actor.rule != Rule::Free {
                let empty = self.now.saturating_add(actor.budget.max(0) as u64);
                self.exhaust_at =
                    if actor.ends_on_time(empty) { empty } else { self.tick_from(empty) };
                next = next.min(self.exhaust_at);
            }
            if self.current >= self.ordinary && self.actors.len() - self.ordinary > 1 {
                next = next.min(self.slice_end);
            }
        }
        if self.has_periodic && self.passing != NONE {
            let left = self.actors[self.passing].budget.max(0) as u64;
            next = next.min(self.now.saturating_add(left));
        }
        if let Some(fair) = &self.fair {
            let running = self.current != NONE && self.current >= self.ordinary;
            let change = fair.next(self.now, running);
            let change = if running && fair.active() { self.tick_from(change) } else { change };
            next = next.min(change);
        }
        next
    }

    /// The first instant from `instant` on at which a budget is looked at.
    #[inline]
    fn tick_from(&self, instant: u64) -> u64 {
        let Some(Tick { period, phase }) = self.tick else { return instant };
        match instant.checked_sub(phase) {
            None => phase,
            Some(since) => phase.saturating_add(since.div_ceil(period).saturating_mul(period)),
        }
    }

    fn on_tick(&self) -> bool {
        self.tick_from(self.now) == self.now
    }

    #[inline]
    fn advance(&mut self, to: u64) {
        let length = to - self.now;
        if length == 0 {
            return;
        }
        self.wait(length);
        if self.current != NONE {
            self.charge(length);
        }
        if self.has_periodic && self.passing != NONE && !self.in_stall {
            self.actors[self.passing].budget -= length as i64;
        }
        self.now = to;
    }

    /// The current thread pays for `length`, and gets on with its work unless the machine stands
    /// still: the kernel does not see that, and charges it.
    #[inline]
    fn charge(&mut self, length: u64) {
        let actor = &mut self.actors[self.current];
        if self.in_stall && !actor.runnable() {
            return;
        }
        if actor.rule != Rule::Free {
            actor.budget -= length as i64;
        }
        if self.current >= self.ordinary {
            actor.virtual_ns += length.saturating_mul(1024) / u64::from(actor.weight);
            if let Some(fair) = &mut self.fair {
                fair.spend(length);
            }
        }
        if self.in_stall {
            return;
        }
        actor.ran += length;
        let lost = actor.debt.min(length);
        actor.debt -= lost;
        let task = &mut self.states[actor.ready.top() as usize];
        let work = length - lost;
        task.left -= work;
        if task.start == NEVER {
            let entering = task.entering.min(work);
            task.entering -= entering;
            if work > entering {
                task.start = self.now + lost + entering;
            }
        }
        self.observer.ran(actor.origin, self.now, self.now + length);
    }

    fn outcome(self, threads: usize) -> Outcome {
        let mut outcome =
            Outcome { end_ns: self.now, threads: vec![ThreadOutcome::default(); threads] };
        for actor in &self.actors {
            outcome.threads[actor.origin].ran_ns = actor.ran;
        }
        for task in &self.states {
            let origin = self.actors[task.actor as usize].origin;
            if !task.above {
                let count = Count { unfinished: task.pending, ..task.count };
                outcome.threads[origin].tasks.push((task.name as usize, count));
            }
        }
        for thread in &mut outcome.threads {
            thread.tasks.sort_unstable_by_key(|(name, _)| *name);
        }
        outcome
    }
}

/// By deadline, by fixed priority from the highest, ordinary.
fn class(server: Server) -> (u8, Reverse<u32>) {
    match server {
        Server::Fifo { priority } | Server::RtQuota { priority, .. } => (1, Reverse(priority)),
        Server::Quota { .. } | Server::Share { .. } => (2, Reverse(0)),
        _ => (0, Reverse(0)),
    }
}

//! The event loop of one CPU.
//!
//! Time jumps from event to event: a release, a completion, a used-up budget, a budget's return, the
//! edge of a stall. At one instant they are taken in this order: completion, used-up budget,
//! returns, releases, stalls. The loop allocates nothing.

use std::cmp::Reverse;

use fastrand::Rng;
use model::load::Backlog;

use super::{
    chance::{StallSource, Times, generator},
    fair::FairServer,
    observe::{Count, Done, Observer, Outcome, ThreadOutcome},
    ready::{Calendar, Ready},
    server::{Actor, NEVER, Rule},
    setup::{Cpu, Server, Tick},
};

const NONE: usize = usize::MAX;

/// How long an ordinary thread runs before another of its like is looked at: the kernel's base
/// slice on two CPUs.
const SLICE_NS: u64 = 2_800_000;

/// A task as it runs.
#[derive(Debug)]
struct State {
    actor: u32,
    /// Rank among the tasks of its thread.
    rank: u64,
    /// More urgent than every deadline.
    above: bool,
    measured: bool,
    drop: bool,
    /// Place in the report.
    name: u32,
    period: u64,
    deadline: u64,
    /// The next arrival, and when its job becomes ready.
    arrival: u64,
    ready_at: u64,
    /// No arrival from here on.
    until: u64,
    /// The oldest unfinished job: its number, arrival, CPU time, what is left of that, start.
    job: u64,
    head: u64,
    cost: u64,
    left: u64,
    start: u64,
    /// What is left of the work before the job itself; part of `left`.
    entering: u64,
    /// Unfinished jobs that have arrived.
    pending: u64,
    execution: Times,
    delay: Times,
    entry: Times,
    rng: Rng,
    count: Count,
}

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
                delay: task.delay.clone(),
                entry: task.entry.clone(),
                rng,
                count: Count::default(),
            });
        }
    }

    /// Runs to the end.
    pub fn run(mut self, threads: usize) -> Outcome {
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

    // ---- who runs ----

    fn dispatch(&mut self) {
        let chosen = self.pick();
        if chosen == self.current {
            if chosen != NONE && chosen >= self.ordinary && self.now >= self.slice_end {
                self.begin_slice(chosen);
            }
            return;
        }
        if self.current != NONE {
            // A switch shows a used-up budget before the tick does.
            self.enforce(self.current);
        }
        if chosen != NONE {
            self.actors[chosen].debt = self.switch_overhead;
            if chosen >= self.ordinary {
                self.begin_slice(chosen);
            }
        }
        self.current = chosen;
    }

    fn begin_slice(&mut self, chosen: usize) {
        self.slice_end = self.now.saturating_add(SLICE_NS);
        self.virtual_floor = self.virtual_floor.max(self.actors[chosen].virtual_ns);
    }

    #[inline]
    fn pick(&mut self) -> usize {
        let (mut best, mut earliest) = (NONE, NEVER);
        for (index, actor) in self.actors[..self.fixed].iter().enumerate() {
            let sooner = actor.deadline < earliest
                || (actor.deadline == earliest && (index == self.current || best == NONE));
            if actor.runnable() && sooner {
                (best, earliest) = (index, actor.deadline);
            }
        }
        if self.has_periodic {
            self.passing = self.idle_before(earliest);
        }
        if let Some(chosen) = self.fair_choice(earliest) {
            return chosen;
        }
        if best != NONE {
            return best;
        }
        let runnable = |index: &usize| self.actors[*index].runnable();
        (self.fixed..self.ordinary).find(runnable).unwrap_or_else(|| self.pick_ordinary())
    }

    /// The periodic server that would run if it had work: its budget passes.
    fn idle_before(&self, earliest: u64) -> usize {
        let idle = |actor: &Actor| {
            actor.rule == Rule::Periodic && !actor.throttled && actor.ready.is_empty()
        };
        let mut servers = self.actors[..self.fixed].iter().enumerate();
        let first = servers
            .by_ref()
            .filter(|(_, actor)| idle(actor) && actor.deadline < earliest)
            .min_by_key(|(_, actor)| actor.deadline);
        first.map_or(NONE, |(index, _)| index)
    }

    fn fair_choice(&mut self, earliest: u64) -> Option<usize> {
        self.fair.as_ref()?;
        let chosen = self.pick_ordinary();
        let enforced = self.current < self.ordinary || self.current == NONE || self.on_tick();
        let fair = self.fair.as_mut()?;
        fair.update(self.now, chosen != NONE, enforced);
        (chosen != NONE && fair.active() && fair.deadline < earliest).then_some(chosen)
    }

    fn pick_ordinary(&self) -> usize {
        let current = self.current;
        if current != NONE
            && current >= self.ordinary
            && self.now < self.slice_end
            && self.actors[current].runnable()
        {
            return current;
        }
        let mut candidates = self.ordinary..self.actors.len();
        let runnable = candidates.by_ref().filter(|&index| self.actors[index].runnable());
        runnable.min_by_key(|&index| self.actors[index].virtual_ns).unwrap_or(NONE)
    }

    // ---- time ----

    #[inline]
    fn next_event(&mut self) -> u64 {
        let horizon = if self.now < self.duration { self.duration } else { self.end };
        let stall = if self.in_stall { self.stall.1 } else { self.stall.0 };
        let mut next = horizon.min(stall).min(self.next_timer).min(self.calendar.next().0);
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
                self.exhaust_at = self.tick_from(empty);
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

    // ---- what happens ----

    #[inline]
    fn events(&mut self) {
        if !self.in_stall && self.current != NONE {
            let actor = &self.actors[self.current];
            let top = actor.ready.top() as usize;
            if actor.debt == 0 && self.states[top].left == 0 {
                self.complete(top);
            }
            if self.now >= self.exhaust_at {
                self.enforce(self.current);
            }
        }
        if self.has_periodic && self.passing != NONE && self.actors[self.passing].budget <= 0 {
            self.actors[self.passing].throttled = true;
        }
        if self.next_timer <= self.now {
            self.timers();
        }
        if self.calendar.next().0 <= self.now {
            self.releases();
        }
        if self.stall.0 <= self.now {
            self.stall_edges();
        }
    }

    /// Throttles, or whatever the rule says, where the budget is used up.
    fn enforce(&mut self, index: usize) {
        let actor = &mut self.actors[index];
        if actor.rule != Rule::Free && actor.budget <= 0 && !actor.throttled {
            actor.exhaust(self.now);
            self.next_timer = self.next_timer.min(actor.timer);
        }
    }

    fn timers(&mut self) {
        for actor in &mut self.actors {
            while actor.timer <= self.now {
                actor.ring(self.now);
            }
        }
        self.set_timer();
    }

    fn set_timer(&mut self) {
        self.next_timer = self.actors.iter().map(|actor| actor.timer).min().unwrap_or(NEVER);
    }

    fn releases(&mut self) {
        loop {
            let (instant, index) = self.calendar.next();
            if instant > self.now {
                return;
            }
            self.release(index as usize);
            let task = &mut self.states[index as usize];
            task.arrival = task.arrival.saturating_add(task.period);
            if task.arrival >= task.until {
                self.to_come -= usize::from(task.measured);
                self.calendar.retire_top();
            } else {
                let delay = match task.delay {
                    Times::Constant(delay) => delay,
                    ref delay => delay.draw(&mut task.rng),
                };
                task.ready_at = task.ready_at.max(task.arrival.saturating_add(delay));
                self.calendar.reschedule_top(task.ready_at);
            }
        }
    }

    fn release(&mut self, index: usize) {
        let task = &mut self.states[index];
        // An offset can lie beyond the end.
        if task.arrival >= task.until {
            return;
        }
        if task.measured {
            if self.open == 0 {
                self.stalled_before = self.stalled_total;
                if self.in_stall {
                    self.stalled_before += self.now - self.stall.0;
                }
            }
            self.open += 1;
        }
        task.pending += 1;
        if task.pending > 1 {
            return;
        }
        task.head = task.arrival;
        task.begin();
        let actor = &mut self.actors[task.actor as usize];
        let woken = actor.ready.is_empty();
        actor.ready.push(task.urgency(actor.edf), index as u32);
        if actor.ready.top() as usize == index {
            task.enter();
        }
        if woken {
            actor.wake(self.now);
            if task.actor as usize >= self.ordinary {
                actor.virtual_ns = actor.virtual_ns.max(self.virtual_floor);
            }
        }
    }

    fn complete(&mut self, index: usize) {
        let now = self.now;
        let task = &mut self.states[index];
        let actor = &mut self.actors[task.actor as usize];
        let response = now - task.head;
        task.count.done += 1;
        task.count.missed += u64::from(response > task.deadline);
        if task.measured {
            self.open -= 1;
            self.observer.done(&Done {
                thread: actor.origin,
                task: task.name as usize,
                job: task.job,
                release_ns: task.head,
                start_ns: task.start.min(now),
                finish_ns: now,
                cpu_ns: task.cost,
                deadline_ns: task.deadline,
                stalled_ns: self.stalled_total - self.stalled_before,
            });
        }
        task.pending -= 1;
        task.job += 1;
        if task.drop {
            task.job += task.pending;
            task.count.skipped += task.pending;
            self.open -= if task.measured { task.pending } else { 0 };
            task.pending = 0;
        }
        if task.pending > 0 {
            task.head = task.head.saturating_add(task.period);
            task.begin();
            actor.ready.rekey_top(task.urgency(actor.edf));
            return;
        }
        actor.ready.pop();
        if actor.ready.is_empty() {
            // Going to sleep shows a used-up budget.
            let index = task.actor as usize;
            self.enforce(index);
        }
    }

    fn stall_edges(&mut self) {
        loop {
            if !self.in_stall && self.stall.0 <= self.now {
                self.in_stall = true;
            } else if self.in_stall && self.stall.1 <= self.now {
                self.in_stall = false;
                self.stalled_total += self.stall.1 - self.stall.0;
                self.stall = self.stalls.after(self.now);
            } else {
                return;
            }
        }
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

impl State {
    /// The next job becomes the oldest.
    #[inline]
    fn begin(&mut self) {
        self.cost = match self.execution {
            Times::Constant(cost) => cost,
            ref execution => execution.draw(&mut self.rng),
        };
        self.left = self.cost;
        self.start = NEVER;
        self.entering = 0;
    }

    /// The job is the first of its thread as it arrives: what brings it onto the CPU comes before.
    #[inline]
    fn enter(&mut self) {
        self.entering = match self.entry {
            Times::Constant(entry) => entry,
            ref entry => entry.draw(&mut self.rng),
        };
        self.left += self.entering;
    }

    /// Less is more urgent.
    #[inline]
    fn urgency(&self, edf: bool) -> u64 {
        match (edf, self.above) {
            (true, true) => 0,
            // Above zero, so that the guest's own work comes first.
            (true, false) => self.head.saturating_add(self.deadline).max(1),
            (false, _) => self.rank,
        }
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

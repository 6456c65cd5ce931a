//! What happens at an instant.

use super::{Engine, NONE};
use crate::sim::{
    chance::Times,
    observe::{Done, Observer},
    server::{NEVER, Rule},
};

impl<O: Observer> Engine<'_, O> {
    #[inline]
    pub(super) fn events(&mut self) {
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
        if self.next_decision <= self.now {
            self.decide();
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
    pub(super) fn enforce(&mut self, index: usize) {
        let actor = &mut self.actors[index];
        if actor.rule != Rule::Free && actor.budget <= 0 && !actor.throttled {
            actor.exhaust(self.now);
            self.next_timer = self.next_timer.min(actor.timer);
        }
    }

    pub(super) fn timers(&mut self) {
        for actor in &mut self.actors {
            while actor.timer <= self.now {
                actor.ring(self.now);
            }
        }
        self.set_timer();
    }

    pub(super) fn set_timer(&mut self) {
        self.next_timer = self.actors.iter().map(|actor| actor.timer).min().unwrap_or(NEVER);
    }

    pub(super) fn releases(&mut self) {
        loop {
            let (instant, index) = self.calendar.next();
            if instant > self.now {
                return;
            }
            self.release(index as usize);
            let task = &mut self.states[index as usize];
            task.arrival = task.arrival.saturating_add(task.draw_next_arrival());
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
            let preempting = !woken && task.actor as usize == self.current;
            task.enter(|entry| if preempting { &entry.preempting } else { &entry.woken });
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
        task.head = task.head.saturating_add(task.draw_next_head());
        if task.drop {
            for _ in 0..task.pending {
                task.draw_next_head();
            }
            task.job += task.pending;
            task.count.skipped += task.pending;
            self.open -= if task.measured { task.pending } else { 0 };
            task.pending = 0;
        }
        if task.pending > 0 {
            task.begin();
            actor.ready.rekey_top(task.urgency(actor.edf));
            return;
        }
        actor.ready.pop();
        if actor.ready.is_empty() {
            // Going to sleep shows a used-up budget.
            let index = task.actor as usize;
            self.enforce(index);
            return;
        }
        let next = &mut self.states[actor.ready.top() as usize];
        let new = next.is_new();
        next.enter(|entry| if new { &entry.queued } else { &entry.resumed });
    }

    pub(super) fn stall_edges(&mut self) {
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
}

//! Budgets that adapt, by the same laws as on the host.

use std::{convert::Infallible, time::Duration};

use model::{
    control::{Bounds, Controller, Law, Seen, Why},
    duration::as_ns,
};

use super::Engine;
use crate::sim::{
    observe::{Adapted, Observer},
    server::NEVER,
    setup::{Control, Thread},
};

/// The law of one thread, and what it has seen.
#[derive(Debug)]
pub(super) struct Adapting {
    /// The actor.
    actor: usize,
    weight: u32,
    law: Law,
    bounds: Bounds,
    controller: Controller,
    interval: u64,
    next: u64,
    /// CPU time of the thread until the last decision.
    ran: u64,
    /// Runnable and not running since the last decision.
    waited: u64,
}

impl Adapting {
    /// Of the thread that is `actor`, where its budget adapts.
    pub fn of(actor: usize, thread: &Thread) -> Option<Self> {
        let Control { law, bounds, weight } = thread.control?;
        let start = thread.server.reservation()?.budget();
        let controller = Controller::new(law, bounds, start);
        let interval = as_ns(controller.interval());
        Some(Self {
            actor,
            weight,
            law,
            bounds,
            controller,
            interval,
            next: interval,
            ran: 0,
            waited: 0,
        })
    }
}

impl<O: Observer> Engine<'_, O> {
    /// The first budgets, at the begin.
    pub(super) fn begin_to_adapt(&mut self) {
        for own in &self.adapting {
            self.pool.join(own.bounds, own.weight);
        }
        // Those that share begin with what of their greatest budgets they can have together.
        for (own, start) in self.adapting.iter_mut().zip(self.pool.begin()) {
            own.controller = Controller::new(own.law, own.bounds, start);
            let budget_ns = as_ns(start);
            self.actors[own.actor].grant(budget_ns);
            self.observer.adapted(&Adapted {
                thread: self.actors[own.actor].origin,
                time_ns: 0,
                budget_ns,
                seen: None,
                why: Why::Start,
                wish_ns: None,
            });
        }
        self.set_decision();
    }

    fn set_decision(&mut self) {
        self.next_decision = self.adapting.iter().map(|own| own.next).min().unwrap_or(NEVER);
    }

    /// Counts who waits for `length`.
    pub(super) fn wait(&mut self, length: u64) {
        for own in &mut self.adapting {
            let runs = own.actor == self.current && !self.in_stall;
            if !runs && !self.actors[own.actor].ready.is_empty() {
                own.waited += length;
            }
        }
    }

    /// Lets the laws decide whose interval is over. As in the kernel, a budget counts from when it comes
    /// back next.
    pub(super) fn decide(&mut self) {
        for (number, own) in self.adapting.iter_mut().enumerate() {
            if own.next > self.now {
                continue;
            }
            let actor = &mut self.actors[own.actor];
            let seen = Seen {
                elapsed: Duration::from_nanos(own.interval),
                consumed: Duration::from_nanos(actor.ran - own.ran),
                waited: Some(Duration::from_nanos(own.waited)),
            };
            let Ok(step) = own.controller.step(
                &seen,
                |wish| self.pool.allows(number, wish),
                |_| Ok::<_, Infallible>(true),
            );
            self.pool.holds(number, step.budget);
            (own.ran, own.waited) = (actor.ran, 0);
            own.next = own.next.saturating_add(own.interval);
            let budget_ns = as_ns(step.budget);
            actor.grant(budget_ns);
            self.observer.adapted(&Adapted {
                thread: actor.origin,
                time_ns: self.now,
                budget_ns,
                seen: Some(seen),
                why: step.why,
                wish_ns: Some(as_ns(step.wish)),
            });
        }
        self.set_decision();
    }
}

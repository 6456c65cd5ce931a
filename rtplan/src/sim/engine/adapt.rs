//! Budgets that adapt, by the same laws as on the host.

use std::{convert::Infallible, time::Duration};

use model::{
    control::{Controller, Seen, Why},
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
        let (Control { law, bounds }, reservation) =
            thread.control.zip(thread.server.reservation())?;
        let controller = Controller::new(law, bounds, reservation.budget());
        let interval = as_ns(controller.interval());
        Some(Self { actor, controller, interval, next: interval, ran: 0, waited: 0 })
    }
}

impl<O: Observer> Engine<'_, O> {
    /// The first budgets, at the begin.
    pub(super) fn begin_to_adapt(&mut self) {
        for own in &self.adapting {
            let budget_ns = as_ns(own.controller.held());
            self.observer.adapted(&Adapted {
                thread: self.actors[own.actor].origin,
                time_ns: 0,
                budget_ns,
                seen: None,
                why: Why::Start,
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
        for own in self.adapting.iter_mut().filter(|own| own.next <= self.now) {
            let actor = &mut self.actors[own.actor];
            let seen = Seen {
                elapsed: Duration::from_nanos(own.interval),
                consumed: Duration::from_nanos(actor.ran - own.ran),
                waited: Some(Duration::from_nanos(own.waited)),
            };
            let Ok(step) = own.controller.step(&seen, |_| Ok::<_, Infallible>(true));
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
            });
        }
        self.set_decision();
    }
}

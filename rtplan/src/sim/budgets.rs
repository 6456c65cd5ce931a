//! The rows of `budget.csv`, beside those of `jobs.csv`, of one CPU or of several.

use std::io::Write;

use model::{duration::as_ns, sample::BudgetRow};

use super::{
    observe::{Adapted, Done, Observer},
    record::JobWriter,
};

/// Writes jobs, and keeps what became of budgets: a row in a second of each VM.
pub(super) struct WithBudgets<W: Write> {
    pub jobs: JobWriter<W>,
    /// The VM of each measured thread, which are the first of the set-up.
    pub vms: Vec<Option<String>>,
    pub budgets: Vec<BudgetRow>,
}

impl<W: Write> Observer for WithBudgets<W> {
    #[inline]
    fn done(&mut self, done: &Done) {
        self.jobs.done(done);
    }

    fn adapted(&mut self, adapted: &Adapted) {
        let Some(Some(vm)) = self.vms.get(adapted.thread) else { return };
        self.budgets.push(BudgetRow {
            time_ns: adapted.time_ns,
            vm: vm.clone(),
            vcpu: 0,
            budget_ns: adapted.budget_ns,
            consumed_ns: adapted.seen.map(|seen| as_ns(seen.consumed)),
            waited_ns: adapted.seen.and_then(|seen| seen.waited).map(as_ns),
            why: adapted.why,
            wish_ns: adapted.wish_ns,
        });
    }
}

/// Listens to one of several CPUs: its first threads have these places among those of all.
pub(super) struct Places<'a, O> {
    pub places: &'a [usize],
    pub inner: &'a mut O,
}

impl<O: Observer> Observer for Places<'_, O> {
    #[inline]
    fn done(&mut self, done: &Done) {
        self.inner.done(&Done { thread: self.places[done.thread], ..*done });
    }

    fn adapted(&mut self, adapted: &Adapted) {
        // What is not measured has no place.
        if let Some(&thread) = self.places.get(adapted.thread) {
            self.inner.adapted(&Adapted { thread, ..*adapted });
        }
    }
}

//! One vCPU under a law.

use std::time::Duration;

use anyhow::Result;
use kernel::{
    affinity::Tid,
    procfs::{Proc, ThreadTimes},
    sched::{Policy, SchedError},
};
use model::{
    control::{Controller, Seen, Step, Why},
    duration::{as_ns, format},
    sample::BudgetRow,
};

use super::Followed;
use crate::host::{Actions, Adjusted, Adjuster};

/// A vCPU, and what was seen of it last.
pub(super) struct Vcpu {
    vm: String,
    number: u32,
    tid: Tid,
    period: Duration,
    controller: Controller,
    /// None before the first look, and after the last: then the thread is gone, or somebody else's.
    last: Option<(u64, ThreadTimes)>,
}

/// What a look shows.
pub(super) struct Looked {
    pub row: BudgetRow,
    /// What changed, in a sentence.
    pub change: Option<String>,
}

impl Vcpu {
    /// Those of a machine.
    pub fn all(followed: &Followed) -> Vec<Self> {
        let Followed { name, vcpus, law, bounds, start, .. } = followed;
        let one = |&(number, tid): &(u32, Tid)| Self {
            vm: name.clone(),
            number,
            tid,
            period: bounds.period(),
            controller: Controller::new(*law, *bounds, *start),
            last: None,
        };
        vcpus.iter().map(one).collect()
    }

    /// When its interval is over; none where it is not followed.
    pub fn due_ns(&self) -> Option<u64> {
        self.last.map(|(since_ns, _)| since_ns + as_ns(self.controller.interval()))
    }

    /// Begins to follow it; none where its thread is gone.
    pub fn begin(&mut self, proc: &Proc, now_ns: u64) -> Option<BudgetRow> {
        self.last = Some((now_ns, proc.thread_times(self.tid).ok()?));
        Some(self.row(now_ns, None, Why::Start, None))
    }

    /// Looks, and has the law decide, where `allow` says how much of its wish others leave. None where the thread has ended, or is no longer as it was left:
    /// then it is followed no more.
    ///
    /// # Errors
    /// What the kernel refuses for another reason than want of room.
    pub fn look(
        &mut self,
        proc: &Proc,
        now_ns: u64,
        allow: impl FnOnce(Duration) -> Duration,
        host: &dyn Actions,
        adjuster: &Adjuster,
    ) -> Result<Option<Looked>> {
        let Some((since_ns, before)) = self.last.take() else { return Ok(None) };
        let Ok(times) = proc.thread_times(self.tid) else { return Ok(None) };
        let since = |now: u64, then: u64| Duration::from_nanos(now.saturating_sub(then));
        let seen = Seen {
            elapsed: since(now_ns, since_ns),
            consumed: since(times.cpu_ns, before.cpu_ns),
            waited: Some(since(times.wait_ns, before.wait_ns)),
        };
        let held = self.controller.held();
        let (tid, period, mut ours) = (self.tid, self.period, true);
        let step = self.controller.step(&seen, allow, |budget| -> Result<bool, SchedError> {
            let policy = Policy::deadline(budget, period);
            let adjusted = adjuster.set_scheduling(host, tid, policy)?;
            ours &= adjusted != Adjusted::NotOurs;
            Ok(adjusted == Adjusted::Done)
        })?;
        if !ours {
            return Ok(None);
        }
        self.last = Some((now_ns, times));
        let change = (step.budget != held).then(|| self.sentence(held, &step, &seen));
        Ok(Some(Looked { row: self.row(now_ns, Some(&seen), step.why, Some(step.wish)), change }))
    }

    fn row(
        &self,
        time_ns: u64,
        seen: Option<&Seen>,
        why: Why,
        wish: Option<Duration>,
    ) -> BudgetRow {
        BudgetRow {
            time_ns,
            vm: self.vm.clone(),
            vcpu: self.number,
            budget_ns: as_ns(self.controller.held()),
            consumed_ns: seen.map(|seen| as_ns(seen.consumed)),
            waited_ns: seen.and_then(|seen| seen.waited).map(as_ns),
            why,
            wish_ns: wish.map(as_ns),
        }
    }

    fn sentence(&self, held: Duration, step: &Step, seen: &Seen) -> String {
        let share = |time: Duration| time.as_secs_f64() / seen.elapsed.as_secs_f64();
        let waited = seen.waited.map_or(0.0, share);
        let refused = match step.why {
            Why::Refused | Why::Shared => format!(", {} wished for", format(step.wish)),
            _ => String::new(),
        };
        format!(
            "{} vcpu{} (thread {}): {} → {} in {} ({}: consumed {:.3} of a CPU, waited {waited:.3}{refused})",
            self.vm,
            self.number,
            self.tid,
            format(held),
            format(step.budget),
            format(self.period),
            step.why,
            share(seen.consumed),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::identity, fs, path::Path};

    use model::control::{Bounds, Law};

    use super::*;
    use crate::host::{Guard, fake::Fake};

    const MS: u64 = 1_000_000;
    const S: u64 = 1_000 * MS;

    fn show(proc: &Path, cpu_ns: u64, wait_ns: u64) {
        fs::create_dir_all(proc.join("7")).unwrap();
        fs::write(proc.join("7/schedstat"), format!("{cpu_ns} {wait_ns} 1\n")).unwrap();
    }

    fn deadline(ms: u64) -> Policy {
        Policy::deadline(Duration::from_millis(ms), Duration::from_millis(50))
    }

    /// A guard that has put thread 7 under 20 ms in every 50 ms, and the vCPU that it is.
    fn reserved(host: &Fake, state: &Path) -> (Guard, Vcpu) {
        let mut guard = Guard::new(Box::new(host.clone()), state).unwrap();
        guard.set_scheduling(7, deadline(20)).unwrap();
        let ms = Duration::from_millis;
        let followed = Followed {
            name: "shop".to_owned(),
            vcpus: vec![(0, 7)],
            law: Law::Lfs,
            bounds: Bounds::new(ms(5), ms(35), ms(50)).unwrap(),
            pool: 0,
            weight: 1,
            start: ms(20),
        };
        let mut vcpus = Vcpu::all(&followed);
        (guard, vcpus.remove(0))
    }

    #[test]
    fn a_starved_vcpu_gets_more_and_the_guard_still_gives_it_back_what_it_was() {
        let (dir, host) = (tempfile::tempdir().unwrap(), Fake::with_thread());
        let before = host.state.borrow().clone();
        let (guard, mut vcpu) = reserved(&host, &dir.path().join("state"));
        let (proc, adjuster) = (Proc::at(dir.path()), guard.adjuster());
        show(dir.path(), 0, 0);
        let first = vcpu.begin(&proc, 0).unwrap();
        assert_eq!((first.budget_ns, first.consumed_ns, first.why), (20 * MS, None, Why::Start));
        assert_eq!(vcpu.due_ns(), Some(S));
        show(dir.path(), 400 * MS, 600 * MS);
        let looked = vcpu.look(&proc, S, identity, &host, &adjuster).unwrap().unwrap();
        assert_eq!((looked.row.budget_ns, looked.row.why), (30 * MS, Why::Exhausted));
        assert_eq!(
            (looked.row.consumed_ns, looked.row.waited_ns),
            (Some(400 * MS), Some(600 * MS))
        );
        let change = looked.change.unwrap();
        assert!(change.contains("20ms → 30ms in 50ms (exhausted: consumed 0.400"), "{change}");
        assert_eq!(host.state.borrow().policies[&7].policy, deadline(30));
        drop(guard);
        assert_eq!(*host.state.borrow(), before);
        // Once it is undone, nothing is changed any more.
        show(dir.path(), 1_000 * MS, S);
        assert!(vcpu.look(&proc, 2 * S, identity, &host, &adjuster).unwrap().is_none());
        assert_eq!(*host.state.borrow(), before);
        assert_eq!(vcpu.due_ns(), None);
    }

    #[test]
    fn a_thread_that_somebody_else_takes_or_that_ends_is_left_alone() {
        let (dir, host) = (tempfile::tempdir().unwrap(), Fake::with_thread());
        let (guard, mut vcpu) = reserved(&host, &dir.path().join("state"));
        let (proc, adjuster) = (Proc::at(dir.path()), guard.adjuster());
        show(dir.path(), 0, 0);
        vcpu.begin(&proc, 0).unwrap();
        let theirs = Policy::Other { nice: 0 };
        host.state.borrow_mut().policies.insert(7, theirs.into());
        show(dir.path(), 400 * MS, 600 * MS);
        assert!(vcpu.look(&proc, S, identity, &host, &adjuster).unwrap().is_none());
        assert_eq!(host.state.borrow().policies[&7].policy, theirs);
        vcpu.begin(&proc, S).unwrap();
        fs::remove_file(dir.path().join("7/schedstat")).unwrap();
        assert!(vcpu.look(&proc, 2 * S, identity, &host, &adjuster).unwrap().is_none());
    }
}

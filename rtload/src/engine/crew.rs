//! Threads that begin together: each sets itself up, all wait for one instant, and a signal, the end
//! of their time or the last of them ends them.

use std::{
    io::{PipeReader, pipe},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use kernel::{
    affinity::SELF,
    clock::{self, monotonic_ns},
    memory::{self, Locked},
    sched::{self, Attributes, Policy},
};
use model::duration::as_ns;

use crate::{
    Error,
    plan::still_to_come,
    signals::{Signals, Woken},
    warning::Warning,
};

/// From the end of the set-up to the start.
const LEAD: Duration = Duration::from_millis(100);

/// The longest sleep without a look at the flag that stops the thread; longer ones are cut.
const LONGEST_SLEEP_NS: u64 = 250_000_000;

/// What one thread does.
pub trait Member: Send {
    /// What it made ready beforehand: memory that was taken and touched.
    type Kit;
    /// What it came to.
    type Done: Send;

    /// The thread's name.
    fn name(&self) -> &str;

    /// Takes its CPU, its policy and its memory.
    ///
    /// # Errors
    /// What the kernel refuses; nobody begins then.
    fn set_up(&self) -> Result<Self::Kit, Error>;

    /// Begins at `first_ns` on CLOCK_MONOTONIC, which has not come yet, and goes on to its end or until
    /// it is told to stop.
    fn run(self, kit: Self::Kit, first_ns: u64) -> Self::Done;
}

/// When all begin, and when they end at the latest.
#[derive(Debug, Clone, Copy)]
pub struct Hours {
    /// On CLOCK_MONOTONIC; none for soon.
    pub start_at: Option<u64>,
    /// From the start; none for as long as they take.
    pub length: Option<Duration>,
}

/// What a crew came to.
#[derive(Debug)]
pub struct Ended<D> {
    /// The common start on CLOCK_MONOTONIC.
    pub first_ns: u64,
    /// When the last thread had ended.
    pub end_ns: u64,
    /// Whether a signal ended it.
    pub interrupted: bool,
    /// What each thread came to, in the order of the crew.
    pub done: Vec<D>,
    /// What may have spoilt it.
    pub warnings: Vec<Warning>,
}

/// Runs `members` to their end, until `hours` are over, or until a signal comes: then `stop` is set,
/// at which they look. `policies` are all that they will have. `first` is told the start before
/// anybody else, and `ready` is called once when it is set.
///
/// # Errors
/// What a member could not set up, [`Error::Usage`] where the start has passed; nobody has begun then.
pub fn run<M: Member>(
    members: Vec<M>,
    policies: &[Policy],
    stop: &AtomicBool,
    hours: Hours,
    signals: &Signals,
    (first, ready): (impl FnOnce(u64), impl FnOnce()),
) -> Result<Ended<M::Done>, Error> {
    let warnings = match memory::lock_all() {
        Ok(Locked::AllToCome) => Vec::new(),
        Ok(Locked::Present) => vec![Warning::MemoryLockedInPart],
        Err(error) => vec![Warning::MemoryNotLocked(error.to_string())],
    };
    let before = sched::get(SELF).map_err(Error::system("cannot read the scheduling policy"))?;
    let ended = thread::scope(|scope| {
        let stopper = Stopper(stop);
        let crew = Crew::start(scope, members)?;
        rise_above(policies);
        let first_ns = crew.begin(hours.start_at, first)?;
        ready();
        let lead = Duration::from_nanos(first_ns.saturating_sub(monotonic_ns()));
        let end = hours.length.map(|length| Instant::now() + lead + length);
        let woken = signals.wait(&crew.ended, end);
        drop(stopper);
        let interrupted = woken? == Woken::Signal;
        let done = crew.join();
        Ok(Ended { first_ns, end_ns: monotonic_ns(), interrupted, done, warnings })
    });
    // Writing the results is no business of a real-time task, and needs memory of its own.
    let _back_to_ordinary = sched::set(SELF, before);
    let _unlocked = memory::unlock_all();
    ended
}

/// Sleeps until CLOCK_MONOTONIC reads `instant_ns`; `false` where the thread shall stop.
pub fn sleep_until(instant_ns: u64, stop: &AtomicBool) -> bool {
    loop {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let slice_end = instant_ns.min(monotonic_ns() + LONGEST_SLEEP_NS);
        // An early return, by a signal, is as good as any: the loop looks at the clock.
        let slept = clock::sleep_until(slice_end);
        if slept.is_ok() && slice_end == instant_ns {
            return !stop.load(Ordering::Relaxed);
        }
    }
}

/// Stops the threads when it is dropped, also while a panic unwinds: whoever waits for them would
/// wait until their duration ends.
struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Puts the calling thread, which sleeps until the end, above the members: it has to be able to stop
/// them. Without the privilege there are no real-time tasks to be stopped.
fn rise_above(policies: &[Policy]) {
    let priority = |policy: &Policy| match *policy {
        Policy::Fifo { priority } | Policy::Rr { priority } => Some(priority),
        _ => None,
    };
    if let Some(highest) = policies.iter().filter_map(priority).max() {
        let policy = Policy::Fifo { priority: (highest + 1).min(99) };
        let _refused = sched::set(SELF, Attributes::from(policy));
    }
}

/// The threads, waiting for their start.
struct Crew<'scope, D> {
    threads: Vec<ScopedJoinHandle<'scope, Option<D>>>,
    gates: Vec<Sender<u64>>,
    /// Ends when all threads have ended.
    ended: PipeReader,
}

impl<'scope, D: Send + 'scope> Crew<'scope, D> {
    /// Starts all threads and waits until each is set up. Where one fails, the gates are dropped and
    /// all end.
    fn start<M: Member<Done = D> + 'scope>(
        scope: &'scope Scope<'scope, '_>,
        members: Vec<M>,
    ) -> Result<Self, Error> {
        let (ended, alive) = pipe().map_err(Error::system("cannot make a pipe"))?;
        let (report, reports) = mpsc::channel();
        let mut crew = Self { threads: Vec::new(), gates: Vec::new(), ended };
        for member in members {
            let (gate, opened) = mpsc::channel();
            let alive = alive.try_clone().map_err(Error::system("cannot copy a pipe"))?;
            let report = report.clone();
            let thread = thread::Builder::new()
                .name(member.name().to_owned())
                .spawn_scoped(scope, move || {
                    let _alive = alive;
                    body(member, &report, &opened)
                })
                .map_err(Error::system("cannot start a thread"))?;
            crew.threads.push(thread);
            crew.gates.push(gate);
        }
        for _ in &crew.threads {
            reports.recv().unwrap_or(Err(Error::Interrupted))?;
        }
        Ok(crew)
    }

    /// Tells all threads their common start.
    fn begin(&self, start_at: Option<u64>, told_first: impl FnOnce(u64)) -> Result<u64, Error> {
        still_to_come(start_at)?;
        let first_ns = start_at.unwrap_or_else(|| monotonic_ns() + as_ns(LEAD));
        told_first(first_ns);
        for gate in &self.gates {
            // A thread that is gone shows when it is joined.
            let _gone = gate.send(first_ns);
        }
        Ok(first_ns)
    }

    fn join(self) -> Vec<D> {
        let joined = self
            .threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.map(|done| done.expect("its gate was opened")).collect()
    }
}

/// A thread from its set-up to its end; none where its gate never opens.
fn body<M: Member>(
    member: M,
    report: &Sender<Result<(), Error>>,
    gate: &Receiver<u64>,
) -> Option<M::Done> {
    let (kit, told) = match member.set_up() {
        Ok(kit) => (Some(kit), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // Where the receiver is gone, another thread has failed and no gate will open.
    let _gone = report.send(told);
    Some(member.run(kit?, gate.recv().ok()?))
}

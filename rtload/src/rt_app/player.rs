//! The thread of one task: loop by loop, as rt-app runs them.
//!
//! A *loop* is one pass through the events of a phase. The work in it is a *job*:
//! - Its release is the instant at which the wait before it was to end: where a timer or a sleep was
//!   due, however late the thread came back; else the end of the work before it. The first release is
//!   the thread's start.
//! - It ends with the last `run` or `runtime` of the loop, so waits between them count, waits after
//!   them do not.
//! - Its deadline is the first instant of a timer after that work in the same loop, which is when the
//!   next loop is released; it has none where there is no such timer.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::{sleep, yield_now},
    time::Duration,
};

use kernel::{
    affinity::{self, SELF},
    clock::{monotonic_ns, thread_cpu_ns},
    memory,
    sched::{self, Policy},
};
use model::{duration::as_ns, hist::Distribution};

use super::{
    timer::Timer,
    workload::{Event, Loops, Phase, Thread},
};
use crate::{
    Error,
    calibration::Calibration,
    engine::{
        Feed,
        crew::{Member, sleep_until},
    },
    policy::refused,
    work::{WorkKind, burn},
};

/// `runtime` looks at the clock each time that so much work is done, as in rt-app.
const LOOK: Duration = Duration::from_micros(32);

/// The cells of a record: job, phase, release, start, finish, CPU time, deadline.
pub type LoopFeed = Feed<7>;

/// Of a job without a deadline.
pub const NO_DEADLINE: u64 = u64::MAX;

/// What does not differ between threads.
#[derive(Debug, Clone, Copy)]
pub struct Stage<'a> {
    pub timers: &'a [Timer],
    pub calibration: &'a Calibration,
    pub work: WorkKind,
    /// Where phases run that do not say it.
    pub cpus: &'a [u32],
    pub feed: Option<&'a LoopFeed>,
    pub longest_ns: u64,
    pub stop: &'a AtomicBool,
}

/// What a thread came to.
#[derive(Debug)]
pub struct Tally {
    /// Whole passes through a phase.
    pub loops: u64,
    /// Of these and of the last one, those with work that was done.
    pub jobs: u64,
    /// Jobs that ended after their deadline.
    pub misses: u64,
    /// Jobs begun and not ended.
    pub unfinished: u64,
    /// Jobs without a row: the writer could not keep up.
    pub lost: u64,
    /// From release to finish.
    pub response: Distribution,
    /// CPU time of jobs.
    pub cpu: Distribution,
    /// From release to start.
    pub latency: Distribution,
    /// What ended the thread before its time.
    pub failure: Option<Error>,
}

/// A thread that is about to play.
#[derive(Debug)]
pub struct Player<'a> {
    pub number: usize,
    pub thread: &'a Thread,
    pub stage: Stage<'a>,
}

impl Member for Player<'_> {
    type Kit = Tally;
    type Done = Tally;

    fn name(&self) -> &str {
        &self.thread.name
    }

    fn set_up(&self) -> Result<Tally, Error> {
        let [response, cpu, latency] = [0; 3].map(|_| Distribution::up_to(self.stage.longest_ns));
        self.rehearse()?;
        memory::touch_stack();
        // Code and clocks are paged in before they count.
        burn(1_000, self.stage.stop);
        let _warm = (monotonic_ns(), thread_cpu_ns());
        let [loops, jobs, misses, unfinished, lost] = [0; 5];
        let failure = None;
        Ok(Tally { loops, jobs, misses, unfinished, lost, response, cpu, latency, failure })
    }

    fn run(self, mut tally: Tally, first_ns: u64) -> Tally {
        let begin_ns = first_ns + as_ns(self.thread.delay);
        if sleep_until(begin_ns, self.stage.stop) {
            let mut show = Show {
                player: &self,
                begin_ns,
                due_ns: begin_ns,
                policy: self.thread.policy,
                cpus: &self.thread.phases[0].cpus,
            };
            if let Err(error) = show.play(&mut tally) {
                tally.failure = Some(error);
                self.stage.stop.store(true, Ordering::Relaxed);
            }
        }
        tally
    }
}

impl Player<'_> {
    /// Takes the CPUs and policies of all phases in the order in which it will, so that what the kernel
    /// refuses is told before anybody begins; then those of the start.
    fn rehearse(&self) -> Result<(), Error> {
        let Thread { phases, policy: first, loops, .. } = self.thread;
        self.move_to(&phases[0].cpus)?;
        self.adopt(*first)?;
        for phase in phases {
            self.move_to(&phase.cpus)?;
            phase.policy.map_or(Ok(()), |policy| self.adopt_again(policy))?;
        }
        if *loops != Some(1) {
            // Under the policy of the last phase, up to the first that changes it.
            let changes = phases.iter().position(|phase| phase.policy.is_some());
            for phase in &phases[..=changes.unwrap_or(phases.len() - 1)] {
                self.move_to(&phase.cpus)?;
            }
        }
        // The kernel takes SCHED_DEADLINE only on all CPUs of a root domain.
        if matches!(first, Policy::Deadline { .. }) {
            self.move_to(&phases[0].cpus)?;
            self.adopt_again(*first)
        } else {
            self.adopt(*first)?;
            self.move_to(&phases[0].cpus)
        }
    }

    /// What a thread has used of a reservation counts for some microseconds after it left: the kernel
    /// would refuse it the same reservation in that time.
    fn adopt_again(&self, policy: Policy) -> Result<(), Error> {
        if matches!(policy, Policy::Deadline { .. }) {
            sleep(Duration::from_millis(1));
        }
        self.adopt(policy)
    }

    fn move_to(&self, cpus: &[u32]) -> Result<(), Error> {
        let cpus = if cpus.is_empty() { self.stage.cpus } else { cpus };
        affinity::set(SELF, cpus).map_err(|error| {
            let place = format!("{}: cpus {}", self.thread.path, affinity::format_list(cpus));
            Error::pin(&place, &error)
        })
    }

    fn adopt(&self, policy: Policy) -> Result<(), Error> {
        sched::set(SELF, policy).map_err(|error| refused(&self.thread.name, error))
    }
}

/// A job that has begun.
#[derive(Debug, Clone, Copy)]
struct Job {
    release_ns: u64,
    start_ns: u64,
    start_cpu_ns: u64,
    finish_ns: u64,
    finish_cpu_ns: u64,
    /// The first instant of a timer since it last worked.
    expiry_ns: Option<u64>,
}

/// A thread while it plays.
struct Show<'a> {
    player: &'a Player<'a>,
    begin_ns: u64,
    /// When the next job is released.
    due_ns: u64,
    policy: Policy,
    cpus: &'a [u32],
}

/// The thread was told to stop.
struct Stopped;

fn rounds(loops: Loops) -> std::ops::Range<u64> {
    0..loops.unwrap_or(u64::MAX)
}

impl<'a> Show<'a> {
    fn play(&mut self, tally: &mut Tally) -> Result<(), Error> {
        let player = self.player;
        for _ in rounds(player.thread.loops) {
            for (number, phase) in player.thread.phases.iter().enumerate() {
                for _ in rounds(phase.loops) {
                    self.change(phase)?;
                    if self.pass(number, phase, tally).is_err() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes the phase's CPUs and policy, where they differ.
    fn change(&mut self, phase: &'a Phase) -> Result<(), Error> {
        if phase.cpus != self.cpus {
            self.cpus = &phase.cpus;
            self.player.move_to(self.cpus)?;
        }
        if let Some(policy) = phase.policy.filter(|policy| *policy != self.policy) {
            self.policy = policy;
            self.player.adopt(policy)?;
        }
        Ok(())
    }

    /// One loop.
    fn pass(&mut self, number: usize, phase: &Phase, tally: &mut Tally) -> Result<(), Stopped> {
        let last_work = phase.events.iter().rposition(|event| event.is_work());
        let mut job = None;
        for (at, event) in phase.events.iter().enumerate() {
            if self.event(*event, &mut job).is_err() {
                // A job that had done its work is one, also where the loop was cut short.
                match job.filter(|_| last_work.is_some_and(|last| last < at)) {
                    Some(mut job) => {
                        self.expire(&mut job, &phase.events[at..]);
                        self.count(number, job, tally);
                    }
                    None => tally.unfinished += u64::from(job.is_some()),
                }
                return Err(Stopped);
            }
        }
        tally.loops += 1;
        if let Some(job) = job {
            self.count(number, job, tally);
        }
        Ok(())
    }

    fn event(&mut self, event: Event, job: &mut Option<Job>) -> Result<(), Stopped> {
        let go_on = |whether: bool| if whether { Ok(()) } else { Err(Stopped) };
        let stop = self.player.stage.stop;
        go_on(!stop.load(Ordering::Relaxed))?;
        match event {
            Event::Run(_) | Event::Runtime(_) => {
                let job = job.get_or_insert_with(|| self.begin());
                go_on(self.work(event))?;
                (job.finish_cpu_ns, job.finish_ns) = (thread_cpu_ns(), monotonic_ns());
                job.expiry_ns = None;
                self.due_ns = job.finish_ns;
            }
            Event::Sleep(length) => {
                self.due_ns = monotonic_ns() + as_ns(length);
                go_on(sleep_until(self.due_ns, stop))?;
            }
            Event::Timer { timer, period } => {
                let instant_ns = self.next_instant(timer, period);
                if let Some(job) = job {
                    job.expiry_ns.get_or_insert(instant_ns);
                }
                let now_ns = monotonic_ns();
                if now_ns < instant_ns {
                    self.due_ns = instant_ns;
                    go_on(sleep_until(instant_ns, stop))?;
                } else {
                    self.due_ns = self.player.stage.timers[timer].late(instant_ns, now_ns);
                }
            }
            Event::Yield => yield_now(),
        }
        Ok(())
    }

    /// Gives a job whose loop was cut short the deadline that a timer among the `rest` sets.
    fn expire(&self, job: &mut Job, rest: &[Event]) {
        let timer = rest.iter().find_map(|event| match *event {
            Event::Timer { timer, period } => Some((timer, period)),
            _ => None,
        });
        if job.expiry_ns.is_none() {
            job.expiry_ns = timer.map(|(timer, period)| self.next_instant(timer, period));
        }
    }

    fn next_instant(&self, timer: usize, period: Duration) -> u64 {
        self.player.stage.timers[timer].next(self.begin_ns, as_ns(period))
    }

    fn begin(&self) -> Job {
        let start_ns = monotonic_ns();
        let start_cpu_ns = thread_cpu_ns();
        // A shared timer may have been put off by another thread meanwhile.
        let release_ns = self.due_ns.min(start_ns);
        Job {
            release_ns,
            start_ns,
            start_cpu_ns,
            finish_ns: start_ns,
            finish_cpu_ns: start_cpu_ns,
            expiry_ns: None,
        }
    }

    /// Works; `false` where the thread was told to stop.
    fn work(&self, event: Event) -> bool {
        let Stage { calibration, work, stop, .. } = self.player.stage;
        match event {
            Event::Run(length) => length.is_zero() || calibration.work(work, length).run(stop),
            Event::Runtime(length) => {
                let end_ns = monotonic_ns() + as_ns(length);
                let piece = calibration.iterations(LOOK);
                while monotonic_ns() < end_ns {
                    if stop.load(Ordering::Relaxed) {
                        return false;
                    }
                    burn(piece, stop);
                }
                true
            }
            Event::Sleep(_) | Event::Timer { .. } | Event::Yield => true,
        }
    }

    fn count(&self, phase: usize, job: Job, tally: &mut Tally) {
        let Job { release_ns, start_ns, finish_ns, .. } = job;
        let cpu_ns = job.finish_cpu_ns - job.start_cpu_ns;
        let deadline_ns = job.expiry_ns.map(|expiry_ns| expiry_ns.saturating_sub(release_ns));
        let response_ns = finish_ns - release_ns;
        if let Some(feed) = self.player.stage.feed {
            let deadline_ns = deadline_ns.unwrap_or(NO_DEADLINE);
            let phase = phase as u64;
            let cells = [tally.jobs, phase, release_ns, start_ns, finish_ns, cpu_ns, deadline_ns];
            tally.lost += u64::from(!feed.put(self.player.number, cells));
        }
        tally.jobs += 1;
        tally.misses += u64::from(deadline_ns.is_some_and(|deadline_ns| response_ns > deadline_ns));
        tally.response.add(response_ns);
        tally.cpu.add(cpu_ns);
        tally.latency.add(start_ns - release_ns);
    }
}

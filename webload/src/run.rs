//! A run: warm-up, then the repetitions, on a thread of its own.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    task::Poll,
    thread,
    time::Duration,
};

use futures_util::{
    future::{Either, select},
    stream::{FuturesUnordered, TryStreamExt},
};
use kernel::{
    clock::{monotonic_ns, thread_cpu_ns},
    procfs::Proc,
};
use model::sample::Request;
use thiserror::Error;

use crate::{
    Config,
    alarm::Alarm,
    client::{Client, Schedule},
    config::ConfigError,
    limits,
    log::Log,
    record::Sample,
};

/// How soon a request to stop is noticed.
const STOP_POLL: Duration = Duration::from_millis(20);

/// Why a run could not take place; failed requests are no such reason.
#[derive(Debug, Error)]
pub enum RunError {
    /// The settings contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The clients cannot be put on the CPU.
    #[error("cannot run the clients on CPU {cpu}: {error}")]
    Cpu {
        /// The CPU asked for.
        cpu: u32,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
    /// More clients than the process may have connections.
    #[error(
        "{clients} clients need {needed} open files, and `ulimit -n` allows {limit}: raise it, or \
         use fewer clients"
    )]
    Descriptors {
        /// As configured.
        clients: u32,
        /// Their connections, and what the process has open beside them.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
    /// No event loop, timer or thread.
    #[error("cannot set up the clients: {0}")]
    Setup(#[source] io::Error),
}

/// One repetition, when it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repetition {
    /// Its number, from [`Config::first_repetition`].
    pub number: u32,
    /// When its first request could go out.
    pub start_ns: u64,
    /// When its last request was done, or given up.
    pub end_ns: u64,
    /// Requests recorded.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Whether all its requests were sent.
    pub complete: bool,
    /// Requests that were due, and not sent when it was stopped.
    pub unsent: u64,
    /// Requests that were sent, and not answered when it was stopped: they are not recorded.
    pub unanswered: u64,
    /// CPU time that the clients took.
    pub cpu_ns: u64,
    /// Time in which they could run and others had the CPU; none where the kernel does not tell.
    pub wait_ns: Option<u64>,
}

/// Requests that are not in the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct WarmUp {
    /// All of them.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Run {
    /// Every measured request, in the order in which they ended.
    pub rows: Vec<Request>,
    /// Connections opened for measured requests: how long each took, in nanoseconds. Linux sends a
    /// connection request again after 1 s at the earliest, so a value below that had none lost.
    pub connects_ns: Vec<u64>,
    /// Causes of the failures, one a failed request.
    pub causes: Vec<&'static str>,
    /// Good answers that told no length, so that a cut could not have been seen.
    pub unverified: u64,
    /// How late requests started for which a client had been waiting, in nanoseconds: our own doing.
    pub late_starts_ns: Vec<u64>,
    /// The requests before the measured ones.
    pub warm_up: WarmUp,
    /// The repetitions that were begun.
    pub repetitions: Vec<Repetition>,
    /// Whether it was told to stop before it was done; requests in flight then are not recorded.
    pub interrupted: bool,
}

/// Runs `config` until done or until `stop` is set (noticed within 20 ms, requests in flight
/// dropped); `progress` hears of each repetition that ended.
///
/// The clients share one thread, made for the run and put on [`Config::cpu`]; the caller's affinity
/// does not change.
///
/// # Errors
/// [`RunError`]; a request that fails is a row instead.
pub fn run(
    config: &Config,
    stop: &AtomicBool,
    progress: impl FnMut(&Repetition) + Send,
) -> Result<Run, RunError> {
    let total = config.total()?;
    limits::allow_descriptors(config.clients)?;
    thread::scope(|scope| {
        let measure = move || {
            config.cpu.map_or(Ok(()), pin)?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(RunError::Setup)?;
            // The runtime's budget would keep timers from being looked at where a service sends without
            // a pause; the clients step back for each other by themselves.
            runtime.block_on(tokio::task::unconstrained(measure(config, total, stop, progress)))
        };
        let thread = thread::Builder::new()
            .name("webload".to_owned())
            .spawn_scoped(scope, measure)
            .map_err(RunError::Setup)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Whether clients could run on `cpu`, tried on a thread that ends at once.
///
/// # Errors
/// [`RunError::Cpu`].
pub fn probe_cpu(cpu: u32) -> Result<(), RunError> {
    thread::spawn(move || pin(cpu)).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Puts the calling thread on `cpu`.
fn pin(cpu: u32) -> Result<(), RunError> {
    kernel::affinity::set(kernel::affinity::SELF, &[cpu])
        .map_err(|error| RunError::Cpu { cpu, error })
}

/// All of a run, on the runtime.
async fn measure(
    config: &Config,
    total: u64,
    stop: &AtomicBool,
    mut progress: impl FnMut(&Repetition),
) -> Result<Run, RunError> {
    let mut clients: Vec<_> = (0..config.clients).map(|id| Client::new(config, id)).collect();
    let warm_up = warm(config, &mut clients, stop).await;
    let log = Log::with_room(total as usize);
    let mut repetitions = Vec::new();
    for number in (config.first_repetition..).take(config.repetitions as usize) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let repetition = repeat(config, &mut clients, number, &log, stop).await?;
        progress(&repetition);
        repetitions.push(repetition);
    }
    let complete = repetitions.len() == config.repetitions as usize
        && repetitions.iter().all(|repetition| repetition.complete);
    Ok(Run::of(config, &log.samples.into_inner(), warm_up, repetitions, !complete))
}

/// The requests that nobody wants to measure.
async fn warm(config: &Config, clients: &mut [Client<'_>], stop: &AtomicBool) -> WarmUp {
    let log = Log::default();
    let all: FuturesUnordered<_> = clients
        .iter_mut()
        .map(async |client| {
            client.closed(0, config.warm_up, &log).await;
            io::Result::Ok(())
        })
        .collect();
    let _stopped = until_stopped(all.try_collect::<()>(), stop).await;
    let samples = log.samples.into_inner();
    let failures = samples.iter().filter(|sample| sample.failure.is_some()).count() as u64;
    WarmUp { requests: samples.len() as u64, failures }
}

/// One repetition: all clients from the same start.
async fn repeat(
    config: &Config,
    clients: &mut [Client<'_>],
    number: u32,
    log: &Log,
    stop: &AtomicBool,
) -> Result<Repetition, RunError> {
    let ahead: FuturesUnordered<_> = clients
        .iter_mut()
        .map(async |client| {
            client.connect_ahead().await;
            io::Result::Ok(())
        })
        .collect();
    let _stopped = until_stopped(ahead.try_collect::<()>(), stop).await;
    let total = u64::from(config.clients) * config.requests;
    let (before, started) = (log.samples.borrow().len(), log.started.get());
    let (start_ns, cpu_ns, wait_ns) = (monotonic_ns(), thread_cpu_ns(), waited_ns());
    let schedule = match config.rate {
        Some(rate) => {
            let alarm = Alarm::new().map_err(RunError::Setup)?;
            Some(Schedule { rate, start_ns, total, next: Cell::new(0), alarm })
        }
        None => None,
    };
    let all: FuturesUnordered<_> = clients
        .iter_mut()
        .map(async |client| match &schedule {
            Some(schedule) => client.open(number, schedule, log).await,
            None => {
                client.closed(number, config.requests, log).await;
                Ok(())
            }
        })
        .collect();
    let all = ringing(schedule.as_ref().map(|schedule| &schedule.alarm), all.try_collect::<()>());
    let complete = match until_stopped(all, stop).await {
        Some(done) => done.map(|()| true).map_err(RunError::Setup)?,
        None => false,
    };
    let end_ns = monotonic_ns();
    let started = log.started.get() - started;
    let samples = log.samples.borrow();
    let own = &samples[before..];
    Ok(Repetition {
        number,
        start_ns,
        end_ns,
        requests: own.len() as u64,
        failures: own.iter().filter(|sample| sample.failure.is_some()).count() as u64,
        complete,
        unsent: schedule.map_or(0, |schedule| schedule.due(end_ns).saturating_sub(started)),
        unanswered: started - own.len() as u64,
        cpu_ns: thread_cpu_ns() - cpu_ns,
        wait_ns: wait_ns.and_then(|before| waited_ns()?.checked_sub(before)),
    })
}

/// How long this thread has waited for a CPU so far.
fn waited_ns() -> Option<u64> {
    Some(Proc::default().thread_times(nix::unistd::gettid().as_raw()).ok()?.wait_ns)
}

/// The outcome of `work`, which may wait for `alarm`.
async fn ringing(
    alarm: Option<&Alarm>,
    work: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    let Some(alarm) = alarm else { return work.await };
    match select(pin!(alarm.ring()), pin!(work)).await {
        Either::Left((error, _)) => Err(error),
        Either::Right((done, _)) => done,
    }
}

/// The outcome of `work`, or `None` where `stop` was set first.
async fn until_stopped<T>(work: impl Future<Output = T>, stop: &AtomicBool) -> Option<T> {
    let mut work = pin!(work);
    let mut look = tokio::time::interval(STOP_POLL);
    poll_fn(|cx| {
        if stop.load(Ordering::Relaxed) {
            return Poll::Ready(None);
        }
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        // The flag wakes nobody: come back now and then where the work sleeps.
        while look.poll_tick(cx).is_ready() {}
        Poll::Pending
    })
    .await
}

impl Run {
    /// Turns the samples into rows.
    fn of(
        config: &Config,
        samples: &[Sample],
        warm_up: WarmUp,
        repetitions: Vec<Repetition>,
        interrupted: bool,
    ) -> Self {
        let unverified = |sample: &&Sample| sample.failure.is_none() && !sample.delimited;
        Self {
            rows: samples.iter().map(|sample| sample.row(config.experiment.as_deref())).collect(),
            connects_ns: samples.iter().filter_map(|sample| sample.connect_ns).collect(),
            causes: samples.iter().filter_map(|s| s.failure.as_ref()).map(|f| f.cause()).collect(),
            unverified: samples.iter().filter(unverified).count() as u64,
            late_starts_ns: samples
                .iter()
                .filter(|sample| sample.was_free)
                .map(|sample| sample.start_ns.saturating_sub(sample.intended_ns))
                .collect(),
            warm_up,
            repetitions,
            interrupted,
        }
    }
}

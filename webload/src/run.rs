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

use crate::{
    Config,
    account::Account,
    alarm::Alarm,
    client::{Client, Schedule},
    error::RunError,
    limits,
    log::{Log, Store},
    stream::Feed,
};

/// How soon a request to stop is noticed.
const STOP_POLL: Duration = Duration::from_millis(20);

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
    /// Every measured request, in the order in which they ended; none where there were more than
    /// [`Config::most_records`].
    pub rows: Vec<Request>,
    /// The same, added up.
    pub account: Account,
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
    run_into(config, stop, None, progress)
}

/// The same; where requests are counted and not kept ([`Config::counts`]), their rows go into `feed`
/// as they end.
///
/// # Errors
/// [`RunError`]; a request that fails is a row instead.
pub fn run_into(
    config: &Config,
    stop: &AtomicBool,
    feed: Option<&Feed>,
    progress: impl FnMut(&Repetition) + Send,
) -> Result<Run, RunError> {
    config.total()?;
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
            runtime.block_on(tokio::task::unconstrained(measure(config, stop, feed, progress)))
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
    stop: &AtomicBool,
    feed: Option<&Feed>,
    mut progress: impl FnMut(&Repetition),
) -> Result<Run, RunError> {
    let mut clients: Vec<_> = (0..config.clients).map(|id| Client::new(config, id)).collect();
    let warm_up = warm(config, &mut clients, stop).await;
    let log = match config.total()? {
        _ if config.counts() => Log::counting(feed),
        total => Log::keeping(total as usize),
    };
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
    let (rows, account) = collected(config, log.into_store());
    Ok(Run { rows, account, warm_up, repetitions, interrupted: !complete })
}

/// The requests that nobody wants to measure.
async fn warm(config: &Config, clients: &mut [Client<'_>], stop: &AtomicBool) -> WarmUp {
    let log = Log::dropping();
    let all: FuturesUnordered<_> = clients
        .iter_mut()
        .map(async |client| {
            client.closed(0, config.warm_up, &log).await;
            io::Result::Ok(())
        })
        .collect();
    let _stopped = until_stopped(all.try_collect::<()>(), stop).await;
    WarmUp { requests: log.ended.get(), failures: log.failed.get() }
}

/// The connections that clients open before a repetition begins.
async fn connect_ahead(clients: &mut [Client<'_>], stop: &AtomicBool) {
    let ahead: FuturesUnordered<_> = clients
        .iter_mut()
        .map(async |client| {
            client.connect_ahead().await;
            io::Result::Ok(())
        })
        .collect();
    let _stopped = until_stopped(ahead.try_collect::<()>(), stop).await;
}

/// When the requests of a repetition are due; none in a closed loop.
fn schedule(config: &Config, start_ns: u64, total: u64) -> Result<Option<Schedule>, RunError> {
    let Some(rate) = config.rate else { return Ok(None) };
    let alarm = Alarm::new().map_err(RunError::Setup)?;
    Ok(Some(Schedule { rate, start_ns, total, next: Cell::new(0), alarm }))
}

/// One repetition: all clients from the same start.
async fn repeat(
    config: &Config,
    clients: &mut [Client<'_>],
    number: u32,
    log: &Log<'_>,
    stop: &AtomicBool,
) -> Result<Repetition, RunError> {
    connect_ahead(clients, stop).await;
    let total = u64::from(config.clients) * config.requests;
    let (started, ended, failed) = (log.started.get(), log.ended.get(), log.failed.get());
    let (start_ns, cpu_ns, wait_ns) = (monotonic_ns(), thread_cpu_ns(), waited_ns());
    let schedule = schedule(config, start_ns, total)?;
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
    let requests = log.ended.get() - ended;
    Ok(Repetition {
        number,
        start_ns,
        end_ns,
        requests,
        failures: log.failed.get() - failed,
        complete,
        unsent: schedule.map_or(0, |schedule| schedule.due(end_ns).saturating_sub(started)),
        unanswered: started - requests,
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

/// Rows where samples were kept, and in any case what they come to.
fn collected(config: &Config, store: Store<'_>) -> (Vec<Request>, Account) {
    match store {
        Store::Dropped => (Vec::new(), Account::keeping()),
        Store::Counted(account, _) => (Vec::new(), *account),
        Store::Kept(samples) => {
            let mut account = Account::keeping();
            samples.iter().for_each(|sample| account.add(sample));
            let experiment = config.experiment.as_deref();
            (samples.iter().map(|sample| sample.row(experiment)).collect(), account)
        }
    }
}

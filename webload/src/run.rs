//! A run: warm-up, then the repetitions, on a thread of its own.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use kernel::{
    clock::{monotonic_ns, thread_cpu_ns},
    procfs::Proc,
};
use model::sample::Request;

use crate::{
    Config,
    account::Account,
    crew::Crew,
    error::RunError,
    limits,
    log::{Log, Store},
    pace::Pace,
    protocol::request::Template,
    schedule::Schedule,
    stream::Feed,
};

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
            measure(config, stop, feed, progress)
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

/// All of a run, on the thread of the clients.
fn measure(
    config: &Config,
    stop: &AtomicBool,
    feed: Option<&Feed>,
    mut progress: impl FnMut(&Repetition),
) -> Result<Run, RunError> {
    let templates: Vec<_> =
        config.targets.iter().map(|target| Template::new(config, target)).collect();
    let mut crew = Crew::new(config, &templates).map_err(RunError::Setup)?;
    let mut log = Log::dropping();
    let warmed = crew.run(&mut Pace::Closed(config.warm_up), 0, &mut log, stop);
    warmed.map_err(RunError::Setup)?;
    let warm_up = WarmUp { requests: log.ended, failures: log.failed };
    let mut log = match config.total()? {
        _ if config.counts() => Log::counting(feed),
        total => Log::keeping(total as usize),
    };
    let mut repetitions = Vec::new();
    for number in (config.first_repetition..).take(config.repetitions as usize) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let repetition = repeat(config, &mut crew, number, &mut log, stop)?;
        progress(&repetition);
        repetitions.push(repetition);
    }
    let complete = repetitions.len() == config.repetitions as usize
        && repetitions.iter().all(|repetition| repetition.complete);
    let (rows, account) = collected(config, log.into_store());
    Ok(Run { rows, account, warm_up, repetitions, interrupted: !complete })
}

/// How the requests of a repetition follow each other that begins at `start_ns`.
fn pace(config: &Config, crew: &Crew<'_>, start_ns: u64, total: u64) -> Result<Pace, RunError> {
    let Some(rate) = config.rate else { return Ok(Pace::Closed(config.requests)) };
    Pace::open(Schedule::new(rate, start_ns, total), &crew.poller).map_err(RunError::Setup)
}

/// One repetition: all clients from the same start.
fn repeat(
    config: &Config,
    crew: &mut Crew<'_>,
    number: u32,
    log: &mut Log<'_>,
    stop: &AtomicBool,
) -> Result<Repetition, RunError> {
    crew.run(&mut Pace::Ahead, number, log, stop).map_err(RunError::Setup)?;
    let total = u64::from(config.clients) * config.requests;
    let (started, ended, failed) = (log.started, log.ended, log.failed);
    let (start_ns, cpu_ns, wait_ns) = (monotonic_ns(), thread_cpu_ns(), waited_ns());
    let mut pace = pace(config, crew, start_ns, total)?;
    let complete = crew.run(&mut pace, number, log, stop).map_err(RunError::Setup)?;
    let end_ns = monotonic_ns();
    let (started, requests) = (log.started - started, log.ended - ended);
    Ok(Repetition {
        number,
        start_ns,
        end_ns,
        requests,
        failures: log.failed - failed,
        complete,
        unsent: pace.requests_due(end_ns).saturating_sub(started),
        unanswered: started - requests,
        cpu_ns: thread_cpu_ns() - cpu_ns,
        wait_ns: wait_ns.and_then(|before| waited_ns()?.checked_sub(before)),
    })
}

/// How long this thread has waited for a CPU so far.
fn waited_ns() -> Option<u64> {
    Some(Proc::default().thread_times(nix::unistd::gettid().as_raw()).ok()?.wait_ns)
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

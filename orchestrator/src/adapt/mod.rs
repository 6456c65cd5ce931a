//! Budgets that adapt: a thread on the housekeeping CPUs that follows vCPU threads by the laws of
//! [`model::control`], and changes their SCHED_DEADLINE budgets.
//!
//! What a vCPU consumed and for how long it waited comes from one read of `/proc/TID/schedstat` per
//! control interval, which costs some microseconds; the trace would tell the same at the price of an
//! event for each switch. Waiting is counted there as each wait ends, so up to one server period of it
//! is told an interval late; CPU time as it is charged, at each tick.

mod vcpu;

use std::{
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{Builder, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use kernel::{
    affinity::{self, SELF, Tid},
    clock::monotonic_ns,
    procfs::Proc,
};
use model::{
    control::{Bounds, Law, Pool},
    sample::{BudgetRow, CsvFile},
};

use crate::host::{Actions, Adjuster, Linux, Stage};
use vcpu::Vcpu;

/// The rows of a repetition.
pub(crate) const BUDGET: &str = "budget.csv";

/// A virtual machine whose vCPUs have budgets that adapt.
#[derive(Debug, Clone)]
pub(crate) struct Followed {
    /// Its name in the rows.
    pub name: String,
    /// Its vCPU threads, with the number of each, under SCHED_DEADLINE by the stage's guard.
    pub vcpus: Vec<(u32, Tid)>,
    pub law: Law,
    pub bounds: Bounds,
    /// Which of the pools it shares.
    pub pool: usize,
    /// Its part of that.
    pub weight: u32,
    /// The budget that they have now.
    pub start: Duration,
}

/// A control loop; it ends when it is dropped.
pub(crate) struct Adapting {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Adapting {
    /// Follows these from now on, who share what `pools` have; with `file`, a row of each interval goes there, and with `tell`, each
    /// change is said.
    ///
    /// # Errors
    /// Where the file or the thread cannot be made.
    pub fn start(
        stage: &Stage,
        followed: &[Followed],
        pools: Vec<Pool>,
        file: Option<&Path>,
        tell: bool,
    ) -> Result<Self> {
        let rows = file.map(CsvFile::create::<BudgetRow>).transpose()?;
        let proc = stage.roots.proc.clone();
        let mut looped = Loop::new(followed, pools, proc, stage.guard.adjuster(), rows, tell);
        let housekeeping = stage.cpus.housekeeping.clone();
        let (end, ended) = channel();
        let thread = Builder::new().name("rtvm-adapt".into()).spawn(move || {
            // Where that is refused it follows from where it is.
            let _where_it_was = affinity::set(SELF, &housekeeping);
            looped.go(&ended)?;
            looped.finish()
        });
        let thread = Some(thread.context("starting the control loop")?);
        Ok(Self { end: Some(end), thread })
    }

    /// Ends it.
    ///
    /// # Errors
    /// What ended it before, and a file that could not be written.
    pub fn finish(mut self) -> Result<()> {
        self.join().context("adapting budgets")
    }

    fn join(&mut self) -> Result<()> {
        self.end = None;
        let joined = self.thread.take().map(JoinHandle::join);
        joined.unwrap_or(Ok(Ok(()))).unwrap_or_else(|_panic| Err(anyhow!("the loop panicked")))
    }
}

impl Drop for Adapting {
    fn drop(&mut self) {
        // Whoever wants to know its error finishes it.
        let _error = self.join();
    }
}

/// What the thread does.
struct Loop {
    /// Each with its pool, and its number there.
    vcpus: Vec<(Vcpu, usize, usize)>,
    pools: Vec<Pool>,
    proc: Proc,
    adjuster: Adjuster,
    rows: Option<CsvFile>,
    tell: bool,
}

impl Loop {
    fn new(
        followed: &[Followed],
        mut pools: Vec<Pool>,
        proc: Proc,
        adjuster: Adjuster,
        rows: Option<CsvFile>,
        tell: bool,
    ) -> Self {
        let mut vcpus = Vec::new();
        for own in followed {
            for vcpu in Vcpu::all(own) {
                let number = pools[own.pool].join(own.bounds, own.weight);
                pools[own.pool].holds(number, own.start);
                vcpus.push((vcpu, own.pool, number));
            }
        }
        Self { vcpus, pools, proc, adjuster, rows, tell }
    }

    /// Until the other end of `ended` goes, or there is nobody left to follow.
    fn go(&mut self, ended: &Receiver<()>) -> Result<()> {
        self.begin(monotonic_ns())?;
        let host = Linux::default();
        while let Some(next_ns) = self.vcpus.iter().filter_map(|(vcpu, ..)| vcpu.due_ns()).min() {
            let wait = Duration::from_nanos(next_ns.saturating_sub(monotonic_ns()));
            if ended.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                return Ok(());
            }
            self.look(&host)?;
        }
        Ok(())
    }

    /// The first rows.
    fn begin(&mut self, now_ns: u64) -> Result<()> {
        for (vcpu, ..) in &mut self.vcpus {
            let row = vcpu.begin(&self.proc, now_ns);
            if let (Some(rows), Some(row)) = (&mut self.rows, row) {
                rows.add(&row)?;
            }
        }
        Ok(())
    }

    /// Looks at those whose interval is over.
    fn look(&mut self, host: &dyn Actions) -> Result<()> {
        for (vcpu, pool, number) in &mut self.vcpus {
            let (pool, number) = (&mut self.pools[*pool], *number);
            let now_ns = monotonic_ns();
            if vcpu.due_ns().is_none_or(|due_ns| due_ns > now_ns) {
                continue;
            }
            let allow = |wish| pool.allows(number, wish);
            let Some(looked) = vcpu.look(&self.proc, now_ns, allow, host, &self.adjuster)? else {
                pool.leave(number);
                continue;
            };
            pool.holds(number, Duration::from_nanos(looked.row.budget_ns));
            if let Some(rows) = &mut self.rows {
                rows.add(&looked.row)?;
            }
            if let Some(change) = looked.change.filter(|_| self.tell) {
                model::say!("{change}");
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        Ok(self.rows.map_or(Ok(()), CsvFile::finish)?)
    }
}

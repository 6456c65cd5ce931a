//! SCHED_DEADLINE whose budget ends on time, on kernels that alone would end it at the next tick.
//!
//! The vCPU threads are under `deadline`. Beside them, on their measured CPU, a small controlling
//! thread ([`enforcer`]) wakes at the earliest instant at which a budget can be used
//! up. Its waking is what ends the budget: the kernel accounts for the thread that it preempts, and
//! throttles it there and then.
//!
//! So the guarantee, the cap and the payback of overruns stay the kernel's own. If the controlling
//! thread is late, or ends, what remains is `deadline`: a burst too long by a tick. No event can be
//! lost, because none is waited for. A server that moves the thread between SCHED_FIFO and
//! SCHED_IDLE itself has neither property: `docs/mechanisms.md` has the measurements.

pub(crate) mod enforcer;

use std::{env, fs, time::Duration};

use anyhow::{Context, Result};
use kernel::deadline_state::DeadlineState;
use model::{Reservation, duration};
use tempfile::TempDir;

use self::enforcer::Report;
use super::{Attached, Enforce, Request, Vm, deadline::Deadline, room};
use crate::{
    error::Refusal,
    host::{Background, Roots, Stage},
};

pub(super) struct TimerServer;

/// Below this the controlling thread, which looks at a budget within some 50 µs of its end, would
/// be no better than coarse.
const LEAST_BUDGET: Duration = Duration::from_micros(500);

impl Enforce for TimerServer {
    fn check(&self, request: &Request) -> Result<(), Refusal> {
        let reservation = request.reservation()?;
        if reservation.budget() >= LEAST_BUDGET {
            return Ok(());
        }
        Err(Refusal::Usage(format!(
            "{reservation}: budgets end to within 50us; give a budget of at least {}",
            duration::format(LEAST_BUDGET)
        )))
    }

    fn probe(&self, request: &Request, roots: &Roots) -> Result<(), Refusal> {
        room::parameters(request.reservation()?, roots)?;
        let own = std::process::id() as i32;
        DeadlineState::open(&roots.proc.path(""), own).map(drop).map_err(|error| {
            Refusal::Lacking(format!(
                "the kernel does not show what is left of a budget ({error}); it needs /proc/<pid>/\
                 sched (CONFIG_SCHED_DEBUG); use `deadline`"
            ))
        })
    }

    fn attach(&self, stage: &mut Stage, vm: &Vm, request: &Request) -> Result<Attached> {
        let reservation = request.reservation()?;
        // First the server and then what sharpens it, so that there is nothing to enforce yet.
        Deadline { reclaim: false }.attach(stage, vm, request)?;
        let cpu = stage.cpus.of(request.cpu);
        if !stage.guard.host().is_real() {
            model::answer!("start a controlling thread on CPU {cpu}")?;
            return Ok(Attached::default());
        }
        let controller = Controller::start(stage, cpu, vm, reservation)?;
        Ok(Attached { controller: Some(controller), ..Attached::default() })
    }
}

/// The process of the controlling thread.
#[derive(Debug)]
pub(super) struct Controller {
    process: Background,
    folder: TempDir,
}

/// Until it is in SCHED_DEADLINE itself.
const PRIORITY: u8 = 99;
const READY_LIMIT: Duration = Duration::from_secs(10);
/// What it says once it watches.
pub(crate) const READY: &str = "ready";
const REPORT: &str = "report.json";

impl Controller {
    fn start(stage: &Stage, cpu: u32, vm: &Vm, reservation: Reservation) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (out, log) = (folder.path().join(REPORT), folder.path().join("log"));
        let mut arguments = vec!["helper".to_owned(), "enforce".to_owned()];
        arguments.extend(["--reservation".to_owned(), reservation.to_string()]);
        arguments.extend(["--out".to_owned(), out.display().to_string()]);
        for tid in &vm.vcpus {
            arguments.extend(["--tid".to_owned(), tid.to_string()]);
        }
        let exe = env::current_exe()?;
        let mut command = stage.on_measured_at(cpu, Some(PRIORITY), &exe, arguments)?;
        let mut process =
            Background::start(&stage.guard, "the controlling thread", &mut command, &log)?;
        process.wait_for_line(READY, READY_LIMIT, &stage.stop)?;
        Ok(Self { process, folder })
    }

    pub fn check(&mut self) -> Result<()> {
        self.process.check()
    }

    /// Ends it; what it counted.
    pub fn finish(self) -> Result<Report> {
        self.process.stop()?;
        let text = fs::read(self.folder.path().join(REPORT)).context("its report")?;
        serde_json::from_slice(&text).context("the report of the controlling thread")
    }
}

//! What this host can and cannot do, and what to do about it. Nothing is changed for good.

pub mod drill;
mod kvm;
mod machine;
mod policies;
mod render;
mod system;
pub mod trial;
pub mod watch;

use anyhow::Result;
use model::Exit;
use serde::Serialize;

pub use render::table;

use crate::host::{Cpus, Roots, Stage, Stop};

/// How a capability is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Good,
    /// There, with a limitation that shows in results.
    Limited,
    /// Not there.
    Missing,
    /// The host does not say.
    Unknown,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was looked at.
    pub capability: String,
    /// How it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it; empty where there is nothing to do.
    pub advice: String,
    /// Whether suites need it.
    pub required: bool,
}

impl Row {
    pub(crate) fn new(capability: &str, state: State, found: impl Into<String>) -> Self {
        Self {
            capability: capability.to_owned(),
            state,
            found: found.into(),
            advice: String::new(),
            required: false,
        }
    }

    /// What to do where the state is not good.
    pub(crate) fn advise(mut self, advice: &str) -> Self {
        if self.state != State::Good {
            advice.clone_into(&mut self.advice);
        }
        self
    }

    pub(crate) fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether all that suites need is there.
    pub ready: bool,
    /// How much longer a burst takes after idle, as a share; none where it could not be measured.
    pub idle_cost: Option<f64>,
    /// The lines.
    pub rows: Vec<Row>,
}

impl Report {
    /// 0, or 3 where something that suites need is missing.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.ready { Exit::Done } else { Exit::Lacking }
    }
}

/// Looks at everything. `measured_cpu` as in a suite.
///
/// # Errors
/// SIGINT and the like; what is missing is a row and no error.
pub fn run(measured_cpu: Option<u32>, stop: &Stop) -> Result<Report> {
    let roots = Roots::default();
    let mut rows = vec![system::privilege(&roots)];
    let cpus = match Cpus::divide(&roots.sys, measured_cpu.as_slice()) {
        Ok(cpus) => cpus,
        Err(error) => {
            rows.push(Row::new("CPUs", State::Missing, error.to_string()).required());
            return Ok(Report { ready: false, idle_cost: None, rows });
        }
    };
    rows.push(system::cpus(&cpus));
    rows.extend(policies::ordinary());
    let (partition, idle_cost) = on_stage(&cpus, stop);
    stop.check()?;
    rows.extend(partition);
    rows.extend(machine::rows(&roots, &cpus));
    rows.extend(system::kernel(&roots, &cpus));
    rows.extend(kvm::rows(&roots, cpus.first()));
    rows.extend(system::guests(stop));
    stop.check()?;
    let ready = rows.iter().all(|row| !row.required || row.state != State::Missing);
    Ok(Report { ready, idle_cost, rows })
}

/// What can only be tried on a prepared host, which is undone on return.
fn on_stage(cpus: &Cpus, stop: &Stop) -> (Vec<Row>, Option<f64>) {
    let mut stage = match Stage::prepare(cpus.clone(), stop.clone()) {
        Ok(stage) => stage,
        Err(error) => {
            let row = Row::new("cpuset partition", State::Missing, format!("{error:#}"));
            return (vec![row.required()], None);
        }
    };
    let found =
        format!("cgroup v{} at {}", stage.cpusets.version.number(), stage.cpusets.root.display());
    let idle_cost = stage.idle_cost().ok();
    let mut rows = vec![
        Row::new("cpuset partition", State::Good, found).required(),
        policies::deadline_in_partition(&mut stage).required(),
        policies::delivered(&mut stage).required(),
        system::idle(idle_cost),
    ];
    rows.extend(policies::mechanisms(&mut stage));
    if let Err(error) = stage.finish() {
        rows.push(Row::new("restored", State::Missing, format!("{error:#}")).required());
    }
    (rows, idle_cost)
}

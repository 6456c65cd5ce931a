//! What can be asked for.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use model::{Reservation, duration};

use crate::{
    demand::USUAL_MOST,
    partition::Fit,
    study::Vcpus,
    supply::{Costs, Model, Ratio},
    workload::{Scheduler, TaskSpec},
};

/// `rtplan analyse`.
#[derive(Debug, Args)]
pub struct Analyse {
    #[command(flatten)]
    pub(super) tasks: Tasks,
    /// Budget and period of the reservation, for example `28ms/50ms`; a dedicated CPU if absent
    #[arg(long, value_name = "Q/P", allow_hyphen_values = true)]
    pub(super) reservation: Option<Reservation>,
    #[command(flatten)]
    pub(super) platform: Platform,
    #[command(flatten)]
    pub(super) output: Output,
}

/// `rtplan budget`.
#[derive(Debug, Args)]
pub struct Budget {
    #[command(flatten)]
    pub(super) tasks: Tasks,
    /// The reservation's period, for example `50ms`
    #[arg(long, value_name = "P", value_parser = duration::parse, allow_hyphen_values = true,
          required_unless_present_any = ["grid", "demand"])]
    pub(super) period: Option<Duration>,
    /// Answer for a range of periods instead, `FROM..TO`; without a value up to the longest period
    /// of a task
    #[arg(long, value_name = "FROM..TO", num_args = 0..=1, default_missing_value = "auto",
          conflicts_with_all = ["period", "vcpus"])]
    pub(super) grid: Option<Range>,
    /// How many periods of the range
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "grid",
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(super) cells: u32,
    /// Answer for a measured demand instead of tasks: `demand.csv` of `orchestrator advise`, or a
    /// `jobs.csv`; without `--period` for several periods
    #[arg(long, value_name = "FILE", requires = "latency",
          conflicts_with_all = ["tasks", "file", "scheduler", "grid", "vcpus", "fit", "slow_down"])]
    pub(super) demand: Option<PathBuf>,
    /// With `--demand`: by how much the work may be delayed beyond what it would take with the CPU
    /// to itself
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true, requires = "demand")]
    pub(super) latency: Option<Duration>,
    /// With `--demand`: the most of a CPU that can be reserved
    #[arg(long, value_name = "SHARE", default_value_t = USUAL_MOST, requires = "demand", value_parser = share_of_a_cpu)]
    pub(super) most: f64,
    #[command(flatten)]
    pub(super) platform: Platform,
    #[command(flatten)]
    pub(super) output: Output,
}

fn share_of_a_cpu(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| {
        format!("`{text}` is not a share of a CPU above 0 and up to 1, such as 0.95")
    })
}

/// The tasks.
#[derive(Debug, Args)]
pub(super) struct Tasks {
    /// A task C/T or C/T/D, then optionally `,jitter=…`, `,blocking=…`, `,offset=…`, `,sporadic=…`,
    /// `,priority=N`; repeat for each task
    #[arg(long = "task", value_name = "TASK", allow_hyphen_values = true)]
    pub tasks: Vec<TaskSpec>,
    /// A file with one such task a line; `#` starts a comment
    #[arg(long = "tasks", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Scheduler inside the reservation [default: rm]
    #[arg(long, value_enum)]
    pub scheduler: Option<SchedulerName>,
}

/// What the tasks run on.
#[derive(Debug, Args)]
pub(super) struct Platform {
    /// Model of the supply; if absent, two-gap, with the verdicts of the others beside it
    #[arg(long, value_enum)]
    supply: Option<SupplyName>,
    /// For explicit-deadline: the budget is served within so much of each period
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true)]
    server_deadline: Option<Duration>,
    /// CPU time lost from the budget at each switch to the server
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true, default_value = "0")]
    overhead: Duration,
    /// Tick at which budgets are enforced, for example `4ms` at HZ=250 without HRTICK_DL; 0: exactly
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true, default_value = "0")]
    tick: Duration,
    /// Other reservations on the same CPU; with a tick their overruns delay this one. Needed with
    /// `--tick` for two-gap and explicit-deadline; the other models hold beside none
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    neighbours: Option<u32>,
    /// Factor by which the same work takes longer here than where it was measured, for example
    /// `1.07`
    #[arg(long, value_name = "FACTOR", allow_hyphen_values = true, default_value_t = Ratio::default())]
    slow_down: Ratio,
    /// vCPUs, each with a reservation of its own; tasks are dealt out among them
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    vcpus: u16,
    /// How tasks are placed on vCPUs: on the first that fits, or the one left with least (best) or
    /// most (worst) room
    #[arg(long, value_enum, default_value_t = FitName::First)]
    fit: FitName,
}

/// Where the answer goes.
#[derive(Debug, Args)]
pub(super) struct Output {
    /// Form of the answer on standard output
    #[arg(long, value_enum, default_value_t = Summary::Text)]
    pub summary: Summary,
    /// Also write it as a table
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Also draw it: demand against supply, or bandwidth against period
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Summary {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum SchedulerName {
    /// Rate monotonic
    Rm,
    /// Deadline monotonic
    Dm,
    /// Fixed priorities as given with the tasks
    Priorities,
    /// Earliest deadline first
    Edf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SupplyName {
    TwoGap,
    OneGap,
    Aligned,
    Dedicated,
    ExplicitDeadline,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum FitName {
    First,
    Best,
    Worst,
}

impl From<SchedulerName> for Scheduler {
    fn from(name: SchedulerName) -> Self {
        match name {
            SchedulerName::Rm => Self::RateMonotonic,
            SchedulerName::Dm => Self::DeadlineMonotonic,
            SchedulerName::Priorities => Self::Priorities,
            SchedulerName::Edf => Self::Edf,
        }
    }
}

impl From<FitName> for Fit {
    fn from(name: FitName) -> Self {
        match name {
            FitName::First => Self::First,
            FitName::Best => Self::Best,
            FitName::Worst => Self::Worst,
        }
    }
}

impl Platform {
    /// The model asked for, if any; `Err` says what does not fit together.
    pub fn model(&self) -> Result<Option<Model>, &'static str> {
        let model = match (self.supply, self.server_deadline) {
            (Some(SupplyName::ExplicitDeadline) | None, Some(deadline)) => {
                Some(Model::ExplicitDeadline(deadline))
            }
            (Some(SupplyName::ExplicitDeadline), None) => {
                return Err("`--supply explicit-deadline` needs `--server-deadline`, for example \
                            `--server-deadline 40ms`");
            }
            (Some(_), Some(_)) => {
                return Err("`--server-deadline` goes with `--supply explicit-deadline` only");
            }
            (Some(SupplyName::TwoGap), None) => Some(Model::TwoGap),
            (Some(SupplyName::OneGap), None) => Some(Model::OneGap),
            (Some(SupplyName::Aligned), None) => Some(Model::Aligned),
            (Some(SupplyName::Dedicated), None) => Some(Model::Dedicated),
            (None, None) => None,
        };
        Ok(model)
    }

    pub fn costs(&self) -> Costs {
        let (overhead, tick, slow_down) = (self.overhead, self.tick, self.slow_down);
        Costs { overhead, tick, neighbours: self.neighbours.unwrap_or(0), slow_down }
    }

    /// As it was said.
    pub fn neighbours(&self) -> Option<u32> {
        self.neighbours
    }

    pub fn vcpus(&self) -> Vcpus {
        Vcpus { count: self.vcpus.into(), fit: self.fit.into() }
    }
}

/// The periods of a grid.
#[derive(Debug, Clone, Copy)]
pub(super) enum Range {
    /// Up to the longest period of a task.
    Auto,
    /// Both ends included.
    Between(Duration, Duration),
}

impl std::str::FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let form = || format!("`{text}` is not a range; write for example `1ms..100ms`");
        let (from, to) = text.split_once("..").ok_or_else(form)?;
        let end = |end: &str| duration::parse(end).map_err(|error| error.to_string());
        let (from, to) = (end(from)?, end(to)?);
        if from.is_zero() {
            return Err(format!("`{text}` starts at 0; a period is above zero"));
        }
        if from > to {
            return Err(format!("`{text}` ends before it starts"));
        }
        Ok(Self::Between(from, to))
    }
}

//! What can be simulated, as options.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, ValueEnum};
use model::{Reservation, Task, duration, load::Backlog};

use super::args::{FitName, Summary, Tasks};
use crate::{
    sim::{ORDINARY_WEIGHT, Server},
    supply::Ratio,
};

/// `rtplan simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    #[command(flatten)]
    pub(super) tasks: Tasks,
    /// Simulate the experiments of this suite instead, into a result folder below `--out`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tasks", "file", "scheduler", "reservation", "load"])]
    pub(super) suite: Option<PathBuf>,
    /// Of the suite only these experiments, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "suite")]
    pub(super) only: Vec<String>,
    /// With `--suite`: so many repetitions of each experiment [default: as the suite says]
    #[arg(long, value_name = "N", requires = "suite",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) repetitions: Option<u32>,
    /// With `--suite`: take execution times, stalls and the tick from this measured result folder
    #[arg(long, value_name = "DIR", requires = "suite")]
    pub(super) calibrate: Option<PathBuf>,
    #[command(flatten)]
    pub(super) vm: Vm,
    #[command(flatten)]
    pub(super) host: Host,
    #[command(flatten)]
    pub(super) run: Run,
}

/// The virtual machine.
#[derive(Debug, Args)]
pub(super) struct Vm {
    /// Budget and period of the server, for example `28ms/50ms`
    #[arg(long, value_name = "Q/P", allow_hyphen_values = true)]
    pub reservation: Option<Reservation>,
    /// How the virtual CPU gets the CPU [default: hard-cbs with a reservation, else none]
    #[arg(long, value_enum)]
    pub server: Option<ServerName>,
    /// For share, quota and none: the weight among ordinary threads
    #[arg(long, value_name = "N", default_value_t = ORDINARY_WEIGHT,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub weight: u32,
    /// Factor by which the same work takes longer here than where it was measured, for example
    /// `1.07`
    #[arg(long, value_name = "FACTOR", allow_hyphen_values = true, default_value_t = Ratio::default())]
    pub slow_down: Ratio,
    /// The guest's own work in each of its ticks, for example `20us/4ms`
    #[arg(long, value_name = "WORK/PERIOD", allow_hyphen_values = true)]
    pub guest_tick: Option<Reservation>,
    /// CPU time of jobs: `constant`, a range of shares of C such as `0.8..1`, or a `jobs.csv` whose
    /// `cpu_ns` are drawn from, by task
    #[arg(long, value_name = "HOW", default_value = "constant", allow_hyphen_values = true)]
    pub execution: ExecutionName,
    /// vCPUs, each on a CPU of its own with the same server and load; tasks are dealt out
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub vcpus: u16,
    /// How tasks are placed on vCPUs: on the first that fits, or the one left with least (best) or
    /// most (worst) room
    #[arg(long, value_enum, default_value_t = FitName::First)]
    pub fit: FitName,
}

/// The host.
#[derive(Debug, Args)]
pub(super) struct Host {
    /// A real-time task on the same CPU; repeat for each
    #[arg(long, value_name = "C/T", allow_hyphen_values = true)]
    pub load: Vec<Task>,
    /// What the load does with jobs that it could not run in time
    #[arg(long, value_enum, default_value_t = BacklogName::Keep)]
    pub backlog: BacklogName,
    /// Another reserved virtual machine (hard CBS) that always asks for the CPU; repeat for each
    #[arg(long, value_name = "Q/P", allow_hyphen_values = true)]
    pub neighbour: Vec<Reservation>,
    /// An ordinary thread of this weight that always asks for the CPU; repeat for each
    #[arg(long, value_name = "WEIGHT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rival: Vec<u32>,
    /// What ordinary threads get under a real-time load, `Q/P` or `none` [default: none; with
    /// `--suite` 50ms/1s]
    #[arg(long, value_name = "Q/P", allow_hyphen_values = true)]
    pub fair_server: Option<FairName>,
    /// Tick at which budgets are enforced, for example `4ms`; 0: exactly [default: 0, or as measured]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true)]
    pub tick: Option<Duration>,
    /// CPU time lost whenever the CPU goes to another thread [default: 0]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true)]
    pub switch_overhead: Option<Duration>,
    /// The machine runs nobody from START for LENGTH; repeat in ascending order
    #[arg(long, value_name = "START+LENGTH", allow_hyphen_values = true)]
    pub stall: Vec<StallName>,
    /// Stalls with gaps and lengths drawn from this `stalls.csv`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["stall", "suite"])]
    pub stalls: Option<PathBuf>,
}

/// How long, and what becomes of it.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// How long tasks are released
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true, default_value = "60s", conflicts_with = "suite")]
    pub duration: Duration,
    /// How long released jobs may take to finish then [default: twice the duration, at least 10s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true, conflicts_with = "suite")]
    pub drain: Option<Duration>,
    /// Seed of every random choice [default: 0, or the suite's]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Write a row for each job; with `--suite` the folder in which the result folder is made
    /// [default: results]
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// Form of the answer on standard output
    #[arg(long, value_enum, default_value_t = Summary::Text)]
    pub summary: Summary,
    /// Exit code 4 where a deadline was missed or a job left unfinished
    #[arg(long)]
    pub fail_on_miss: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ServerName {
    /// Hard constant bandwidth server, as SCHED_DEADLINE
    HardCbs,
    /// The same, its budgets ended on time where `--tick` ends others late
    TimerServer,
    /// Soft constant bandwidth server: goes on with a later deadline
    SoftCbs,
    /// Periodic server: an unused budget passes
    Periodic,
    /// Deferrable server: an unused budget is kept within its period
    Deferrable,
    /// Ordinary thread with a quota, as CFS bandwidth control
    Quota,
    /// Fixed priority with a quota, as RT group scheduling
    RtQuota,
    /// Ordinary thread with a weight
    Share,
    /// Ordinary thread without a reservation
    None,
    /// Fixed priority above the load
    Fifo,
}

impl ServerName {
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Vm {
    /// The server asked for; `Err` says what does not fit together.
    pub fn server(&self) -> Result<(ServerName, Server), String> {
        let (weight, priority) = (self.weight, crate::sim::experiment::GUEST_PRIORITY);
        let default =
            if self.reservation.is_some() { ServerName::HardCbs } else { ServerName::None };
        let name = self.server.unwrap_or(default);
        let unreserved = match name {
            ServerName::Share | ServerName::None => Some(Server::Share { weight }),
            ServerName::Fifo => Some(Server::Fifo { priority }),
            _ => None,
        };
        let server = match (unreserved, self.reservation) {
            (Some(server), None) => server,
            (Some(_), Some(_)) => {
                return Err(format!("`--server {}` takes no `--reservation`", name.name()));
            }
            (None, None) => {
                return Err(format!(
                    "`--server {}` needs a `--reservation`, for example `28ms/50ms`",
                    name.name()
                ));
            }
            (None, Some(reservation)) => match name {
                ServerName::TimerServer => Server::TimerServer(reservation),
                ServerName::SoftCbs => Server::SoftCbs(reservation),
                ServerName::Periodic => Server::Periodic(reservation),
                ServerName::Deferrable => Server::Deferrable(reservation),
                ServerName::Quota => Server::Quota { reservation, weight },
                ServerName::RtQuota => Server::RtQuota { reservation, priority },
                _ => Server::HardCbs(reservation),
            },
        };
        Ok((name, server))
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum BacklogName {
    /// Runs every job, however late
    Keep,
    /// Skips releases that have passed
    Drop,
}

impl From<BacklogName> for Backlog {
    fn from(name: BacklogName) -> Self {
        match name {
            BacklogName::Keep => Self::Keep,
            BacklogName::Drop => Self::Drop,
        }
    }
}

/// (Q, P) or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct FairName(pub Option<Reservation>);

impl FromStr for FairName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let reservation = text.parse::<Reservation>().map_err(|error| error.to_string())?;
        Ok(Self(Some(reservation)))
    }
}

/// What ordinary threads get of a host that nobody has looked at: the kernel's default.
pub(super) fn usual_fair_server() -> Option<Reservation> {
    Some("50ms/1s".parse().expect("a valid reservation"))
}

/// A stall's start and length.
#[derive(Debug, Clone, Copy)]
pub(super) struct StallName(pub Duration, pub Duration);

impl FromStr for StallName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is not a stall; write start+length, for example `1s+5ms`");
        let (start, length) = text.split_once('+').ok_or_else(form)?;
        let part = |part: &str| duration::parse(part).map_err(|error| error.to_string());
        Ok(Self(part(start)?, part(length)?))
    }
}

/// The distribution of CPU times.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ExecutionName {
    /// C.
    Constant,
    /// Between these shares of C, in millionths.
    Shares(u64, u64),
    /// As in this file.
    File(PathBuf),
}

impl FromStr for ExecutionName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "constant" {
            return Ok(Self::Constant);
        }
        let Some((from, to)) = text.split_once("..").filter(|(from, _)| share(from).is_some())
        else {
            return Ok(Self::File(PathBuf::from(text)));
        };
        match (share(from), share(to)) {
            (Some(from), Some(to)) if from <= to && to > 0 => Ok(Self::Shares(from, to)),
            _ => Err(format!(
                "`{text}` is not a range of shares of C, such as `0.8..1`, with 0 ≤ from ≤ to ≤ 1000"
            )),
        }
    }
}

/// A decimal of 0 to 1000 in millionths.
fn share(text: &str) -> Option<u64> {
    let value = text.parse::<f64>().ok().filter(|value| (0.0..=1000.0).contains(value))?;
    Some((value * 1e6).round() as u64)
}

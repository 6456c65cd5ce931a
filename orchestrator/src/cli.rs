//! The command line.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use manual::Manual;
use model::{
    Exit, answer, duration,
    exit::{EXIT_HELP, example},
    print,
    suite::Work,
};

use crate::{
    advise, check,
    error::Refusal,
    fleet, guest,
    helper::Helper,
    hook::Hook,
    host::{self, Linux, Stop, state_dir},
    init, lab, reserve,
    run::{
        self, Resume, Soak,
        plan::{self, Plan, StopAbove},
    },
    sweep::{self, Request},
};

/// Runs experiments with real guests, real reservations and real load, and undoes what it changed.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_HELP)]
pub struct Cli {
    /// Show no progress; what goes wrong, and results, are printed all the same
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Show each change to the host as it is made, by what will undo it, and each program that is
    /// started
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

/// How a summary is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what this host can and cannot do, and what to do about it
    #[command(after_help = example("orchestrator check --cpu 1"))]
    Check {
        /// The CPU to measure on; the best by default, which `check` explains
        #[arg(long)]
        cpu: Option<u32>,
        /// Form of the report on standard output
        #[arg(long, default_value = "text")]
        summary: Format,
    },
    /// Run the experiments of a suite; prints the result folder
    #[command(after_help = example("orchestrator run experiments/quick.toml --only fig3,fig4-loaded --out results"))]
    Run {
        /// The suite, a TOML file
        suite: PathBuf,
        /// Only these experiments, separated by commas
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// The folder in which the result folder is made
        #[arg(long, default_value_os_t = plan::default_out())]
        out: PathBuf,
        /// Print every repetition and an estimate of the time, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Continue in this result folder: run what is missing
        #[arg(long, value_name = "DIR", conflicts_with = "dry_run")]
        resume: Option<PathBuf>,
        /// Continue although the host has been rebooted since
        #[arg(long, requires = "resume")]
        after_reboot: bool,
        /// End the run at the first job that misses its deadline, with exit code 4: the trace ends
        /// where it happened
        #[arg(long)]
        stop_on_miss: bool,
    },
    /// Run experiments for hours, and say whether every job kept a limit; exit code 4 where one did
    /// not. Memory and disk stay constant: of the rounds only the first with a job above the limit
    /// is kept, with its trace, and the first that failed; `soak.json` in the result folder has the
    /// numbers
    #[command(after_help = example("orchestrator soak experiments/quick.toml --only fig4-loaded --for 12h --limit 200ms --stop-on-miss"))]
    Soak {
        /// The suite, a TOML file
        suite: PathBuf,
        /// Total measured time; the experiments take turns, one round each
        #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
        length: Duration,
        /// The response time that no job may exceed, for example 40us or 2ms [default: the deadline
        /// of each task]
        #[arg(long, value_name = "TIME", value_parser = duration::parse)]
        limit: Option<Duration>,
        /// Length of a round; between two the guest is booted anew
        #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "10min")]
        round: Duration,
        /// End at the first job above the limit: the trace ends where it happened
        #[arg(long)]
        stop_on_miss: bool,
        /// Only these experiments, separated by commas
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// The folder in which the result folder is made
        #[arg(long, default_value_os_t = plan::default_out())]
        out: PathBuf,
        /// On standard output: the result folder, or one JSON object; the table goes to standard
        /// error
        #[arg(long, default_value = "text")]
        summary: Format,
    },
    /// Measure an experiment over a range of budgets; prints the smallest one that holds
    #[command(after_help = example("orchestrator sweep experiments/quick.toml --experiment fig4-loaded --budget 24ms..34ms --step 1ms"))]
    Sweep {
        /// The suite that has the experiment, a TOML file
        suite: PathBuf,
        /// The experiment, which has a reservation
        #[arg(long)]
        experiment: String,
        /// Its VM whose budget is varied, where it has several
        #[arg(long)]
        vm: Option<String>,
        /// The budgets: a range, for example 24ms..34ms, or a list, for example 26ms,28ms
        #[arg(long)]
        budget: String,
        /// From one budget of a range to the next, for example 1ms
        #[arg(long, value_parser = duration::parse)]
        step: Option<Duration>,
        /// Repetitions for each budget [default: as in the suite]
        #[arg(long)]
        repetitions: Option<u32>,
        /// Duration of each run [default: as in the suite]
        #[arg(long, value_parser = duration::parse)]
        duration: Option<Duration>,
        /// What stays the same in every job: its CPU time, or its work, which shows what the guest
        /// costs [default: as in the suite]
        #[arg(long, value_name = "paced|fixed", value_parser = Work::parse)]
        work: Option<Work>,
        /// The folder in which the result folder is made
        #[arg(long, default_value_os_t = plan::default_out())]
        out: PathBuf,
        /// Print every repetition and an estimate of the time, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Go on in this result folder: run what is missing
        #[arg(long, value_name = "DIR", conflicts_with = "dry_run")]
        resume: Option<PathBuf>,
        /// Go on although the host has been rebooted since
        #[arg(long, requires = "resume")]
        after_reboot: bool,
        /// On standard output: the result folder, or one JSON object; the table goes to standard
        /// error
        #[arg(long, default_value = "text")]
        summary: Format,
    },
    /// Reserve CPU for a running virtual machine, until Ctrl-C
    #[command(after_help = example("orchestrator reserve --domain web --reservation 3ms/5ms --watch"))]
    Reserve(reserve::Options),
    /// Watch a running virtual machine, and say which reservation it needs so that its work is
    /// delayed by at most a latency beyond what it would take with the CPU to itself; exit code 4
    /// where no budget is enough
    #[command(after_help = example("orchestrator advise --domain web --latency 20ms --for 60s"))]
    Advise {
        #[command(flatten)]
        options: Box<advise::Options>,
        /// Form of the advice on standard output
        #[arg(long, default_value = "text")]
        summary: Format,
    },
    /// Undo the reservations that `reserve --keep` left
    #[command(after_help = example("orchestrator release --pid 4242"))]
    Release {
        /// Only that of the QEMU with this process id
        #[arg(long)]
        pid: Option<i32>,
    },
    /// Reserve CPU for libvirt domains whenever they start, as /etc/rt-vm-bench/reservations.toml
    /// says
    #[command(after_help = example("orchestrator hook install"))]
    Hook {
        #[command(subcommand)]
        hook: Hook,
    },
    /// Run a command in a lab host: an emulated Linux host with KVM that has these programs
    #[command(after_help = LAB_HELP)]
    Lab(lab::Options),
    /// Run suites on many hosts as Slurm jobs, one job at a time on a host; prints the fleet's
    /// folder
    #[command(after_help = example("orchestrator submit quick.toml --nodes 10 --matrix guest.accelerator=kvm,tcg -- --partition=lab"))]
    Submit(fleet::submit::Options),
    /// Show what became of each job of a fleet
    #[command(after_help = example("orchestrator status results/fleet-20261126T104841Z"))]
    Status(fleet::status::Options),
    /// Bring back what jobs of a fleet left on their hosts; exit code 1 where something is missing
    #[command(after_help = example("orchestrator fetch results/fleet-20261126T104841Z && reports merge results/fleet-20261126T104841Z"))]
    Fetch(fleet::status::Fetch),
    /// Undo what a killed run left changed on this host
    #[command(after_help = example("orchestrator restore"))]
    Restore,
    /// Write a commented suite to begin with
    #[command(after_help = example("orchestrator init my.toml && orchestrator run my.toml --dry-run"))]
    Init {
        /// The file, which must not exist
        #[arg(default_value = "suite.toml")]
        file: PathBuf,
    },
    /// Print the JSON Schema of suites, for editors that complete and check TOML
    #[command(after_help = example("orchestrator schema > suite.schema.json"))]
    Schema,
    #[command(flatten)]
    Manual(Manual),
    /// Download the guest's kernel into the cache, if it is not there
    #[command(hide = true)]
    FetchKernel,
    /// What a run starts beside itself
    #[command(hide = true)]
    Helper {
        #[command(subcommand)]
        helper: Helper,
    },
}

/// What `orchestrator lab --help` shows below its options.
const LAB_HELP: &str = "The exit code is the command's; 1 with \"the lab host failed\" where the \
lab host is to blame, 2 wrong usage, 3 this host lacks QEMU or a package.\n\n\
Example: orchestrator lab --out results --with experiments -- \
sh -c 'orchestrator run experiments/quick.toml --out $OUT'";

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// With the exit code of [`crate::error::exit_of`].
    pub fn run(self) -> Result<ExitCode> {
        if self.verbose {
            print::be_verbose();
        }
        let exit = match self.command {
            Command::Check { cpu, summary } => check(cpu, summary),
            Command::Run { suite, only, out, dry_run, resume, after_reboot, stop_on_miss } => {
                let mut plan = Plan::read(&suite, &only)?;
                if stop_on_miss {
                    plan.stop_on_miss()?;
                }
                plan.quiet = self.quiet;
                if dry_run {
                    print::answer(&plan.describe())?;
                    return Ok(Exit::Done.into());
                }
                run_suite(&plan, &out, resuming(resume.as_deref(), after_reboot))
            }
            Command::Soak { suite, length, limit, round, stop_on_miss, only, out, summary } => {
                let soak = Soak { length, limit, round, stop_on_miss };
                let mut plan = Plan::read(&suite, &only)?;
                plan.quiet = self.quiet;
                run_soak(plan, soak, &out, summary)
            }
            Command::Sweep {
                suite,
                experiment,
                vm,
                budget,
                step,
                repetitions,
                duration,
                work,
                out,
                dry_run,
                resume,
                after_reboot,
                summary,
            } => {
                let request = Request { experiment, vm, budget, step, duration, repetitions, work };
                let mut plan = Plan::sweep(&suite, request.sweep()?)?;
                plan.quiet = self.quiet;
                if dry_run {
                    print::answer(&plan.describe())?;
                    return Ok(Exit::Done.into());
                }
                run_sweep(&plan, &out, resuming(resume.as_deref(), after_reboot), summary)
            }
            Command::Reserve(options) => reserve::run(&options),
            Command::Advise { options, summary } => {
                let advised = advise::run(&options, &Stop::on_signals()?)?;
                match summary {
                    Format::Text => print::answer(&advised.text())?,
                    Format::Json => answer!("{}", serde_json::to_string(&advised)?)?,
                };
                Ok(advised.exit())
            }
            Command::Release { pid } => reserve::release(pid),
            Command::Hook { hook } => hook.run(),
            Command::Lab(options) => return Ok(lab::run(&options)?.into()),
            Command::Submit(own) => {
                fleet::submit::submit(&own, &fleet::Slurm::new(&fleet::Programs))
            }
            Command::Status(own) => {
                fleet::status::status(&own, &fleet::Slurm::new(&fleet::Programs))
            }
            Command::Fetch(own) => fleet::status::fetch(&own, &fleet::Slurm::new(&fleet::Programs)),
            Command::Restore => restore(),
            Command::Init { file } => init::write(&file),
            Command::Schema => {
                print::answer(model::suite::SCHEMA).map(|_| Exit::Done).map_err(Into::into)
            }
            Command::Manual(manual) => {
                print::answer(&manual.text::<Self>().map_err(Refusal::Usage)?)?;
                Ok(Exit::Done)
            }
            Command::FetchKernel => {
                let kernel = guest::ensure_kernel(&guest::default_cache()?)?;
                model::say!("guest kernel {}", kernel.release);
                Ok(Exit::Done)
            }
            Command::Helper { helper } => helper.run(),
        };
        Ok(exit?.into())
    }
}

fn check(cpu: Option<u32>, summary: Format) -> Result<Exit> {
    let report = check::run(cpu, &Stop::on_signals()?)?;
    match summary {
        Format::Text => print::answer(&check::table(&report))?,
        Format::Json => answer!("{}", serde_json::to_string(&report)?)?,
    };
    Ok(report.exit())
}

fn resuming(folder: Option<&Path>, after_reboot: bool) -> Option<Resume<'_>> {
    folder.map(|folder| Resume { folder, after_reboot })
}

fn run_suite(plan: &Plan, out: &Path, resume: Option<Resume>) -> Result<Exit> {
    let finished = run::execute(plan, out, resume.as_ref(), &Stop::on_signals()?)?;
    answer!("{}", finished.folder.display())?;
    if let Some(stopped) = &finished.stopped {
        model::say!("{stopped}");
        return Ok(Exit::NotHeld);
    }
    if finished.failed > 0 {
        model::say!("{} repetitions failed; what they measured is kept", finished.failed);
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

fn run_soak(mut plan: Plan, mut soak: Soak, out: &Path, summary: Format) -> Result<Exit> {
    soak.shape(&mut plan)?;
    let limit = soak.limit.map_or(StopAbove::Deadline, StopAbove::Time);
    plan.stop_above = soak.stop_on_miss.then_some(limit);
    let soaked = run::soak(&plan, soak, out, &Stop::on_signals()?)?;
    model::say!("{}", run::soak::text(&soaked.account).trim_end());
    match summary {
        Format::Text => answer!("{}", soaked.folder.display())?,
        Format::Json => answer!("{}", serde_json::to_string(&soaked.account.summary())?)?,
    };
    Ok(soaked.exit())
}

fn run_sweep(plan: &Plan, out: &Path, resume: Option<Resume>, summary: Format) -> Result<Exit> {
    let finished = run::execute(plan, out, resume.as_ref(), &Stop::on_signals()?)?;
    let outcome = sweep::outcome(&finished.folder)?;
    model::say!("{}", sweep::table(&outcome).trim_end());
    match summary {
        Format::Text => answer!("{}", finished.folder.display())?,
        Format::Json => answer!("{}", sweep::json(&finished.folder, finished.failed, &outcome)?)?,
    };
    Ok(sweep::exit(&finished, &outcome))
}

fn restore() -> Result<Exit> {
    let restored = host::restore(&Linux::default(), &state_dir())?;
    match restored.runs {
        0 => answer!("nothing to restore")?,
        runs => answer!("restored {} changes that {runs} killed runs had left", restored.changes)?,
    };
    Ok(reserve::tell(&restored, "restore"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_command_has_an_example() {
        Cli::command().debug_assert();
        assert_eq!(manual::without_example::<Cli>(), Vec::<String>::new());
    }
}

//! The command line.

use clap::{Parser, Subcommand};
use manual::Manual;
use model::{
    Exit,
    exit::{EXIT_HELP, example},
    outfile,
};

use crate::{
    Error, calibration, characterise, clock, load, lock,
    options::{CalibrateArgs, CharacteriseArgs, ClockArgs, LoadArgs, LockArgs, RunArgs},
    output, plan, rt_app, run,
    signals::Signals,
};

/// Periodic tasks with constant execution time
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_HELP, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The things that rtload does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a task set and measure it; prints `ready` on standard error when all tasks wait for
    /// their first release
    #[command(after_help = example("rtload run --task 30ms/150ms --task 50ms/200ms --duration 30s --cpu 1 --out jobs.csv"))]
    Run(RunArgs),
    /// Load a CPU in the background until SIGTERM or SIGINT (exit code 0: its ordinary end); dies
    /// with the thread that started it; prints `ready` on standard error when all tasks wait for their first release
    #[command(after_help = example("rtload load --task 50ms/120ms --task 20ms/80ms --cpu 1 --duration 60s"))]
    Load(LoadArgs),
    /// Have threads share a lock, and measure how long they wait and what CPU time waiting costs;
    /// exit code 4 where two had it at once
    #[command(after_help = example("rtload lock --threads 2 --cpus 0,1 --kind ticket --share 0.3 --hold 50us --duration 10s --out lock.csv"))]
    Lock(LockArgs),
    /// Probe the clocks of this system: gaps between reads, steps, how late timers wake a thread, the
    /// clock source and steal time. In turn, in each second: reads in a tight loop (half of the time),
    /// timers on an idle CPU and timers on a busy one (a quarter each)
    #[command(after_help = example("rtload clock --cpu 1 --duration 10s --out clock.csv"))]
    Clock(ClockArgs),
    /// Measure how much work an execution time is, and store it
    #[command(after_help = example("rtload calibrate --cpu 1 --save calibration.json"))]
    Calibrate(CalibrateArgs),
    /// Measure what elementary operations cost on this host, so that `rtplan predict` can carry
    /// execution times to and from it; in a guest for what runs in a guest
    #[command(after_help = example("rtload characterise --cpu 1 --out host.json"))]
    Characterise(CharacteriseArgs),
    /// About the program itself.
    #[command(flatten)]
    Manual(Manual),
}

/// Does what the command line says.
///
/// # Errors
/// Those of the command.
pub fn execute(cli: Cli) -> Result<Exit, Error> {
    match cli.command {
        Command::Run(args) => match &args.rt_app {
            Some(file) => rt_app::command(&args, file),
            None => run::command(&args),
        },
        Command::Load(args) => load::command(&args),
        Command::Lock(args) => lock::command(&args),
        Command::Clock(args) => clock::command(&args),
        Command::Calibrate(args) => calibrate(&args),
        Command::Characterise(args) => characterise::command(&args),
        Command::Manual(manual) => {
            output::answer(&manual.text::<Cli>().map_err(Error::Usage)?).map(|()| Exit::Done)
        }
    }
}

fn calibrate(args: &CalibrateArgs) -> Result<Exit, Error> {
    plan::above_zero("--for", args.length)?;
    let cpu = plan::choose_cpu(args.cpu)?;
    let file = output::open("--save", args.save.as_deref())?;
    outfile::distinct(&file.iter().map(|file| ("--save", file)).collect::<Vec<_>>())
        .map_err(Error::Usage)?;
    let signals = Signals::block()?;
    let (fresh, warnings) = calibration::renew(cpu, args.length, &|| !signals.pending())?;
    let saved = file.map_or(Ok(()), |file| calibration::save_to(file, &fresh));
    output::print_calibration(&fresh, &warnings, args.summary)?;
    saved.map(|()| Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        assert_eq!(manual::without_example::<Cli>(), Vec::<String>::new());
    }
}

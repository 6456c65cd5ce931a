//! The program: arguments in, one answer out.

pub mod args;
mod ask;
mod chosen;
mod demand;
mod error;
mod play;
mod predict;
mod simulate;
mod write;

use clap::{Parser, Subcommand};
use manual::Manual;
use model::{
    Exit,
    exit::{EXIT_HELP, example},
};

pub use error::CliError;

/// Compute which reservation a task set needs, and why; needs no privilege.
#[derive(Debug, Parser)]
#[command(name = "rtplan", version, after_help = EXIT_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compute worst-case response times, and whether every deadline is met
    #[command(after_help = example("rtplan analyse --task 30ms/150ms --task 50ms/200ms --reservation 28ms/50ms"))]
    Analyse(args::Analyse),
    /// Compute the least budget for a reservation period, or for a range of periods, from tasks or
    /// from a measured demand
    #[command(after_help = example("rtplan budget --task 30ms/150ms --task 50ms/200ms --period 50ms"))]
    Budget(args::Budget),
    /// Simulate tasks under a reservation, or a whole suite into a result folder
    #[command(after_help = example("rtplan simulate --task 30ms/150ms --reservation 28ms/50ms --load 50ms/120ms --duration 60s"))]
    Simulate(Box<simulate::Simulate>),
    /// Predict the execution times of a suite's tasks on another host, and whether their deadlines
    /// hold there
    #[command(after_help = example("rtplan predict --suite suite.toml --from here.json --to there.json"))]
    Predict(predict::Predict),
    #[command(flatten)]
    Manual(Manual),
}

/// Runs the command and writes its answer to standard output.
///
/// # Errors
/// [`CliError`], which knows its exit code.
pub fn execute(cli: &Cli) -> Result<Exit, CliError> {
    match &cli.command {
        Command::Analyse(args) => ask::analyse(args),
        Command::Budget(args) if args.demand.is_some() => demand::budget(args),
        Command::Budget(args) if args.grid.is_some() => ask::grid(args),
        Command::Budget(args) => ask::budget(args),
        Command::Simulate(args) => play::simulate(args),
        Command::Predict(args) => predict::predict(args),
        Command::Manual(manual) => {
            write::answer_text(&manual.text::<Cli>().map_err(CliError::Usage)?)?;
            Ok(Exit::Done)
        }
    }
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

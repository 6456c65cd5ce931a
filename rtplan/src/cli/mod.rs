//! The program: arguments in, one answer out.

pub mod args;
mod ask;
mod error;
mod play;
mod simulate;
mod write;

use clap::{Parser, Subcommand};
use model::{Exit, exit::EXIT_HELP};

pub use error::CliError;

/// Says which reservation a task set needs, and why. Needs no privilege.
#[derive(Debug, Parser)]
#[command(name = "rtplan", version, after_help = EXIT_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Whether every deadline holds, and the worst-case response times
    Analyse(args::Analyse),
    /// The least budget for a reservation period, or over a range of periods
    Budget(args::Budget),
    /// Simulates tasks under a reservation, or a whole suite into a result folder
    Simulate(Box<simulate::Simulate>),
}

/// Runs the command and writes its answer to standard output.
///
/// # Errors
/// [`CliError`], which knows its exit code.
pub fn execute(cli: &Cli) -> Result<Exit, CliError> {
    match &cli.command {
        Command::Analyse(args) => ask::analyse(args),
        Command::Budget(args) if args.grid.is_some() => ask::grid(args),
        Command::Budget(args) => ask::budget(args),
        Command::Simulate(args) => play::simulate(args),
    }
}

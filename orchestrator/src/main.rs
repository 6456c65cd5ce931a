//! The program `orchestrator`: everything it does is in the library.

use std::process::ExitCode;

use clap::Parser;
use orchestrator::{cli::Cli, error::exit_of, host};

fn main() -> ExitCode {
    let outcome = Cli::parse().run();
    let exit = outcome.unwrap_or_else(|error| {
        model::say!("error: {error:#}");
        exit_of(&error).into()
    });
    // What a guard could not undo on the way out is told below what led there.
    let left = host::unrestored();
    left.iter().for_each(|failure| model::say!("{}", host::sentence(failure)));
    if left.is_empty() { exit } else { model::Exit::Failed.into() }
}

//! The program `orchestrator`: everything it does is in the library.

use std::process::ExitCode;

use clap::Parser;
use orchestrator::{cli::Cli, error::exit_of};

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(exit) => exit,
        Err(error) => {
            model::say!("error: {error:#}");
            exit_of(&error).into()
        }
    }
}

//! `reports`: figures, tables and the scorecard of a result folder.

use std::{io, process::ExitCode};

use clap::Parser;
use reports::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(Cli::parse(), &mut io::stdout().lock()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            model::say!("reports: {error}");
            error.exit().into()
        }
    }
}

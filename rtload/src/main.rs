//! `rtload`: see `rtload --help`.

use std::process::ExitCode;

use clap::Parser;
use rtload::{cli::Cli, output::print_error};

fn main() -> ExitCode {
    match rtload::cli::execute(Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            print_error(&error);
            error.exit().into()
        }
    }
}

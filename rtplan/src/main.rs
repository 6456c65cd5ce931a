//! `rtplan`: see `rtplan --help`.

use std::process::ExitCode;

use clap::Parser;
use rtplan::cli::{Cli, execute};

fn main() -> ExitCode {
    match execute(&Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            model::say!("rtplan: {error}");
            error.exit().into()
        }
    }
}

//! `webload`: see the library.

use std::{error::Error, process::ExitCode};

use clap::Parser;
use webload::cli::{Args, execute};

fn main() -> ExitCode {
    match execute(&Args::parse()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            model::say!("webload: {}", one_line(&error));
            error.exit().into()
        }
    }
}

/// The error with those of its causes that it does not quote itself.
fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

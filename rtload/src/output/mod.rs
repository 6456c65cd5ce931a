//! What a run leaves behind: files, and a summary.

mod files;
mod summary;
mod text;

use serde::Serialize;

pub use files::{Labels, jobs, write_files};
pub use summary::{Summary, TaskSummary};

use crate::{Error, calibration::Calibration, options::Format, warning::Warning};

/// Prints an error with its causes, once, on standard error.
pub fn print_error(error: &Error) {
    eprintln!("rtload: error: {error}");
}

/// Tells whoever waits for it that all tasks stand ready.
pub fn print_ready() {
    eprintln!("ready");
}

fn print_warnings(warnings: &[String]) {
    for warning in warnings {
        eprintln!("rtload: warning: {warning}");
    }
}

/// A calibration with what speaks against it.
#[derive(Debug, Serialize)]
struct CalibrationSummary<'a> {
    #[serde(flatten)]
    calibration: &'a Calibration,
    warnings: Vec<String>,
}

/// Prints a calibration on standard output.
pub fn print_calibration(calibration: &Calibration, warnings: &[Warning], format: Format) {
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    print_warnings(&warnings);
    match format {
        Format::Text => print!("{}", text::calibration(calibration)),
        Format::Json => print_json(&CalibrationSummary { calibration, warnings }),
    }
}

fn print_json(value: &impl Serialize) {
    println!("{}", serde_json::to_string(value).expect("summaries have string keys only"));
}

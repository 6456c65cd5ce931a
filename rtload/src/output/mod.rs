//! What a run leaves behind: files, and a summary.

mod costs;
mod cyclictest;
mod files;
mod stream;
mod summary;
pub(crate) mod text;

use model::{
    print::{self, Reader},
    say,
};
use serde::Serialize;

pub use costs::print_costs;
pub(crate) use files::open;
pub use files::{Labels, Outputs, jobs};
pub use stream::Stream;

/// A file that gets a row for every job.
pub type JobStream = Stream<4>;
pub use summary::{Summary, TaskSummary};

use crate::{Error, calibration::Calibration, options::Format, warning::Warning};

/// Prints an error with its causes, once, on standard error.
pub fn print_error(error: &Error) {
    say!("rtload: error: {error}");
}

/// Tells whoever waits for it that all tasks stand ready.
pub fn print_ready() {
    say!("ready");
}

pub(crate) fn print_warnings(warnings: &[String]) {
    for warning in warnings {
        say!("rtload: warning: {warning}");
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
///
/// # Errors
/// [`Error::System`] where it cannot be printed though somebody reads.
pub fn print_calibration(
    calibration: &Calibration,
    warnings: &[Warning],
    format: Format,
) -> Result<(), Error> {
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    print_warnings(&warnings);
    match format {
        Format::Text => answer(&text::calibration(calibration)),
        Format::Json => print_json(&CalibrationSummary { calibration, warnings }),
    }
}

pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let json = serde_json::to_string(value).expect("summaries have string keys only");
    answer(&format!("{json}\n"))
}

pub(crate) fn answer(text: &str) -> Result<(), Error> {
    match print::answer(text) {
        Ok(Reader::Present | Reader::Gone) => Ok(()),
        Err(error) => Err(Error::system("cannot write to standard output")(error)),
    }
}

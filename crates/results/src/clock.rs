//! What probes of the clock saw (`clock.csv`).

use std::path::Path;

use model::{
    manifest::RepetitionRecord,
    sample::{self, ClockRow},
    suite::Workload,
};

use crate::{error::Error, folder::place_of};

/// The rows of a probe in an attempt, in the order of time; none where there is no such file.
///
/// # Errors
/// A malformed row.
pub fn rows(
    folder: &Path,
    record: &RepetitionRecord,
    probe: Workload,
) -> Result<Option<Vec<ClockRow>>, Error> {
    let file = place_of(folder, record).join("clock.csv");
    if !file.exists() {
        return Ok(None);
    }
    let mut rows: Vec<ClockRow> = sample::read_csv(&file)?;
    let vm = probe.vm.map(|vm| vm.name.as_str());
    let service = probe.service.map(|service| service.name.as_str());
    rows.retain(|row| row.vm.as_deref() == vm && row.service.as_deref() == service);
    rows.sort_by_key(|row| row.start_ns);
    Ok(Some(rows))
}

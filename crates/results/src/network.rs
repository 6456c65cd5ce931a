//! What was asked of a web service over the network, and what the kernel did for it
//! (`requests.csv`, `softirq.csv`).

use std::path::Path;

use model::{
    manifest::RepetitionRecord,
    sample::{self, Request, Softirq},
    suite::Workload,
};

use crate::{error::Error, folder::place_of};

/// The requests of an attempt as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// The attempt.
    pub attempt: u32,
    /// Good answers.
    pub answered: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// When the first request began, on the host's clock.
    pub from_ns: u64,
    /// When the last answer had arrived.
    pub to_ns: u64,
    /// The network's softirqs on all CPUs of the host, from all its traffic; none where they were not
    /// recorded.
    pub softirqs: Option<Vec<Softirq>>,
}

/// What was asked of a web service in an attempt; none where nothing was answered.
///
/// # Errors
/// A malformed row.
pub fn traffic(
    folder: &Path,
    record: &RepetitionRecord,
    web: Workload,
) -> Result<Option<Traffic>, Error> {
    let place = place_of(folder, record);
    let (requests, softirqs) = (place.join("requests.csv"), place.join("softirq.csv"));
    if !requests.exists() {
        return Ok(None);
    }
    let mut rows: Vec<Request> = sample::read_csv(&requests)?;
    let vm = web.vm.map(|vm| vm.name.as_str());
    let service = web.service.map(|service| service.name.as_str());
    // Rows of files with one service need not name it.
    rows.retain(|row| {
        row.service.is_none() || (row.vm.as_deref() == vm && row.service.as_deref() == service)
    });
    let softirqs = softirqs.exists().then(|| sample::read_csv(&softirqs)).transpose()?;
    let good = || rows.iter().filter(|row| row.response_ns.is_some());
    let from_ns = rows.iter().map(|row| row.start_ns).min();
    let to_ns = good().filter_map(|row| row.finish_ns).max();
    Ok(from_ns.zip(to_ns).map(|(from_ns, to_ns)| Traffic {
        attempt: record.attempt,
        answered: good().count() as u64,
        bytes: good().map(|row| row.bytes).sum(),
        from_ns,
        to_ns,
        softirqs,
    }))
}

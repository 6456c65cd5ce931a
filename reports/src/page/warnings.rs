//! What went wrong in a run, or makes its results worth less.

use super::brief::{Brief, brief};
use crate::{
    folder::Results,
    units::{percent, short},
};

/// A guest that takes longer to start is worth a warning.
const SLOW_BOOT_NS: u64 = 3_000_000_000;

/// Each in one sentence; long messages of programs behind it.
#[must_use]
pub fn warnings(results: &Results) -> Vec<Brief> {
    let mut warnings = results.gaps.clone();
    let impossible = &results.manifest.impossible;
    warnings.extend(
        impossible
            .iter()
            .map(|own| format!("{} is not possible on this host: {}", own.experiment, own.reason)),
    );
    for record in &results.manifest.repetitions {
        let place = format!("{}/rep-{:03}", record.experiment, record.attempt);
        if let Some(error) = &record.error {
            warnings.push(format!("{place} failed: {error}"));
        }
        if record.counts && record.noisy {
            let share = record.stalled_share.map_or_else(|| "an unknown share".to_owned(), percent);
            warnings.push(format!("{place} counts although it is noisy: {share} of it stalled"));
        }
        warnings.extend(record.facts.warnings.iter().map(|warning| format!("{place}: {warning}")));
    }
    let boots: Vec<u64> =
        results.manifest.repetitions.iter().filter_map(|record| record.facts.boot_ns).collect();
    if let Some(slowest) = boots.iter().max().filter(|slowest| **slowest > SLOW_BOOT_NS) {
        warnings.push(format!("the slowest guest took {} to start", short(*slowest as f64)));
    }
    warnings.iter().map(|message| brief(message)).collect()
}

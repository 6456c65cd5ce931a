//! What others make of rtload's files: PyPI's `hdrhistogram` reads the logs, and reads the same.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

const READ: &str = "
import json
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
reader = HistogramLogReader('jobs.hlog', HdrHistogram(1, 3600 * 10**9, 3))
found = {}
while histogram := reader.get_next_interval_histogram():
    percentiles = {'p50': 50, 'p90': 90, 'p99': 99, 'p99_9': 99.9, 'p99_99': 99.99}
    found[histogram.get_tag()] = {'count': histogram.get_total_count()} | {
        name: histogram.get_value_at_percentile(share) for name, share in percentiles.items()}
print(json.dumps(found))
";

/// Where set-up puts packages of PyPI, if it did.
fn packages(test: &str) -> Option<PathBuf> {
    let packages = fs::canonicalize("..").unwrap().join("target/tools/python");
    if packages.join("hdrh").exists() {
        return Some(packages);
    }
    eprintln!("SKIPPED: {test}: no PyPI package hdrhistogram (scripts/setup.sh test installs it)");
    None
}

#[test]
fn another_library_reads_the_same_percentiles() {
    let Some(packages) = packages("another_library_reads_the_same_percentiles") else { return };
    for more in ["1000000", "0"] {
        let folder = tempfile::tempdir().unwrap();
        let calibration = "{\"schema_version\":1,\"ns_per_iteration\":1.7,\
                           \"undisturbed_ns_per_iteration\":1.6,\"spread\":0.0,\
                           \"length_difference\":0.0,\"pieces\":1,\"cpu\":0,\"cpu_model\":null}";
        fs::write(folder.path().join("calibration.json"), calibration).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_rtload"))
            .current_dir(folder.path())
            .args(
                "run --policy other --calibration calibration.json --check off --work paced \
                 --task 300us..1ms/5ms --task 1ms/20ms --duration 2s --hist-log jobs.hlog \
                 --summary json --most-records"
                    .split_whitespace(),
            )
            .arg(more)
            .output()
            .unwrap();
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        let read = Command::new("python3")
            .args(["-c", READ])
            .current_dir(folder.path())
            .env("PYTHONPATH", &packages)
            .output()
            .unwrap();
        let read: Value = serde_json::from_slice(&read.stdout)
            .unwrap_or_else(|error| panic!("{error}: {read:?}"));
        for (task, name) in [(0, "tau1"), (1, "tau2")] {
            for (tag, key) in [(name.to_owned(), "response_ns"), (format!("{name}-cpu"), "cpu_ns")]
            {
                let (ours, theirs) = (&summary["tasks"][task][key], &read[&tag]);
                assert_eq!(ours["count"], theirs["count"], "{tag}");
                for percentile in ["p50", "p90", "p99", "p99_9", "p99_99"] {
                    let [ours, theirs] =
                        [ours, theirs].map(|own| own[percentile].as_u64().unwrap());
                    assert!(
                        ours.abs_diff(theirs) <= ours / 1_000,
                        "{tag} {percentile}: {ours} against {theirs}"
                    );
                }
            }
        }
    }
}

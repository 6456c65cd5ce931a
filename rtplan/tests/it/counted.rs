//! Execution times that travel by operations that were counted.

use crate::predict::{hosts, json, predict};

#[test]
fn operations_that_were_counted_are_a_mix_of_what_they_cost() {
    let folder = tempfile::tempdir().unwrap();
    hosts(folder.path());
    let answer = |execution: &str| {
        let operations = ["--operations", "integer_throughput=20e6,memory_l3=4e7"];
        let rest = ["--execution", execution, "--summary", "json"];
        json(&predict(folder.path(), &[&operations[..], &rest].concat()))
    };
    // 20 and 40 ms of 75; in the rest steps wait for each other.
    let longer = answer("75ms");
    assert_eq!(longer["counted"], serde_json::json!({"cost_ns": 6e7, "of_execution": 0.8}));
    assert_eq!(longer["mix"][0]["component"], "integer_latency");
    assert_eq!(longer["execution"]["to_execution_ns"], 622_500_000);
    // More than the work takes: as much of each kind less.
    let shorter = answer("30ms");
    assert_eq!(shorter["counted"], serde_json::json!({"cost_ns": 6e7, "of_execution": 2.0}));
    assert_eq!(shorter["execution"]["to_execution_ns"], 300_000_000);

    let rest = ["--execution", "75ms", "--operations", "memory_l3=6e7"];
    let text = predict(folder.path(), &rest);
    insta::assert_snapshot!(String::from_utf8(text.stdout).unwrap(), @r#"
from here (processor unknown, platform unknown), CPU 1, 2026-11-26T15:00:00Z
  to there (processor unknown, platform unknown), CPU 1, 2026-11-26T15:00:00Z

execution times × 8.3000 (8.0559 to 8.5515)
  integer_latency      20.0 % here,   3.6 % there: 2.000 ns here, 3.000 ns there (× 1.5000)
  memory_l3            80.0 % here,  96.4 % there: 1.000 ns here, 10.000 ns there (× 10.0000)
  the operations that were counted cost 60.000 ms here, 80.0 % of the execution time

75.000 ms here take 622.500 ms there (604.191 to 641.364)
"#);
}

#[test]
fn counts_that_are_none_are_refused_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    hosts(folder.path());
    for (counts, says) in [
        (vec!["speed=1"], "no component `speed`"),
        (vec!["timer=0.5"], "timer: `0.5` is not a number of operations"),
        (vec!["timer=1", "--mix", "timer=1"], "cannot be used with"),
    ] {
        let rest = [&["--execution", "1ms", "--operations"], &counts[..]].concat();
        let output = predict(folder.path(), &rest);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{rest:?}: {stderr}");
        assert!(stderr.contains(says) && output.stdout.is_empty(), "{rest:?}: {stderr}");
    }
}

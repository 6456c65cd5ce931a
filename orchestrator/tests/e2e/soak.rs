//! Soaks for real, on the host and in a guest, and runs that their first miss ends.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    run::{Place, built, lacks_qemu, manifest, place},
    support::{HostState, orchestrator, stderr, stdout, turn},
};

const SUITE: &str = r#"
name = "small"
[host]
keep_awake = true
[guest]
accelerator = "tcg"
[noise]
retries = 0
[[experiment]]
name = "on-host"
where = "host"
tasks = ["1ms/20ms"]
duration = "30s"
[[experiment]]
name = "starved"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
load = { tasks = ["50ms/120ms", "20ms/80ms"] }
duration = "30s"
"#;

fn soak(place: &Place, arguments: &[&str]) -> (Output, PathBuf) {
    let output = orchestrator(&place.state())
        .args(["--quiet", "soak"])
        .arg(&place.suite)
        .arg("--out")
        .arg(place.dir.path().join("results"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let folder = PathBuf::from(stdout(&output).trim());
    (output, folder)
}

fn json(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("soak.json")).unwrap()).unwrap()
}

#[test]
fn what_holds_leaves_numbers_and_no_rounds() {
    const TEST: &str = "what_holds_leaves_numbers_and_no_rounds";
    let Some(_turn) = turn(TEST) else { return };
    built();
    let place = place(SUITE);
    let before = HostState::now();
    let line = ["--only", "on-host", "--for", "4s", "--round", "2s", "--limit", "10s"];
    let (output, folder) = soak(&place, &line);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    before.is_back();
    let json = json(&folder);
    assert_eq!((&json["holds"], &json["rounds"]), (&true.into(), &2.into()), "{json}");
    assert_eq!(json["tasks"][0]["jobs"], 200);
    assert_eq!(fs::read_dir(folder.join("on-host")).unwrap().count(), 0);
    let said = stderr(&output);
    assert!(said.contains("held for 4s of 4s in 2 rounds"), "{said}");
    assert!(!said.contains("[1/2]"), "quiet: {said}");
}

#[test]
#[ignore = "part of the campaign `make torture`"]
fn the_first_miss_in_a_starved_guest_ends_a_soak_and_a_run_and_its_trace_is_kept() {
    const TEST: &str =
        "the_first_miss_in_a_starved_guest_ends_a_soak_and_a_run_and_its_trace_is_kept";
    let Some(_turn) = turn(TEST) else { return };
    if lacks_qemu(TEST) {
        return;
    }
    built();
    let place = place(SUITE);
    let before = HostState::now();
    let start = Instant::now();
    let line = ["--only", "starved", "--for", "2h", "--round", "1h", "--stop-on-miss"];
    let (output, folder) = soak(&place, &line);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(start.elapsed() < Duration::from_secs(300), "the first miss ends the hour");
    before.is_back();
    let over = &json(&folder)["first_over"];
    assert_eq!((&over["experiment"], &over["round"]), (&"starved".into(), &0.into()), "{over}");
    let kept = folder.join("starved/rep-000");
    assert!(kept.join("jobs.csv").exists());
    let record = &manifest(&folder).repetitions[0];
    assert!(record.facts.stopped.is_some() && record.counts);
    if record.facts.trace.is_some() {
        assert!(fs::metadata(kept.join("supply.csv")).unwrap().len() > 1_000);
    }
    let ran = place.run(&["--only", "starved", "--stop-on-miss"]);
    assert_eq!(ran.status.code(), Some(4), "{}", stderr(&ran));
    assert!(stderr(&ran).contains("missed its deadline"), "{}", stderr(&ran));
    before.is_back();
}

//! A probe of the clock in a real guest under a real reservation, and on the host.

use std::{fs, path::PathBuf, process::Command};

use model::sample::{ClockRow, ClockWhat, read_csv};
use serde_json::Value;

use crate::{
    run::{built, lacks_qemu, manifest, place},
    support::{sibling, stderr, stdout, turn},
};

const SUITE: &str = r#"
name = "clock"
[host]
keep_awake = true
[guest]
accelerator = "tcg"
memory_mib = 192
[noise]
retries = 0
[[experiment]]
name = "reserved"
where = "guest"
probe = "clock"
duration = "3s"
reservation = { budget = "20ms", period = "50ms" }
[[experiment]]
name = "paused"
duration = "1s"
[[experiment.vm]]
name = "guest"
vcpus = [{}]
clock_source = "hpet"
pause = { at = "500ms", for = "1s" }
service = [{ probe = "clock" }]
[[experiment]]
name = "on-host"
where = "host"
probe = "clock"
duration = "1s"
"#;

#[test]
fn a_probe_sees_in_the_guest_what_its_reservation_takes_away() {
    const TEST: &str = "a_probe_sees_in_the_guest_what_its_reservation_takes_away";
    let Some(_turn) = turn(TEST) else { return };
    if lacks_qemu(TEST) {
        return;
    }
    built();
    let place = place(SUITE);
    let run = place.run(&[]);
    assert!(run.status.success(), "{}", stderr(&run));
    let folder = PathBuf::from(stdout(&run).trim());
    let manifest = manifest(&folder);
    let facts = |name: &str| {
        let own = manifest.repetitions.iter().find(|own| own.experiment == name).unwrap();
        (own.facts.clocks.clone(), own.facts.trace.clone())
    };
    let (clocks, trace) = facts("reserved");
    assert_eq!((clocks[0].vm.as_deref(), clocks[0].service.as_str()), (Some("vm"), "probe"));
    assert!(clocks[0].clock_source.is_some() && clocks[0].reads > 1_000, "{clocks:?}");
    assert_eq!(facts("on-host").0[0].vm, None);
    assert_eq!(facts("paused").0[0].clock_source.as_deref(), Some("hpet"));

    // Rows are on the host's clock: all of them in the time in which the guest was traced.
    let rows: Vec<ClockRow> = read_csv(&folder.join("reserved/rep-000/clock.csv")).unwrap();
    if let Some(trace) = &trace {
        let inside = trace.from_ns..trace.to_ns;
        assert!(rows.iter().all(|row| inside.contains(&row.start_ns)), "{inside:?}");
    }
    let count = |what: ClockWhat| rows.iter().filter(|row| row.what == what).count();
    // The first reading, one a second, the last.
    assert!(count(ClockWhat::Offset) >= 4, "{} offsets", count(ClockWhat::Offset));
    assert_eq!([count(ClockWhat::Timer), count(ClockWhat::TimerBusy)], [3 * 249; 2]);
    assert!(!folder.join("reserved/rep-000/vm.probe.clock.csv").exists());

    let said = Command::new(sibling("reports"))
        .args(["clock".as_ref(), folder.as_os_str(), "--summary".as_ref(), "json".as_ref()])
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    let of = |name: &str| {
        let all = said["clocks"].as_array().unwrap();
        all.iter().find(|own| own["experiment"] == name).unwrap().clone()
    };
    let own = of("reserved");
    let number = |value: &Value| value.as_f64().unwrap();
    // A vCPU that reads in a tight loop uses its budget up, and is away for up to 30 ms then. A fifth of
    // that is more than interrupts in a guest ever take.
    let longest = number(&own["gaps"]["all"]["longest_ns"]);
    assert!(longest > 6e6, "the longest gap is {longest} ns of the 30 ms that the budget leaves");
    // On a busy CPU timers wait for the budget, on an idle one for the host's timer alone.
    let (idle, busy) = (&own["timer_ns"], &own["timer_busy_ns"]);
    assert!(number(&busy["p90"]) > 4.0 * number(&idle["p50"]), "{idle} {busy}");
    if trace.is_some() {
        let causes = &own["gaps"];
        assert!(number(&causes["scheduling"]["longest_ns"]) > 6e6, "{causes}");
        assert!(number(&own["held_ns"]) > 0.1 * 3e9, "{own}");
    }
    // The guest's clock stood still with the guest: it is a second behind, and did not drift by it.
    let stood = &of("paused")["drifts"][0];
    assert!((-1.4e9..-0.9e9).contains(&number(&stood["jumped_ns"])), "{stood}");
    assert!(number(&stood["drift"]).abs() < 1e-3, "{stood}");
    assert!(of("on-host")["drifts"].as_array().unwrap().is_empty());
}

#[test]
fn a_probe_is_refused_where_it_makes_no_sense() {
    let refused = |from: &str, to: &str| {
        let place = place(&SUITE.replacen(from, to, 1));
        let run = place.run(&["--dry-run"]);
        assert_eq!(run.status.code(), Some(2), "{}", stderr(&run));
        assert!(!place.state().exists() || fs::read_dir(place.state()).unwrap().next().is_none());
        stderr(&run)
    };
    assert!(refused("probe = \"clock\"", "probe = \"moon\"").contains("moon"));
    let both = refused("probe = \"clock\"", "probe = \"clock\"\ntasks = [\"1ms/9ms\"]");
    assert!(both.contains("key `probe`: a service is one of"), "{both}");
    assert!(
        refused("duration = \"3s\"", "duration = \"0s\"").contains("a probe would see nothing")
    );
    // Nothing can be simulated: both experiments are skipped, with the reason.
    let place = place(SUITE);
    let simulated = Command::new(sibling("rtplan"))
        .args(["simulate", "--suite"])
        .arg(&place.suite)
        .current_dir(place.dir.path())
        .output()
        .unwrap();
    let said = stderr(&simulated);
    assert_eq!(simulated.status.code(), Some(2), "{said}");
    assert!(said.contains("skipped reserved: a probe of the clock cannot be simulated"), "{said}");
}

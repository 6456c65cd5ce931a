//! Faults that nobody may do to this machine, done to a lab host: its clock stepped, its CPU taken
//! offline, in the middle of a run.

use orchestrator::lab::Machine;

use crate::lab::Lab;

const SUITE: &str = r#"
name = "faults"
[host]
keep_awake = true
sentinel = false
[noise]
retries = 0
[[experiment]]
name = "alone"
where = "host"
tasks = ["10ms/100ms"]
duration = "10s"
"#;

/// Runs the suite, and `fault` once its tasks run; what it said, with the state of the cgroups before
/// and after.
fn run_with(lab: &Lab, fault: &str) -> String {
    lab.output(&format!("cat > suite.toml <<'END'\n{SUITE}\nEND"));
    let script = format!(
        "find /sys/fs/cgroup -type d | sort > /tmp/before\n\
         (while [ -z \"$(ls -d $OUT/faults-*/alone/.rep-000.partial/rtload.json 2>/dev/null)\" ]; \
         do sleep 1; done; sleep 3; {fault}) >/tmp/fault 2>&1 &\n\
         orchestrator run suite.toml --out $OUT; echo \"exit $?\"\n\
         wait; cat /tmp/fault\n\
         find /sys/fs/cgroup -type d | sort > /tmp/after\n\
         [ \"$(cat /tmp/before)\" = \"$(cat /tmp/after)\" ] && echo 'groups as before'\n\
         cat $OUT/faults-*/manifest.json"
    );
    let said = lab.run(&script);
    let all = said.stdout + &said.stderr;
    let short: Vec<&str> = all.lines().filter(|line| !line.starts_with([' ', '{', '}'])).collect();
    eprintln!("{}", short.join("\n"));
    all
}

#[test]
#[ignore = "part of the campaign `make torture`"]
fn a_clock_that_is_stepped_by_an_hour_changes_no_measurement() {
    let test = "a_clock_that_is_stepped_by_an_hour_changes_no_measurement";
    let Some(lab) = Lab::boot(test, &Machine::default()) else { return };
    let said = run_with(&lab, "date -s @$(( $(date +%s) + 3600 ))");
    assert!(said.contains("exit 0") && said.contains("groups as before"), "{said}");
    let rows = lab.output("tail -n +2 $OUT/faults-*/alone/rep-000/jobs.csv");
    assert_eq!(rows.lines().count(), 100, "one every 100 ms");
    let late = rows.lines().filter(|row| {
        let response: u64 = row.split(',').nth(7).unwrap().parse().unwrap();
        response > 60_000_000_000
    });
    assert_eq!(late.count(), 0, "{rows}");
    let took = said.split("\"took_ns\": ").nth(1).map(|rest| rest.split(&[',', '\n']).next());
    eprintln!("took: {took:?}");
}

#[test]
#[ignore = "part of the campaign `make torture`"]
fn a_measured_cpu_that_is_taken_offline_is_told() {
    let test = "a_measured_cpu_that_is_taken_offline_is_told";
    let Some(lab) = Lab::boot(test, &Machine::default()) else { return };
    let fault = "echo 0 > /sys/devices/system/cpu/cpu1/online; sleep 4; \
                 echo 1 > /sys/devices/system/cpu/cpu1/online; echo online again";
    let said = run_with(&lab, fault);
    assert!(said.contains("online again") && said.contains("groups as before"), "{said}");
    assert!(said.contains("warning: somebody else changed the host: "), "{said}");
}

//! Several measured CPUs: a guest with a vCPU on each, every vCPU under a reservation of its own; on a
//! machine of two CPUs none is left for everything else. What is refused before the host is touched.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use model::{
    Manifest,
    sample::{Job, Occupied, Stall, Supply, read_csv},
};

use crate::{
    run::{built, lacks_qemu, manifest, place},
    support::{sibling, stderr, stdout, turn},
};

const SUITE: &str = r#"
name = "cpus"
[host]
measured_cpus = [1, 0]
keep_awake = true
[guest]
accelerator = "tcg"
memory_mib = 192
[noise]
retries = 0
[[experiment]]
name = "both"
duration = "4s"
load = [{ cpu = 1, tasks = ["5ms/50ms"] }, { cpu = 0, tasks = ["4ms/40ms"] }]
[[experiment.vm]]
name = "smp"
vcpus = [{ cpu = 1, budget = "15ms", period = "50ms" }, { cpu = 0, budget = "5ms", period = "50ms" }]
service = [
    { name = "control", tasks = ["10ms/100ms"] },
    { name = "wants-more", vcpu = 1, tasks = ["20ms/100ms"] },
]
"#;

#[test]
fn a_guest_has_a_vcpu_on_each_of_two_cpus_and_each_its_own_reservation() {
    const TEST: &str = "a_guest_has_a_vcpu_on_each_of_two_cpus_and_each_its_own_reservation";
    let Some(_turn) = turn(TEST) else { return };
    if lacks_qemu(TEST) {
        return;
    }
    built();
    let place = place(SUITE);
    let run = place.run(&[]);
    assert!(run.status.success(), "{}", stderr(&run));
    let folder = PathBuf::from(stdout(&run).trim());
    let (manifest, repetition) = (manifest(&folder), folder.join("both/rep-000"));
    assert_eq!(manifest.host.measured(), [1, 0]);
    shared_is_said(&manifest, &stderr(&run), &folder);

    // Each CPU has its sentinel and its load.
    let facts = &manifest.repetitions[0].facts;
    let watched: Vec<_> = facts.sentinels.iter().map(|own| own.cpu).collect();
    assert_eq!(watched, [Some(1), Some(0)]);
    let stalls: Vec<Stall> = read_csv(&repetition.join("stalls.csv")).unwrap();
    assert!(stalls.iter().all(|stall| stall.cpu.is_some_and(|cpu| cpu < 2)), "{stalls:?}");
    for (cpu, released) in [(1, 80), (0, 100)] {
        let jobs: Vec<Job> = read_csv(&repetition.join(format!("load-{cpu}-jobs.csv"))).unwrap();
        // It goes on for as long as the guest's tasks take.
        assert!(jobs.len() >= released, "{} jobs of the load on CPU {cpu}", jobs.len());
    }

    // The task that asks for more than its vCPU's budget is late, and the other is not for it.
    let jobs: Vec<Job> = read_csv(&repetition.join("jobs.csv")).unwrap();
    let of = |service: &str| -> Vec<&Job> {
        jobs.iter().filter(|job| job.service.as_deref() == Some(service)).collect()
    };
    let (control, more) = (of("control"), of("wants-more"));
    assert_eq!(control.len(), 40);
    let late =
        |jobs: &[&Job]| jobs.iter().filter(|job| job.missed).count() as f64 / jobs.len() as f64;
    assert!(
        late(&more) > 0.6 && late(&control) < late(&more) / 2.0,
        "{} {}",
        late(&more),
        late(&control)
    );

    // Where it was traced: each vCPU on its CPU, and the loads on theirs.
    let supply = repetition.join("supply.csv");
    let Some(trace) = facts.trace.as_ref().filter(|_| supply.exists()) else { return };
    let (from, to) = (trace.workload_from_ns.unwrap(), trace.workload_to_ns.unwrap());
    let rows: Vec<Supply> = read_csv(&supply).unwrap();
    for (thread, cpu, budget) in [("vcpu0", 1, 15.0), ("vcpu1", 0, 5.0)] {
        let own = rows.iter().filter(|row| row.thread == thread && row.start_ns > from);
        let own: Vec<_> = own.collect();
        let cpus: BTreeSet<_> = own.iter().map(|row| row.cpu).collect();
        assert_eq!(cpus, BTreeSet::from([Some(cpu)]), "{thread}");
        let ran: u64 = own.iter().map(|row| row.end_ns - row.start_ns).sum();
        let share = 50.0 * ran as f64 / (to - from) as f64;
        assert!(share < 1.3 * budget, "{thread} has {budget} of 50 ms, and it took {share}");
    }
    let others: Vec<Occupied> = read_csv(&repetition.join("cpu.csv")).unwrap();
    for cpu in [0, 1] {
        let there: BTreeSet<_> = others
            .iter()
            .filter(|row| row.cpu == Some(cpu))
            .map(|row| row.thread.as_str())
            .collect();
        assert!(there.contains("rtvm-sentinel") && there.contains("tau1"), "CPU {cpu}: {there:?}");
    }
}

/// On a machine of two CPUs none is left: the run, the manifest and the page say so.
fn shared_is_said(manifest: &Manifest, said: &str, folder: &std::path::Path) {
    let page = Command::new(sibling("reports")).arg("render").arg(folder).output().unwrap();
    assert!(page.status.success(), "{}", stderr(&page));
    let page = fs::read_to_string(folder.join("report/index.html")).unwrap();
    let two = manifest.host.cpus == 2;
    let shared = if two { Some(0) } else { None };
    assert_eq!(manifest.host.shared_cpu(), shared);
    let reason = manifest.host.measured_cpu_reason.as_deref().unwrap();
    let text = "none is left for everything else";
    assert_eq!((reason.contains(text), said.contains(text)), (two, two), "{reason}; {said}");
    assert_eq!(page.contains("Every CPU was measured"), two);
    assert!(page.contains("CPUs 1,0"), "the page names them");
}

#[test]
fn cpus_that_cannot_be_measured_and_sums_that_do_not_fit_are_refused() {
    let refused = |from: &str, to: &str| {
        let place = place(&SUITE.replacen(from, to, 1));
        let run = place.run(&["--dry-run"]);
        assert_eq!(run.status.code(), Some(2), "{}", stderr(&run));
        assert!(!place.state().exists() || fs::read_dir(place.state()).unwrap().next().is_none());
        stderr(&run)
    };
    let dry = place(SUITE).run(&["--dry-run"]);
    assert!(
        dry.status.success() && stdout(&dry).contains("measured on CPUs 1,0"),
        "{}",
        stderr(&dry)
    );
    for part in ["load on CPU 0 4ms/40ms", "15ms/50ms on CPU 1 deadline 5ms/50ms on CPU 0"] {
        assert!(stdout(&dry).contains(part), "{part}: {}", stdout(&dry));
    }
    assert!(refused("[1, 0]", "[1, 1]").contains("CPU 1 is there twice"));
    assert!(refused("[1, 0]", "[1, 977]").contains("CPU 0 is not measured, 1,977 is"));
    let offline = refused("[1, 0]", "[1, 0, 977]");
    assert!(offline.contains("CPU 977 is to be measured, but the CPUs online are"), "{offline}");
    let load = refused("cpu = 0, tasks", "cpu = 5, tasks");
    assert!(load.contains("key `load`: CPU 5 is not measured, 1,0 is"), "{load}");
    let sum = refused("budget = \"15ms\"", "budget = \"48ms\"");
    assert!(sum.contains("of CPU 1 is") && sum.contains("vm `smp` 48ms/50ms 0.960"), "{sum}");
    if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() == 2) {
        let less = refused("budget = \"5ms\"", "budget = \"24ms\"");
        for part in ["of CPU 0 is taken", "at most 0.6", "load 0.100", "24ms/50ms 0.480"] {
            assert!(less.contains(part), "{part}: {less}");
        }
    }
}

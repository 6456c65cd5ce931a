//! Two real guests on one CPU, each with its reservation: an experiment of tasks beside tasks, a web
//! service, and a guest that goes wild; and what is refused before the host is touched.

use std::{collections::BTreeSet, fs, path::PathBuf};

use model::sample::{Job, Request, Supply, read_csv};

use crate::{
    run::{built, lacks_qemu, manifest, place},
    support::{sibling, stderr, stdout, turn},
};

const SUITE: &str = r#"
name = "tenants"
[host]
keep_awake = false
[guest]
memory_mib = 192
[noise]
retries = 0
[[experiment]]
name = "two"
duration = "3s"
[[experiment.vm]]
name = "control"
vcpus = [{ budget = "20ms", period = "50ms" }]
service = [{ tasks = ["5ms/50ms", "5ms/100ms"] }]
[[experiment.vm]]
name = "shop"
vcpus = [{ budget = "8ms", period = "20ms" }]
service = [
    { web = { clients = 2, query = "angle=20&width=64&height=64&format=ppm&reply=summary" } },
    { tasks = ["1ms/100ms"] },
]
[[experiment]]
name = "wild"
duration = "2s"
[[experiment.vm]]
name = "control"
vcpus = [{ budget = "20ms", period = "50ms" }]
service = [{ tasks = ["5ms/50ms", "5ms/100ms"] }]
[[experiment.vm]]
name = "other"
vcpus = [{ budget = "5ms", period = "50ms" }]
service = [{ wild = "forks" }]
"#;

// `cpus::` has two reservations in one run every time.
#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn two_guests_run_beside_each_other_each_under_its_own_reservation() {
    const TEST: &str = "two_guests_run_beside_each_other_each_under_its_own_reservation";
    let Some(_turn) = turn(TEST) else { return };
    if lacks_qemu(TEST) {
        return;
    }
    if let Err(error) = orchestrator::service::find() {
        eprintln!("SKIPPED: {TEST}: {error}");
        return;
    }
    built();
    let place = place(SUITE);
    let run = place.run(&[]);
    assert!(run.status.success(), "{}", stderr(&run));
    let folder = PathBuf::from(stdout(&run).trim());
    let manifest = manifest(&folder);
    assert_eq!((manifest.schema_version, manifest.repetitions.len()), (2, 2));
    let two = folder.join("two/rep-000");

    // Every service has its rows, in one file.
    let jobs: Vec<Job> = read_csv(&two.join("jobs.csv")).unwrap();
    let count = |vm: &str, task: &str| {
        let mine = |job: &&Job| job.vm.as_deref() == Some(vm) && job.task == task;
        jobs.iter().filter(mine).count()
    };
    assert_eq!(
        [count("control", "tau1"), count("control", "tau2"), count("shop", "tau1")],
        [60, 30, 30]
    );
    let requests: Vec<Request> = read_csv(&two.join("requests.csv")).unwrap();
    assert!(requests.len() > 2, "{} requests", requests.len());
    let of = |row: &Request| {
        let whose = (row.vm.as_deref(), row.service.as_deref());
        whose == (Some("shop"), Some("web")) && row.error.is_none()
    };
    assert!(requests.iter().all(of));
    // The clients went on as long as the tasks.
    let ends = |rows: &[Request]| rows.iter().filter_map(|row| row.finish_ns).max().unwrap();
    let first = requests.iter().map(|row| row.start_ns).min().unwrap();
    assert!(ends(&requests) - first > 2_000_000_000, "the clients ended early");

    // Each service has its own rows in the report, and no other's.
    let table = std::process::Command::new(sibling("reports"))
        .args(["table".as_ref(), folder.as_os_str(), "--format".as_ref(), "csv".as_ref()])
        .output()
        .unwrap();
    let table = stdout(&table);
    let of = |case: &str| -> Vec<&str> {
        let rows = table.lines().filter_map(|line| line.strip_prefix(case)?.strip_prefix(','));
        rows.filter_map(|row| row.split(',').next()).collect()
    };
    assert_eq!(of("two.control"), ["tau1", "tau2"], "{table}");
    assert_eq!((of("two.shop.web"), of("two.shop.tasks")), (vec!["service"], vec!["tau1"]));

    // Two guests: facts of each, and logs of each.
    for (name, vms) in [("two", ["control", "shop"]), ("wild", ["control", "other"])] {
        let own = manifest.repetitions.iter().find(|own| own.experiment == name).unwrap();
        let names: Vec<_> = own.facts.vms.iter().map(|own| own.vm.as_str()).collect();
        assert_eq!(names, vms);
        assert!(own.facts.vms.iter().all(|own| own.boot_ns.is_some()));
        for vm in vms {
            assert!(folder.join(name).join("rep-000").join(vm).join("console.log").exists());
        }
    }

    // A wild guest gets what it has reserved, and no more; where that was traced, by its own vCPU.
    let wild = manifest.repetitions.iter().find(|own| own.experiment == "wild").unwrap();
    let share = wild.facts.vms[1].vcpu_share.unwrap();
    assert!((0.05..0.16).contains(&share), "5 of 50 ms, and it took {share}");
    let supply = folder.join("wild/rep-000/supply.csv");
    if supply.exists() {
        let rows: Vec<Supply> = read_csv(&supply).unwrap();
        let vms: BTreeSet<_> = rows.iter().filter_map(|row| row.vm.as_deref()).collect();
        assert_eq!(vms, BTreeSet::from(["control", "other"]));
    }
    let jobs: Vec<Job> = read_csv(&folder.join("wild/rep-000/jobs.csv")).unwrap();
    assert_eq!(jobs.len(), 60);
}

#[test]
fn what_does_not_fit_together_is_refused_before_the_host_is_touched() {
    let refused = |from: &str, to: &str| {
        let place = place(&SUITE.replacen(from, to, 1));
        let run = place.run(&["--dry-run"]);
        assert_eq!(run.status.code(), Some(2), "{}", stderr(&run));
        assert!(!place.state().exists() || fs::read_dir(place.state()).unwrap().next().is_none());
        stderr(&run)
    };
    let sum = refused("budget = \"8ms\"", "budget = \"16ms\"");
    for part in [" is reserved", "vm `control` 20ms/50ms 0.400", "vm `shop` 16ms/20ms"] {
        assert!(sum.contains(part), "{part}: {sum}");
    }
    let cpu = "vcpus = [{ budget = \"8ms\"";
    let both = refused(cpu, "vcpus = [{ cpu = 7, budget = \"8ms\"");
    assert!(both.contains("CPU 7 is to be measured, but the CPUs online are"), "{both}");
    assert!(refused("name = \"shop\"", "name = \"control\"").contains("`control` is there twice"));
    assert!(refused("clients = 2", "clients = 0").contains("`web.clients` is 0"));
}

/// One guest of two vCPUs, each with a reservation and a task of its own; the second's is too small.
const SMP: &str = r#"
name = "smp"
[host]
keep_awake = true
[guest]
memory_mib = 192
[noise]
retries = 0
[[experiment]]
name = "two"
duration = "8s"
[[experiment.vm]]
name = "smp"
vcpus = [{ budget = "20ms", period = "50ms" }, { budget = "5ms", period = "50ms" }]
service = [
    { name = "control", tasks = ["15ms/150ms"] },
    { name = "video", vcpu = 1, tasks = ["40ms/200ms"] },
]
"#;

#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn each_vcpu_has_a_reservation_of_its_own() {
    const TEST: &str = "each_vcpu_has_a_reservation_of_its_own";
    let Some(_turn) = turn(TEST) else { return };
    if lacks_qemu(TEST) {
        return;
    }
    built();
    let place = place(SMP);
    let run = place.run(&[]);
    assert!(run.status.success(), "{}", stderr(&run));
    let folder = PathBuf::from(stdout(&run).trim());
    let repetition = folder.join("two/rep-000");
    let jobs: Vec<Job> = read_csv(&repetition.join("jobs.csv")).unwrap();
    let late = |service: &str, period_ms: u64| {
        let own = jobs.iter().filter(|job| job.service.as_deref() == Some(service));
        let own: Vec<_> = own.collect();
        let late = own.iter().filter(|job| job.response_ns > period_ms * 1_000_000).count();
        (late, own.len())
    };
    let ((in_time, control), (video_late, video)) = (late("control", 150), late("video", 200));
    // Machines stall.
    assert!(control > 45 && in_time * 10 <= control, "{in_time} of {control}");
    assert!(video > 5 && video_late * 2 > video, "{video_late} of {video}");
    let supply = repetition.join("supply.csv");
    if supply.exists() {
        let rows: Vec<Supply> = read_csv(&supply).unwrap();
        let of = |thread: &str| -> Vec<(u64, u64)> {
            let own = rows.iter().filter(|row| row.thread == thread);
            own.map(|row| (row.start_ns, row.end_ns)).collect()
        };
        // What is late goes on after the last release.
        let short = of("vcpu1");
        let ran: u64 = short.iter().map(|(from, to)| to - from).sum();
        let first = short.iter().map(|own| own.0).min().unwrap();
        let last = short.iter().map(|own| own.1).max().unwrap();
        let share = ran as f64 / (last - first) as f64;
        assert!((0.07..0.14).contains(&share), "5 of 50 ms, and it took {share}");
        assert!(!of("vcpu0").is_empty());
    }
}

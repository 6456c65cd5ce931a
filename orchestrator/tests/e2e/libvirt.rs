//! `orchestrator reserve` on domains of real libvirt, in a Debian lab host: one boot, many cases
//! (`libvirt.sh`).

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use model::{
    Manifest,
    manifest::Status,
    sample::{Job, read_csv},
};
use orchestrator::guest::{Contents, KernelImage, build, default_cache, ensure_kernel};

use crate::{
    own_disk::{responses, static_programs},
    support::{orchestrator, sibling, stderr, stdout, turn},
};

/// What the script prints of a case: `case NAME | KEY VALUE | …`.
pub type Case = BTreeMap<String, String>;

pub fn cases(text: &str) -> BTreeMap<String, Case> {
    let case = |line: &str| {
        let mut fields = line.strip_prefix("case ")?.split(" | ");
        let name = fields.next()?.to_owned();
        let pairs = fields.filter_map(|field| field.split_once(' '));
        Some((name, pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()))
    };
    text.lines().filter_map(case).collect()
}

/// Placement and share of (10 ms, 50 ms) for each case that works; the share within what a tick, a
/// few seconds and an emulated processor do to it.
const DELIVERED: [(&str, &str, f64, f64); 13] = [
    ("pinned-deadline", "slice", 0.18, 0.22),
    ("pinned-reclaim", "slice", 0.18, 1.0),
    ("pinned-timer", "slice", 0.18, 0.22),
    ("pinned-off", "admission-off", 0.18, 0.22),
    ("pinned-fifo", "in-place", 0.8, 1.0),
    ("pinned-quota", "in-place", 0.15, 0.22),
    ("pinned-weight", "in-place", 0.14, 0.28),
    ("pinned-both", "in-place", 0.12, 0.22),
    ("free-deadline", "global", 0.18, 0.22),
    ("free-timer", "slice", 0.18, 0.22),
    ("free-quota", "in-place", 0.15, 0.22),
    ("free-slice", "slice", 0.18, 0.22),
    ("free-reclaim", "global", 0.18, 1.0),
];

/// Refused with the reason (exit code 3), and nothing touched.
const REFUSED: [(&str, &str); 3] = [
    ("pinned-global", "its root domain is"),
    ("pinned-partition", "threaded domain of their own"),
    ("pinned-rt-group", "no real-time bandwidth"),
];

/// What the script says in a lab host with this kernel; none, and said so, where there can be none.
fn in_lab(
    test: &str,
    kernel: &str,
    arguments: &[&str],
) -> Option<(String, BTreeMap<String, Case>)> {
    sibling("reports");
    let state = tempfile::tempdir().unwrap();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e");
    let output = orchestrator(state.path())
        .args(["lab", "--root", "debian", "--kernel", kernel, "--with"])
        .arg(scripts.join("domains.sh"))
        .arg("--with")
        .arg(scripts.join("libvirt.sh"))
        .args(["--", "sh", "libvirt.sh"])
        .args(arguments)
        .output()
        .unwrap();
    let (said, complaints) = (stdout(&output), stderr(&output));
    if output.status.code() == Some(3) {
        eprintln!("SKIPPED: {test}: {complaints}");
        return None;
    }
    let all = format!("{said}\n{complaints}");
    assert!(output.status.success(), "{all}");
    Some((all, cases(&said)))
}

fn delivers(
    (name, placement, least, most): (&str, &str, f64, f64),
    cases: &BTreeMap<String, Case>,
    all: &str,
) {
    let case = cases.get(name).unwrap_or_else(|| panic!("no case {name} in {all}"));
    assert_eq!(case["exit"], "0", "{name}: {all}");
    assert_eq!(case["placement"], placement, "{name}: {all}");
    assert_eq!(case["state"], "same", "{name} left something changed: {all}");
    let share: f64 = case["share"].parse().unwrap();
    assert!((least..=most).contains(&share), "{name}: {share} of {least}..={most}: {all}");
}

#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn domains_of_libvirt_are_reserved_for_where_they_are() {
    const TEST: &str = "domains_of_libvirt_are_reserved_for_where_they_are";
    let Some(_turn) = turn(TEST) else { return };
    let Some((all, cases)) = in_lab(TEST, "cloud", &[]) else { return };
    DELIVERED.into_iter().for_each(|promised| delivers(promised, &cases, &all));
    let of = |name: &str| cases.get(name).unwrap_or_else(|| panic!("no case {name} in {all}"));
    for (name, reason) in REFUSED {
        let case = of(name);
        assert_eq!((&*case["exit"], &*case["state"]), ("3", "same"), "{name}: {all}");
        assert!(all.contains(reason), "{name}: {all}");
    }
    assert!(all.contains("dry run: nothing was changed"), "{all}");
    for name in ["controller-gone", "destroyed", "restarted"] {
        let case = of(name);
        assert_eq!((&*case["exit"], &*case["panics"]), ("0", "0"), "{name}: {all}");
    }
    assert_ne!(of("controller-gone")["warned"], "0", "{all}");
    assert!(of("controller-gone")["policy"].contains("SCHED_OTHER"), "{all}");
    for name in ["destroyed", "restarted"] {
        assert_eq!((&*of(name)["ended"], &*of(name)["errors"]), ("1", "0"), "{name}: {all}");
    }
    assert_eq!(of("restarted")["service"], "active", "{all}");
}

/// The vCPU's own group becomes the partition, and nothing else is confined.
#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn newer_kernels_make_a_vcpus_own_group_a_partition() {
    const TEST: &str = "newer_kernels_make_a_vcpus_own_group_a_partition";
    let Some(_turn) = turn(TEST) else { return };
    let Some((all, cases)) = in_lab(TEST, "backports", &["short"]) else { return };
    for name in ["pinned-deadline", "pinned-timer"] {
        delivers((name, "slice", 0.18, 0.22), &cases, &all);
    }
    assert!(all.contains("libvirt/vcpu0 (CPU 1)"), "{all}");
}

/// The paper's tasks in a domain that runs, alone, beside the load, and reserved beside it.
const DOMAIN: &str = r#"
name = "domain"
[noise]
retries = 0
[[experiment]]
name = "free"
duration = "20s"
[[experiment.vm]]
name = "shop"
libvirt = "shop"
vcpus = [{}]
service = [{ tasks = ["30ms/150ms", "50ms/200ms"] }]
[[experiment]]
name = "loaded"
duration = "20s"
load = { tasks = ["50ms/120ms", "20ms/80ms"], backlog = "drop" }
[[experiment.vm]]
name = "shop"
libvirt = "shop"
vcpus = [{}]
service = [{ tasks = ["30ms/150ms", "50ms/200ms"] }]
[[experiment]]
name = "reserved"
duration = "20s"
repetitions = 2
load = { tasks = ["50ms/120ms", "20ms/80ms"], backlog = "drop" }
[[experiment.vm]]
name = "shop"
libvirt = "shop"
placement = "admission-off"
vcpus = [{ budget = "28ms", period = "50ms" }]
service = [{ tasks = ["30ms/150ms", "50ms/200ms"] }]
"#;

/// What is in the small VM beside the shell.
const TOOLS: [&str; 13] = [
    "mount", "insmod", "cat", "sleep", "mktemp", "chmod", "rm", "uname", "id", "ls", "gzip", "wc",
    "qemu-ga",
];

/// A kernel and an initramfs with QEMU's guest agent, and the suites, in `folder`; none, and said so,
/// where something is missing.
fn domain_files(test: &str, folder: &Path) -> Option<Vec<PathBuf>> {
    let cache = default_cache().unwrap();
    let kernel: KernelImage = ensure_kernel(&cache).unwrap();
    let mut contents = Contents::default();
    for name in TOOLS.iter().chain(&["sh"]) {
        let places = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
        let found =
            places.iter().map(|place| Path::new(place).join(name)).find(|path| path.is_file());
        let Some(found) = found else {
            eprintln!("SKIPPED: {test}: {name} is not installed");
            return None;
        };
        contents = contents.with_program(&found);
    }
    let listed = Command::new("find").arg(&kernel.modules).args(["-name", "virtio*.ko"]).output();
    for path in String::from_utf8(listed.unwrap().stdout).unwrap().lines() {
        let name = Path::new(path).file_name().unwrap();
        contents.files.insert(Path::new("/modules").join(name), path.into());
    }
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e");
    let (start, initrd) = (folder.join("start"), folder.join("initrd"));
    fs::copy(scripts.join("domain-init.sh"), &start).unwrap();
    fs::set_permissions(&start, fs::Permissions::from_mode(0o755)).unwrap();
    contents.files.insert("/start".into(), start);
    let made = build(&cache, &sibling("guest-agent"), &[], &contents).unwrap();
    fs::copy(made, &initrd).unwrap();
    fs::copy(&kernel.image, folder.join("vmlinuz")).unwrap();
    fs::write(folder.join("domain.toml"), DOMAIN).unwrap();
    for other in ["nobody", "mute"] {
        let suite = DOMAIN.replace("libvirt = \"shop\"", &format!("libvirt = \"{other}\""));
        fs::write(folder.join(format!("{other}.toml")), suite).unwrap();
    }
    fs::copy(scripts.join("entered.sh"), folder.join("entered.sh")).unwrap();
    let names = ["vmlinuz", "initrd", "domain.toml", "nobody.toml", "mute.toml", "entered.sh"];
    Some(names.iter().map(|name| folder.join(name)).collect())
}

#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn tasks_run_in_a_domain_that_its_guest_agent_lets_in() {
    const TEST: &str = "tasks_run_in_a_domain_that_its_guest_agent_lets_in";
    let Some(_turn) = turn(TEST) else { return };
    sibling("reports");
    static_programs();
    let folder = tempfile::tempdir().unwrap();
    let Some(files) = domain_files(TEST, folder.path()) else { return };
    let out = std::env::var_os("ENTERED_OUT").map_or(folder.path().join("out"), PathBuf::from);
    let mut lab = orchestrator(folder.path());
    lab.args(["lab", "--root", "debian", "--out"]).arg(&out);
    for file in &files {
        lab.arg("--with").arg(file);
    }
    let output = lab.args(["--", "sh", "entered.sh"]).output().unwrap();
    let (said, complaints) = (stdout(&output), stderr(&output));
    if output.status.code() == Some(3) {
        eprintln!("SKIPPED: {TEST}: {complaints}");
        return;
    }
    let all = format!("{said}\n{complaints}");
    eprintln!("{all}");
    assert!(output.status.success(), "{all}");
    let line = |name: &str| {
        let begin = format!("case {name} | ");
        let found = said.lines().find_map(|line| line.strip_prefix(&begin));
        found.unwrap_or_else(|| panic!("no case {name} in {all}"))
    };
    assert!(line("stopped").contains("domain is not running"), "{all}");
    assert!(line("nobody").contains("failed to get domain 'nobody'"), "{all}");
    assert!(line("mute").contains("no way in by guest agent") && line("mute").contains("<channel"));
    assert!(line("measured").starts_with("exit 0 | state same | left "), "{all}");
    // `ls` of its temporary folder printed nothing.
    assert!(!line("measured").contains("out-data"), "{all}");
    measured(&out);
}

/// The report is made of what was measured, and the reservation isolates.
fn measured(out: &Path) {
    let mut entries = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    let results = entries.find(|path| path.join("manifest.json").is_file()).unwrap();
    let manifest: Manifest =
        serde_json::from_slice(&fs::read(results.join("manifest.json")).unwrap()).unwrap();
    let mut medians = BTreeMap::new();
    for record in &manifest.repetitions {
        let facts = &record.facts;
        assert_eq!(record.status, Status::Done, "{record:?}");
        assert_eq!(facts.way_in.as_deref(), Some("guest agent"), "{record:?}");
        let place = results.join(format!("{}/rep-{:03}", record.experiment, record.attempt));
        let jobs: Vec<Job> = read_csv(&place.join("jobs.csv")).unwrap();
        let times = responses(&jobs, "tau1");
        eprintln!(
            "{}: {} jobs of tau1, median {:.1} ms, max {:.1}; offset known to {:?} ns, drift {:?}, \
             share {:?}, {:?}",
            record.experiment,
            times.len(),
            times[times.len() / 2],
            times[times.len() - 1],
            facts.guest_clock_uncertainty_ns,
            facts.guest_clock_drift,
            facts.vcpu_share,
            facts.warnings
        );
        assert!(facts.guest_clock_uncertainty_ns.is_some(), "{record:?}");
        medians.insert(record.experiment.clone(), times[times.len() / 2]);
    }
    assert!(medians["reserved"] < medians["loaded"], "{medians:?}");
    let render = Command::new(sibling("reports")).arg("render").arg(&results).output().unwrap();
    assert!(render.status.success(), "{}", stderr(&render));
    assert!(results.join("report/index.html").is_file());
}

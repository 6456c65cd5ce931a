//! `orchestrator reserve` on domains of real libvirt, in a Debian lab host: one boot, many cases
//! (`libvirt.sh`).

use std::{collections::BTreeMap, path::Path};

use crate::support::{orchestrator, sibling, stderr, stdout, turn};

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

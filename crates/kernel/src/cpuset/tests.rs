use std::fs;

use super::*;

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (file, text) in files {
        fs::write(root.path().join(file), text).unwrap();
    }
    root
}

fn written(steps: &[Step], root: &Path) -> Vec<String> {
    let below = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
    steps
        .iter()
        .map(|step| match step {
            Step::MakeGroup(path) => format!("mkdir {}", below(path)),
            Step::Write { path, value, undo } => {
                let undo = undo.as_ref().map(|undo| format!(" undo {undo}"));
                format!("{} = {value}{}", below(path), undo.unwrap_or_default())
            }
        })
        .collect()
}

#[test]
fn v1_makes_two_exclusive_groups_and_parts_the_root_domain() {
    let root = tree(&[("cpuset.mems", "0\n"), ("cpuset.sched_load_balance", "1\n"), ("tasks", "")]);
    let cpusets = Cpusets { version: Version::V1, root: root.path().to_owned() };
    assert_eq!(
        written(&cpusets.isolate(&[1], None, (&[0, 1], &[])).unwrap().steps, root.path()),
        [
            "mkdir rtvm-measured-1",
            "rtvm-measured-1/cpuset.cpus = 1",
            "rtvm-measured-1/cpuset.mems = 0",
            "rtvm-measured-1/cpuset.cpu_exclusive = 1",
            "mkdir rtvm-housekeeping",
            "rtvm-housekeeping/cpuset.cpus = 0",
            "rtvm-housekeeping/cpuset.mems = 0",
            "rtvm-housekeeping/cpuset.cpu_exclusive = 1",
            "cpuset.sched_load_balance = 0 undo 1",
        ]
    );
}

#[test]
fn v2_makes_a_threaded_partition_below_the_root() {
    let root = tree(&[("cgroup.subtree_control", "cpu memory\n")]);
    let cpusets = Cpusets { version: Version::V2, root: root.path().to_owned() };
    assert_eq!(
        written(&cpusets.isolate(&[3], None, (&[0, 1, 2, 3], &[])).unwrap().steps, root.path()),
        [
            "cgroup.subtree_control = +cpuset undo -cpuset",
            "mkdir rtvm-measured-3",
            "rtvm-measured-3/cgroup.type = threaded",
            "rtvm-measured-3/cpuset.cpus = 3",
            "rtvm-measured-3/cpuset.cpus.partition = root",
        ]
    );
}

#[test]
fn v2_leaves_a_controller_that_is_already_on() {
    let root = tree(&[("cgroup.subtree_control", "cpuset cpu\n")]);
    let cpusets = Cpusets { version: Version::V2, root: root.path().to_owned() };
    assert_eq!(
        written(&cpusets.isolate(&[1], None, (&[0, 1], &[])).unwrap().steps, root.path())[0],
        "mkdir rtvm-measured-1"
    );
}

/// What `orchestrator` would take over from a made-up v2 tree.
fn v2(root: &Path) -> Cpusets {
    Cpusets { version: Version::V2, root: root.to_owned() }
}

#[test]
fn v2_tells_an_invalid_partition_with_the_kernels_reason() {
    let root = tree(&[("cgroup.subtree_control", "cpuset\n")]);
    let group = root.path().join("rtvm-measured-1");
    fs::create_dir(&group).unwrap();
    let own = v2(root.path()).isolate(&[1], None, (&[0, 1], &[])).unwrap().partition;
    fs::write(group.join("cpuset.cpus.partition"), "root invalid (Cpu list empty)\n").unwrap();
    assert!(own.verify().unwrap_err().to_string().contains("Cpu list empty"));
    fs::write(group.join("cpuset.cpus.partition"), "root\n").unwrap();
    own.verify().unwrap();
    fs::remove_file(group.join("cpuset.cpus.partition")).unwrap();
    assert!(matches!(own.verify(), Err(CpusetError::File { .. })), "the controller was taken away");
}

const CONTROL: (&str, &str) = ("cgroup.subtree_control", "cpuset\n");

/// Linux 6.12 says "partition config conflicts with housekeeping setup" to anything else.
#[test]
fn a_cpu_isolated_at_boot_is_a_remote_isolated_partition() {
    let root = tree(&[CONTROL, ("cpuset.cpus.isolated", "1\n")]);
    let plan = v2(root.path()).isolate(&[1], None, (&[0, 1], &[1])).unwrap();
    assert_eq!(
        written(&plan.steps, root.path()),
        [
            "mkdir rtvm-measured-1",
            "rtvm-measured-1/cgroup.type = threaded",
            "rtvm-measured-1/cpuset.cpus.exclusive = 1",
            "rtvm-measured-1/cgroup.subtree_control = +cpuset",
            "mkdir rtvm-measured-1/cpu",
            "rtvm-measured-1/cpu/cgroup.type = threaded",
            "rtvm-measured-1/cpu/cpuset.cpus.exclusive = 1",
            "rtvm-measured-1/cpu/cpuset.cpus.partition = isolated",
        ]
    );
    assert_eq!(plan.partition.home(1), Some(&*root.path().join("rtvm-measured-1/cpu")));
    let old = tree(&[CONTROL]);
    let plan = v2(old.path()).isolate(&[1], None, (&[0, 1], &[1])).unwrap();
    assert_eq!(plan.partition.groups[0].1, Kind::Root, "Linux 6.1 takes it");
}

#[test]
fn a_partition_is_good_in_the_state_that_was_asked_for() {
    let root = tree(&[CONTROL, ("cpuset.cpus.isolated", "1\n")]);
    for (isolated, group, kind) in
        [(vec![1], "rtvm-measured-1/cpu", "isolated"), (vec![0], "rtvm-measured-1", "root")]
    {
        let own = v2(root.path()).isolate(&[1], None, (&[0, 1], &isolated)).unwrap().partition;
        let state = root.path().join(group).join("cpuset.cpus.partition");
        fs::create_dir_all(state.parent().unwrap()).unwrap();
        for is in ["root", "isolated", "member", "isolated invalid (Invalid cpu list)"] {
            fs::write(&state, format!("{is}\n")).unwrap();
            assert_eq!(own.verify().is_ok(), is == kind, "{is} for {kind}");
        }
        assert_eq!(own.rebuild()[1], (state, kind.to_owned()));
    }
}

#[test]
fn one_of_several_cpus_isolated_at_boot_has_no_root_domain_of_its_own() {
    let root = tree(&[("cgroup.subtree_control", "cpuset\n")]);
    let all = [0, 1, 2, 3];
    let error = v2(root.path()).isolate(&[3], None, (&all, &[2, 3])).unwrap_err().to_string();
    assert!(error.contains("together with 2") && error.contains("isolcpus="), "{error}");
    v2(root.path()).isolate(&[1], None, (&all, &[2, 3])).unwrap();
    v2(root.path()).isolate(&[3], None, (&all, &[3])).unwrap();
}

/// A tree as libvirt 9.0 leaves it: the scope's groups are threaded in a domain of their own.
fn libvirt() -> tempfile::TempDir {
    let root = tree(&[("cgroup.subtree_control", "cpu memory\n"), ("cpuset.cpus.isolated", "\n")]);
    let at = |below: &str| root.path().join(below);
    fs::create_dir_all(at("machine.slice/vm.scope/libvirt/vcpu0")).unwrap();
    fs::create_dir_all(at("machine.slice/vm.scope/libvirt/vcpu1")).unwrap();
    fs::write(at("machine.slice/cgroup.subtree_control"), "cpuset cpu\n").unwrap();
    fs::write(at("machine.slice/vm.scope/cgroup.subtree_control"), "cpuset cpu\n").unwrap();
    fs::write(at("machine.slice/vm.scope/libvirt/cgroup.subtree_control"), "cpu\n").unwrap();
    fs::write(at("machine.slice/cpuset.cpus"), "0-3\n").unwrap();
    fs::write(at("machine.slice/cpuset.cpus.partition"), "member\n").unwrap();
    root
}

#[test]
fn a_slice_becomes_a_partition_and_gets_back_what_it_had() {
    let root = libvirt();
    let slice = root.path().join("machine.slice");
    let plan = v2(root.path()).enclose(&slice, 2, (&[0, 1, 2, 3], &[]), true).unwrap();
    assert_eq!(
        written(&plan.steps, root.path()),
        [
            "cgroup.subtree_control = +cpuset undo -cpuset",
            "machine.slice/cpuset.cpus = 2 undo 0-3",
            "machine.slice/cpuset.cpus.partition = root undo member",
            "mkdir machine.slice/rtvm-measured",
        ]
    );
    assert_eq!(plan.partition.groups, [(slice.clone(), Kind::Root)]);
    assert_eq!(plan.partition.home(2), Some(&*slice.join(MEASURED)));
    // The kernel takes no empty list back.
    fs::write(slice.join("cpuset.cpus"), "\n").unwrap();
    fs::write(root.path().join("cpuset.cpus.effective"), "0-3\n").unwrap();
    let again = v2(root.path()).enclose(&slice, 2, (&[0, 1, 2, 3], &[]), true).unwrap();
    assert_eq!(again.steps, plan.steps);
    let without = v2(root.path()).enclose(&slice, 2, (&[0, 1, 2, 3], &[]), false).unwrap();
    assert_eq!((without.steps.len(), without.partition.home(2)), (3, None));
}

#[test]
fn a_remote_partition_is_handed_down_from_the_top() {
    let root = libvirt();
    let own = root.path().join("machine.slice/vm.scope/libvirt");
    let groups = [(own.join("vcpu0"), 1), (own.join("vcpu1"), 2)];
    let plan = v2(root.path()).enclose_each(&groups, (&[0, 1, 2, 3], &[])).unwrap();
    let libvirt = "machine.slice/vm.scope/libvirt";
    assert_eq!(
        written(&plan.steps, root.path()),
        [
            "cgroup.subtree_control = +cpuset undo -cpuset",
            "machine.slice/cpuset.cpus.exclusive = 1,2 undo ",
            "machine.slice/vm.scope/cpuset.cpus.exclusive = 1,2 undo ",
            &format!("{libvirt}/cpuset.cpus.exclusive = 1,2 undo "),
            &format!("{libvirt}/cgroup.subtree_control = +cpuset undo -cpuset"),
            &format!("{libvirt}/vcpu0/cpuset.cpus.exclusive = 1 undo "),
            &format!("{libvirt}/vcpu1/cpuset.cpus.exclusive = 2 undo "),
            &format!("{libvirt}/vcpu0/cpuset.cpus.partition = root undo member"),
            &format!("{libvirt}/vcpu1/cpuset.cpus.partition = root undo member"),
        ]
    );
    assert_eq!(plan.partition.rebuild().len(), 4);
    let all = v2(root.path()).enclose_each(&groups, (&[1, 2], &[]));
    assert!(matches!(all, Err(CpusetError::OnlyCpu(1))), "one is left for the rest");
}

#[test]
fn the_only_cpu_is_refused() {
    let cpusets = Cpusets { version: Version::V2, root: "/x".into() };
    assert!(matches!(cpusets.isolate(&[0], None, (&[0], &[])), Err(CpusetError::OnlyCpu(0))));
}

#[test]
fn a_mounted_v1_controller_goes_before_v2() {
    let mounts = "cgroup /c/cpuset cgroup rw,cpuset 0 0\ncgroup2 /c/u cgroup2 rw 0 0\n";
    let found = Cpusets::find(mounts).unwrap();
    assert_eq!((found.version, found.root), (Version::V1, "/c/cpuset".into()));
    let root = tree(&[("cgroup.controllers", "cpuset cpu\n")]);
    let mounts = format!("cgroup2 {} cgroup2 rw 0 0\n", root.path().display());
    assert_eq!(Cpusets::find(&mounts).unwrap().version, Version::V2);
    assert!(matches!(Cpusets::find(""), Err(CpusetError::NotMounted)));
}

#[test]
fn rebuilding_ends_where_it_began() {
    let root = tree(&[("cpuset.mems", "0\n"), ("cpuset.sched_load_balance", "1\n")]);
    let v1 = Cpusets { version: Version::V1, root: root.path().to_owned() };
    let balance = root.path().join("cpuset.sched_load_balance");
    let own = v1.isolate(&[1], None, (&[0, 1], &[])).unwrap().partition;
    assert_eq!(own.rebuild(), [(balance.clone(), "1".into()), (balance, "0".into())]);
}

#[test]
fn every_measured_cpu_is_a_partition_of_its_own() {
    let root = tree(&[("cpuset.mems", "0\n"), ("cpuset.sched_load_balance", "1\n")]);
    let v1 = Cpusets { version: Version::V1, root: root.path().to_owned() };
    let plan = v1.isolate(&[3, 1], None, (&[0, 1, 2, 3], &[])).unwrap();
    let made = written(&plan.steps, root.path());
    for step in [
        "rtvm-measured-3/cpuset.cpus = 3",
        "rtvm-measured-1/cpuset.cpus = 1",
        "rtvm-housekeeping/cpuset.cpus = 0,2",
    ] {
        assert!(made.iter().any(|one| one == step), "{step}: {made:?}");
    }
    let of = |plan: &Plan, cpu| {
        let home = plan.partition.home(cpu)?;
        Some(home.strip_prefix(root.path()).unwrap().display().to_string())
    };
    assert_eq!(of(&plan, 3).unwrap(), "rtvm-measured-3");
    assert_eq!((of(&plan, 1).unwrap(), of(&plan, 0)), ("rtvm-measured-1".to_owned(), None));
    fs::write(root.path().join("cgroup.subtree_control"), "cpuset\n").unwrap();
    fs::write(root.path().join("cpuset.cpus.isolated"), "3\n").unwrap();
    let plan = v2(root.path()).isolate(&[3, 1], None, (&[0, 1, 2, 3], &[3])).unwrap();
    let kinds: Vec<_> = plan.partition.groups.iter().map(|(_, kind)| kind.name()).collect();
    assert_eq!(kinds, ["isolated", "root"]);
    assert_eq!(of(&plan, 3).unwrap(), "rtvm-measured-3/cpu");
    assert_eq!(plan.partition.rebuild().len(), 4);
    let both = v2(root.path()).isolate(&[2, 3], None, (&[0, 1, 2, 3], &[2, 3]));
    assert!(matches!(both, Err(CpusetError::Together { cpu: 2, .. })));
}

#[test]
fn the_last_cpu_is_measured_where_everybody_else_is() {
    let root = tree(&[
        ("cpuset.mems", "0\n"),
        ("cpuset.sched_load_balance", "1\n"),
        ("cgroup.subtree_control", "cpuset\n"),
    ]);
    let about: (&[u32], &[u32]) = (&[0, 1], &[]);
    let v1 = Cpusets { version: Version::V1, root: root.path().to_owned() };
    let plan = v1.isolate(&[1], Some(0), about).unwrap();
    assert_eq!(plan.partition.home(0), Some(&*root.path().join(HOUSEKEEPING)));
    let plan = v2(root.path()).isolate(&[1], Some(0), about).unwrap();
    assert_eq!(plan.partition.home(0), Some(root.path()));
    assert_eq!(plan.partition.groups.len(), 1, "the root group's state is not ours");
    let none = v1.isolate(&[1, 0], None, about);
    assert!(matches!(none, Err(CpusetError::OnlyCpu(1))));
}

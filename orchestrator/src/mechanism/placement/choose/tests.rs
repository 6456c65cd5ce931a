use kernel::cpuset::Cpusets;

use super::*;
use crate::mechanism::placement::seats::{Seat, Top};

/// A v2 tree with the files that plans read, and libvirt's groups below `machine.slice`.
fn tree(new_kernel: bool) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let vcpu = root.path().join("machine.slice/vm.scope/libvirt/vcpu0");
    std::fs::create_dir_all(&vcpu).unwrap();
    for group in vcpu.ancestors().take_while(|group| group.starts_with(root.path())) {
        std::fs::write(group.join("cgroup.subtree_control"), "cpuset cpu\n").unwrap();
    }
    if new_kernel {
        std::fs::write(root.path().join("cpuset.cpus.isolated"), "\n").unwrap();
    }
    root
}

/// A VM of libvirt's with one vCPU that may run on `affinity`, on CPUs 0 to 3.
fn domain(root: &tempfile::TempDir, affinity: &[u32]) -> Seats {
    let scope = root.path().join("machine.slice/vm.scope");
    let group = scope.join("libvirt/vcpu0");
    let online = vec![0, 1, 2, 3];
    Seats {
        cpusets: Cpusets { version: Version::V2, root: root.path().to_owned() },
        isolated: Vec::new(),
        vcpus: vec![Seat { tid: 7, group, affinity: affinity.to_vec(), span: online.clone() }],
        held: Some(Held::Threaded(scope.join("libvirt"))),
        top: Some(Top { group: root.path().join("machine.slice"), others: 0 }),
        online,
    }
}

/// One that somebody started in the root group, as a lab's init does.
fn plain(root: &tempfile::TempDir, affinity: &[u32]) -> Seats {
    let group = root.path().to_owned();
    let vcpus = vec![Seat { group, ..domain(root, affinity).vcpus.remove(0) }];
    Seats { vcpus, held: None, top: None, ..domain(root, affinity) }
}

fn asked(mechanism: Mechanism) -> Asked {
    Asked { mechanism, placement: None, cpu: None }
}

/// Placement and CPU, or the refusal.
fn chosen(asked: Asked, seats: &Seats) -> Result<String, String> {
    let chosen = choose(&asked, 3, seats).map_err(|refusal| refusal.to_string())?;
    let cpu = chosen.cpu.map(|cpu| format!(" {cpu}")).unwrap_or_default();
    Ok(format!("{}{cpu}", chosen.placement))
}

const ALL: [u32; 4] = [0, 1, 2, 3];

#[test]
fn what_is_not_pinned_stays_where_it_is() {
    let root = tree(false);
    let deadline = asked(Mechanism::Deadline);
    assert_eq!(chosen(deadline, &domain(&root, &ALL)).unwrap(), "global");
    assert_eq!(chosen(deadline, &plain(&root, &ALL)).unwrap(), "global");
    let reclaim = asked(Mechanism::DeadlineReclaim);
    assert_eq!(chosen(reclaim, &domain(&root, &ALL)).unwrap(), "global");
}

#[test]
fn what_may_be_moved_gets_a_partition_of_the_cpu_that_it_is_pinned_to() {
    let root = tree(false);
    let deadline = asked(Mechanism::Deadline);
    assert_eq!(chosen(deadline, &plain(&root, &[1])).unwrap(), "partition 1");
    assert_eq!(chosen(deadline, &plain(&root, &[1, 2])).unwrap(), "partition 2");
    assert_eq!(chosen(deadline, &plain(&root, &[2, 3])).unwrap(), "partition 3");
    let on_cpu = Asked { cpu: Some(2), ..deadline };
    assert_eq!(chosen(on_cpu, &plain(&root, &ALL)).unwrap(), "partition 2");
    assert_eq!(chosen(asked(Mechanism::TimerServer), &plain(&root, &ALL)).unwrap(), "partition 3");
    assert_eq!(chosen(asked(Mechanism::FifoAbove), &plain(&root, &ALL)).unwrap(), "partition 3");
}

#[test]
fn a_pinned_domain_of_libvirts_has_its_groups_made_partitions() {
    let (old, new) = (tree(false), tree(true));
    let deadline = asked(Mechanism::Deadline);
    let (before, since) = (domain(&old, &[1]), domain(&new, &[1]));
    let on_old = choose(&deadline, 3, &before).unwrap();
    assert_eq!((on_old.placement, on_old.cpu), (Placement::Slice, Some(1)));
    assert!(on_old.why.contains("machine.slice becomes a partition: all in it"), "{}", on_old.why);
    assert!(on_old.plan.unwrap().partition.homes.is_empty());
    let on_new = choose(&deadline, 3, &since).unwrap();
    let groups = on_new.plan.unwrap().partition.groups;
    assert_eq!(groups[0].0, since.vcpus[0].group, "nothing but the vCPU is confined");
    // Its controlling thread has to be inside as well, and cannot be in libvirt's domain.
    let server = choose(&asked(Mechanism::TimerServer), 3, &since).unwrap();
    let homes = server.plan.unwrap().partition.homes;
    assert!(homes.values().eq([&new.path().join("machine.slice/rtvm-measured")]));
}

#[test]
fn two_vcpus_get_a_partition_each_or_one_around_both() {
    let root = tree(true);
    let mut seats = domain(&root, &[1]);
    let vcpu1 = root.path().join("machine.slice/vm.scope/libvirt/vcpu1");
    std::fs::create_dir_all(&vcpu1).unwrap();
    seats.vcpus.push(Seat { tid: 8, group: vcpu1, affinity: vec![2], span: ALL.to_vec() });
    let groups = |seats: &Seats| {
        let plan = choose(&asked(Mechanism::Deadline), 3, seats).unwrap().plan.unwrap();
        plan.partition.groups.len()
    };
    assert_eq!(groups(&seats), 2);
    seats.vcpus[1].affinity = vec![1];
    assert_eq!(groups(&seats), 1);
    seats.vcpus[1].group = seats.vcpus[0].group.clone();
    assert_eq!(groups(&seats), 1);
    seats.vcpus[1].affinity = vec![2];
    assert!(chosen(asked(Mechanism::Deadline), &seats).unwrap_err().contains("not one CPU"));
}

#[test]
fn others_are_confined_only_when_that_is_asked_for() {
    let root = tree(false);
    let mut seats = domain(&root, &[1]);
    seats.top.as_mut().unwrap().others = 4;
    let refused = choose(&asked(Mechanism::Deadline), 3, &seats).unwrap_err();
    assert!(matches!(refused, Refusal::Lacking(_)));
    let text = refused.to_string();
    for part in ["4 processes", "--placement slice", "admission-off", "cfs-quota", "vcpupin"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let by_name = Asked { placement: Some(Placement::Slice), ..asked(Mechanism::Deadline) };
    let chosen = choose(&by_name, 3, &seats).unwrap();
    assert!(chosen.why.contains("4 processes of others"), "{}", chosen.why);
}

#[test]
fn admission_control_is_switched_off_by_name_only() {
    let root = tree(false);
    let off = |mechanism| Asked { placement: Some(Placement::AdmissionOff), ..asked(mechanism) };
    assert_eq!(chosen(off(Mechanism::Deadline), &domain(&root, &[1])).unwrap(), "admission-off 1");
    assert_eq!(chosen(off(Mechanism::Deadline), &domain(&root, &ALL)).unwrap(), "admission-off");
    let refused = chosen(off(Mechanism::TimerServer), &domain(&root, &ALL)).unwrap_err();
    assert!(refused.contains("not pinned to one"), "{refused}");
    for mechanism in Mechanism::ALL {
        for cpu in [None, Some(1)] {
            for version in [Version::V1, Version::V2] {
                let all = candidates(&Asked { cpu, ..asked(mechanism) }, version);
                assert!(!all.contains(&Placement::AdmissionOff) && !all.is_empty());
                assert!(all.iter().all(|one| works(mechanism, *one)), "{mechanism}");
            }
        }
    }
}

#[test]
fn limits_are_put_where_the_machine_is() {
    let root = tree(false);
    for mechanism in [Mechanism::CfsQuota, Mechanism::CfsWeight, Mechanism::CfsQuotaWeight] {
        assert_eq!(chosen(asked(mechanism), &domain(&root, &[1])).unwrap(), "in-place");
        let on_cpu = Asked { cpu: Some(2), ..asked(mechanism) };
        assert_eq!(chosen(on_cpu, &plain(&root, &ALL)).unwrap(), "partition 2");
        assert!(chosen(on_cpu, &domain(&root, &ALL)).unwrap_err().contains("leave --cpu out"));
    }
    assert_eq!(chosen(asked(Mechanism::FifoBelow), &domain(&root, &[1])).unwrap(), "in-place");
}

#[test]
fn what_no_host_allows_is_refused_with_what_would_be_right() {
    let root = tree(false);
    for (mechanism, placement, right) in [
        (Mechanism::CfsQuota, Placement::Global, "`in-place`"),
        (Mechanism::Deadline, Placement::InPlace, "`global`"),
    ] {
        let asked = Asked { placement: Some(placement), ..asked(mechanism) };
        let refused = choose(&asked, 3, &domain(&root, &ALL)).unwrap_err();
        assert!(matches!(&refused, Refusal::Usage(text) if text.contains(right)), "{refused}");
    }
}

#[test]
fn a_scope_is_never_left_empty() {
    let root = tree(false);
    let scope = root.path().join("machine.slice/vm.scope");
    let alone = Seats { held: Some(Held::Alone(scope)), ..domain(&root, &[1]) };
    let by_name = Asked { placement: Some(Placement::Partition), ..asked(Mechanism::Deadline) };
    let refused = chosen(by_name, &alone).unwrap_err();
    assert!(refused.contains("vm.scope empty"), "{refused}");
    assert_eq!(chosen(asked(Mechanism::Deadline), &alone).unwrap(), "slice 1");
}

#[test]
fn cpus_isolated_at_boot_are_a_root_domain_already() {
    let root = tree(true);
    let mut seats = domain(&root, &[1]);
    (seats.isolated, seats.vcpus[0].span) = (vec![1], vec![1]);
    assert_eq!(chosen(asked(Mechanism::Deadline), &seats).unwrap(), "global 1");
    assert_eq!(chosen(asked(Mechanism::TimerServer), &seats).unwrap(), "global 1");
    (seats.isolated, seats.vcpus[0].span) = (vec![1, 2], vec![1, 2]);
    let refused = chosen(asked(Mechanism::Deadline), &seats).unwrap_err();
    assert!(refused.contains("isolated at boot together with 2"), "{refused}");
    seats.vcpus[0].affinity = vec![1, 2];
    assert_eq!(chosen(asked(Mechanism::Deadline), &seats).unwrap(), "global");
}

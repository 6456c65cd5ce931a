//! `host.quiet`: interrupts and the kernel's unbound work away from the measured CPUs (but for one that
//! does everything else as well), and a fixed frequency. What the kernel refuses is counted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use kernel::affinity;
use model::manifest::Quiet;

use super::{Cpus, Guard, Roots, line_of};

/// Moves and sets all that the host lets it; the guard undoes it.
///
/// # Errors
/// Where the journal cannot be written: then nothing more may be changed.
pub fn quiet(guard: &mut Guard, roots: &Roots, cpus: &Cpus) -> Result<Quiet> {
    let irq = roots.proc.path("irq");
    let mut quiet = Quiet::default();
    for path in interrupts(roots) {
        let Some(now) = read(guard, &path).and_then(|text| affinity::parse_list(&text)) else {
            continue;
        };
        if !cpus.apart().iter().any(|cpu| now.contains(cpu)) {
            continue;
        }
        if guard.try_write(&path, &affinity::format_list(&away(now, cpus)))? {
            quiet.interrupts_moved += 1;
        } else {
            quiet.interrupts_left += 1;
        }
    }
    // Those that are set up later.
    unmask(guard, &irq.join("default_smp_affinity"), cpus)?;
    quiet.workqueues_moved =
        unmask(guard, &roots.sys.join("devices/virtual/workqueue/cpumask"), cpus)?;
    for cpu in &cpus.measured {
        let frequency = roots.sys.join(format!("devices/system/cpu/cpu{cpu}/cpufreq"));
        fix_frequency(guard, &frequency, &mut quiet)?;
    }
    Ok(quiet)
}

/// How many interrupts may arrive on a CPU; none where `/proc` does not say.
#[must_use]
pub fn interrupts_on(roots: &Roots, cpu: u32) -> Option<usize> {
    let files = interrupts(roots);
    let on = |path: &&PathBuf| {
        let list = line_of(path).and_then(|text| affinity::parse_list(&text));
        list.is_some_and(|cpus| cpus.contains(&cpu))
    };
    (!files.is_empty()).then(|| files.iter().filter(on).count())
}

/// The file of each interrupt that says where it may arrive.
fn interrupts(roots: &Roots) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(roots.proc.path("irq")) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path().join("smp_affinity_list")))
        .filter(|path| path.exists())
        .collect();
    files.sort();
    files
}

/// `now` without the measured CPUs; the housekeeping CPUs where nothing is left.
fn away(mut now: Vec<u32>, cpus: &Cpus) -> Vec<u32> {
    let apart = cpus.apart();
    now.retain(|cpu| !apart.contains(cpu));
    if now.is_empty() { cpus.housekeeping.clone() } else { now }
}

/// Takes the measured CPUs out of a mask in a file: whether they are out; none where there is no such
/// file.
fn unmask(guard: &mut Guard, path: &Path, cpus: &Cpus) -> Result<Option<bool>> {
    let Some(now) = read(guard, path).and_then(|text| affinity::parse_mask(&text)) else {
        return Ok(None);
    };
    if !cpus.apart().iter().any(|cpu| now.contains(cpu)) {
        return Ok(Some(true));
    }
    guard.try_write(path, &affinity::format_mask(&away(now, cpus))).map(Some)
}

/// The governor `performance`, and the least frequency as high as the greatest.
fn fix_frequency(guard: &mut Guard, cpufreq: &Path, quiet: &mut Quiet) -> Result<()> {
    let governor = cpufreq.join("scaling_governor");
    if read(guard, &governor).is_some_and(|now| now != "performance") {
        guard.try_write(&governor, "performance")?;
    }
    quiet.governor = read(guard, &governor);
    let (least, most) = (cpufreq.join("scaling_min_freq"), cpufreq.join("scaling_max_freq"));
    let Some(frequency) = read(guard, &most) else { return Ok(()) };
    if read(guard, &least).is_some_and(|now| now != frequency) {
        guard.try_write(&least, &frequency)?;
    }
    if read(guard, &least).as_ref() == Some(&frequency) {
        quiet.frequency_khz = frequency.parse().ok();
    }
    Ok(())
}

fn read(guard: &Guard, path: &Path) -> Option<String> {
    guard.host().read(path).ok()
}

#[cfg(test)]
mod tests {
    use kernel::procfs::Proc;

    use super::*;
    use crate::host::{fake::Fake, topology::tests::tree};

    /// A host with these files, below the folder that is returned with it.
    fn host(files: &[(&str, &str)]) -> (Fake, tempfile::TempDir) {
        let (fake, root) = (Fake::default(), tree(files));
        for (name, text) in files {
            fake.state.borrow_mut().files.insert(root.path().join(name), (*text).to_owned());
        }
        (fake, root)
    }

    /// Quietens CPU 1 of CPUs 0 to 2.
    fn quietened(host: &Fake, root: &Path) -> (Guard, Quiet, tempfile::TempDir) {
        let proc = Proc::at(&root.join("proc"));
        let roots = Roots { proc, sys: root.join("sys"), root: root.to_owned() };
        let state = tempfile::tempdir().unwrap();
        let mut guard = Guard::new(Box::new(host.clone()), state.path()).unwrap();
        let found = quiet(&mut guard, &roots, &Cpus::made_up(&[1], &[0, 2])).unwrap();
        (guard, found, state)
    }

    #[test]
    fn interrupts_leave_the_frequency_is_fixed_and_all_of_it_is_undone() {
        let cpufreq = |name: &str| format!("sys/devices/system/cpu/cpu1/cpufreq/{name}");
        let (governor, least, most) =
            (cpufreq("scaling_governor"), cpufreq("scaling_min_freq"), cpufreq("scaling_max_freq"));
        let (host, root) = host(&[
            ("proc/irq/24/smp_affinity_list", "0-2"),
            ("proc/irq/25/smp_affinity_list", "1"),
            ("proc/irq/26/smp_affinity_list", "0"),
            ("proc/irq/default_smp_affinity", "7"),
            ("sys/devices/virtual/workqueue/cpumask", "7"),
            (&governor, "schedutil"),
            (&least, "800000"),
            (&most, "3600000"),
        ]);
        let before = host.state.borrow().clone();
        let (guard, found, _state) = quietened(&host, root.path());
        let expected = Quiet {
            interrupts_moved: 2,
            interrupts_left: 0,
            workqueues_moved: Some(true),
            frequency_khz: Some(3_600_000),
            governor: Some("performance".to_owned()),
        };
        assert_eq!(found, expected);
        let text = |name: &str| host.state.borrow().files[&root.path().join(name)].clone();
        assert_eq!(text("proc/irq/24/smp_affinity_list"), "0,2");
        assert_eq!(text("proc/irq/25/smp_affinity_list"), "0,2");
        assert_eq!(text("proc/irq/26/smp_affinity_list"), "0");
        assert_eq!(text("proc/irq/default_smp_affinity"), "5");
        assert_eq!(text("sys/devices/virtual/workqueue/cpumask"), "5");
        assert_eq!((&*text(&governor), &*text(&least)), ("performance", "3600000"));
        drop(guard);
        assert_eq!(*host.state.borrow(), before);
    }

    #[test]
    fn what_the_kernel_keeps_is_counted_and_what_it_has_not_is_unknown() {
        let (host, root) = host(&[("proc/irq/24/smp_affinity_list", "0-1")]);
        let refuse = Some(root.path().join("proc/irq/24/smp_affinity_list"));
        let host = Fake { refuse, ..host };
        let before = host.state.borrow().clone();
        let (guard, found, _state) = quietened(&host, root.path());
        assert_eq!(found, Quiet { interrupts_left: 1, ..Quiet::default() });
        drop(guard);
        assert_eq!(*host.state.borrow(), before);
    }

    #[test]
    fn interrupts_of_a_cpu_are_counted() {
        let root =
            tree(&[("irq/1/smp_affinity_list", "0-1\n"), ("irq/2/smp_affinity_list", "0\n")]);
        let roots = Roots { proc: Proc::at(root.path()), ..Roots::default() };
        assert_eq!((interrupts_on(&roots, 1), interrupts_on(&roots, 0)), (Some(1), Some(2)));
        let none = Roots { proc: Proc::at(&root.path().join("irq")), ..Roots::default() };
        assert_eq!(interrupts_on(&none, 0), None);
    }
}

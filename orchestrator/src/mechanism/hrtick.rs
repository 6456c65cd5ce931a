//! HRTICK_DL: the kernel's own timer at the end of a SCHED_DEADLINE budget. Without it a budget ends
//! at the next tick.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::host::{Guard, Roots};

const ON: &str = "HRTICK_DL";
const OFF: &str = "NO_HRTICK_DL";

/// How budgets end on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hrtick {
    /// On time.
    On,
    /// At the tick, and it cannot be changed.
    Locked,
}

/// Switches the feature on where debugfs lets us, until the guard undoes it.
///
/// # Errors
/// Where the journal cannot be written.
pub(super) fn switch_on(guard: &mut Guard, roots: &Roots) -> Result<Hrtick> {
    let Some((path, features)) = features(guard, &roots.sys) else { return Ok(Hrtick::Locked) };
    let has = |name| features.split_whitespace().any(|feature| feature == name);
    if !has(ON) && !has(OFF) {
        return Ok(Hrtick::Locked);
    }
    // Under lockdown the file is there and refuses; nothing changed then.
    match guard.share(ON, &path, (ON, OFF)) {
        Ok(()) => Ok(Hrtick::On),
        Err(_) => Ok(Hrtick::Locked),
    }
}

/// The file of the scheduler's features (its place before Linux 5.13 second) and its text.
fn features(guard: &Guard, sys: &Path) -> Option<(PathBuf, String)> {
    ["kernel/debug/sched/features", "kernel/debug/sched_features"].into_iter().find_map(|below| {
        let path = sys.join(below);
        let text = guard.host().read(&path).ok()?;
        Some((path, text))
    })
}

#[cfg(test)]
mod tests {
    use kernel::procfs::Proc;

    use super::*;
    use crate::host::fake::Fake;

    fn roots() -> Roots {
        Roots { proc: Proc::default(), sys: "/s".into(), root: "/".into() }
    }

    fn host(path: &str, text: &str) -> Fake {
        let host = Fake::default();
        host.state.borrow_mut().files.insert(path.into(), text.into());
        host
    }

    #[test]
    fn it_is_switched_on_and_off_again() {
        for path in ["/s/kernel/debug/sched/features", "/s/kernel/debug/sched_features"] {
            let (dir, host) = (tempfile::tempdir().unwrap(), host(path, "TTWU NO_HRTICK_DL X"));
            let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
            assert_eq!(switch_on(&mut guard, &roots()).unwrap(), Hrtick::On);
            assert_eq!(host.state.borrow().files[Path::new(path)], "HRTICK_DL");
            drop(guard);
            assert_eq!(host.state.borrow().files[Path::new(path)], "NO_HRTICK_DL");
        }
    }

    #[test]
    fn a_locked_or_missing_file_is_left_alone() {
        const PATH: &str = "/s/kernel/debug/sched/features";
        let locked = Fake { refuse: Some(PATH.into()), ..host(PATH, "NO_HRTICK_DL") };
        for host in [locked, Fake::default(), host(PATH, "TTWU")] {
            let dir = tempfile::tempdir().unwrap();
            let before = host.state.borrow().clone();
            let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
            assert_eq!(switch_on(&mut guard, &roots()).unwrap(), Hrtick::Locked);
            drop(guard);
            assert_eq!(*host.state.borrow(), before);
            let users = dir.path().join("shared/HRTICK_DL");
            assert!(std::fs::read_dir(users).map_or(0, Iterator::count) == 0);
        }
    }

    #[test]
    fn what_is_on_already_stays_on() {
        const PATH: &str = "/s/kernel/debug/sched/features";
        let (dir, host) = (tempfile::tempdir().unwrap(), host(PATH, "HRTICK_DL"));
        let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
        assert_eq!(switch_on(&mut guard, &roots()).unwrap(), Hrtick::On);
        drop(guard);
        assert_eq!(host.state.borrow().files[Path::new(PATH)], "HRTICK_DL");
    }

    /// Two at once: whoever leaves first takes it from nobody, whatever the order.
    #[test]
    fn it_goes_off_with_the_last_user() {
        const PATH: &str = "/s/kernel/debug/sched/features";
        for first_leaves in [true, false] {
            let (dir, host) = (tempfile::tempdir().unwrap(), host(PATH, "NO_HRTICK_DL"));
            let now = || host.state.borrow().files[Path::new(PATH)].clone();
            let mut guards =
                [0, 1].map(|_| Guard::new(Box::new(host.clone()), dir.path()).unwrap());
            for guard in &mut guards {
                assert_eq!(switch_on(guard, &roots()).unwrap(), Hrtick::On);
            }
            let [first, second] = guards;
            let (leaves, stays) = if first_leaves { (first, second) } else { (second, first) };
            leaves.finish().unwrap();
            assert_eq!(now(), "HRTICK_DL");
            stays.finish().unwrap();
            assert_eq!(now(), "NO_HRTICK_DL");
        }
    }
}

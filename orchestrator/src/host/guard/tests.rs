//! The guard on a made-up host: every way out, every undo refused in turn.

use std::time::Duration;

use kernel::{
    cgroup::Version,
    cpuset::{Cpusets, Step},
    sched::Policy,
    tracefs::Tracefs,
};

use super::*;
use crate::host::{fake::Fake, release, restore};

fn change(guard: &mut Guard) -> Result<()> {
    let cpusets = Cpusets { version: Version::V1, root: "/c".into() };
    guard.take(&[
        Step::MakeGroup("/c/rtvm-measured".into()),
        Step::Write { path: "/c/balance".into(), value: "0".into(), undo: Some("1".into()) },
    ])?;
    guard.join_group(&cpusets.hierarchy(), Path::new("/c/rtvm-measured"), 7, 7)?;
    let mounted = guard.mount_tracefs(Path::new("/s"))?;
    guard.make_instance(&Tracefs::at(&mounted))?;
    guard.set_affinity(7, &[1])?;
    guard.set_scheduling(7, Policy::deadline(Duration::from_millis(28), Duration::from_millis(50)))
}

fn host() -> Fake {
    let host = Fake::with_thread();
    host.state.borrow_mut().files.insert("/c/balance".into(), "1".into());
    host.state.borrow_mut().files.insert("/c/tasks".into(), "7".into());
    host
}

#[test]
fn dropping_the_guard_undoes_everything() {
    let (dir, host) = (tempfile::tempdir().unwrap(), host());
    let before = host.state.borrow().clone();
    let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
    change(&mut guard).unwrap();
    assert_ne!(*host.state.borrow(), before);
    drop(guard);
    assert_eq!(*host.state.borrow(), before);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the journal is gone");
}

fn changed(guard: &Guard) -> Vec<String> {
    guard.settings().lock().changed(guard.host())
}

#[test]
fn what_somebody_else_changes_or_takes_away_is_said() {
    let (dir, host) = (tempfile::tempdir().unwrap(), host());
    let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
    change(&mut guard).unwrap();
    assert_eq!(changed(&guard), Vec::<String>::new());
    host.state.borrow_mut().files.insert("/c/balance".into(), "1".into());
    let ordinary = Policy::Other { nice: 0 }.into();
    host.state.borrow_mut().policies.insert(7, ordinary);
    host.state.borrow_mut().affinities.insert(7, vec![0, 1]);
    host.state.borrow_mut().groups.insert(7, "/c".into());
    let said = changed(&guard);
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said[1].contains("thread 7 is in group /c, where /c/rtvm-measured was"), "{said:?}");
    assert!(said[2].contains("thread 7 is on CPUs 0,1, where 1 was set"), "{said:?}");
    assert!(said[0].contains("/c/balance is `1`, where `0` was set"), "{said:?}");
    assert!(said[3].contains("thread 7 is under SCHED_OTHER"), "{said:?}");
    host.state.borrow_mut().files.remove(Path::new("/c/balance"));
    host.state.borrow_mut().policies.remove(&7);
    assert!(changed(&guard)[0].contains("/c/balance is gone"), "and no thread 7");
}

/// The cpuset narrows the thread's CPUs before they are set: what it had is what it gets back.
#[test]
fn a_thread_gets_back_the_cpus_it_had_before_a_cpuset_narrowed_them() {
    let (dir, host) = (tempfile::tempdir().unwrap(), host());
    let host = Fake { narrows: Some(("/c/rtvm-measured/tasks".into(), vec![1])), ..host };
    let before = host.state.borrow().clone();
    let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
    change(&mut guard).unwrap();
    assert_eq!(host.state.borrow().affinities[&7], [1]);
    drop(guard);
    assert_eq!(*host.state.borrow(), before);
}

#[test]
fn a_refusal_half_way_is_undone_too() {
    let dir = tempfile::tempdir().unwrap();
    let host = Fake { refuse: Some("/c/balance".into()), ..host() };
    let before = host.state.borrow().clone();
    let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
    change(&mut guard).unwrap_err();
    drop(guard);
    assert_eq!(*host.state.borrow(), before);
}

#[test]
fn what_is_kept_stays_until_it_is_released() {
    let (dir, host) = (tempfile::tempdir().unwrap(), host());
    let before = host.state.borrow().clone();
    let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
    change(&mut guard).unwrap();
    let changed = host.state.borrow().clone();
    guard.keep(7).unwrap();
    assert_eq!(restore(&host, dir.path()).unwrap().runs, 0);
    assert_eq!(release(&host, dir.path(), Some(8)).unwrap().runs, 0);
    assert_eq!(*host.state.borrow(), changed);
    assert_eq!(release(&host, dir.path(), Some(7)).unwrap().runs, 1);
    assert_eq!(*host.state.borrow(), before);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the journal is gone");
}

#[test]
fn a_panic_is_undone_too() {
    let (dir, host) = (tempfile::tempdir().unwrap(), host());
    let before = host.state.borrow().clone();
    let fails = std::panic::AssertUnwindSafe(|| {
        let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
        change(&mut guard).unwrap();
        panic!("on purpose");
    });
    std::panic::catch_unwind(fails).unwrap_err();
    assert_eq!(*host.state.borrow(), before);
}

#[test]
fn a_mark_undoes_only_what_came_after_it() {
    let (dir, host) = (tempfile::tempdir().unwrap(), host());
    let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
    guard.set_affinity(7, &[1]).unwrap();
    let mark = guard.mark();
    let before = host.state.borrow().clone();
    change(&mut guard).unwrap();
    guard.undo_to(mark).unwrap();
    assert_eq!(*host.state.borrow(), before);
}

#[test]
fn after_a_kill_restore_undoes_what_the_journal_lists() {
    let (dir, host) = (tempfile::tempdir().unwrap(), host());
    let before = host.state.borrow().clone();
    let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
    change(&mut guard).unwrap();
    host.state.borrow_mut().processes.insert(42, format!("{MARK}={}", guard.run_id));
    // As `kill -9` would: nothing is dropped, and the journal's process is gone.
    std::mem::forget(guard);
    abandon(dir.path());
    let restored = restore(&host, dir.path()).unwrap();
    assert_eq!((restored.runs, restored.left), (1, vec![]));
    assert_eq!(*host.state.borrow(), before);
}

/// The only journal in `dir` is then one of a process that is gone.
fn abandon(dir: &Path) {
    let journal = std::fs::read_dir(dir).unwrap().next().unwrap().unwrap().path();
    std::fs::rename(&journal, dir.join("1-999999999999-000.jsonl")).unwrap();
}

/// Each undo refused in turn: it alone is left, it is said, the journal keeps it, and `restore`
/// tries again.
#[test]
fn an_undo_that_fails_is_kept_told_and_retried_and_stops_nothing_else() {
    let changes = {
        let (dir, host) = (tempfile::tempdir().unwrap(), host());
        let mut guard = Guard::new(Box::new(host), dir.path()).unwrap();
        change(&mut guard).unwrap();
        guard.undos.len()
    };
    assert!(changes >= 8, "{changes}");
    // The first ends processes, of which there are none.
    for id in 1..changes {
        let (dir, host) = (tempfile::tempdir().unwrap(), host());
        let before = host.state.borrow().clone();
        let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
        change(&mut guard).unwrap();
        host.refuse_undo(&guard.undos[id].1);
        let undo = guard.undos[id].1.to_string();
        // Two undos give thread 7 the same CPUs back.
        let alike = if undo.ends_with("CPUs 0,1") || undo.ends_with("their CPUs") { 2 } else { 1 };
        let error = guard.finish().unwrap_err().to_string();
        assert!(error.contains(undo.as_str()), "{undo}: {error}");
        assert_eq!(error.split("; ").count(), alike, "{undo}: {error}");
        abandon(dir.path());
        let again = restore(&host, dir.path()).unwrap();
        assert_eq!((again.changes, again.left.len()), (0, alike), "{undo}: {again:?}");
        host.refuse_nothing();
        let restored = restore(&host, dir.path()).unwrap();
        assert_eq!((restored.changes, restored.left.len()), (alike, 0), "{undo}: {restored:?}");
        assert_eq!(*host.state.borrow(), before, "{undo}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{undo}");
    }
}

#[test]
fn what_fails_on_the_way_is_tried_again_in_the_end() {
    let (dir, host) = (tempfile::tempdir().unwrap(), host());
    let before = host.state.borrow().clone();
    let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
    let mark = guard.mark();
    guard.set_affinity(7, &[1]).unwrap();
    host.refuse_undo(&guard.undos[1].1);
    guard.undo_to(mark).unwrap_err();
    host.refuse_nothing();
    guard.finish().unwrap();
    assert_eq!(*host.state.borrow(), before);
}

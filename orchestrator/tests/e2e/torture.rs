//! Runs killed with SIGKILL at random instants, restored and gone on with until they are complete:
//! the host is as before each time, no complete repetition is lost or measured twice, and every
//! folder is whole or absent. `TORTURE_KILLS` says how often (`make torture`), `TORTURE_SEED` when.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model::{
    Manifest,
    manifest::{RepetitionRecord, Status},
};

use crate::{
    run::{built, place, short},
    support::{HostState, orchestrator, stderr, turn},
};

const REPETITIONS: usize = 6;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// The result folder below `out`, once there is one.
fn folder(out: &Path) -> Option<PathBuf> {
    let shown = |path: &PathBuf| !path.file_name().unwrap().to_string_lossy().starts_with('.');
    fs::read_dir(out).ok()?.map(|entry| entry.unwrap().path()).find(shown)
}

fn complete(folder: &Path) -> Vec<RepetitionRecord> {
    let Ok(text) = fs::read(folder.join("manifest.json")) else { return Vec::new() };
    let manifest: Manifest = serde_json::from_slice(&text).expect("the manifest is whole");
    manifest.repetitions.into_iter().filter(|one| one.status == Status::Done).collect()
}

/// Every attempt's folder that is there holds everything.
fn assert_whole(folder: &Path) {
    for entry in fs::read_dir(folder.join("short")).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("rep-") {
            for name in ["jobs.csv", "host.json", "record.json"] {
                assert!(path.join(name).exists(), "{} has no {name}", path.display());
            }
        }
    }
}

fn start(suite: &Path, state: &Path, out: &Path) -> Child {
    let mut command = orchestrator(state);
    command.arg("run").arg(suite).arg("--out").arg(out);
    if let Some(folder) = folder(out) {
        command.arg("--resume").arg(folder);
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_run_killed_at_random_instants_is_complete_in_the_end() {
    const TEST: &str = "a_run_killed_at_random_instants_is_complete_in_the_end";
    let Some(_turn) = turn(TEST) else { return };
    built();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (kills, seed) =
        (number("TORTURE_KILLS").unwrap_or(4), number("TORTURE_SEED").unwrap_or(now));
    eprintln!("{kills} kills, TORTURE_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let place = place(&short("300ms", "repetitions = 6"));
    let before = HostState::now();
    let (mut killed, mut runs, mut known) = (0, 0, Vec::new());
    loop {
        let out = place.dir.path().join(format!("results-{runs}"));
        let mut child = start(&place.suite, &place.state(), &out);
        if killed < kills {
            sleep(Duration::from_millis(random.u64(..4000)));
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        if output.status.code().is_some() {
            assert!(output.status.success(), "{}", stderr(&output));
            assert_eq!(complete(&folder(&out).unwrap()).len(), REPETITIONS, "each once");
            (runs, known) = (runs + 1, Vec::new());
            if killed >= kills {
                break;
            }
            continue;
        }
        killed += 1;
        let restored = orchestrator(&place.state()).arg("restore").output().unwrap();
        assert!(restored.status.success(), "{}", stderr(&restored));
        before.is_back();
        if let Some(folder) = folder(&out) {
            assert_whole(&folder);
            let now = complete(&folder);
            let lost = known.iter().find(|one| !now.contains(one));
            assert!(lost.is_none(), "kill {killed} lost {lost:?}");
            known = now;
        }
    }
    before.is_back();
}

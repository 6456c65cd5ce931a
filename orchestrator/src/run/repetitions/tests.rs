//! Runs with a bench that does as it is told: attempts, errors on the way, noise, and going on from
//! every instant.

use std::{collections::VecDeque, fs, path::Path, sync::atomic::Ordering, time::Duration};

use anyhow::anyhow;
use model::{
    manifest::{Cleared, DiskFacts, Stopped},
    suite::Experiment,
};
use tempfile::TempDir;

use super::*;
use crate::{
    error::{Refusal, exit_of},
    host::Listener,
    run::{
        bench::Attempted,
        plan::tests::made_up,
        resume::{Begun, Resume, go_on},
    },
};

const SUITE: &str = r#"
name = "s"
[noise]
max_stalled = 0.01
retries = 1
[[experiment]]
name = "a"
where = "host"
tasks = ["30ms/150ms"]
repetitions = 2
[[experiment]]
name = "b"
where = "host"
tasks = ["30ms/150ms"]
"#;

/// What an attempt comes to.
#[derive(Debug, Clone, Copy)]
enum Comes {
    /// To this stalled share.
    To(f64),
    /// To nothing, with this error.
    Fails(&'static str),
    /// To nothing, since a disk of the user's lets no programs in.
    ShutOut,
    /// To a miss that ends it.
    Misses,
    /// To nothing, since a signal comes.
    Interrupted,
}

const QUIET: Comes = Comes::To(0.0);
const NOISY: Comes = Comes::To(0.5);

/// Quiet where it is told nothing.
#[derive(Debug, Default)]
struct Fake {
    told: VecDeque<Comes>,
    made: Vec<String>,
    stop: Stop,
}

impl Bench for Fake {
    fn attempt(&mut self, experiment: &Experiment, attempt: u32, folder: &Path) -> Attempted {
        self.made.push(format!("{}{attempt}", experiment.name));
        fs::write(folder.join("jobs.csv"), &self.made[self.made.len() - 1]).unwrap();
        let mut attempted = Attempted::default();
        match self.told.pop_front().unwrap_or(QUIET) {
            Comes::To(share) => attempted.stalled_share = Some(share),
            Comes::Fails(why) => attempted.fail(Err(anyhow!(why))),
            Comes::ShutOut => {
                let why =
                    NoWayIn::of(Path::new("/x.qcow2"), Some(Duration::from_secs(9)), "login:");
                attempted.fail(Err(anyhow!("no hello").context(why).context("vm `x`")));
            }
            Comes::Misses => {
                attempted.stalled_share = Some(0.5);
                attempted.facts.stopped =
                    Some(Stopped { task: "tau1".into(), after_ns: 250_000_000 });
            }
            Comes::Interrupted => {
                self.stop.flag().store(true, Ordering::Relaxed);
                attempted.fail(Err(Refusal::Interrupted.into()));
            }
        }
        attempted
    }

    fn watch(&mut self, _listener: Listener) -> Result<()> {
        Ok(())
    }

    fn cleared(&self) -> Option<Cleared> {
        None
    }
}

/// A folder of results, and what became of it last.
struct Run {
    out: TempDir,
    text: &'static str,
    made: Vec<String>,
    stopped: Option<String>,
}

impl Run {
    fn new() -> Self {
        Self { out: tempfile::tempdir().unwrap(), text: SUITE, made: Vec::new(), stopped: None }
    }

    fn path(&self) -> std::path::PathBuf {
        fs::read_dir(self.out.path()).unwrap().next().unwrap().unwrap().path()
    }

    /// Begins, or goes on.
    fn begin(&self, plan: &Plan, after_reboot: bool) -> Result<Begun> {
        let now = record::begin(plan, None);
        if fs::read_dir(self.out.path()).unwrap().next().is_none() {
            let folder = Folder::create(self.out.path(), "s", &plan.text)?;
            folder.save(&now)?;
            return Ok(Begun::new(folder, now));
        }
        go_on(plan, &Resume { folder: &self.path(), after_reboot }, now)
    }

    fn of(&mut self, only: &[&str], told: &[Comes]) -> Result<(usize, Manifest)> {
        let plan = made_up(self.text, only);
        let mut begun = self.begin(&plan, false)?;
        let stop = Stop::default();
        let mut bench = Fake { told: told.to_vec().into(), stop: stop.clone(), ..Fake::default() };
        let ran = run_all(&plan, &mut bench, &begun.folder, &mut begun.manifest, &stop);
        self.made = bench.made;
        ran.map(|stopped| {
            self.stopped = stopped;
            (failed(&plan, &begun.manifest), begun.manifest)
        })
    }

    /// Of each attempt in the manifest: its folder, whether it is complete, whether it counts.
    fn attempts(&self) -> Vec<String> {
        let manifest = results::Folder::open(&self.path()).unwrap().manifest;
        let of = |one: &RepetitionRecord| {
            assert!(results::folder::place_of(&self.path(), one).join("jobs.csv").exists());
            let counts = if one.counts { " counts" } else { "" };
            format!(
                "{}{} of {} {:?}{counts}",
                one.experiment, one.attempt, one.repetition, one.status
            )
        };
        let mut attempts: Vec<_> = manifest.repetitions.iter().map(of).collect();
        attempts.sort();
        attempts
    }
}

const ALL: [&str; 3] = ["a0 of 0 Done counts", "a1 of 1 Done counts", "b0 of 0 Done counts"];

#[test]
fn every_repetition_is_made_once_where_all_is_quiet() {
    let mut run = Run::new();
    let (failed, manifest) = run.of(&[], &[]).unwrap();
    assert_eq!((failed, run.made.len()), (0, 3));
    assert_eq!(run.attempts(), ALL);
    assert!(manifest.finished_utc.is_some());
}

#[test]
fn a_noisy_one_is_made_again_and_the_quieter_counts() {
    let mut run = Run::new();
    run.of(&["b"], &[NOISY, QUIET]).unwrap();
    assert_eq!(run.attempts(), ["b0 of 0 Done", "b1 of 0 Done counts"]);
    let mut run = Run::new();
    run.of(&["b"], &[Comes::To(0.02), NOISY]).unwrap();
    assert_eq!(run.attempts(), ["b0 of 0 Done counts", "b1 of 0 Done"], "once more and no more");
}

#[test]
fn a_failed_one_is_kept_told_and_stops_nothing_else() {
    let mut run = Run::new();
    let (failed, manifest) = run.of(&[], &[Comes::Fails("QEMU ended")]).unwrap();
    assert_eq!((failed, run.made.len()), (1, 3));
    assert_eq!(manifest.repetitions[0].error.as_deref(), Some("QEMU ended"));
}

#[test]
fn a_disk_that_lets_no_programs_in_ends_the_run_at_once() {
    let mut run = Run::new();
    let error = run.of(&[], &[QUIET, Comes::ShutOut]).unwrap_err();
    assert_eq!(exit_of(&error), model::Exit::Usage);
    let said = error.to_string();
    assert!(
        said.starts_with("vm `x`: /x.qcow2: no way in") && said.ends_with(": no hello"),
        "{said}"
    );
    assert_eq!(run.made, ["a0", "b0"]);
    assert_eq!(run.attempts(), ["a0 of 0 Done counts", "b0 of 0 Failed"]);
}

#[test]
fn the_first_miss_ends_the_run_and_its_attempt_is_kept() {
    let mut run = Run::new();
    let (failed, manifest) = run.of(&[], &[QUIET, Comes::Misses]).unwrap();
    assert_eq!((failed, run.made.len()), (1, 2), "neither again, though noisy, nor the rest");
    assert_eq!(manifest.repetitions[1].facts.stopped.as_ref().unwrap().task, "tau1");
    let told = run.stopped.unwrap();
    assert!(told.contains("tau1 missed its deadline 0.250 s"), "{told}");
}

#[test]
fn what_a_resumed_run_repairs_is_no_failure() {
    let mut run = Run::new();
    assert_eq!(run.of(&["b"], &[Comes::Fails("QEMU ended")]).unwrap().0, 1);
    let (failed, manifest) = run.of(&["b"], &[]).unwrap();
    assert_eq!((failed, &*run.made), (0, &["b1".to_owned()][..]));
    assert_eq!(run.attempts(), ["b0 of 0 Failed", "b1 of 0 Done counts"]);
    assert_eq!(manifest.resumed.len(), 1);
}

#[test]
fn an_interrupted_attempt_is_no_result_and_is_made_again() {
    let mut run = Run::new();
    let error = run.of(&[], &[QUIET, Comes::Interrupted]).unwrap_err();
    assert_eq!(exit_of(&error), model::Exit::Interrupted);
    assert_eq!(run.attempts().len(), 1);
    run.of(&[], &[]).unwrap();
    assert_eq!((run.made.len(), &*run.attempts()), (2, &ALL.map(str::to_owned)[..]));
}

/// Killed before and after every step of an attempt: what is complete is not measured again, what is
/// not leaves no trace.
#[test]
fn a_run_goes_on_from_every_instant() {
    for instant in ["no manifest", "partial", "folder without manifest's entry", "noisy once"] {
        let mut run = Run::new();
        let plan = made_up(SUITE, &["b"]);
        let begun = run.begin(&plan, false).unwrap();
        let empty = fs::read(begun.folder.path().join("manifest.json")).unwrap();
        let file = begun.folder.path().join("manifest.json");
        let partial = begun.folder.path().join("b/.rep-000.partial");
        drop(begun);
        let made = match instant {
            "no manifest" => {
                fs::remove_file(&file).unwrap();
                1
            }
            "partial" => {
                fs::create_dir_all(&partial).unwrap();
                fs::write(partial.join("jobs.csv"), "cut off").unwrap();
                1
            }
            "noisy once" => {
                run.of(&["b"], &[NOISY, Comes::Interrupted]).unwrap_err();
                1
            }
            _ => {
                run.of(&["b"], &[]).unwrap();
                fs::write(&file, &empty).unwrap();
                0
            }
        };
        let (failed, _) =
            run.of(&["b"], &[]).unwrap_or_else(|error| panic!("{instant}: {error:#}"));
        assert_eq!((failed, run.made.len()), (0, made), "{instant}");
        let last = run.attempts().pop().unwrap();
        assert!(last.ends_with("of 0 Done counts"), "{instant}: {last}");
        assert!(!partial.exists(), "{instant}");
    }
}

#[test]
fn a_folder_of_which_nothing_is_known_is_in_nobodys_way() {
    let mut run = Run::new();
    run.of(&["b"], &[]).unwrap();
    fs::create_dir_all(run.path().join("a/rep-000")).unwrap();
    run.of(&["a"], &[]).unwrap();
    assert_eq!(run.made, ["a1", "a2"]);
}

#[test]
fn a_suite_can_be_run_in_pieces() {
    let mut run = Run::new();
    run.of(&["b"], &[]).unwrap();
    let (_, manifest) = run.of(&["a"], &[]).unwrap();
    assert_eq!(run.made, ["a0", "a1"]);
    let names: Vec<_> = manifest.suite.experiments.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["a", "b"], "in the file's order");
    run.of(&[], &[]).unwrap();
    assert!(run.made.is_empty(), "{:?}", run.made);
    assert_eq!(run.attempts(), ALL);
}

#[test]
fn another_suite_is_refused() {
    const OTHER: &str = "name = \"s\"\n[noise]\nmax_stalled = 0.01\nretries = 1\n[[experiment]]\n\
                         name = \"b\"\nwhere = \"host\"\ntasks = [\"31ms/150ms\"]";
    const SETTINGS: &str =
        "name = \"s\"\n[[experiment]]\nname = \"c\"\nwhere = \"host\"\ntasks = [\"31ms/150ms\"]";
    for (text, why) in [(OTHER, "experiment `b`"), (SETTINGS, "settings differ")] {
        let mut run = Run::new();
        run.of(&["b"], &[]).unwrap();
        run.text = text;
        let error = run.of(&[], &[]).unwrap_err();
        assert_eq!(exit_of(&error), model::Exit::Usage);
        assert!(error.to_string().contains(why), "{error}");
        fs::remove_file(run.path().join("manifest.json")).unwrap();
        let error = run.of(&[], &[]).unwrap_err();
        assert!(error.to_string().contains("suite.toml differs"), "{error}");
    }
}

#[test]
fn a_disk_that_was_changed_since_is_refused() {
    let mut run = Run::new();
    run.of(&[], &[]).unwrap();
    let plan = made_up(SUITE, &[]);
    let disk = |bytes| DiskFacts {
        image: "/x.qcow2".into(),
        format: "qcow2".into(),
        bytes,
        virtual_bytes: 1 << 30,
        modified_utc: "2026-11-26T10:00:00Z".into(),
    };
    let go_on = |bytes| {
        let now = Manifest { disks: vec![disk(bytes)], ..record::begin(&plan, None) };
        go_on(&plan, &Resume { folder: &run.path(), after_reboot: false }, now)
    };
    assert_eq!(go_on(7).unwrap().manifest.disks, [disk(7)]);
    assert_eq!(go_on(7).unwrap().manifest.disks, [disk(7)]);
    let said = go_on(8).unwrap_err().to_string();
    assert!(said.contains("/x.qcow2 was changed: it had 7 bytes"), "{said}");
}

#[test]
fn after_a_reboot_it_goes_on_only_where_told_to_and_notes_it() {
    let mut run = Run::new();
    run.of(&["b"], &[]).unwrap();
    let file = run.path().join("manifest.json");
    let mut manifest = results::Folder::open(&run.path()).unwrap().manifest;
    manifest.host.boot_id = Some("another".to_owned());
    fs::write(&file, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let error = run.of(&["b"], &[]).unwrap_err();
    assert_eq!(exit_of(&error), model::Exit::Usage);
    assert!(error.to_string().contains("--after-reboot"), "{error}");
    let begun = run.begin(&made_up(SUITE, &["b"]), true).unwrap();
    assert!(begun.manifest.resumed[0].after_reboot);
    drop(begun);
    // From then on this boot is the one to compare with.
    let (_, manifest) = run.of(&["b"], &[]).unwrap();
    assert_eq!(
        manifest.resumed.iter().map(|one| one.after_reboot).collect::<Vec<_>>(),
        [true, false]
    );
}

/// Memory may grow with the manifest; nothing else does.
#[test]
fn a_thousand_repetitions_leave_nothing_but_their_folders() {
    let text = "name = \"s\"\n[[experiment]]\nname = \"a\"\nwhere = \"host\"\n\
                tasks = [\"30ms/150ms\"]\nrepetitions = 1000\n";
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let kib = || -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let (open, used) = (descriptors(), kib());
    let mut run = Run { text, ..Run::new() };
    let (failed, manifest) = run.of(&[], &[]).unwrap();
    assert_eq!((failed, manifest.repetitions.len()), (0, 1000));
    // Other tests of this program run beside it.
    assert!(descriptors() < open + 30, "{open} descriptors, then {}", descriptors());
    assert!(kib() < used + 100_000, "{used} KiB, then {}", kib());
    let folders = fs::read_dir(run.path().join("a")).unwrap().map(|one| one.unwrap().file_name());
    let mut names: Vec<_> = folders.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!((names.len(), &*names[0], &*names[999]), (1000, "rep-000", "rep-999"));
    assert_eq!(fs::read_dir(run.out.path()).unwrap().count(), 1);
}

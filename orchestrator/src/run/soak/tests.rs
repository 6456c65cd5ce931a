//! Soaks with a bench whose jobs take as long as they are told.

use std::{collections::VecDeque, sync::atomic::Ordering};

use anyhow::anyhow;
use model::{
    manifest::{Cleared, Stopped},
    sample::{Job, write_csv},
};
use tempfile::TempDir;

use super::*;
use crate::run::plan::tests::made_up;

const SUITE: &str = r#"
name = "s"
[[experiment]]
name = "a"
where = "host"
tasks = ["1ms/10ms"]
[[experiment]]
name = "b"
where = "host"
tasks = ["1ms/10ms"]
"#;

/// What a round comes to; a quiet one where nothing is told.
#[derive(Debug, Clone, Copy)]
enum Comes {
    /// One job takes so long, in microseconds, and is stalled for so much of it.
    Slow(u64, u64),
    /// The first slow job ends it.
    Stopped,
    /// The last job never ends.
    Short,
    Fails,
    Interrupted,
}

#[derive(Default)]
struct Fake {
    told: VecDeque<Option<Comes>>,
    made: Vec<String>,
    lengths: Vec<Duration>,
    stop: Stop,
}

fn job(number: u64, response_us: u64, stalled_us: u64) -> Job {
    let release_ns = number * 10_000_000;
    let response_ns = response_us * 1_000;
    Job {
        experiment: None,
        repetition: None,
        task: "tau1".into(),
        job: number,
        release_ns,
        start_ns: release_ns,
        finish_ns: release_ns + response_ns,
        response_ns,
        cpu_ns: None,
        deadline_ns: 10_000_000,
        missed: response_ns > 10_000_000,
        stalled_ns: Some(stalled_us * 1_000),
        vm: None,
        service: None,
    }
}

impl Bench for Fake {
    fn attempt(&mut self, experiment: &Experiment, attempt: u32, folder: &Path) -> Attempted {
        self.made.push(format!("{}{attempt}", experiment.name));
        self.lengths.push(experiment.duration);
        let mut attempted = Attempted::default();
        let released = experiment.workloads()[0].tasks()[0].released(experiment.duration);
        let mut jobs: Vec<Job> = (0..released).map(|number| job(number, 1_100, 0)).collect();
        match self.told.pop_front().flatten() {
            None => {}
            Some(Comes::Slow(us, stalled)) => jobs[1] = job(1, us, stalled),
            Some(Comes::Stopped) => {
                jobs.truncate(1);
                jobs.push(job(1, 12_000, 0));
                attempted.facts.stopped =
                    Some(Stopped { task: "tau1".into(), after_ns: 22_000_000 });
            }
            Some(Comes::Short) => drop(jobs.pop()),
            Some(Comes::Fails) => attempted.fail(Err(anyhow!("QEMU ended"))),
            Some(Comes::Interrupted) => {
                self.stop.flag().store(true, Ordering::Relaxed);
                attempted.fail(Err(Refusal::Interrupted.into()));
            }
        }
        write_csv(&folder.join("jobs.csv"), &jobs).unwrap();
        attempted
    }

    fn watch(&mut self, _listener: crate::host::Listener) -> Result<()> {
        Ok(())
    }

    fn cleared(&self) -> Option<Cleared> {
        None
    }
}

/// What a soak came to, its bench, and its folder.
struct Done {
    soaked: Soaked,
    bench: Fake,
    out: TempDir,
}

impl Done {
    /// The folders of rounds that are left.
    fn kept(&self) -> Vec<String> {
        let mut kept = Vec::new();
        for experiment in ["a", "b"] {
            let Ok(entries) = fs::read_dir(self.soaked.folder.join(experiment)) else { continue };
            for entry in entries {
                let name = entry.unwrap().file_name().to_string_lossy().into_owned();
                kept.push(format!("{experiment}/{name}"));
            }
        }
        kept.sort();
        kept
    }

    fn json(&self) -> serde_json::Value {
        let text = fs::read(self.soaked.folder.join("soak.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

const SECONDS: Soak = Soak {
    length: Duration::from_secs(5),
    limit: None,
    round: Duration::from_secs(1),
    stop_on_miss: false,
};

fn soak(mut wanted: Soak, told: &[Option<Comes>]) -> Done {
    let out = tempfile::tempdir().unwrap();
    let mut plan = made_up(SUITE, &[]);
    wanted.shape(&mut plan).unwrap();
    let folder = Folder::create(out.path(), "s", &plan.text).unwrap();
    let mut manifest = record::begin(&plan, None);
    let stop = Stop::default();
    let mut bench = Fake { told: told.to_vec().into(), stop: stop.clone(), ..Fake::default() };
    let soaked = run_all(&plan, wanted, &mut bench, &folder, &mut manifest, &stop).unwrap();
    Done { soaked, bench, out }
}

#[test]
fn experiments_take_turns_until_the_time_is_measured_and_nothing_is_left_of_what_held() {
    let done = soak(SECONDS, &[]);
    assert_eq!(done.bench.made, ["a0", "b1", "a2", "b3", "a4", "b5"]);
    assert_eq!(done.soaked.exit(), Exit::Done);
    assert!(done.kept().is_empty(), "{:?}", done.kept());
    let json = done.json();
    assert_eq!((&json["holds"], &json["finished"]), (&true.into(), &true.into()));
    assert_eq!(json["measured_ns"], 6 * 833_333_333_u64);
    assert_eq!([0, 1].map(|task| json["tasks"][task]["jobs"].as_u64()), [Some(252); 2]);
    let round = Duration::from_nanos(833_333_333);
    assert_eq!(done.bench.lengths, [round; 6], "at most a second, and all alike");
    assert_eq!(json["tasks"][0]["response_ns"]["max"], 1_100_000);
    assert!(text(&done.soaked.account).starts_with("held for 5s of 5s in 6 rounds: 0 jobs"));
    drop(done.out);
}

#[test]
fn the_first_round_above_the_limit_is_kept_and_every_job_above_it_is_counted() {
    let limit = Some(Duration::from_millis(2));
    let slow = |us, stalled| Some(Comes::Slow(us, stalled));
    let told = [None, slow(1_900, 0), slow(2_100, 0), slow(3_000, 900), slow(2_100, 0)];
    let done = soak(Soak { limit, ..SECONDS }, &told);
    assert_eq!(done.soaked.exit(), Exit::NotHeld);
    assert_eq!(done.bench.made.len(), 6, "it goes on");
    assert_eq!(done.kept(), ["a/rep-002"]);
    let json = done.json();
    assert_eq!(json["holds"], false);
    assert_eq!((&json["first_over"]["round"], &json["first_over"]["job"]), (&2.into(), &1.into()));
    let of = |key: &str| [0, 1].map(|task| json["tasks"][task][key].as_u64().unwrap());
    assert_eq!(of("over_limit"), [2, 1]);
    assert_eq!(of("over_limit_disturbed"), [0, 1]);
    assert_eq!(of("misses"), [0, 0], "the limit is not the deadline");
    // What is kept can be read as any attempt.
    let folder = results::Folder::open(&done.soaked.folder).unwrap();
    assert_eq!(folder.counted("a").count(), 1);
}

#[test]
fn the_first_miss_ends_it_where_it_is_asked_to() {
    let done = soak(Soak { stop_on_miss: true, ..SECONDS }, &[None, Some(Comes::Stopped)]);
    assert_eq!(done.bench.made, ["a0", "b1"]);
    assert_eq!((done.soaked.exit(), done.kept()), (Exit::NotHeld, vec!["b/rep-001".to_owned()]));
    let json = done.json();
    assert_eq!(json["measured_ns"], 833_333_333_u64 + 22_000_000);
    assert_eq!(json["tasks"][1]["unfinished"], 0, "what was cut off is no verdict");
    assert_eq!(json["first_over"]["response_ns"], 12_000_000);
}

#[test]
fn a_job_that_never_ends_does_not_hold() {
    let done = soak(SECONDS, &[Some(Comes::Short)]);
    assert_eq!(done.soaked.exit(), Exit::NotHeld);
    assert_eq!(done.json()["tasks"][0]["unfinished"], 1);
}

#[test]
fn failed_rounds_are_counted_and_few_are_kept() {
    let fails = Some(Comes::Fails);
    let done = soak(SECONDS, &[fails, None, fails, None, None]);
    assert_eq!((done.soaked.exit(), done.soaked.account.failed), (Exit::Failed, 2));
    assert_eq!(done.kept(), ["a/rep-000", "a/rep-002"]);
    assert_eq!(done.json()["rounds"], 4);
    let hours = Soak { length: Duration::from_secs(3_600), ..SECONDS };
    let done = soak(hours, &[fails; 100]);
    assert_eq!(done.bench.made.len(), FAILED_IN_A_ROW, "the rest would tell nothing");
    assert_eq!((done.kept().len(), &done.json()["finished"]), (FAILED_KEPT, &false.into()));
}

#[test]
fn a_signal_ends_it_with_what_was_measured() {
    let done = soak(SECONDS, &[None, Some(Comes::Interrupted)]);
    assert_eq!((done.bench.made.len(), done.soaked.exit()), (2, Exit::Interrupted));
    let json = done.json();
    assert_eq!(
        (&json["rounds"], &json["finished"], &json["failed_rounds"]),
        (&1.into(), &false.into(), &0.into())
    );
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_touched() {
    let refused = |mut wanted: Soak| {
        let mut plan = made_up(SUITE, &[]);
        wanted.shape(&mut plan).unwrap_err().to_string()
    };
    let zero = Duration::ZERO;
    assert!(refused(Soak { length: zero, ..SECONDS }).contains("--for 0"));
    assert!(refused(Soak { limit: Some(zero), ..SECONDS }).contains("--limit 0"));
    let short = Duration::from_millis(5);
    assert!(refused(Soak { round: short, ..SECONDS }).contains("period longer than a round"));
}

//! Every mechanism for real, on a thread that asks for everything, against the rival that it is for.

use std::collections::BTreeMap;

use crate::support::{HostState, orchestrator, stderr, stdout, turn};

/// What `orchestrator helper trial` prints.
#[derive(Debug, Default)]
pub struct Trial {
    pub shares: BTreeMap<String, f64>,
    pub refused: BTreeMap<String, String>,
    /// The 99th percentile of bursts in milliseconds.
    pub p99_ms: BTreeMap<String, f64>,
    text: String,
}

impl Trial {
    pub fn read(text: &str) -> Self {
        let mut trial = Self { text: text.to_owned(), ..Self::default() };
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let Some(name) = words.get(1).map(|name| (*name).to_owned()) else { continue };
            match words[..] {
                ["share", _, share] => drop(trial.shares.insert(name, share.parse().unwrap())),
                ["refused", _, ..] => drop(trial.refused.insert(name, words[2..].join(" "))),
                ["bursts", ..] => {
                    let at = words.iter().position(|word| *word == "p99").unwrap();
                    trial.p99_ms.insert(name, words[at + 1].parse().unwrap());
                }
                _ => {}
            }
        }
        trial
    }

    pub fn within(&self, mechanism: &str, least: f64, most: f64) {
        let share = self.shares.get(mechanism).copied();
        let good = share.is_some_and(|share| (least..=most).contains(&share));
        assert!(good, "{mechanism}: {share:?} is not in {least}..={most}\n{}", self.text);
    }

    /// What holds wherever the mechanisms exist at all, for (28 ms, 50 ms).
    pub fn is_as_promised(&self) {
        self.within("none", 0.42, 0.58);
        self.within("fifo-above", 0.85, 1.0);
        self.within("fifo-below", 0.0, 0.12);
        self.within("deadline", 0.54, 0.58);
        self.within("deadline-reclaim", 0.54, 0.97);
        self.within("cfs-quota", 0.5, 0.59);
        self.within("cfs-weight", 0.48, 0.64);
        // The share is below the cap, and both are rounded to slices.
        self.within("cfs-quota-weight", 0.44, 0.59);
        self.within("timer-server", 0.54, 0.58);
    }
}

#[test]
fn every_mechanism_delivers_what_it_promises() {
    const TEST: &str = "every_mechanism_delivers_what_it_promises";
    let Some(_turn) = turn(TEST) else { return };
    let state = tempfile::tempdir().unwrap();
    let before = HostState::now();
    let output =
        orchestrator(state.path()).args(["helper", "trial", "--duration", "1s"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(HostState::now(), before);
    let trial = Trial::read(&stdout(&output));
    trial.is_as_promised();
    if let Some(why) = trial.refused.get("rt-group") {
        eprintln!("SKIPPED: {TEST}: rt-group: {why}");
        assert!(why.contains("real-time bandwidth"), "{why}");
    } else {
        trial.within("rt-group", 0.53, 0.59);
    }
}

#[test]
fn a_budget_under_the_timer_server_ends_on_time() {
    const TEST: &str = "a_budget_under_the_timer_server_ends_on_time";
    let Some(_turn) = turn(TEST) else { return };
    let state = tempfile::tempdir().unwrap();
    let arguments = ["--reservation", "3ms/5ms", "--duration", "3s", "--mechanism", "timer-server"];
    let output =
        orchestrator(state.path()).args(["helper", "trial"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let trial = Trial::read(&stdout(&output));
    trial.within("timer-server", 0.588, 0.612);
    let p99 = trial.p99_ms["timer-server"];
    assert!(p99 <= 3.2, "99 % of the bursts should be at most 3.2 ms: {}", stdout(&output));
}

#[test]
fn leaked_bandwidth_is_found_and_repaired() {
    const TEST: &str = "leaked_bandwidth_is_found_and_repaired";
    let Some(_turn) = turn(TEST) else { return };
    let state = tempfile::tempdir().unwrap();
    let before = HostState::now();
    let arguments = ["--leak", "--duration", "500ms", "--mechanism", "deadline"];
    let output =
        orchestrator(state.path()).args(["helper", "trial"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stdout(&output);
    if !said.contains("had leaked") {
        eprintln!("SKIPPED: {TEST}: this kernel leaks nothing: {said}");
    }
    Trial::read(&said).within("deadline", 0.5, 0.62);
    assert_eq!(HostState::now(), before);
}

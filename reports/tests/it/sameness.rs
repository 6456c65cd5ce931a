//! A against A: pairs of simulated folders of the same experiment, of which nothing may be said to
//! differ more often than the nominal level allows.
//!
//! `RTVM_AA_PAIRS=1000` looks at so many pairs; by default there are few.

use reports::{
    Results,
    claims::{self, Verdict},
    compare,
    series::Selection,
};

use crate::{made_up::MadeUp, sabotage::system};

const SUITE: &str = r#"
name = "same"
[[experiment]]
name = "fig4-unloaded"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
reservation = { budget = "28ms", period = "50ms" }
duration = "6s"
repetitions = 3
[[experiment]]
name = "fig4-loaded"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
load = { tasks = ["50ms/120ms", "20ms/80ms"] }
reservation = { budget = "28ms", period = "50ms" }
duration = "6s"
repetitions = 3
"#;

/// One in ten comparisons may find a difference that is none (90 % confidence), and a sameness claim
/// may do so in one of twenty (5 % on that side).
const COMPARE: f64 = 0.10;
const CLAIM: f64 = 0.05;

fn pairs() -> u64 {
    std::env::var("RTVM_AA_PAIRS").map_or(40, |text| text.parse().expect("a number of pairs"))
}

/// So many of `n` are exceeded by chance, at this probability of each, in one of a thousand tests.
fn at_most(n: u64, probability: f64) -> f64 {
    let n = n as f64;
    n * probability + 3.1 * (n * probability * (1.0 - probability)).sqrt()
}

/// Repetitions of a processor that drifts by so much either way.
fn folder(seed: u64, drift: f64) -> MadeUp {
    match drift > 0.01 {
        true => system::folder(SUITE, seed, |bent, _, _| bent.drift = 0.015),
        false => system::folder(SUITE, seed, |_, _, _| ()),
    }
}

fn false_alarms(drift: f64) -> (u64, [u64; 2]) {
    let (mut compared, mut claimed) = (0, [0; 2]);
    for pair in 0..pairs() {
        let folders = [2 * pair, 2 * pair + 1].map(|seed| folder(1000 + seed, drift));
        let [first, second] = [0, 1].map(|at| Results::read(folders[at].path()).unwrap());
        let found = compare::compare(&first, &second, Selection::Undisturbed);
        assert!(found.pairs.iter().all(|own| own.differs.is_some()), "all can be told");
        compared += u64::from(found.pairs.iter().any(|own| own.differs == Some(true)));
        for claim in claims::all(&first).into_iter().filter(|own| own.id.ends_with("-identical")) {
            claimed[usize::from(claim.id.contains("tau2"))] +=
                u64::from(claim.verdict == Verdict::Fails);
        }
    }
    (compared, claimed)
}

#[test]
fn nothing_differs_from_itself_more_often_than_the_level_allows() {
    for drift in [0.003, 0.015] {
        let (n, (compared, claimed)) = (pairs(), false_alarms(drift));
        println!(
            "A/A, drift ±{drift}, {n} pairs: `compare` tells {compared} apart (at most {:.0}); \
             the sameness claims fail {claimed:?} times (at most {:.0})",
            at_most(n, COMPARE),
            at_most(n, CLAIM)
        );
        assert!(compared as f64 <= at_most(n, COMPARE));
        assert!(claimed.iter().all(|own| *own as f64 <= at_most(n, CLAIM)));
    }
}

/// The same tests find what is there: a guest that is 10 % slower.
#[test]
fn what_differs_is_told_apart() {
    let slower = |seed| system::folder(SUITE, seed, |bent, _, _| bent.slower *= 1.1);
    let found = (0..10).filter(|pair| {
        let (first, second) = (folder(2 * pair, 0.003), slower(2 * pair + 1));
        let [first, second] = [&first, &second].map(|own| Results::read(own.path()).unwrap());
        let found = compare::compare(&first, &second, Selection::Undisturbed);
        found.pairs.iter().any(|own| own.differs == Some(true))
    });
    assert_eq!(found.count(), 10);
}

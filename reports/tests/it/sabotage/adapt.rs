//! Claim × sabotage of budgets that adapt.

use std::{collections::BTreeMap, time::Duration};

use model::{control::Bounds, suite::Experiment};
use reports::{
    Results,
    claims::{self, Verdict},
};

use super::{
    checked, later, played_as,
    system::{Bend, Bent, folder},
};

/// As `experiments/adapt.toml`.
const SUITE: &str = r#"
name = "adapt"
[[experiment]]
name = "large"
where = "guest"
tasks = ["15ms/150ms", "25ms/200ms"]
surge = "10s..20s*2"
duration = "30s"
reservation = { budget = "32ms", period = "50ms" }
[[experiment]]
name = "lfs"
where = "guest"
tasks = ["15ms/150ms", "25ms/200ms"]
surge = "10s..20s*2"
duration = "30s"
repetitions = 2
reservation = { period = "50ms", control = "lfs", min = "5ms", max = "35ms" }
[[experiment]]
name = "pi"
where = "guest"
tasks = ["15ms/150ms", "25ms/200ms"]
surge = "10s..20s*2"
duration = "30s"
repetitions = 2
reservation = { period = "50ms", control = "pi", min = "5ms", max = "35ms" }
"#;

fn sabotages() -> Vec<(&'static str, Bend)> {
    vec![
        ("sound", |_, _, _| ()),
        ("a law that never raises", |bent, own, _| between(bent, own, 5, 16)),
        ("a law that always grants the greatest budget", |bent, own, _| between(bent, own, 35, 35)),
        ("a law that never gives back", |bent, own, _| between(bent, own, 29, 35)),
        ("a quarter of a second later after the last window", |bent, own, _| {
            if own.name != "large" {
                bent.rows = |rows| {
                    let late = rows.iter_mut().filter(|job| job.release_ns > 28_000_000_000);
                    late.for_each(|job| later(job, 250_000_000));
                };
            }
        }),
    ]
}

/// Other bounds than the manifest says.
fn between(bent: &mut Bent, own: &Experiment, min: u64, max: u64) {
    let ms = Duration::from_millis;
    if own.name != "large" {
        let control = bent.cpu.threads[0].control.as_mut().unwrap();
        control.bounds = Bounds::new(ms(min), ms(max), ms(50)).unwrap();
    }
}

fn verdicts(bend: Bend) -> BTreeMap<String, Verdict> {
    let folder = folder(SUITE, 1, bend);
    let results = Results::read(folder.path()).unwrap();
    let all = claims::all(&results).into_iter().filter(|claim| claim.figure == "adapt");
    all.map(|claim| (claim.id.into_owned(), claim.verdict)).collect()
}

#[test]
fn every_claim_about_budgets_that_adapt_has_an_enemy() {
    let columns: Vec<_> =
        sabotages().into_iter().map(|(name, bend)| (name, verdicts(bend))).collect();
    insta::assert_snapshot!(checked(&columns), @"
    claim × sabotage
    a sound
    b a law that never raises
    c a law that always grants the greatest budget
    d a law that never gives back
    e a quarter of a second later after the last window
    F fails, ? not measurable, . unmoved    abcde
    adapt-lfs-grant                         ..FF.
    adapt-lfs-misses                        .F..F
    adapt-pi-grant                          ..FF.
    adapt-pi-misses                         .F..F
    ");
}

/// Two VMs that both want more than there is from 5 s on.
const SHARED: &str = r#"
name = "shared"
[[experiment]]
name = "weights"
duration = "20s"
surge = "5s..20s*2"
[[experiment.vm]]
name = "heavy"
weight = 2
vcpus = [{ period = "50ms", control = "lfs", min = "5ms", max = "40ms" }]
service = [{ tasks = ["30ms/100ms"] }]
[[experiment.vm]]
name = "light"
vcpus = [{ period = "50ms", control = "lfs", min = "5ms", max = "40ms" }]
service = [{ tasks = ["30ms/100ms"] }]
"#;

/// The claim about weights, where those of `played` ran under the name of [`SHARED`].
fn weights(played: &str) -> (Verdict, f64) {
    let claims = played_as(played, SHARED);
    let ids: Vec<&str> = claims.iter().map(|own| own.id.as_ref()).collect();
    assert!(!ids.iter().any(|id| id.ends_with("-misses")), "nobody is promised that: {ids:?}");
    let own = claims.iter().find(|own| own.id == "adapt-weights-weights").unwrap();
    (own.verdict, own.values.get("proportion").copied().unwrap_or(f64::NAN))
}

#[test]
fn the_claim_about_weights_has_its_enemies() {
    let (verdict, proportion) = weights(SHARED);
    assert_eq!(verdict, Verdict::Holds, "{proportion}");
    let (verdict, proportion) = weights(&SHARED.replace("weight = 2", "weight = 1"));
    assert!(verdict == Verdict::Fails && (proportion - 0.5).abs() < 0.01, "equal: {proportion}");
    let (verdict, proportion) = weights(&SHARED.replace("weight = 2", "weight = 3"));
    assert_eq!(verdict, Verdict::Fails, "{proportion}");
    let (verdict, _) = weights(&SHARED.replace("surge = \"5s..20s*2\"\n", ""));
    assert_eq!(verdict, Verdict::NotMeasurable, "there is enough for both");
}

#[test]
fn the_budget_is_drawn_over_the_response_times() {
    let folder = folder(SUITE, 1, |_, _, _| ());
    let results = Results::read(folder.path()).unwrap();
    let figures = reports::figure::build::figures(&results);
    let figure = figures.iter().find(|own| own.name == "lfs-time").unwrap();
    for panel in &figure.panels {
        let budgets: Vec<_> = panel.lines.iter().filter(|line| line.label == "budget").collect();
        assert_eq!(budgets.len(), 2, "one for each repetition");
        for line in budgets {
            let at = |second: f64| line.points.iter().rfind(|point| point.0 <= second).unwrap().1;
            // Milliseconds of every 50.
            assert!((12.0..17.0).contains(&at(9.5)), "{:?}", line.points);
            assert!((26.0..33.0).contains(&at(19.5)), "{:?}", line.points);
            assert!((12.0..17.0).contains(&at(29.5)), "{:?}", line.points);
        }
    }
    // Of a fixed budget nothing is drawn.
    assert!(figures.iter().all(|own| own.name != "large-time"));
}

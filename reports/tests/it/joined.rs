//! A measured folder and its simulation on one page.

use std::{fs, path::Path, process::Command};

use model::suite::ServiceKind;
use reports::{
    Results,
    figure::{Stroke, build},
    joined, render,
};

use crate::{made_up::MadeUp, rendering::keep};

/// A folder as if simulated: what the paper shows, tau2 of fig4-loaded 2 ms longer.
fn simulation() -> MadeUp {
    let mut folder = MadeUp::as_in_the_paper();
    folder.reshape("fig4-loaded", |task, n| [51.6, if n % 3 == 1 { 74.4 } else { 125.3 }][task]);
    folder.manifest.accelerator.as_mut().unwrap().name = "simulation".to_owned();
    folder.save();
    folder
}

fn both() -> (MadeUp, MadeUp, Results) {
    let (measured, simulated) = (MadeUp::as_in_the_paper(), simulation());
    let mut results = Results::read(measured.path()).unwrap();
    results.join(Results::read(simulated.path()).unwrap()).unwrap();
    (measured, simulated, results)
}

#[test]
fn the_figure_shows_measured_simulated_and_calculated() {
    let (_measured, _simulated, results) = both();
    let figures = build::figures(&results);
    let fig4 = figures.iter().find(|figure| figure.name == "fig4").unwrap();
    let lines = |stroke| fig4.panels[0].lines.iter().filter(move |line| line.stroke == stroke);
    assert_eq!(lines(Stroke::Simulated).count(), 4);
    assert!(lines(Stroke::Simulated).all(|line| line.label == "simulated"));
    assert_eq!((lines(Stroke::Solid).count(), fig4.panels[0].bounds.len()), (2, 2));
    assert!(fig4.caption.contains("Long dashes: simulated."), "{}", fig4.caption);
}

#[test]
fn the_page_tells_how_far_apart_they_are() {
    let (measured, _simulated, results) = both();
    let pairs = joined::pairs(&results);
    assert_eq!(pairs.len(), 10);
    let last = &pairs[9];
    assert_eq!((last.experiment.as_str(), last.task.as_str()), ("fig4-loaded", "tau2"));
    assert!(last.ks.unwrap().distance > 0.6);
    assert_eq!(last.ks_interval, None, "one repetition tells nothing of another");
    assert!((1.8e6..2.2e6).contains(&last.wasserstein.unwrap()));
    let rendered = render::render(&results).unwrap();
    let report = measured.path().join("report");
    assert!(rendered.files.contains(&"simulated.csv".to_owned()));
    let csv = fs::read_to_string(report.join("simulated.csv")).unwrap();
    assert_eq!(csv.lines().count(), 11);
    for file in ["index.html", "report.md"] {
        let page = fs::read_to_string(report.join(file)).unwrap();
        assert!(page.contains("Measured, simulated, calculated"), "{file}");
    }
    keep(&report);
}

fn refused(measured: &Path, simulated: &Path) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_reports"))
        .arg("render")
        .arg(measured)
        .arg("--simulated")
        .arg(simulated)
        .output()
        .unwrap();
    let error = String::from_utf8(out.stderr).unwrap();
    assert_eq!((out.status.code(), error.lines().count()), (Some(2), 1), "{error}");
    assert!(!measured.join("report").exists());
    error
}

#[test]
fn what_is_no_simulation_of_this_suite_is_refused() {
    let measured = MadeUp::as_in_the_paper();
    let error = refused(measured.path(), MadeUp::as_in_the_paper().path());
    assert!(error.contains("these results were not simulated"), "{error}");
    assert!(refused(measured.path(), Path::new("nowhere")).contains("nowhere"));

    let mut other = simulation();
    let vcpu = &mut other.manifest.suite.experiments[4].vms[0].vcpus[0];
    vcpu.reservation.as_mut().unwrap().budget = std::time::Duration::from_millis(30);
    other.save();
    let error = refused(measured.path(), other.path());
    assert!(error.contains("`fig4-loaded` has other reservation"), "{error}");

    let task = "30ms/150ms".parse().unwrap();
    other.manifest.suite.experiments[0].services[0].kind =
        ServiceKind::Tasks(model::TaskSet(vec![task]));
    other.save();
    assert!(refused(measured.path(), other.path()).contains("`fig1` has other tasks"));
    assert!(refused(simulation().path(), simulation().path()).contains("was simulated itself"));
}

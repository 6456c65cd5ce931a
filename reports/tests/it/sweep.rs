//! A sweep in a report: its figure, its tables, and what the scorecard makes of it.

use std::fs;

use model::manifest::FixedWork;
use reports::{
    Results,
    claims::{self, Claim, Verdict},
    figure::{Figure, Stroke, build},
    render, sweep,
};

use crate::made_up::{self, MadeUp, Shape};

fn enough(task: usize, n: usize) -> f64 {
    [51.6, if n % 3 == 1 { 72.4 } else { 123.3 }][task]
}

fn too_little(task: usize, n: usize) -> f64 {
    [54.0, if n.is_multiple_of(4) { 223.0 } else { 156.0 }][task]
}

/// The paper's fig4-loaded and a sweep of it over `budgets`; none of it measured.
fn swept(budgets: &str) -> MadeUp {
    let suite = made_up::SUITE.replace("reservation = {", "work = \"fixed\"\nreservation = {");
    MadeUp::empty(&format!(
        "{suite}[[sweep]]\nexperiment = \"fig4-loaded\"\nbudgets = [{budgets}]\n"
    ))
}

fn measured(points: &[(&str, Shape)]) -> MadeUp {
    let texts: Vec<_> = points.iter().map(|(budget, _)| format!("\"{budget}\"")).collect();
    let mut folder = swept(&texts.join(", "));
    for (budget, shape) in points {
        folder.add(&format!("fig4-loaded-{}", budget.replace('.', "_")), *shape);
    }
    folder
}

fn small() -> MadeUp {
    let points = [
        ("26ms", too_little as Shape),
        ("27ms", too_little),
        ("28ms", enough),
        ("30ms", enough),
        ("32ms", enough),
    ];
    measured(&points)
}

fn results(folder: &MadeUp) -> Results {
    Results::read(folder.path()).unwrap()
}

#[test]
fn the_table_has_a_row_for_each_budget_and_task() {
    let results = results(&small());
    insta::assert_snapshot!(sweep::grid(&results.sweeps[0]).write(reports::grid::Format::Text), @"
        budget  verdict  task  jobs  misses  stalled  of them missed  unfinished     p99  deadline
        ──────  ───────  ────  ────  ──────  ───────  ──────────────  ──────────  ──────  ────────
        26 ms   fails    tau1   198       0        2               0           0   54.29    150.00
        26 ms   fails    tau2   148      37        2               1           0  223.27    200.00
        27 ms   fails    tau1   198       0        2               0           0   54.29    150.00
        27 ms   fails    tau2   148      37        2               1           0  223.29    200.00
        28 ms   holds    tau1   198       0        2               0           0   51.90    150.00
        28 ms   holds    tau2   148       0        2               0           0  123.59    200.00
        30 ms   holds    tau1   198       0        2               0           0   51.89    150.00
        30 ms   holds    tau2   148       0        2               0           0  123.59    200.00
        32 ms   holds    tau1   198       0        2               0           0   51.89    150.00
        32 ms   holds    tau2   148       0        2               0           0  123.60    200.00

        fig4-loaded: The smallest budget that holds is 28 ms; 27 ms fails.
        Least budgets by analysis: aligned 80/3 ms, one-gap 80/3 ms, two-gap 32 ms.
        Times in milliseconds. Jobs that a stall disturbed (more than 500 µs) stand aside: how many they were, and how many of them missed their deadline.
        ");
    let csv = sweep::csv(&results.sweeps);
    insta::assert_snapshot!(csv.lines().take(3).collect::<Vec<_>>().join("\n"), @"
    sweep,experiment,budget_ns,period_ns,verdict,repetitions,task,deadline_ns,released,jobs,misses,stalled,stalled_misses,unfinished,p99_ns
    fig4-loaded,fig4-loaded-26ms,26000000,50000000,fails,1,tau1,150000000,200,198,0,2,0,0,54291363
    fig4-loaded,fig4-loaded-26ms,26000000,50000000,fails,1,tau2,200000000,150,148,37,2,1,0,223273965
    ");
    assert_eq!(csv.lines().count(), 11);
}

#[test]
fn a_budget_without_a_repetition_is_not_measured() {
    let results = results(&swept("\"28ms\", \"30ms\""));
    let csv = sweep::csv(&results.sweeps);
    let row = "fig4-loaded,fig4-loaded-28ms,28000000,50000000,undecided,0,,,,,,,,,";
    assert_eq!(csv.lines().nth(1), Some(row));
    let text = sweep::grid(&results.sweeps[0]).write(reports::grid::Format::Text);
    assert!(text.contains("28 ms   undecided  not measured"), "{text}");
    assert_eq!(build::figures(&results), []);
}

fn figure(results: &Results) -> Figure {
    let figures = build::figures(results);
    assert_eq!(figures.len(), 1, "a sweep's experiments have no figures of their own");
    figures.into_iter().next().unwrap()
}

#[test]
fn the_figure_shows_misses_and_p99_between_the_analytic_budgets_and_deadlines() {
    let figure = figure(&results(&small()));
    assert_eq!(figure.name, "sweep-fig4-loaded");
    insta::assert_snapshot!(figure.title, @"Sweep of fig4-loaded: 28 ms is the smallest budget that holds");
    insta::assert_snapshot!(figure.caption, @"The smallest budget that holds is 28 ms; 27 ms fails. Of the jobs that no stall disturbed; unfinished jobs count as missed. Dotted: least budgets by analysis (aligned 80/3 ms, one-gap 80/3 ms, two-gap 32 ms). Dashed: deadlines.");
    let [misses, p99] = &figure.panels[..] else { panic!("two panels") };
    let labels: Vec<_> = misses.bounds.iter().map(|bound| bound.label.as_str()).collect();
    assert_eq!(labels, ["aligned, one-gap: 80/3 ms", "two-gap: 32 ms"]);
    assert!((misses.bounds[0].x - 80.0 / 3.0).abs() < 1e-5);
    assert!(misses.x_min > 20.0 && misses.x_max < 35.0);
    let tau2 = |stroke, lines: &[reports::figure::Line]| {
        lines
            .iter()
            .find(|line| line.label == "τ2" && line.stroke == stroke)
            .unwrap()
            .points
            .clone()
    };
    // 38 of 150 jobs have 223 ms; two of the others stalled, and are not judged.
    let shares = tau2(Stroke::Dots, &misses.lines);
    assert_eq!(shares.len(), 5);
    assert!((shares[0].1 - 37.0 / 148.0 * 100.0).abs() < 1e-9, "{shares:?}");
    assert_eq!(shares[2], (28.0, 0.0));
    assert!((tau2(Stroke::Solid, &p99.lines)[4].1 - 123.5).abs() < 0.5);
    let deadlines: Vec<f64> = p99
        .lines
        .iter()
        .filter(|line| line.stroke == Stroke::Dashed)
        .map(|line| line.points[0].1)
        .collect();
    assert_eq!(deadlines, [150.0, 200.0]);
    assert!(p99.y_max > 223.0);
}

#[test]
fn the_page_has_a_section_and_the_folder_a_file() {
    let folder = small();
    let rendered = render::render(&results(&folder)).unwrap();
    let report = folder.path().join("report");
    for name in ["sweep.csv", "sweep-fig4-loaded.svg", "sweep-fig4-loaded.png"] {
        assert!(rendered.files.iter().any(|file| file == name) && report.join(name).exists());
    }
    let page = fs::read_to_string(report.join("index.html")).unwrap();
    let text = fs::read_to_string(report.join("report.md")).unwrap();
    for part in ["How much budget it takes", "The smallest budget that holds is 28 ms"] {
        assert!(page.contains(part) && text.contains(part), "{part}");
    }
    crate::rendering::keep(&report);
}

fn practice(points: &[(&str, Shape)]) -> Claim {
    let all = claims::all(&results(&measured(points)));
    all.into_iter().find(|claim| claim.id == "practice-28").unwrap()
}

#[test]
fn the_scorecard_brackets_the_budget_that_is_needed() {
    let cases: [(&[(&str, Shape)], Verdict); 8] = [
        (&[("27ms", too_little), ("28ms", enough)], Verdict::Holds),
        (&[("27.5ms", too_little), ("28ms", enough), ("30ms", enough)], Verdict::Holds),
        (&[("26ms", too_little), ("27ms", enough), ("28ms", enough)], Verdict::Fails),
        (&[("27ms", too_little), ("28ms", too_little), ("30ms", enough)], Verdict::Fails),
        (&[("28ms", too_little)], Verdict::Fails),
        (&[("26ms", too_little), ("28ms", enough)], Verdict::NotMeasurable),
        (&[("27ms", too_little), ("30ms", enough)], Verdict::NotMeasurable),
        (&[("28ms", enough)], Verdict::NotMeasurable),
    ];
    for (points, verdict) in cases {
        let claim = practice(points);
        assert_eq!(claim.verdict, verdict, "{claim:?}");
    }
    let mut alone = measured(&[("27ms", too_little), ("28ms", enough)]);
    alone.manifest.suite.experiments.retain(|one| one.name.starts_with("fig4-loaded-"));
    alone.save();
    let ids: Vec<_> = claims::all(&results(&alone)).into_iter().map(|claim| claim.id).collect();
    assert_eq!(ids, ["practice-28"]);
    let wide = practice(&[("26ms", too_little), ("28ms", enough)]);
    assert!(
        wide.reason
            .unwrap()
            .contains("26 ms fails and 28 ms holds, so what is needed lies between")
    );
    let held = practice(&[("27ms", too_little), ("28ms", enough)]);
    let said = "smallest budget that holds: 28 ms; largest that fails: 27 ms";
    assert_eq!(held.measured.as_deref(), Some(said));
}

/// The processor slower by `drift` after each repetition of a sweep that fails at 27 ms and holds at
/// 28.
fn drifted(drift: f64) -> Claim {
    let mut folder = measured(&[("27ms", too_little), ("28ms", enough)]);
    for record in &mut folder.manifest.repetitions {
        let (before, after) = (2.0, 2.0 * (1.0 + drift));
        record.facts.fixed_work =
            Some(FixedWork { before_ns_per_iteration: before, after_ns_per_iteration: after });
    }
    folder.save();
    let all = claims::all(&results(&folder));
    all.into_iter().find(|claim| claim.id == "practice-28").unwrap()
}

#[test]
fn a_processor_that_drifts_by_more_than_a_millisecond_of_budget_decides_nothing() {
    assert_eq!(drifted(0.03).verdict, Verdict::Holds);
    assert_eq!(drifted(-0.03).verdict, Verdict::Holds);
    let open = drifted(0.05);
    assert_eq!(open.verdict, Verdict::NotMeasurable);
    let why = open.reason.unwrap();
    assert!(why.contains("drifted by 5 %") && why.contains("are 3.7 % apart"), "{why}");
}

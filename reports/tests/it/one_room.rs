//! One result folder, three programs, the same numbers.

use model::{judged::Count, sample};
use reports::Results;
use rtplan::sim::calibrate::Measured;

use crate::made_up::{self, MadeUp};

/// Three runs under two budgets, with all that the rules are about: jobs that a stall disturbed, jobs
/// that missed, a task that starved in one run, another that did so half the time.
fn folder() -> MadeUp {
    let sweep = "[[sweep]]\nexperiment = \"fig4-loaded\"\nbudgets = [\"20ms\", \"28ms\"]\n";
    let mut folder = MadeUp::empty(&format!("{}{sweep}", made_up::SUITE));
    for budget in ["fig4-loaded-20ms", "fig4-loaded-28ms"] {
        folder.add(budget, |task, n| [52.0, if n % 7 == 0 { 210.0 } else { 124.0 }][task]);
        folder.add(budget, |task, n| [155.0 - n as f64, 124.0][task]);
        folder.add(budget, |_, _| 60.0);
        folder.keep_jobs(budget, "tau1", 140);
        let starved = folder.path().join(budget).join("rep-001/jobs.csv");
        let mut rows: Vec<sample::Job> = sample::read_csv(&starved).unwrap();
        rows.retain(|job| job.task == "tau1");
        sample::write_csv(&starved, &rows).unwrap();
    }
    folder.manifest.repetitions[2].counts = false;
    folder.save();
    folder
}

#[test]
fn three_programs_count_the_same_jobs() {
    let folder = folder();
    let sweep = orchestrator::sweep::outcome(folder.path()).unwrap();
    let results = Results::read(folder.path()).unwrap();
    let measured = Measured::read(folder.path()).unwrap();
    for point in &sweep.points {
        let by_orchestrator: Vec<Count> = point.tasks.iter().map(|own| own.count).collect();
        let case = results.case(&point.experiment).unwrap();
        let by_reports: Vec<Count> =
            case.series.iter().map(|own| own.count(case.judged())).collect();
        let by_rtplan = measured.counts(case.workload()).unwrap();
        assert_eq!(by_orchestrator, by_reports, "{}", point.experiment);
        assert_eq!(by_orchestrator, by_rtplan, "{}", point.experiment);
        assert_eq!(results.sweeps[0].points.iter().find(|own| *own == point), Some(point));
    }
    let [little, enough] = &sweep.points[..] else { panic!("two budgets") };
    let told = |point: &model::sweep::Point| {
        point
            .tasks
            .iter()
            .map(|own| (own.count.released, own.count.jobs, own.count.unfinished))
            .collect::<Vec<_>>()
    };
    // 20 ms are too little by the analysis: all finished jobs; one attempt does not count.
    assert_eq!(told(little), [(400, 340, 60), (300, 150, 150)]);
    assert_eq!(told(enough), [(600, 534, 60), (450, 296, 150)]);
}

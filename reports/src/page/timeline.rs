//! A window of one repetition's schedule: who ran when.

use std::time::Duration;

use serde::Serialize;

use crate::{
    export::{
        gantt::{Gantt, Lane},
        schedule::Schedule,
    },
    folder::{Case, Results},
    grid::Grid,
    supply::table::traced,
    units::{percent, short},
};

/// Behind the start, where periods have fallen into step.
const FROM: Duration = Duration::from_secs(2);
/// How much is shown.
const LENGTH: Duration = Duration::from_millis(400);

/// The window, as a picture, as a table and as data.
pub struct Timeline {
    /// What is shown.
    pub title: String,
    /// The picture.
    pub chart: Gantt,
    /// A row for each lane.
    pub grid: Grid,
    /// For the page's script.
    pub json: String,
}

/// Of the first repetition of `fig4-loaded`, or of the first experiment with a reservation that was
/// traced, or of the first that was traced; none where nothing was.
#[must_use]
pub fn timeline(results: &Results) -> Option<Timeline> {
    let cases: Vec<&Case> = traced(results).collect();
    let case = cases
        .iter()
        .find(|case| case.name() == "fig4-loaded")
        .or_else(|| cases.iter().find(|case| case.reservation().is_some()))
        .or(cases.first())?;
    let first = case.traced.iter().map(|one| one.attempt).min()?;
    let repetition = case.counted.iter().find(|own| own.attempt == first)?.repetition;
    let whole = Schedule::read(results, case.name(), repetition).ok()?;
    let from = if whole.length_ns() > 2 * FROM.as_nanos() as u64 { FROM } else { Duration::ZERO };
    let schedule = whole.window(from, Some(from + LENGTH));
    (!schedule.is_empty()).then(|| of(&schedule))
}

fn of(schedule: &Schedule) -> Timeline {
    let chart = Gantt::of(schedule);
    let title = format!(
        "{}, repetition rep-{:03}: {} of the schedule",
        schedule.experiment,
        schedule.attempt,
        short((schedule.to_ns - schedule.from_ns) as f64)
    );
    Timeline { grid: grid(&chart), json: json(&title, &chart), title, chart }
}

fn grid(chart: &Gantt) -> Grid {
    let window = chart.span.1 - chart.span.0;
    let row = |lane: &Lane| {
        let clipped = lane
            .bars
            .iter()
            .map(|bar| (bar.1.min(chart.span.1) - bar.0.max(chart.span.0)).max(0.0));
        let (time, longest) =
            clipped.fold((0.0, 0.0_f64), |(sum, most), own| (sum + own, most.max(own)));
        vec![
            lane.label.clone(),
            lane.bars.len().to_string(),
            percent(time / window),
            format!("{longest:.2}"),
        ]
    };
    let header = ["lane", "intervals", "share of the window", "longest ms"];
    Grid {
        header: header.map(str::to_owned).into(),
        rows: chart.lanes.iter().map(row).collect(),
        texts: 1,
        notes: vec![
            "A guest task's bar goes from the start of a job to its finish, preempted or not; all \
             others are intervals on the CPU."
                .to_owned(),
        ],
    }
}

#[derive(Serialize)]
struct Data<'a> {
    title: &'a str,
    span: (f64, f64),
    lanes: Vec<Row<'a>>,
    stalls: &'a [(f64, f64)],
}

#[derive(Serialize)]
struct Row<'a> {
    label: &'a str,
    group: &'static str,
    bars: Vec<(f64, f64)>,
    releases: &'a [f64],
    missed: &'a [(f64, f64)],
}

fn json(title: &str, chart: &Gantt) -> String {
    let row = |lane: &'_ Lane| -> Vec<(f64, f64)> {
        let fine = |ms: f64| (ms * 1000.0).round() / 1000.0;
        lane.bars.iter().map(|bar| (fine(bar.0), fine(bar.1))).collect()
    };
    let data = Data {
        title,
        span: chart.span,
        lanes: chart
            .lanes
            .iter()
            .map(|lane| Row {
                label: &lane.label,
                group: lane.group.name(),
                bars: row(lane),
                releases: &lane.releases,
                missed: &lane.missed,
            })
            .collect(),
        stalls: &chart.stalls,
    };
    serde_json::to_string(&data).expect("plain data with text keys").replace('<', "\\u003c")
}

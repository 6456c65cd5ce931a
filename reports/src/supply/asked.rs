//! The measured demand bound function of a VM that somebody else started, whose tasks nobody knows.

use model::demand::{Asked, Demand, arrivals};

use super::is_vcpu;
use crate::{
    figure::{
        About, Figure, Line, Panel, Stroke,
        axis::round_up,
        palette::{nth_color, pale},
    },
    folder::Case,
};

/// The figure shows windows so many times as long as the longest time that a vCPU is busy.
const TIMES_BUSY: f64 = 8.0;
/// … and at least so long, in ms.
const SHORTEST_MS: f64 = 100.0;
/// Points of a line.
const STEPS: u32 = 400;

/// `demand-<experiment>`; none where tasks or a service are known, or nothing was traced.
#[must_use]
pub fn figure(case: &Case) -> Option<Figure> {
    if case.experiment.workloads().iter().any(|own| own.service.is_some()) {
        return None;
    }
    let traced = case.traced.first()?;
    let vcpus = traced.facts.threads.iter().filter(|one| is_vcpu(&one.thread)).count();
    let rows = arrivals(&traced.rows, &traced.facts, vcpus);
    let demands: Vec<(String, Demand)> = (0..vcpus)
        .map(|number| format!("vcpu{number}"))
        .map(|name| (name.clone(), of(&rows, &name)))
        .collect();
    let shares: Vec<String> =
        demands.iter().map(|(name, demand)| format!("{name} {:.3}", demand.share())).collect();
    Some(Figure {
        name: format!("demand-{}", case.name()),
        title: format!("{}: what the VM asked for", case.name()),
        caption: format!(
            "The measured demand bound function: the greatest CPU time asked for in any window of each \
             length, the work of a busy interval counted at its wake-up. Of a CPU on average: {}.",
            shares.join(", ")
        ),
        panels: vec![panel(&demands)],
    })
}

fn of(rows: &[Asked], thread: &str) -> Demand {
    let own = rows.iter().filter(|row| row.thread == thread);
    Demand::of(own.map(|row| (row.woken_ns, row.cpu_ns)))
}

fn panel(demands: &[(String, Demand)]) -> Panel {
    let each = || demands.iter().map(|(_, demand)| demand);
    let busy_ns = each().filter_map(|demand| Some(demand.corners().first()?.work_ns)).max();
    let span_ms = each().map(Demand::span_ns).max().unwrap_or(0) as f64 / 1e6;
    let wanted = (busy_ns.unwrap_or(0) as f64 / 1e6 * TIMES_BUSY).max(SHORTEST_MS);
    let x_max = round_up(wanted.min(span_ms.max(1.0)));
    let line = |label: &str, color, stroke, asked_ns: &dyn Fn(u64) -> u64| Line {
        about: About { case: Some(label.to_owned()), ..About::default() },
        label: label.to_owned(),
        color,
        stroke,
        points: (0..=STEPS)
            .map(|step| f64::from(step) * x_max / f64::from(STEPS))
            .map(|x| (x, asked_ns((x * 1e6).round() as u64) as f64 / 1e6))
            .collect(),
    };
    let of_vcpu = |(index, (name, demand)): (usize, &(String, Demand))| {
        line(name, nth_color(index + 2), Stroke::Solid, &|length| demand.asked_ns(length))
    };
    let mut lines: Vec<Line> = demands.iter().enumerate().map(of_vcpu).collect();
    let highest = lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let y_max = round_up(highest.fold(1.0, f64::max));
    let mut all = line("all of a CPU", pale(nth_color(1)), Stroke::Broad, &|length| length);
    all.points.retain(|point| point.1 <= y_max);
    lines.insert(0, all);
    Panel {
        x_label: "length of the window (ms)".to_owned(),
        y_label: "CPU time asked for (ms)".to_owned(),
        x_min: 0.0,
        x_max,
        y_max,
        lines,
        bounds: Vec::new(),
        bounds_label: "",
        cdf: false,
    }
}

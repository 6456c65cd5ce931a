//! CPU time of a request over the size of the reply, or over the rate: a panel for each place of
//! QEMU's other threads.

use super::{
    Account, Part, Served,
    curves::{Group, Over, groups},
};
use crate::figure::{About, Figure, Line, Panel, Stroke, axis::round_up, palette::nth_color};

/// All figures that the services make.
#[must_use]
pub fn figures(served: &[Served]) -> Vec<Figure> {
    groups(served).iter().map(figure).collect()
}

fn figure(group: &Group) -> Figure {
    let all = || group.places.iter().flat_map(|(_, points)| points);
    let most_x = all().map(|(x, _)| *x).fold(0.0, f64::max);
    let each = |own: &Account| Part::ALL.map(|part| ms(own, part).unwrap_or(0.0));
    let most_y = all().flat_map(|(_, own)| each(own)).fold(0.0, f64::max);
    let panel = |(place, points): &(String, Vec<(f64, Account)>)| Panel {
        x_label: format!("{}, emulator: {place}", x_label(group.over)),
        y_label: "CPU time for each request (ms)".to_owned(),
        x_min: 0.0,
        x_max: round_up(most_x * 1.05),
        y_max: round_up(most_y * 1.08),
        lines: Part::ALL.into_iter().flat_map(|part| lines(part, points)).collect(),
        bounds: Vec::new(),
        bounds_label: "",
        cdf: false,
    };
    let (over, name) = match group.over {
        Over::Reply => ("the size of its reply", "reply"),
        Over::Rate => ("the rate of requests", "rate"),
    };
    Figure {
        name: format!("network-{name}-{}", group.first),
        title: format!("CPU time of the host for a request, over {over}"),
        caption: format!(
            "By who used it: the VM's threads, and the network's softirqs in nobody's time of \
             these. A panel for each place of QEMU's other threads. Means of all requests of the \
             experiments like `{}`.",
            group.first
        ),
        panels: group.places.iter().map(panel).collect(),
    }
}

fn x_label(over: Over) -> &'static str {
    match over {
        Over::Reply => "body of the reply (kB)",
        Over::Rate => "requests a second",
    }
}

/// A line and a dot at each point; none of a part that used nothing.
fn lines(part: Part, points: &[(f64, Account)]) -> Vec<Line> {
    let points: Vec<(f64, f64)> =
        points.iter().filter_map(|(x, own)| Some((*x, ms(own, part)?))).collect();
    if points.iter().all(|(_, y)| *y == 0.0) {
        return Vec::new();
    }
    let line = |stroke| Line {
        about: About { case: Some(part.name().to_owned()), ..About::default() },
        label: part.name().to_owned(),
        color: nth_color(part as usize),
        stroke,
        points: points.clone(),
    };
    [Stroke::Solid, Stroke::Dots].map(line).into()
}

fn ms(own: &Account, part: Part) -> Option<f64> {
    Some(own.each(own.part_ns(part)?)? / 1e6)
}

//! A figure as the data from which the page's script draws it.
//!
//! Points are whole numbers of a small unit, each the difference to the one before: a step of a CDF
//! takes about eight bytes, and no reader sees the rounding.

use serde::Serialize;

use crate::figure::{Figure, Line, Panel, Stroke, palette::place, thin::thinned};

/// Steps of an axis that a point is rounded to.
const FINE: f64 = 1e6;

#[derive(Serialize)]
struct Chart<'a> {
    name: &'a str,
    title: &'a str,
    panels: Vec<Axes<'a>>,
}

#[derive(Serialize)]
struct Axes<'a> {
    x: &'a str,
    y: &'a str,
    x0: f64,
    x1: f64,
    y1: f64,
    cdf: bool,
    /// What a step of each axis is worth.
    unit: [f64; 2],
    lines: Vec<Curve<'a>>,
    bounds: Vec<Mark<'a>>,
    bounds_label: &'a str,
}

#[derive(Serialize)]
struct Curve<'a> {
    label: &'a str,
    task: Option<&'a str>,
    case: Option<&'a str>,
    kind: Option<&'a str>,
    jobs: Option<u64>,
    /// Place in the palette; none is grey.
    color: Option<usize>,
    stroke: &'static str,
    points: Vec<i64>,
}

#[derive(Serialize)]
struct Mark<'a> {
    x: f64,
    label: &'a str,
    color: Option<usize>,
}

/// One JSON object, safe inside a `script` element.
#[must_use]
pub fn json(figure: &Figure) -> String {
    let chart = Chart {
        name: &figure.name,
        title: &figure.title,
        panels: figure.panels.iter().map(axes).collect(),
    };
    let text = serde_json::to_string(&chart).expect("plain data with text keys");
    text.replace('<', "\\u003c")
}

fn axes(panel: &Panel) -> Axes<'_> {
    let unit = [(panel.x_max - panel.x_min) / FINE, panel.y_max / FINE];
    Axes {
        x: &panel.x_label,
        y: &panel.y_label,
        x0: panel.x_min,
        x1: panel.x_max,
        y1: panel.y_max,
        cdf: panel.cdf,
        unit,
        lines: panel.lines.iter().map(|line| curve(line, unit)).collect(),
        bounds: panel
            .bounds
            .iter()
            .map(|own| Mark { x: own.x, label: &own.label, color: place(own.color) })
            .collect(),
        bounds_label: panel.bounds_label,
    }
}

fn curve(line: &Line, unit: [f64; 2]) -> Curve<'_> {
    let about = &line.about;
    Curve {
        label: &line.label,
        task: about.task.as_deref(),
        case: about.case.as_deref(),
        kind: about.kind,
        jobs: about.jobs,
        color: place(line.color),
        stroke: match line.stroke {
            Stroke::Broad => "broad",
            Stroke::Solid => "solid",
            Stroke::Simulated => "simulated",
            Stroke::Dashed => "dashed",
            Stroke::Dots => "dots",
        },
        points: differences(&thinned(line), unit),
    }
}

fn differences(points: &[(f64, f64)], [x, y]: [f64; 2]) -> Vec<i64> {
    let whole = |value: f64, unit: f64| if unit > 0.0 { (value / unit).round() as i64 } else { 0 };
    let mut before = (0, 0);
    let mut out = Vec::with_capacity(2 * points.len());
    for point in points {
        let now = (whole(point.0, x), whole(point.1, y));
        out.extend([now.0 - before.0, now.1 - before.1]);
        before = now;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::thin::tests::steps;

    #[test]
    fn the_json_gives_the_points_back_and_cannot_end_its_element() {
        let panel = Panel {
            x_label: "x".into(),
            y_label: "y".into(),
            x_min: 0.0,
            x_max: 4.0,
            y_max: 1.0,
            lines: vec![steps(2)],
            bounds: Vec::new(),
            bounds_label: "",
            cdf: true,
        };
        let figure = Figure {
            name: "f".into(),
            title: "</script>".into(),
            caption: String::new(),
            panels: vec![panel],
        };
        let text = json(&figure);
        assert!(!text.contains('<'), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let line = &value["panels"][0]["lines"][0];
        assert_eq!((line["color"].as_u64(), line["label"].as_str()), (Some(1), Some("a <b>")));
        assert_eq!(
            line["points"],
            serde_json::json!([0, 0, 250_000, 0, 0, 500_000, 250_000, 0, 0, 500_000])
        );
    }
}

//! The measured supply bound function, length by length: `sbf.csv`.

use super::{
    Traced,
    bound::{Promise, greatest, least, longest},
    segment::{Segment, Window},
};
use crate::{grid::Grid, units::UNKNOWN};

/// Points a period, up to [`FINE_PERIODS`]; beyond, the corners of the promise.
const FINE: u64 = 25;
const FINE_PERIODS: u64 = 8;

/// Every value at one window length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The length.
    pub length_ns: u64,
    /// The least supply in any undisturbed window in which the vCPU was busy, and the attempt.
    pub least: Option<(u32, Window)>,
    /// The same with windows that a stall touches.
    pub least_all_ns: Option<u64>,
    /// The greatest supply in any undisturbed window.
    pub greatest_ns: Option<u64>,
    /// Promised by the two-gap function.
    pub two_gap_ns: u64,
    /// Promised by the one-gap function.
    pub one_gap_ns: u64,
}

/// The curve over all attempts, to the longest busy interval.
#[must_use]
pub fn curve(attempts: &[Traced], promise: &Promise) -> Vec<Point> {
    let end_ns = attempts.iter().map(|one| longest(&one.busy)).max().unwrap_or(0);
    lengths(promise, end_ns).into_iter().map(|length| point(attempts, promise, length)).collect()
}

fn lengths(promise: &Promise, end_ns: u64) -> Vec<u64> {
    let p = promise.period_ns();
    let fine = (1..=FINE * FINE_PERIODS).map(|k| k * p / FINE);
    let mut all: Vec<u64> =
        fine.chain(promise.corners(end_ns)).filter(|length| *length <= end_ns).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn point(attempts: &[Traced], promise: &Promise, length_ns: u64) -> Point {
    let each = |pick: fn(&[Segment], u64) -> Option<Window>, all: bool| {
        let segments =
            move |one: &Traced| pick(if all { &one.busy } else { &one.quiet }, length_ns);
        attempts.iter().filter_map(move |one| Some((one.attempt, segments(one)?)))
    };
    let supplied = |(_, window): (u32, Window)| window.supplied_ns;
    Point {
        length_ns,
        least: each(least, false).min_by_key(|(_, window)| window.supplied_ns),
        least_all_ns: each(least, true).map(supplied).min(),
        greatest_ns: each(greatest, false).map(supplied).max(),
        two_gap_ns: promise.two_gap_ns(length_ns),
        one_gap_ns: promise.one_gap_ns(length_ns),
    }
}

/// `sbf.csv`: a row for each experiment and length.
#[must_use]
pub fn grid(curves: &[(&str, Vec<Point>)]) -> Grid {
    let header = [
        "experiment",
        "length_ns",
        "least_ns",
        "repetition",
        "start_ns",
        "least_all_ns",
        "greatest_ns",
        "two_gap_ns",
        "one_gap_ns",
    ];
    let known = |value: Option<u64>| value.map_or_else(|| UNKNOWN.to_owned(), |n| n.to_string());
    let row = |name: &str, point: &Point| {
        vec![
            name.to_owned(),
            point.length_ns.to_string(),
            known(point.least.map(|(_, window)| window.supplied_ns)),
            known(point.least.map(|(attempt, _)| attempt.into())),
            known(point.least.map(|(_, window)| window.start_ns)),
            known(point.least_all_ns),
            known(point.greatest_ns),
            point.two_gap_ns.to_string(),
            point.one_gap_ns.to_string(),
        ]
    };
    let rows = curves
        .iter()
        .flat_map(|(name, points)| points.iter().map(|point| row(name, point)))
        .collect();
    Grid { header: header.map(str::to_owned).into(), rows, texts: 1, notes: Vec::new() }
}

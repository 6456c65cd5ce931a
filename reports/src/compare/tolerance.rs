//! `--tolerance`: whether the second folder is worse than the first by more than is allowed.

use std::str::FromStr;

use super::{Comparison, Pair, table::left_out};
use crate::units::{percent, short};

/// By how much a 99th percentile may grow, as a share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance(pub f64);

impl FromStr for Tolerance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|own| own.trim().parse::<f64>().ok());
        match number {
            Some(own) if own.is_finite() && own >= 0.0 => Ok(Self(own / 100.0)),
            _ => Err("a share in per cent from 0 on, for example `5%`".to_owned()),
        }
    }
}

/// A sentence for each task whose p99 grew by more than the tolerance or that misses a larger share
/// of its deadlines than before, and for each experiment that could not be compared.
#[must_use]
pub fn breaches(comparison: &Comparison, tolerance: Tolerance) -> Vec<String> {
    let mut found: Vec<String> =
        comparison.pairs.iter().filter_map(|pair| breach(pair, tolerance)).collect();
    let only_second = |said: &String| said.starts_with("Only the second");
    found.extend(left_out(comparison).into_iter().filter(|said| !only_second(said)));
    found
}

/// In words; none where the pair is within the tolerance.
#[must_use]
pub fn breach(pair: &Pair, Tolerance(share): Tolerance) -> Option<String> {
    let name = format!("{} {}", pair.experiment, pair.task);
    let missed = pair.counts.map(|own| own.missed() as f64 / (own.judged() as f64).max(1.0));
    if missed[1] > missed[0] {
        let text = pair.counts.map(|own| format!("{} of {}", own.missed(), own.judged()));
        return Some(format!(
            "{name}: {} jobs missed their deadline, {} before.",
            text[1], text[0]
        ));
    }
    let [before, now] = pair.p99_ns;
    let before = before?;
    let grown = now.is_none_or(|now| now as f64 > before as f64 * (1.0 + share));
    grown.then(|| {
        let now = now
            .map_or_else(|| "unknown, its jobs never finished".to_owned(), |ns| short(ns as f64));
        format!(
            "{name}: p99 is {now}, {} before; more than {} above.",
            short(before as f64),
            percent(share)
        )
    })
}

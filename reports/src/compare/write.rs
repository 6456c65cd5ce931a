//! A comparison as text, Markdown, CSV, LaTeX or JSON.

use clap::ValueEnum;
use serde::Serialize;

use super::{
    Circumstance, Comparison, table,
    tolerance::{Tolerance, breaches},
};
use crate::grid::{self, Grid};

/// How a comparison is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Aligned columns, for a terminal.
    #[default]
    Text,
    /// Markdown tables.
    Markdown,
    /// The rows as comma-separated values, without the circumstances.
    Csv,
    /// The rows as a LaTeX tabular, without the circumstances.
    Latex,
    /// One JSON object with everything.
    Json,
}

/// All of it: circumstances first, then the rows, then what is beyond the tolerance.
#[must_use]
pub fn write(comparison: &Comparison, format: Format, tolerance: Option<Tolerance>) -> String {
    let rows = |own| table::grid(comparison, own).write(own);
    let said = verdict(comparison, tolerance);
    match format {
        Format::Json => json(comparison, tolerance),
        Format::Csv => rows(grid::Format::Csv),
        Format::Latex => rows(grid::Format::Latex),
        Format::Text => {
            let first = circumstances(comparison, grid::Format::Text);
            format!("{first}\n{}{said}", rows(grid::Format::Text))
        }
        Format::Markdown => {
            let first = circumstances(comparison, grid::Format::Markdown);
            let rows = rows(grid::Format::Markdown);
            format!(
                "## What differs in the circumstances\n\n{first}\n## Response times\n\n{rows}{said}"
            )
        }
    }
}

fn circumstances(comparison: &Comparison, format: grid::Format) -> String {
    if comparison.circumstances.is_empty() {
        return "The circumstances are the same: host, programs, suite.\n".to_owned();
    }
    let row = |own: &Circumstance| vec![own.what.clone(), own.first.clone(), own.second.clone()];
    let header = ["differs", "first", "second"].map(str::to_owned).into();
    let rows = comparison.circumstances.iter().map(row).collect();
    Grid { header, rows, texts: 3, notes: Vec::new() }.write(format)
}

fn verdict(comparison: &Comparison, tolerance: Option<Tolerance>) -> String {
    let Some(tolerance) = tolerance else { return String::new() };
    let found = breaches(comparison, tolerance);
    if found.is_empty() {
        return format!("\nWithin the tolerance of {}.\n", crate::units::percent(tolerance.0));
    }
    format!(
        "\nBeyond the tolerance:\n{}",
        found.iter().map(|own| format!("- {own}\n")).collect::<String>()
    )
}

#[derive(Serialize)]
struct Object<'a> {
    circumstances: &'a [Circumstance],
    rows: Vec<serde_json::Map<String, serde_json::Value>>,
    not_compared: Vec<String>,
    tolerance: Option<f64>,
    /// None where no tolerance was asked for.
    beyond_tolerance: Option<Vec<String>>,
}

/// The rows have the columns of the CSV as keys.
fn json(comparison: &Comparison, tolerance: Option<Tolerance>) -> String {
    let object = Object {
        circumstances: &comparison.circumstances,
        rows: table::grid(comparison, grid::Format::Csv).objects(),
        not_compared: table::left_out(comparison),
        tolerance: tolerance.map(|own| own.0),
        beyond_tolerance: tolerance.map(|own| breaches(comparison, own)),
    };
    serde_json::to_string_pretty(&object).expect("plain data with text keys") + "\n"
}

//! The page as one self-contained HTML file: styles and figures inside.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::content::Content;
use crate::{
    claims::{Claim, Tally, Verdict, calculated},
    figure::Figure,
    grid::Grid,
    units::{UNKNOWN, unbroken},
};

const STYLE: &str = include_str!("style.css");

/// A figure and its SVG.
pub type Drawn = (Figure, String);

/// The document.
#[must_use]
pub fn write(content: &Content, figures: &[Drawn]) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (content.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (content.title) }
                    @for sentence in &content.lead { p { (sentence) } }
                }
                main {
                    (scorecard(content.scorecard, content.claims))
                    @if !figures.is_empty() { (pictures(figures)) }
                    @if !content.sweeps.is_empty() {
                        section {
                            h2 { "How much budget it takes" }
                            @for (name, grid) in &content.sweeps { h3 { (name) } (table(grid)) }
                        }
                    }
                    @if !content.mechanisms.is_empty() {
                        section {
                            h2 { "Which mechanism isolates" }
                            @for (title, grid) in &content.mechanisms {
                                h3 { (title) } (table(grid))
                            }
                        }
                    }
                    @if !content.joined.rows.is_empty() {
                        section { h2 { "Measured, simulated, calculated" } (table(&content.joined)) }
                    }
                    section {
                        h2 { "Response times" }
                        @for (title, grid) in &content.statistics { h3 { (title) } (table(grid)) }
                    }
                    section { h2 { "What was run" } (table(&content.protocol)) }
                    @if !content.execution.rows.is_empty() {
                        section {
                            h2 { "How constant the execution times were" }
                            (table(&content.execution))
                        }
                    }
                    @if !content.supplied.rows.is_empty() {
                        section {
                            h2 { "What the VM was supplied with" }
                            (table(&content.supplied))
                            h3 { "CPU time of its threads" }
                            (table(&content.threads))
                        }
                    }
                    section { h2 { "How quiet it was" } (table(&content.noise)) }
                    section { h2 { "Where" } (facts(&content.provenance)) }
                    @if !content.warnings.is_empty() {
                        section {
                            h2 { "Warnings" }
                            ul { @for warning in &content.warnings { li { (warning) } } }
                        }
                    }
                }
            }
        }
    }
    .into_string()
}

fn scorecard(heading: &str, claims: &[Claim]) -> Markup {
    html! {
        section {
            h2 { (heading) }
            p { (Tally::of(claims).sentence()) }
            @if let Some(own) = calculated(claims) { p { (own.sentence()) } }
            div.scroll {
                table.claims {
                    thead {
                        tr { th { "claim" } th { "paper" } th { "here" } th { "verdict" } }
                    }
                    tbody { @for claim in claims { (claim_row(claim)) } }
                }
            }
        }
    }
}

fn claim_row(claim: &Claim) -> Markup {
    let (class, word) = match claim.verdict {
        Verdict::Holds => ("holds", "holds"),
        Verdict::Fails => ("fails", "fails"),
        Verdict::NotMeasurable => ("open", "not measurable"),
    };
    html! {
        tr id=(claim.id) {
            td { (claim.says) div.rule { code { (claim.id) } " holds if " (unbroken(&claim.rule)) "." } }
            td { (unbroken(claim.paper)) }
            td {
                @match (&claim.measured, &claim.reason) {
                    (Some(measured), _) => (unbroken(measured)),
                    (None, Some(reason)) => span.dim { "not measured: " (reason) },
                    (None, None) => (UNKNOWN),
                }
            }
            td { span class={ "verdict " (class) } { (word) } }
        }
    }
}

fn pictures(figures: &[Drawn]) -> Markup {
    html! {
        section {
            h2 { "Figures" }
            @for (figure, svg) in figures {
                figure id=(figure.name) {
                    div.picture role="img" aria-label=(figure.title) { (PreEscaped(svg)) }
                    figcaption { (figure.caption) }
                }
            }
        }
    }
}

fn table(grid: &Grid) -> Markup {
    let class = |column: usize| (column >= grid.texts).then_some("number");
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        @for (column, title) in grid.header.iter().enumerate() {
                            th class=[class(column)] { (title) }
                        }
                    }
                }
                tbody {
                    @for row in &grid.rows {
                        tr {
                            @for (column, cell) in row.iter().enumerate() {
                                td class=[class(column)] { (cell) }
                            }
                        }
                    }
                }
            }
        }
        @for note in &grid.notes { p.note { (note) } }
    }
}

/// Pairs of what and value, without a header.
fn facts(grid: &Grid) -> Markup {
    html! {
        table.facts {
            tbody {
                @for row in &grid.rows { tr { th { (row[0]) } td { (row[1]) } } }
            }
        }
    }
}

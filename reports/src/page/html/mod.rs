//! The page as one self-contained HTML file: styles, script, data and pictures inside.

mod figures;
pub(crate) mod parts;
mod scorecard;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::{
    figures::{figure, missing, schedule},
    parts::{facts, message, table},
};
use super::{Drawn, content::Content, timeline::Timeline};
use crate::grid::Grid;

const STYLE: &str = concat!(include_str!("../style/page.css"), include_str!("../style/chart.css"));

/// One after the other inside one function, so that nothing of them is seen from outside.
const SCRIPT: &str = concat!(
    "\"use strict\";\n(() => {\n",
    include_str!("../script/base.js"),
    include_str!("../script/read.js"),
    include_str!("../script/axes.js"),
    include_str!("../script/panel.js"),
    include_str!("../script/keys.js"),
    include_str!("../script/figure.js"),
    include_str!("../script/timeline.js"),
    include_str!("../script/start.js"),
    "})();\n"
);

/// The document.
#[must_use]
pub fn write(
    content: &Content,
    figures: &[Drawn],
    timeline: Option<(&Timeline, String)>,
) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Without it a browser asks the server for one.
                link rel="icon" href="data:,";
                title { (content.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head(content))
                main { (body(content, figures, timeline)) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
    .into_string()
}

fn head(content: &Content) -> Markup {
    html! {
        header {
            label.theme hidden {
                "Colours "
                select id="theme" {
                    option value="" { "as the system" }
                    option value="light" { "light" }
                    option value="dark" { "dark" }
                }
            }
            h1 { (content.title) }
            @for sentence in &content.lead { p { (sentence) } }
            ul.headline { @for sentence in &content.headline { li { (sentence) } } }
        }
    }
}

fn body(content: &Content, figures: &[Drawn], timeline: Option<(&Timeline, String)>) -> Markup {
    let named = |prefix: &'static str| move |own: &&Drawn| own.figure.name.starts_with(prefix);
    let paper = |own: &&Drawn| {
        let name = own.figure.name.trim_end_matches("-time");
        ["fig1", "fig2", "fig3", "fig4"].contains(&name)
            || ["fig4-unloaded", "fig4-loaded"].contains(&name)
    };
    let known = ["table1", "sweep-", "supply-", "network-"];
    let other = |own: &&Drawn| !paper(own) && known.iter().all(|prefix| !named(prefix)(own));
    html! {
        (scorecard::scorecard(content.scorecard, content.claims))
        (pictures("figures", "Figures 1 to 4", figures.iter().filter(paper), content, true))
        @if content.table1.is_some() || figures.iter().any(|own| named("table1")(&own)) {
            section id="table1-section" {
                h2 { "Table 1: the web service" }
                @if let Some(grid) = &content.table1 { (table(grid)) }
                @for own in figures.iter().filter(named("table1")) { (figure(own)) }
            }
        }
        (pictures("others", "Other experiments", figures.iter().filter(other), content, false))
        (grids("sweep", "How much budget it takes", &content.sweeps, figures.iter().filter(named("sweep-"))))
        (grids("mechanisms", "Which mechanism isolates", &content.mechanisms, [].iter()))
        (supplied(content, figures.iter().filter(named("supply-"))))
        @if !content.network.rows.is_empty() {
            section id="network" {
                h2 { "What network traffic costs, and who pays" }
                (table(&content.network))
                @for own in figures.iter().filter(named("network-")) { (figure(own)) }
            }
        }
        @if let Some((own, svg)) = timeline { (schedule(own, &svg)) }
        (grids("clock", "What time it is in there", &content.clocks, [].iter()))
        (only_with_rows("joined", "Measured, simulated, calculated", &content.joined))
        section id="statistics" {
            h2 { "Response times of every task" }
            @for (title, grid) in &content.statistics { h3 { (title) } (table(grid)) }
        }
        (circumstances(content))
        (protocol(content))
        @if !content.warnings.is_empty() {
            section id="warnings" {
                h2 { "Warnings" }
                ul { @for own in &content.warnings { li { (message(own)) } } }
            }
        }
    }
}

/// Figures, and in their place what is missing.
fn pictures<'a>(
    id: &str,
    heading: &str,
    figures: impl Iterator<Item = &'a Drawn>,
    content: &Content,
    of_paper: bool,
) -> Markup {
    let figures: Vec<&Drawn> = figures.collect();
    let of_paper = |place: &str| place.starts_with("Figure ") == of_paper;
    let absent: Vec<_> = content.absent.iter().filter(|own| of_paper(&own.place)).collect();
    html! {
        @if !(figures.is_empty() && absent.is_empty()) {
            section id=(id) {
                h2 { (heading) }
                @if of_paper("Figure 1") {
                    @for number in 1..=4 {
                        @let (name, place) = (format!("fig{number}"), format!("Figure {number}"));
                        @for own in figures.iter().filter(|own| own.figure.name.starts_with(&name)) {
                            (figure(own))
                        }
                        @for own in absent.iter().filter(|own| own.place == place) { (missing(own)) }
                    }
                } @else {
                    @for own in figures { (figure(own)) }
                    @for own in absent { (missing(own)) }
                }
            }
        }
    }
}

fn grids<'a>(
    id: &str,
    heading: &str,
    grids: &[(String, Grid)],
    figures: impl Iterator<Item = &'a Drawn>,
) -> Markup {
    html! {
        @if !grids.is_empty() {
            section id=(id) {
                h2 { (heading) }
                @for own in figures { (figure(own)) }
                @for (title, grid) in grids { h3 { (title) } (table(grid)) }
            }
        }
    }
}

fn supplied<'a>(content: &Content, figures: impl Iterator<Item = &'a Drawn>) -> Markup {
    html! {
        @if !content.supplied.rows.is_empty() {
            section id="supply" {
                h2 { "What the VM was supplied with" }
                (table(&content.supplied))
                @for own in figures { (figure(own)) }
                h3 { "CPU time of its threads" }
                (table(&content.threads))
            }
        }
    }
}

fn only_with_rows(id: &str, heading: &str, grid: &Grid) -> Markup {
    html! { @if !grid.rows.is_empty() { section id=(id) { h2 { (heading) } (table(grid)) } } }
}

fn circumstances(content: &Content) -> Markup {
    html! {
        section id="noise" {
            h2 { "How quiet it was" }
            (table(&content.noise))
            @if !content.execution.rows.is_empty() {
                h3 { "How constant the execution times were" }
                (table(&content.execution))
            }
        }
        section id="host" { h2 { "The host" } (facts(&content.provenance)) }
    }
}

fn protocol(content: &Content) -> Markup {
    html! {
        section id="protocol" {
            h2 { "What was run" }
            (table(&content.protocol))
            @if let Some(command) = &content.command {
                p { "To run it again, from the folder that holds this one:" }
                pre { code { (command) } }
            }
        }
    }
}

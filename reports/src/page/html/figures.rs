//! A figure: title, switches and curves, caption, table.

use maud::{Markup, PreEscaped, html};

use super::parts::{captioned, message};
use crate::page::{Drawn, absent::Absent, chart, timeline::Timeline};

/// The script puts its curves into `div.live`, and hides the static picture.
pub(super) fn figure(own: &Drawn) -> Markup {
    let (figure, title) = (&own.figure, format!("{}-title", own.figure.name));
    html! {
        figure.chart id=(figure.name) aria-labelledby=(title) {
            h3 id=(title) { (figure.title) }
            script type="application/json" { (PreEscaped(chart::json(figure))) }
            div.live hidden {}
            div.picture role="img" aria-label=(figure.title) { (PreEscaped(&own.svg)) }
            figcaption { (figure.caption) }
            (captioned(&own.table, &format!("{} in numbers", figure.title)))
            @for note in &own.table.notes { p.note { (note) } }
        }
    }
}

/// The place of a figure that is not there.
pub(super) fn missing(own: &Absent) -> Markup {
    html! {
        div.missing {
            strong { (own.place) }
            @if own.place != own.experiment { " (" (own.experiment) ")" }
            " is missing. "
            (message(&own.reason))
        }
    }
}

/// The window of the timeline.
pub(super) fn schedule(own: &Timeline, svg: &str) -> Markup {
    html! {
        section id="timeline" {
            h2 { "A window of the timeline" }
            figure.timeline aria-labelledby="timeline-title" {
                h3 id="timeline-title" { (own.title) }
                script type="application/json" { (PreEscaped(&own.json)) }
                div.live hidden {}
                div.picture role="img" aria-label=(own.title) { (PreEscaped(svg)) }
                figcaption {
                    "Bars: who had the CPU. Arrows: releases of the guest's tasks. Shaded: the \
                     machine was stalled."
                }
                (captioned(&own.grid, "The window in numbers"))
                @for note in &own.grid.notes { p.note { (note) } }
            }
        }
    }
}

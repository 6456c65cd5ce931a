//! The scorecard: marks at a glance, what fails, and the rest folded.

use maud::{Markup, html};

use crate::{
    claims::{Claim, Tally, Verdict, calculated},
    units::{UNKNOWN, count, unbroken},
};

/// Claims of this figure are of one kind: three for each traced experiment.
const SUPPLY: &str = "supply";

pub(super) fn scorecard(heading: &str, claims: &[Claim]) -> Markup {
    let of = |verdict| claims.iter().filter(|own| own.verdict == verdict).collect::<Vec<_>>();
    html! {
        section id="scorecard" {
            h2 { (heading) }
            p { (Tally::of(claims).sentence()) }
            @if let Some(own) = calculated(claims) { p { (own.sentence()) } }
            (glance(claims))
            (verdicts("fail", true, &of(Verdict::Fails)))
            (verdicts("not measurable here", false, &of(Verdict::NotMeasurable)))
            (verdicts("hold", false, &of(Verdict::Holds)))
        }
    }
}

/// A row of marks for each figure; each leads to its claim.
fn glance(claims: &[Claim]) -> Markup {
    let mut figures: Vec<&str> = claims.iter().map(|own| own.figure).collect();
    figures.sort_by_key(|figure| (figure.len(), *figure));
    figures.dedup();
    html! {
        dl.glance {
            @for figure in figures {
                dt { (title(figure)) }
                dd {
                    @for own in claims.iter().filter(|own| own.figure == figure) {
                        @let (class, sign, word) = mark(own.verdict);
                        @let label = format!("{}: {word}", own.id);
                        a class={ "mark " (class) } href={ "#" (own.id) } title=(label)
                            aria-label=(label) { (sign) }
                    }
                }
            }
        }
    }
}

fn title(figure: &str) -> String {
    match figure {
        "table 1" => "Table 1".to_owned(),
        SUPPLY => "Supply".to_owned(),
        number => format!("Figure {number}"),
    }
}

fn mark(verdict: Verdict) -> (&'static str, &'static str, &'static str) {
    match verdict {
        Verdict::Holds => ("holds", "✓", "holds"),
        Verdict::Fails => ("fails", "✗", "fails"),
        Verdict::NotMeasurable => ("open", "?", "not measurable"),
    }
}

/// The claims of one verdict; those about supply are one row that unfolds.
fn verdicts(what: &str, open: bool, claims: &[&Claim]) -> Markup {
    let (supply, own): (Vec<&Claim>, Vec<&Claim>) =
        claims.iter().copied().partition(|claim| claim.figure == SUPPLY);
    let title = |n: usize| {
        let verb = if n == 1 && !what.contains(' ') { format!("{what}s") } else { what.to_owned() };
        format!("{} {verb}", count(n, "claim"))
    };
    html! {
        @if !claims.is_empty() {
            details.verdicts open[open] {
                summary { (title(claims.len())) }
                @if !own.is_empty() { (rows(&own)) }
                @if !supply.is_empty() {
                    details.kind open[open && supply.len() <= 3] {
                        summary { (title(supply.len())) ", about what the VM was supplied with" }
                        (rows(&supply))
                    }
                }
            }
        }
    }
}

fn rows(claims: &[&Claim]) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="claims" {
            table.claims {
                thead {
                    tr {
                        @for title in ["claim", "the paper", "here", "verdict"] {
                            th scope="col" { (title) }
                        }
                    }
                }
                tbody { @for claim in claims { (row(claim)) } }
            }
        }
    }
}

fn row(claim: &Claim) -> Markup {
    let (class, sign, word) = mark(claim.verdict);
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
            td { span class={ "verdict " (class) } { (sign) " " (word) } }
        }
    }
}

//! A merged report as one self-contained page: no script, nothing from outside.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    merged::{Column, Merged, Scored},
    table,
};
use crate::{
    claims::Verdict,
    page::html::parts,
    stats::effects,
    units::{count, percent},
};

const STYLE: &str = concat!(include_str!("../page/style/page.css"), include_str!("style.css"));

/// The document.
#[must_use]
pub fn write(merged: &Merged) -> String {
    let title =
        format!("{}, {}", count(merged.hosts.len(), "host"), count(merged.folders, "result"));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body.fleet {
                header {
                    h1 { (title) }
                    ul.headline { @for own in headline(merged) { li { (own) } } }
                }
                main { (body(merged)) }
            }
        }
    }
    .into_string()
}

fn body(merged: &Merged) -> Markup {
    html! {
        section id="experiments" {
            h2 { "Experiments over all hosts" }
            (parts::table(&table::experiments(merged)))
        }
        section id="hosts" { h2 { "Hosts" } (parts::table(&table::hosts(merged))) }
        section id="times" {
            h2 { "Response times: host × experiment" }
            p { (merged.statistic.name()) " in milliseconds. " (table::outlier_rule(merged)) }
            (times(merged))
        }
        @if !merged.claims.is_empty() {
            section id="claims" {
                h2 { "Claims: host × claim" }
                p { "✓ holds, ✗ fails, ? not measurable; an empty cell: the host has no result." }
                (claims(merged))
            }
        }
        section id="differences" {
            h2 { "What differs between the hosts" }
            (parts::table(&table::differences(merged, false)))
        }
    }
}

/// What a reader should know first.
fn headline(merged: &Merged) -> Vec<String> {
    let mut said = Vec::new();
    if merged.simulated {
        said.push("Folders among these were simulated: nothing was measured in them.".to_owned());
    }
    let all = 0..merged.hosts.len();
    let silent: Vec<usize> = all.clone().filter(|at| merged.hosts[*at].facts.is_empty()).collect();
    if !silent.is_empty() {
        said.push(format!(
            "Nothing came back from {}: {}.",
            count(silent.len(), "host"),
            table::names(merged, silent.into_iter())
        ));
    }
    let out: Vec<usize> = all.filter(|at| merged.outliers_of(*at).next().is_some()).collect();
    said.push(match out.len() {
        _ if merged.hosts.len() < effects::LEAST_HOSTS => table::outlier_rule(merged),
        0 => "No host stands out.".to_owned(),
        n => format!(
            "{} out: {}.",
            if n == 1 { "1 host stands".to_owned() } else { format!("{n} hosts stand") },
            table::names(merged, out.into_iter())
        ),
    });
    if !merged.claims.is_empty() {
        let everywhere = |verdict: Verdict| {
            merged
                .claims
                .iter()
                .filter(|own| own.count(verdict) == own.verdicts.iter().flatten().count())
                .count()
        };
        let somewhere = merged.claims.iter().filter(|own| own.count(Verdict::Fails) > 0).count();
        said.push(format!(
            "Of {}, {} hold on every host that has them, {somewhere} fail on at least one.",
            count(merged.claims.len(), "claim"),
            everywhere(Verdict::Holds),
        ));
    }
    let shares = merged.columns.iter().filter_map(|own| Some((own.spread?.share_between()?, own)));
    if let Some((share, own)) = shares.max_by(|a, b| a.0.total_cmp(&b.0)) {
        said.push(format!(
            "The hosts differ most in {}: {} of its variance lies between them.",
            own.name(),
            percent(share)
        ));
    }
    said
}

/// A matrix whose first column and head stay in sight.
fn matrix(label: &str, head: &Markup, rows: impl Iterator<Item = Markup>) -> Markup {
    html! {
        div.scroll.matrix tabindex="0" role="group" aria-label=(label) {
            table { thead { (head) } tbody { @for row in rows { tr { (row) } } } }
        }
    }
}

fn times(merged: &Merged) -> Markup {
    let head = html! {
        tr {
            th scope="col" { "host" }
            @for own in &merged.columns { th.up scope="col" { span { (own.name()) } } }
        }
    };
    let row = |(at, host): (usize, &super::merged::Host)| {
        html! {
            th scope="row" { (host.name) }
            @if host.facts.is_empty() {
                td.silent colspan=(merged.columns.len().max(1)) { (host.states.join("; ")) }
            } @else {
                @for own in &merged.columns { (time_cell(own, at)) }
            }
        }
    };
    matrix("response times", &head, merged.hosts.iter().enumerate().map(row))
}

fn time_cell(own: &Column, at: usize) -> Markup {
    let distance = own.distances[at];
    let (class, sign) = match distance {
        Some(away) if effects::is_outlier(distance) && away > 0.0 => (Some("fails"), "▲ "),
        Some(_) if effects::is_outlier(distance) => (Some("low"), "▼ "),
        _ => (None, ""),
    };
    let (jobs, missed) = own.counts[at].unwrap_or_default();
    let title = own.counts[at].is_some().then(|| {
        let away = distance
            .map_or_else(String::new, |away| format!(", {away:+.1} robust standard deviations"));
        format!("{} of {jobs} missed, {}{away}", missed, count(own.values[at].len(), "repetition"))
    });
    html! { td.number class=[class] title=[title] { (sign) (table::time(own.value(at))) } }
}

fn claims(merged: &Merged) -> Markup {
    let head = html! {
        tr {
            th scope="col" { "host" }
            @for own in &merged.claims { th.up scope="col" { span { (own.label) } } }
        }
        tr {
            th scope="row" { "hosts on which it fails" }
            @for own in &merged.claims { td.number { (failing(own)) } }
        }
    };
    let row = |(at, host): (usize, &super::merged::Host)| {
        html! {
            th scope="row" { (host.name) }
            @for own in &merged.claims {
                @match own.verdicts[at] {
                    Some(Verdict::Holds) => td.sign.holds { "✓" },
                    Some(Verdict::Fails) => td.sign.fails { "✗" },
                    Some(Verdict::NotMeasurable) => td.sign.open { "?" },
                    None => td.sign {},
                }
            }
        }
    };
    matrix("claims", &head, merged.hosts.iter().enumerate().map(row))
}

fn failing(own: &Scored) -> String {
    match own.count(Verdict::Fails) {
        0 => String::new(),
        n => n.to_string(),
    }
}

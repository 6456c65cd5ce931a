//! The same as Markdown, for a repository or a review; figures are links to the PNG files.

use super::{Drawn, content::Content};
use crate::{
    claims::{Claim, Tally, Verdict, calculated},
    grid::{Format, Grid},
    units::UNKNOWN,
};

/// The document.
#[must_use]
pub fn write(content: &Content, figures: &[Drawn]) -> String {
    let mut out = format!("# {}\n\n", content.title);
    for sentence in content.lead.iter().chain(&content.headline) {
        out.push_str(&format!("{sentence}\n\n"));
    }
    out.push_str(&format!("## {}\n\n", content.scorecard));
    out.push_str(&format!("{}\n\n", Tally::of(content.claims).sentence()));
    if let Some(own) = calculated(content.claims) {
        out.push_str(&format!("{}\n\n", own.sentence()));
    }
    out.push_str(&scorecard(content.claims).write(Format::Markdown));
    if !figures.is_empty() {
        out.push_str("\n## Figures\n\n");
    }
    for Drawn { figure, table, .. } in figures {
        out.push_str(&format!(
            "![{}]({}.png)\n\n{}\n\n",
            figure.title, figure.name, figure.caption
        ));
        out.push_str(&format!("{}\n", table.write(Format::Markdown)));
    }
    for own in &content.absent {
        let missing = format!("{} ({})", own.place, own.experiment);
        out.push_str(&format!("{missing} is missing: {}\n\n", own.reason.sentence));
    }
    if let Some(grid) = &content.table1 {
        out.push_str(&format!("## Table 1\n\n{}\n", grid.write(Format::Markdown)));
    }
    if !content.sweeps.is_empty() {
        out.push_str("## How much budget it takes\n\n");
    }
    for (name, grid) in &content.sweeps {
        out.push_str(&format!("### {name}\n\n{}\n", grid.write(Format::Markdown)));
    }
    if !content.mechanisms.is_empty() {
        out.push_str("## Which mechanism isolates\n\n");
    }
    for (title, grid) in &content.mechanisms {
        out.push_str(&format!("### {title}\n\n{}\n", grid.write(Format::Markdown)));
    }
    if !content.network.rows.is_empty() {
        let grid = content.network.write(Format::Markdown);
        out.push_str(&format!("## What network traffic costs, and who pays\n\n{grid}\n"));
    }
    if !content.clocks.is_empty() {
        out.push_str("## What time it is in there\n\n");
    }
    for (title, grid) in &content.clocks {
        out.push_str(&format!("### {title}\n\n{}\n", grid.write(Format::Markdown)));
    }
    if !content.joined.rows.is_empty() {
        let grid = content.joined.write(Format::Markdown);
        out.push_str(&format!("## Measured, simulated, calculated\n\n{grid}\n"));
    }
    out.push_str("## Response times\n\n");
    for (title, grid) in &content.statistics {
        out.push_str(&format!("### {title}\n\n{}\n", grid.write(Format::Markdown)));
    }
    if let Some(command) = &content.command {
        out.push_str(&format!("To run it again: `{command}`\n\n"));
    }
    for (title, grid) in [
        ("What was run", &content.protocol),
        ("How constant the execution times were", &content.execution),
        ("What the VM was supplied with", &content.supplied),
        ("CPU time of its threads", &content.threads),
        ("How quiet it was", &content.noise),
        ("Where", &content.provenance),
    ]
    .into_iter()
    .filter(|(_, grid)| !grid.rows.is_empty())
    {
        out.push_str(&format!("## {title}\n\n{}\n", grid.write(Format::Markdown)));
    }
    if !content.warnings.is_empty() {
        out.push_str("## Warnings\n\n");
        out.extend(content.warnings.iter().map(|own| format!("- {}\n", own.sentence)));
    }
    out.trim_end().to_owned() + "\n"
}

/// The scorecard as a table: claim, paper, ours, verdict.
#[must_use]
pub fn scorecard(claims: &[Claim]) -> Grid {
    let row = |claim: &Claim| {
        let reason = claim.reason.as_ref().map(|reason| format!("not measured: {reason}"));
        let word = match claim.verdict {
            Verdict::Holds => "holds",
            Verdict::Fails => "**fails**",
            Verdict::NotMeasurable => "not measurable",
        };
        vec![
            claim.says.to_owned(),
            claim.paper.to_owned(),
            claim.measured.clone().or(reason).unwrap_or_else(|| UNKNOWN.to_owned()),
            word.to_owned(),
        ]
    };
    Grid {
        header: ["claim", "paper", "here", "verdict"].map(str::to_owned).into(),
        rows: claims.iter().map(row).collect(),
        texts: 4,
        notes: Vec::new(),
    }
}

//! The scorecard as text and as JSON.

use serde::Serialize;

use super::{Calculated, Claim, Verdict, calculated};
use crate::{folder::Results, units::count};

/// How many claims hold, fail and could not be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Those that hold.
    pub holds: usize,
    /// Those that fail.
    pub fails: usize,
    /// Those that could not be measured.
    pub not_measurable: usize,
}

impl Tally {
    /// Counts them.
    #[must_use]
    pub fn of(claims: &[Claim]) -> Self {
        let count =
            |verdict| claims.iter().filter(|claim: &&Claim| claim.verdict == verdict).count();
        Self {
            holds: count(Verdict::Holds),
            fails: count(Verdict::Fails),
            not_measurable: count(Verdict::NotMeasurable),
        }
    }

    /// One sentence.
    #[must_use]
    pub fn sentence(self) -> String {
        let total = self.holds + self.fails + self.not_measurable;
        if total == 0 {
            return "The paper claims nothing of these experiments.".to_owned();
        }
        format!(
            "Of {}, {} hold, {} fail, {} not measurable here.",
            count(total, "claim"),
            self.holds,
            self.fails,
            self.not_measurable
        )
    }
}

/// What was run and how, a block of lines for each claim, and the tally.
#[must_use]
pub fn text(results: &Results, claims: &[Claim]) -> String {
    let manifest = &results.manifest;
    let guests = match results.accelerator() {
        Some(_) if results.simulated() => ", SIMULATED: nothing here was measured".to_owned(),
        Some("tcg") => ", guests emulated (TCG)".to_owned(),
        Some(name) => format!(", guests under {}", name.to_uppercase()),
        None => String::new(),
    };
    let mut out = format!("{}, {}{guests}\n", manifest.suite.name, manifest.started_utc);
    out.extend(results.unreal_speed().map(|sentence| format!("{sentence}\n")));
    out.push('\n');
    for claim in claims {
        let mark = match claim.verdict {
            Verdict::Holds => "✓ holds",
            Verdict::Fails => "✗ FAILS",
            Verdict::NotMeasurable => "? not measurable",
        };
        out.push_str(&format!("{mark}  {}  {}\n", claim.id, claim.says));
        out.push_str(&format!("    paper: {}\n", claim.paper));
        match (&claim.measured, &claim.reason) {
            (Some(measured), _) => out.push_str(&format!("    ours:  {measured}\n")),
            (None, Some(reason)) => out.push_str(&format!("    ours:  not measured: {reason}\n")),
            (None, None) => {}
        }
        if let Some(all) = claim.all_jobs.as_ref().filter(|all| all.verdict != claim.verdict) {
            let measured = all.measured.as_deref().unwrap_or("not measured");
            out.push_str(&format!("    all jobs: {} ({measured})\n", all.verdict.name()));
        }
        out.push_str(&format!("    rule:  {}\n", claim.rule));
    }
    if let Some(own) = calculated(claims) {
        out.push_str(&format!("· calculated  {}  {}\n", own.id, own.says));
        out.push_str(&format!("    paper: {}\n    ours:  {}\n", own.paper, own.ours));
        out.push_str(&format!("    rule:  {}\n", own.rule));
    }
    out.push_str(&format!("\n{}\n", Tally::of(claims).sentence()));
    out
}

/// What `reports claims --summary json` prints, and `claims.json` holds.
#[derive(Serialize)]
struct Scorecard<'a> {
    suite: &'a str,
    started_utc: &'a str,
    accelerator: Option<&'a str>,
    #[serde(flatten)]
    tally: Tally,
    claims: &'a [Claim],
    calculated: Vec<Calculated>,
}

/// The scorecard as one JSON object, with a newline at the end.
#[must_use]
pub fn json(results: &Results, claims: &[Claim]) -> String {
    let scorecard = Scorecard {
        suite: &results.manifest.suite.name,
        started_utc: &results.manifest.started_utc,
        accelerator: results.accelerator(),
        tally: Tally::of(claims),
        claims,
        calculated: calculated(claims).into_iter().collect(),
    };
    serde_json::to_string_pretty(&scorecard).expect("plain data with text keys") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_counted_where_nothing_is_claimed() {
        let said = Tally::of(&[]).sentence();
        assert_eq!(said, "The paper claims nothing of these experiments.");
    }
}

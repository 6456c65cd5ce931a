//! The scorecard: what the paper says about its figures and its table, held against a result
//! folder.
//!
//! Each rule stands here as code and in `docs/method.md` as text. A rule compares with what the
//! analysis promises or with another case of the same folder, never with the paper's milliseconds,
//! so that it means the same on any machine; the paper's value is shown beside ours.

mod adapt;
mod case;
mod fig1_fig2;
mod fig3;
mod fig4;
mod host_load;
mod network;
mod supply;
mod table1;
mod tenants;
mod theory;
mod weights;
mod write;

use std::{borrow::Cow, collections::BTreeMap};

use model::{Exit, suite::Sweep};
use serde::Serialize;

pub use self::{
    theory::{Calculated, calculated},
    write::{Tally, json, text},
};
use crate::{folder::Results, series::Selection};

/// How a claim came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The rule is met.
    Holds,
    /// The rule is broken.
    Fails,
    /// The folder does not hold what the rule needs.
    NotMeasurable,
}

impl Verdict {
    /// The word used in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::NotMeasurable => "not-measurable",
        }
    }
}

/// One row of the scorecard.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Claim {
    /// Never changes once published.
    pub id: Cow<'static, str>,
    /// Which figure or table of the paper it is about.
    pub figure: &'static str,
    /// What the paper says, in one sentence.
    pub says: &'static str,
    /// The paper's value.
    pub paper: &'static str,
    /// Ours, with the unit; none where it could not be measured.
    pub measured: Option<String>,
    /// When the claim holds.
    pub rule: String,
    /// Whether it does.
    pub verdict: Verdict,
    /// Why it could not be measured.
    pub reason: Option<String>,
    /// The numbers behind the verdict; the unit is in the name.
    pub values: Values,
    /// What would come out if all jobs were judged, where disturbed ones are left out.
    pub all_jobs: Option<AllJobs>,
}

/// A claim's outcome when every job is judged, disturbed or not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AllJobs {
    /// Whether the rule would be met.
    pub verdict: Verdict,
    /// The text; none where the rule cannot be applied either.
    pub measured: Option<String>,
}

/// Named numbers.
pub type Values = BTreeMap<&'static str, f64>;

/// What the paper says, before it is held against anything.
struct Statement {
    id: &'static str,
    figure: &'static str,
    says: &'static str,
    paper: &'static str,
    rule: String,
}

/// What a rule found: the text, the numbers and whether it is met; or why it cannot be applied.
type Finding = Result<Judged, String>;

struct Judged {
    holds: bool,
    measured: String,
    values: Values,
}

impl Statement {
    /// By a rule that looks at the undisturbed jobs.
    fn judged_by(self, rule: impl Fn(Selection) -> Finding) -> Claim {
        let all = self.judged(rule(Selection::All));
        let all_jobs = AllJobs { verdict: all.verdict, measured: all.measured };
        Claim { all_jobs: Some(all_jobs), ..self.judged(rule(Selection::Undisturbed)) }
    }

    /// By a rule that leaves no job out.
    fn judged(&self, finding: Finding) -> Claim {
        let (verdict, measured, reason, values) = match finding {
            Ok(Judged { holds, measured, values }) => {
                let verdict = if holds { Verdict::Holds } else { Verdict::Fails };
                (verdict, Some(measured), None, values)
            }
            Err(reason) => (Verdict::NotMeasurable, None, Some(reason), Values::new()),
        };
        Claim {
            id: Cow::Borrowed(self.id),
            figure: self.figure,
            says: self.says,
            paper: self.paper,
            measured,
            rule: self.rule.clone(),
            verdict,
            reason,
            values,
            all_jobs: None,
        }
    }
}

/// The claims about those of the paper's experiments that the suite has, in the order of the paper:
/// all of figures 1 to 4 where it has one of them, and all of Table 1 likewise; those about the
/// budget where it has a sweep, too; those about VMs with neighbours; those about budgets that adapt;
/// those about network traffic; then those about the supply of each reservation that was traced.
#[must_use]
pub fn all(results: &Results) -> Vec<Claim> {
    let suite = &results.manifest.suite;
    let names = || suite.experiments.iter().map(|one| one.name.as_str());
    let mut claims = Vec::new();
    let figures = names().any(|name| FIGURES.contains(&name));
    if figures {
        claims.extend(fig1_fig2::claims(results));
        claims.extend(fig3::claims(results));
        claims.extend(fig4::claims(results));
        claims.extend(host_load::claims(results));
    }
    let alone = |own: &Sweep| own.members(suite).any(|one| one.only().is_some());
    if figures || suite.sweeps.iter().any(alone) {
        claims.extend(theory::claims(results));
    }
    if names().any(|name| crate::table1::EXPERIMENTS.contains(&name)) {
        claims.extend(table1::claims(results));
    }
    claims.extend(tenants::claims(results));
    claims.extend(adapt::claims(results));
    claims.extend(weights::claims(results));
    claims.extend(network::claims(results));
    claims.extend(supply::claims(results));
    claims
}

/// The experiments behind figures 1 to 4.
const FIGURES: [&str; 5] = ["fig1", "fig2", "fig3", "fig4-unloaded", "fig4-loaded"];

/// Exit code 4 where one fails, else 0.
#[must_use]
pub fn exit(claims: &[Claim]) -> Exit {
    let fails = claims.iter().any(|claim| claim.verdict == Verdict::Fails);
    if fails { Exit::NotHeld } else { Exit::Done }
}

//! Sweeps: one experiment under one budget after the other, written out as ordinary experiments.

use std::{collections::HashSet, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Experiment, ReservationSettings, Suite, Work, validate};
use crate::duration;

/// A range that gives more budgets than this is a slip of the pen.
const MOST_BUDGETS: u128 = 500;

/// A `[[sweep]]` of a suite: which experiment, and the budgets that take the place of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "Table", into = "Table")]
pub struct Sweep {
    /// The experiment that is varied; it has a reservation.
    pub experiment: String,
    /// The budgets, ascending.
    pub budgets: Budgets,
    /// In place of the experiment's own.
    pub duration: Option<Duration>,
    /// In place of the experiment's own.
    pub repetitions: Option<u32>,
    /// In place of the experiment's own.
    pub work: Option<Work>,
}

/// Budgets to measure: at least one, ascending, none twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budgets(Vec<Duration>);

impl Budgets {
    /// These, in any order.
    ///
    /// # Errors
    /// One sentence, where there is none, or one is there twice.
    pub fn list(mut budgets: Vec<Duration>) -> Result<Self, String> {
        budgets.sort_unstable();
        if budgets.is_empty() {
            return Err("there is no budget; give at least one, for example `28ms`".to_owned());
        }
        if let Some(same) = budgets.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("the budget {} is there twice", duration::format(same[0])));
        }
        Ok(Self(budgets))
    }

    /// `from`, `from + step`, … as far as they are not above `to`.
    ///
    /// # Errors
    /// One sentence, where `from` is above `to`, the step is zero, or the budgets are too many.
    pub fn range(from: Duration, to: Duration, step: Duration) -> Result<Self, String> {
        let text = duration::format;
        if from > to {
            return Err(format!("the budgets go from {} down to {}", text(from), text(to)));
        }
        if step.is_zero() {
            return Err("the step between budgets is 0; it is above zero".to_owned());
        }
        let steps = (to - from).as_nanos() / step.as_nanos();
        if steps >= MOST_BUDGETS {
            return Err(format!(
                "from {} to {} in steps of {} are {} budgets; at most {MOST_BUDGETS}",
                text(from),
                text(to),
                text(step),
                steps + 1
            ));
        }
        Self::list((0..=steps as u32).map(|n| from + step * n).collect())
    }

    /// The budgets, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Duration> {
        self.0.iter().copied()
    }
}

impl Sweep {
    /// The name of the experiment under `budget`: `fig4-loaded-28ms`, `fig4-loaded-26_5ms`.
    #[must_use]
    pub fn member(&self, budget: Duration) -> String {
        format!("{}-{}", self.experiment, duration::format(budget).replace('.', "_"))
    }

    /// Its experiments, as far as `suite` still has them, with ascending budgets.
    pub fn members<'a>(&self, suite: &'a Suite) -> impl Iterator<Item = &'a Experiment> {
        self.budgets.iter().filter_map(|budget| suite.experiment(&self.member(budget)))
    }

    /// The experiments that it stands for, checked like any other.
    fn write_out(&self, suite: &Suite) -> Result<Vec<Experiment>, String> {
        let base = suite.experiment(&self.experiment).ok_or_else(|| {
            let names: Vec<_> = suite.experiments.iter().map(|one| one.name.as_str()).collect();
            format!("there is no experiment of that name, but {}", names.join(", "))
        })?;
        let own = base
            .reservation
            .as_ref()
            .ok_or("the experiment has no reservation whose budget could be varied")?;
        let under = |budget| {
            let one = Experiment {
                name: self.member(budget),
                reservation: Some(ReservationSettings { budget, ..own.clone() }),
                duration: self.duration.unwrap_or(base.duration),
                repetitions: self.repetitions.unwrap_or(base.repetitions),
                work: self.work.unwrap_or(base.work),
                ..base.clone()
            };
            if one.tasks.is_empty() {
                return Err("the experiment has no tasks that could miss deadlines".to_owned());
            }
            validate::experiment(&one).map(|()| one)
        };
        self.budgets.iter().map(under).collect()
    }
}

impl Suite {
    /// The experiments of `sweep` alone, with everything else as in this suite.
    ///
    /// # Errors
    /// One sentence on what is wrong with the sweep.
    pub fn swept(&self, sweep: Sweep) -> Result<Self, String> {
        let experiments = sweep.write_out(self).map_err(|message| of(&sweep, &message))?;
        Ok(Self { experiments, sweeps: vec![sweep], ..self.clone() })
    }
}

/// Adds the experiments of every sweep behind those of the file.
pub(super) fn expand(suite: &mut Suite) -> Result<(), String> {
    let mut made: Vec<Experiment> = Vec::new();
    let mut seen = HashSet::new();
    for sweep in &suite.sweeps {
        if !seen.insert(&sweep.experiment) {
            return Err(of(sweep, "it is there twice; put all budgets into one [[sweep]]"));
        }
        for one in sweep.write_out(suite).map_err(|message| of(sweep, &message))? {
            if suite.experiments.iter().chain(&made).any(|other| other.name == one.name) {
                let clash = format!("another experiment is called `{}` already", one.name);
                return Err(of(sweep, &clash));
            }
            made.push(one);
        }
    }
    suite.experiments.extend(made);
    Ok(())
}

fn of(sweep: &Sweep, message: &str) -> String {
    format!("sweep of `{}`: {message}", sweep.experiment)
}

/// As it is written: a list, or a range.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Table {
    experiment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    budgets: Option<Vec<Length>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Length>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Length>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<Length>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    duration: Option<Length>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repetitions: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    work: Option<Work>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
struct Length(
    #[serde(with = "duration")]
    #[cfg_attr(test, schemars(with = "crate::suite::schema::DurationText"))]
    Duration,
);

impl TryFrom<Table> for Sweep {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, Self::Error> {
        let Table { experiment, budgets, from, to, step, duration, repetitions, work } = table;
        let budgets = match (budgets, from, to, step) {
            (Some(list), None, None, None) => {
                Budgets::list(list.into_iter().map(|Length(budget)| budget).collect())
            }
            (None, Some(Length(from)), Some(Length(to)), Some(Length(step))) => {
                Budgets::range(from, to, step)
            }
            _ => Err("give either `budgets`, or `from`, `to` and `step`".to_owned()),
        };
        let budgets = budgets.map_err(|message| format!("sweep of `{experiment}`: {message}"))?;
        let duration = duration.map(|Length(duration)| duration);
        Ok(Self { experiment, budgets, duration, repetitions, work })
    }
}

impl From<Sweep> for Table {
    fn from(sweep: Sweep) -> Self {
        Self {
            experiment: sweep.experiment,
            budgets: Some(sweep.budgets.0.into_iter().map(Length).collect()),
            duration: sweep.duration.map(Length),
            repetitions: sweep.repetitions,
            work: sweep.work,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::parse;

    const SUITE: &str = r#"
name = "s"
[[experiment]]
name = "bare"
where = "guest"
tasks = ["30ms/150ms"]
[[experiment]]
name = "fig4-loaded"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
load = { tasks = ["50ms/120ms"] }
reservation = { budget = "28ms", period = "50ms" }
repetitions = 2
[[sweep]]
experiment = "fig4-loaded"
budgets = ["28ms", "26.5ms"]
duration = "10s"
"#;
    const LIST: &str = "budgets = [\"28ms\", \"26.5ms\"]";

    fn with(list: &str) -> String {
        SUITE.replace(LIST, list)
    }

    #[test]
    fn a_sweep_becomes_ordinary_experiments() {
        let suite = parse(SUITE, "s.toml").unwrap();
        let names: Vec<_> = suite.experiments.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["bare", "fig4-loaded", "fig4-loaded-26_5ms", "fig4-loaded-28ms"]);
        let (base, made) = (&suite.experiments[1], &suite.experiments[2]);
        assert_eq!(made.reservation.as_ref().unwrap().reservation().to_string(), "26.5ms/50ms");
        assert_eq!((made.duration, made.repetitions), (Duration::from_secs(10), 2));
        assert_eq!((&made.load, &made.tasks), (&base.load, &base.tasks));
        let members: Vec<_> = suite.sweeps[0].members(&suite).map(|one| &one.name).collect();
        assert_eq!(members, ["fig4-loaded-26_5ms", "fig4-loaded-28ms"]);
    }

    #[test]
    fn a_range_is_the_list_that_it_stands_for() {
        let range = with("from = \"24ms\"\nto = \"26.9ms\"\nstep = \"1ms\"");
        let list = with("budgets = [\"24ms\", \"25ms\", \"26ms\"]");
        assert_eq!(parse(&range, "s.toml").unwrap(), parse(&list, "s.toml").unwrap());
    }

    #[test]
    fn the_manifest_keeps_what_belongs_together() {
        let suite = parse(SUITE, "s.toml").unwrap();
        let text = serde_json::to_string(&suite).unwrap();
        assert!(
            text.contains(r#""sweep":[{"experiment":"fig4-loaded","budgets":["26.5ms","28ms"]"#)
        );
        assert_eq!(serde_json::from_str::<Suite>(&text).unwrap(), suite);
    }

    #[test]
    fn a_sweep_alone_leaves_everything_else_out() {
        let suite = parse(SUITE, "s.toml").unwrap();
        let sweep = Sweep { repetitions: Some(3), ..suite.sweeps[0].clone() };
        let alone = suite.swept(sweep.clone()).unwrap();
        assert_eq!(alone.experiments.len(), 2);
        assert_eq!(alone.sweeps, [sweep]);
        assert!(alone.experiments.iter().all(|one| one.repetitions == 3));
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        let range = |from: &str, to: &str, step: &str| {
            with(&format!("from = \"{from}\"\nto = \"{to}\"\nstep = \"{step}\""))
        };
        let other = "[[sweep]]\nexperiment = \"fig4-loaded\"\nbudgets = [\"30ms\"]\n";
        let taken = SUITE.replace("name = \"bare\"", "name = \"fig4-loaded-28ms\"");
        let long = "x".repeat(62);
        let cases = [
            (
                SUITE.replace("]]\nexperiment = \"fig4-loaded\"", "]]\nexperiment = \"fig5\""),
                "no experiment of that name, but bare, fig4-loaded",
            ),
            (
                SUITE.replace("]]\nexperiment = \"fig4-loaded\"", "]]\nexperiment = \"bare\""),
                "sweep of `bare`: the experiment has no reservation",
            ),
            (
                with("budgets = [\"28ms\", \"58ms\"]"),
                "58ms/50ms`: the budget is greater than the period",
            ),
            (with("budgets = [\"0\"]"), "above zero"),
            (with("budgets = [\"28ms\", \"28000us\"]"), "the budget 28ms is there twice"),
            (with("budgets = []"), "there is no budget"),
            (with("budgets = [\"28\"]"), "no unit"),
            (with(""), "give either `budgets`, or `from`, `to` and `step`"),
            (with("budgets = [\"28ms\"]\nstep = \"1ms\""), "give either"),
            (with("from = \"24ms\"\nto = \"30ms\""), "give either"),
            (range("24ms", "34ms", "0"), "the step between budgets is 0"),
            (range("34ms", "24ms", "1ms"), "from 34ms down to 24ms"),
            (range("1ms", "40ms", "1us"), "39001 budgets; at most 500"),
            (with("budgets = [\"28ms\"]\ncolour = 3"), "colour"),
            (
                SUITE.replace("duration = \"10s\"", "duration = \"10ms\""),
                "shorter than the longest period",
            ),
            (SUITE.replace("duration = \"10s\"", "repetitions = 0"), "`repetitions` is 0"),
            (format!("{SUITE}{other}"), "sweep of `fig4-loaded`: it is there twice"),
            (taken, "another experiment is called `fig4-loaded-28ms` already"),
            (SUITE.replace("fig4-loaded", &long), "use 1 to 64 letters"),
        ];
        for (text, wanted) in cases {
            let error = parse(&text, "s.toml").unwrap_err().to_string();
            assert!(error.starts_with("s.toml:") && error.contains(wanted), "{wanted}: {error}");
            assert!(!error.contains('\n'), "one line: {error}");
        }
    }
}

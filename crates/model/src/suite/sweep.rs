//! Sweeps: one experiment under one budget after the other, written out as ordinary experiments.

use std::{collections::HashSet, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Experiment, Suite, Vm, Work, Workload, validate, written_reservation::Length};
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
    /// The VM whose budget is varied, where there are several.
    pub vm: Option<String>,
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

    /// Its VM in one of its experiments.
    #[must_use]
    pub fn vm<'a>(&self, experiment: &'a Experiment) -> Option<&'a Vm> {
        experiment.vms.get(self.varied(experiment).ok()?)
    }

    /// The tasks in that VM, by which a budget is judged.
    #[must_use]
    pub fn workload<'a>(&self, experiment: &'a Experiment) -> Option<Workload<'a>> {
        let name = &self.vm(experiment)?.name;
        let mine = |own: &Workload| own.vm.is_some_and(|vm| vm.name == *name);
        let mut all = experiment.workloads().into_iter().filter(mine);
        all.find(|own| !own.tasks().is_empty())
    }

    /// Which VM of `experiment` has the budget that is varied.
    fn varied(&self, experiment: &Experiment) -> Result<usize, String> {
        let vms = &experiment.vms;
        let at = match &self.vm {
            Some(name) => vms.iter().position(|vm| vm.name == *name).ok_or_else(|| {
                let names: Vec<_> = vms.iter().map(|vm| vm.name.as_str()).collect();
                format!("key `vm` is `{name}`; the experiment has {}", names.join(", "))
            })?,
            None if vms.len() > 1 => {
                return Err("the experiment has several VMs; `vm` names the one to vary".to_owned());
            }
            None => 0,
        };
        let vm = vms.get(at).filter(|vm| vm.reservation().is_some());
        let vm = vm.ok_or("the experiment has no reservation whose budget could be varied")?;
        if vm.reservation().is_some_and(|own| own.control.is_some()) {
            return Err(
                "the experiment's budget is chosen by a law (`control`); sweep one with a \
                        fixed `budget`"
                    .to_owned(),
            );
        }
        if vm.vcpus.len() > 1 {
            return Err(format!(
                "vm `{}` has {} vCPUs; sweep the budget of a VM with one",
                vm.name,
                vm.vcpus.len()
            ));
        }
        match vm.services.iter().filter(|service| !service.tasks().is_empty()).count() {
            0 => Err("the experiment has no tasks that could miss deadlines".to_owned()),
            1 => Ok(at),
            several => Err(format!(
                "vm `{}` has {several} services of tasks; budgets are judged by one",
                vm.name
            )),
        }
    }

    /// The experiments that it stands for, checked like any other.
    fn write_out(&self, suite: &Suite) -> Result<Vec<Experiment>, String> {
        let base = suite.experiment(&self.experiment).ok_or_else(|| {
            let names: Vec<_> = suite.experiments.iter().map(|one| one.name.as_str()).collect();
            format!("there is no experiment of that name, but {}", names.join(", "))
        })?;
        let at = self.varied(base)?;
        let under = |budget| {
            let mut one = Experiment {
                name: self.member(budget),
                duration: self.duration.unwrap_or(base.duration),
                repetitions: self.repetitions.unwrap_or(base.repetitions),
                work: self.work.unwrap_or(base.work),
                ..base.clone()
            };
            let vcpus = one.vms[at].vcpus.iter_mut();
            vcpus.filter_map(|vcpu| vcpu.reservation.as_mut()).for_each(|own| own.budget = budget);
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
    vm: Option<String>,
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

impl TryFrom<Table> for Sweep {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, Self::Error> {
        let Table { experiment, vm, budgets, from, to, step, duration, repetitions, work } = table;
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
        Ok(Self { experiment, vm, budgets, duration, repetitions, work })
    }
}

impl From<Sweep> for Table {
    fn from(sweep: Sweep) -> Self {
        Self {
            experiment: sweep.experiment,
            vm: sweep.vm,
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
        assert_eq!(made.vms[0].reservation().unwrap().reservation().to_string(), "26.5ms/50ms");
        assert_eq!((made.duration, made.repetitions), (Duration::from_secs(10), 2));
        assert_eq!((&made.loads, &made.vms[0].services), (&base.loads, &base.vms[0].services));
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
    fn of_several_vms_one_is_varied() {
        let vm = |name: &str| {
            format!(
                "[[experiment.vm]]\nname = \"{name}\"\nvcpus = [{{ budget = \"9ms\", period = \
                 \"50ms\" }}]\nservice = [{{ tasks = [\"1ms/100ms\"] }}]\n"
            )
        };
        let text = |sweep: &str| {
            format!(
                "name = \"s\"\n[[experiment]]\nname = \"e\"\n{}{}[[sweep]]\nexperiment = \
                 \"e\"\nbudgets = [\"7ms\"]\n{sweep}",
                vm("a"),
                vm("b")
            )
        };
        let suite = parse(&text("vm = \"b\""), "s.toml").unwrap();
        let member = suite.experiment("e-7ms").unwrap();
        let budget = |at: usize| member.vms[at].reservation().unwrap().budget.as_millis();
        assert_eq!((budget(0), budget(1)), (9, 7));
        assert_eq!(suite.sweeps[0].vm(member).unwrap().name, "b");
        let error = |sweep| parse(&text(sweep), "s.toml").unwrap_err().to_string();
        assert!(error("").contains("`vm` names the one"), "{}", error(""));
        assert!(error("vm = \"c\"").contains("has a, b"), "{}", error("vm = \"c\""));
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

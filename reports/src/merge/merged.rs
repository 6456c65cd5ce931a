//! Summaries of folders, put together: hosts, experiments, claims.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::suite::Experiment;

use super::{Statistic, summary::Summary};
use crate::{
    claims::Verdict,
    compare::circumstances,
    error::ReportError,
    stats::effects::{self, Spread},
};

/// Everything that a merged report says.
#[derive(Debug)]
pub struct Merged {
    /// Which statistic of a repetition.
    pub statistic: Statistic,
    /// The hosts by name; columns and claims have one entry for each, in this order.
    pub hosts: Vec<Host>,
    /// Each task of each experiment.
    pub columns: Vec<Column>,
    /// Each claim.
    pub claims: Vec<Scored>,
    /// How many folders were read.
    pub folders: usize,
    /// Whether some of them were simulated.
    pub simulated: bool,
}

/// A host.
#[derive(Debug)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// What is missing or was gone on with, a clause each.
    pub states: Vec<String>,
    /// What its manifests say of it; of folders that differ, each value once.
    pub facts: BTreeMap<String, BTreeSet<String>>,
}

/// One task of one experiment over all hosts.
#[derive(Debug)]
pub struct Column {
    /// The suite.
    pub suite: String,
    /// The experiment.
    pub experiment: String,
    /// The same, with the suite before it where several suites have one of that name.
    pub label: String,
    /// `tau1`, … or `service`.
    pub task: String,
    /// Each host's repetitions; empty where it has none.
    pub values: Vec<Vec<f64>>,
    /// Judged jobs of each host, and those that missed their deadline.
    pub counts: Vec<Option<(u64, u64)>>,
    /// How far each host is from the median.
    pub distances: Vec<Option<f64>>,
    /// Between hosts and within one.
    pub spread: Option<Spread>,
}

/// A claim over all hosts.
#[derive(Debug)]
pub struct Scored {
    /// Its id; with the suite before it where several suites have it.
    pub label: String,
    /// Each host's verdict; none where its suite does not have the claim, or nothing came back.
    pub verdicts: Vec<Option<Verdict>>,
}

impl Column {
    /// A host's value: the mean over its repetitions.
    #[must_use]
    pub fn value(&self, host: usize) -> Option<f64> {
        let own = &self.values[host];
        (!own.is_empty()).then(|| effects::mean(own))
    }

    /// The hosts that stand out.
    pub fn outliers(&self) -> impl Iterator<Item = usize> {
        (0..self.distances.len()).filter(|host| effects::is_outlier(self.distances[*host]))
    }

    /// Label and task.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.label, self.task)
    }
}

impl Scored {
    /// How many hosts have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.verdicts.iter().filter(|own| **own == Some(verdict)).count()
    }
}

impl Merged {
    /// Puts summaries together.
    ///
    /// # Errors
    /// The same experiment of the same host twice, or experiments of one name and suite that are not
    /// the same.
    pub fn of(summaries: Vec<Summary>, statistic: Statistic) -> Result<Self, ReportError> {
        once_each(&summaries)?;
        same_work(&summaries)?;
        let names: BTreeSet<&String> = summaries.iter().map(|own| &own.host).collect();
        let mut names: Vec<&String> = names.into_iter().collect();
        names.sort_by_key(|name| natural(name));
        let at: HashMap<String, usize> =
            names.iter().enumerate().map(|(at, name)| ((*name).clone(), at)).collect();
        let mut hosts: Vec<Host> = names
            .into_iter()
            .map(|name| Host { name: name.clone(), states: Vec::new(), facts: BTreeMap::new() })
            .collect();
        for own in &summaries {
            hosts[at[&own.host]].add(own);
        }
        let shared = Shared::of(&summaries);
        Ok(Self {
            statistic,
            columns: columns(&summaries, &at, &shared),
            claims: scored(&summaries, &at, &shared),
            folders: summaries.iter().filter(|own| own.folder.is_some()).count(),
            simulated: summaries.iter().any(|own| own.simulated),
            hosts,
        })
    }

    /// Names of the columns in which a host stands out, with the direction.
    pub fn outliers_of(&self, host: usize) -> impl Iterator<Item = String> {
        self.columns.iter().filter(move |own| effects::is_outlier(own.distances[host])).map(
            move |own| {
                let slower = own.distances[host].is_some_and(|distance| distance > 0.0);
                format!("{} {}", own.name(), if slower { "▲" } else { "▼" })
            },
        )
    }
}

impl Host {
    fn add(&mut self, own: &Summary) {
        self.states.extend(own.state.clone());
        for (key, value) in &own.facts {
            self.facts.entry(key.clone()).or_default().insert(value.clone());
        }
    }
}

/// A host has one result of each experiment: which of two would it be?
fn once_each(summaries: &[Summary]) -> Result<(), ReportError> {
    let mut seen: HashMap<(&str, &str, &str), &str> = HashMap::new();
    for own in summaries {
        let Some(folder) = &own.folder else { continue };
        for experiment in &own.experiments {
            let key = (own.host.as_str(), own.suite.as_str(), experiment.name.as_str());
            if let Some(other) = seen.insert(key, folder) {
                return Err(ReportError::Nothing(format!(
                    "{folder}: host `{}` has `{}` of suite `{}` in {other}, too; give one folder of \
                     them (`reports history` shows many results of one host)",
                    own.host, experiment.name, own.suite
                )));
            }
        }
    }
    Ok(())
}

/// What stands in one column was the same experiment.
fn same_work(summaries: &[Summary]) -> Result<(), ReportError> {
    let mut first: HashMap<(&str, &str), (&Experiment, &str)> = HashMap::new();
    for own in summaries {
        let folder = own.folder.as_deref().unwrap_or_default();
        for experiment in &own.experiments {
            let key = (own.suite.as_str(), experiment.name.as_str());
            let (other, elsewhere) = *first.entry(key).or_insert((experiment, folder));
            if other != experiment {
                let mut pairs = other.workloads().into_iter().zip(experiment.workloads());
                let what = pairs
                    .find_map(|(one, another)| circumstances::other_work(one, another))
                    .unwrap_or_else(|| "other keys".to_owned());
                return Err(ReportError::Nothing(format!(
                    "{folder}: `{}` of suite `{}` is another experiment than in {elsewhere}: \
                     {what}; give suites that differ names that differ",
                    experiment.name, own.suite
                )));
            }
        }
    }
    Ok(())
}

/// Names of experiments and ids of claims that more than one suite has.
struct Shared {
    names: HashMap<String, BTreeSet<String>>,
}

impl Shared {
    fn of(summaries: &[Summary]) -> Self {
        let mut names: HashMap<String, BTreeSet<String>> = HashMap::new();
        for own in summaries {
            let cases = own.cells.iter().map(|cell| &cell.experiment);
            let experiments = own.experiments.iter().map(|one| &one.name).chain(cases);
            for name in experiments.chain(own.claims.iter().map(|one| &one.0)) {
                names.entry(name.clone()).or_default().insert(own.suite.clone());
            }
        }
        Self { names }
    }

    fn label(&self, suite: &str, name: &str) -> String {
        let several = self.names.get(name).is_some_and(|suites| suites.len() > 1);
        if several { format!("{suite}/{name}") } else { name.to_owned() }
    }
}

/// In the order in which suites name them.
fn columns(summaries: &[Summary], at: &HashMap<String, usize>, shared: &Shared) -> Vec<Column> {
    let mut places: HashMap<(&str, &str, &str), usize> = HashMap::new();
    let mut columns: Vec<Column> = Vec::new();
    for own in summaries {
        for cell in &own.cells {
            let key = (own.suite.as_str(), cell.experiment.as_str(), cell.task.as_str());
            let place = *places.entry(key).or_insert_with(|| {
                columns.push(Column {
                    suite: own.suite.clone(),
                    experiment: cell.experiment.clone(),
                    label: shared.label(&own.suite, &cell.experiment),
                    task: cell.task.clone(),
                    values: vec![Vec::new(); at.len()],
                    counts: vec![None; at.len()],
                    distances: Vec::new(),
                    spread: None,
                });
                columns.len() - 1
            });
            let host = at[&own.host];
            columns[place].values[host].clone_from(&cell.values);
            columns[place].counts[host] = Some((cell.judged, cell.missed));
        }
    }
    for column in &mut columns {
        let hosts: Vec<&[f64]> = column.values.iter().map(Vec::as_slice).collect();
        column.distances = effects::distances(&hosts);
        column.spread = effects::spread(&hosts);
    }
    columns
}

fn scored(summaries: &[Summary], at: &HashMap<String, usize>, shared: &Shared) -> Vec<Scored> {
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    let mut claims: Vec<Scored> = Vec::new();
    for own in summaries {
        for (id, verdict) in &own.claims {
            let place = *places.entry((&own.suite, id)).or_insert_with(|| {
                let label = shared.label(&own.suite, id);
                claims.push(Scored { label, verdicts: vec![None; at.len()] });
                claims.len() - 1
            });
            claims[place].verdicts[at[&own.host]] = Some(*verdict);
        }
    }
    claims
}

/// Orders `n2` before `n10`: texts and numbers in turn.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(text);
        let digits = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        let (number, behind) = behind.split_at(digits);
        parts.push((word.to_owned(), number.parse().unwrap_or(0)));
        rest = behind;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_in_the_order_that_people_count_in() {
        let mut names = ["n10", "n2", "a", "n2-b", "n1"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["a", "n1", "n2", "n2-b", "n10"]);
    }
}

//! What differs between hosts: the value that most have, and who has another.

use std::collections::{BTreeMap, BTreeSet};

use super::merged::Merged;

/// A fact that is not the same on all hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differing {
    /// Where it stands in the manifest.
    pub what: String,
    /// The most common value and how many hosts have it.
    pub usual: (String, usize),
    /// The others, the most common first, and the hosts that have them.
    pub others: Vec<(String, Vec<usize>)>,
    /// Whether the hosts have so many values that none is usual: fewer than half have the most
    /// common one.
    pub scattered: bool,
}

/// What a host without a value has.
const NONE: &str = "unknown";

/// In the order of the manifest's keys; hosts of which nothing came back are left out.
#[must_use]
pub fn differing(merged: &Merged) -> Vec<Differing> {
    let there: Vec<usize> =
        (0..merged.hosts.len()).filter(|at| !merged.hosts[*at].facts.is_empty()).collect();
    let mut keys: Vec<&String> =
        there.iter().flat_map(|at| merged.hosts[*at].facts.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter().filter_map(|key| of(merged, &there, key)).collect()
}

fn of(merged: &Merged, there: &[usize], key: &str) -> Option<Differing> {
    let mut values: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for at in there {
        let joined = |all: &BTreeSet<String>| all.iter().cloned().collect::<Vec<_>>().join(" | ");
        let value = merged.hosts[*at].facts.get(key).map_or_else(|| NONE.to_owned(), joined);
        values.entry(value).or_default().push(*at);
    }
    if values.len() < 2 {
        return None;
    }
    let mut values: Vec<(String, Vec<usize>)> = values.into_iter().collect();
    values.sort_by_key(|own| std::cmp::Reverse(own.1.len()));
    let (usual, hosts) = values.remove(0);
    let scattered = 2 * hosts.len() < there.len();
    Some(Differing { what: key.to_owned(), usual: (usual, hosts.len()), others: values, scattered })
}

/// The facts in which one host differs from the usual, as `key: value`.
#[must_use]
pub fn of_host(differing: &[Differing], host: usize) -> Vec<String> {
    let own = |one: &Differing| {
        let mine = one.others.iter().find(|own| own.1.contains(&host))?;
        (!one.scattered).then(|| format!("{}: {}", one.what, mine.0))
    };
    differing.iter().filter_map(own).collect()
}

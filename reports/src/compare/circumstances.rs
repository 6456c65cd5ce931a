//! What differs between two runs beside what was measured: host, programs, suite.

use std::collections::BTreeMap;

use model::{
    Manifest,
    suite::{Service, Vm, Workload},
};
use serde::Serialize;
use serde_json::Value;

use crate::units::UNKNOWN;

/// A fact that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Circumstance {
    /// Where it stands in the manifest: `host.cpu_model`, or `fig1.tasks[0]` for an experiment.
    pub what: String,
    /// In the first folder.
    pub first: String,
    /// In the second.
    pub second: String,
}

/// Keys of the manifest whose facts are circumstances.
const PARTS: [&str; 6] = ["accelerator", "host", "versions", "disks", "keep_awake", "suite"];

/// Keys that differ from run to run and tell nothing.
const RUN: [&str; 4] =
    ["host.boot_id", "host.measured_cpu_reason", "keep_awake.idle_cost", "keep_awake.reason"];

/// Every fact that differs, in the order of the manifest; experiments of one name against each
/// other, by name.
#[must_use]
pub fn differences(first: &Manifest, second: &Manifest) -> Vec<Circumstance> {
    let [a, b] = [first, second].map(|own| facts(&serde_json::to_value(own).unwrap_or_default()));
    let mut order: Vec<&String> = a.iter().map(|(key, _)| key).collect();
    order.extend(b.iter().map(|(key, _)| key).filter(|key| a.iter().all(|own| own.0 != **key)));
    let value = |side: &[(String, String)], key: &str| {
        side.iter().find(|own| own.0 == key).map_or_else(|| UNKNOWN.to_owned(), |own| own.1.clone())
    };
    let both = |key: &String| {
        let (first, second) = (value(&a, key), value(&b, key));
        (first != second).then(|| Circumstance { what: key.clone(), first, second })
    };
    // An experiment that only one side has is told with the pairs.
    let lonely = |key: &str| {
        let of =
            |side: &Manifest| side.suite.experiments.iter().map(|own| own.name.clone()).collect();
        let (mine, theirs): (Vec<String>, Vec<String>) = (of(first), of(second));
        let named =
            |names: &[String]| names.iter().any(|name| key.starts_with(&format!("{name}.")));
        named(&mine) != named(&theirs)
    };
    order.into_iter().filter(|key| !lonely(key)).filter_map(both).collect()
}

/// What the manifest says of the host and the programs, as path and text: not of the suite.
#[must_use]
pub fn of_host(manifest: &Manifest) -> Vec<(String, String)> {
    let all = facts(&serde_json::to_value(manifest).unwrap_or_default());
    let parts: Vec<String> =
        PARTS.iter().filter(|part| **part != "suite").map(|part| format!("{part}.")).collect();
    let is_of_host = |key: &str| parts.iter().any(|part| key.starts_with(part));
    all.into_iter().filter(|(key, _)| is_of_host(key)).collect()
}

/// Leaves of the manifest's parts as path and text.
fn facts(manifest: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for part in PARTS {
        let mut value = manifest[part].clone();
        let experiments = value.as_object_mut().and_then(|own| own.remove("experiment"));
        leaves(part, &value, &mut found);
        for one in experiments.as_ref().and_then(Value::as_array).into_iter().flatten() {
            let mut one = one.clone();
            let Some(Value::String(name)) = one.as_object_mut().and_then(|own| own.remove("name"))
            else {
                continue;
            };
            leaves(&name, &one, &mut found);
        }
    }
    found.retain(|(key, _)| !RUN.contains(&key.as_str()));
    found
}

fn leaves(path: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            sorted.iter().for_each(|(key, own)| leaves(&format!("{path}.{key}"), own, found));
        }
        Value::Array(all) if !all.is_empty() && all.iter().all(|one| name_of(one).is_some()) => {
            let alone = all.len() == 1;
            all.iter().for_each(|one| named(path, one, alone, found));
        }
        Value::Null => {}
        Value::String(text) => found.push((path.to_owned(), text.clone())),
        other => {
            found.push((path.to_owned(), other.to_string().replace('"', "").replace(',', ", ")))
        }
    }
}

/// What makes the work of two experiments of one name different: their tasks or service, or whether
/// a job is the same CPU time or the same work.
#[must_use]
pub fn other_work(first: Workload, second: Workload) -> Option<String> {
    let differ = |what: &str, a: String, b: String| Some(format!("{what} {a} and {b}"));
    if first.tasks() != second.tasks() {
        let text = |own: Workload| {
            let tasks: Vec<String> = own.tasks().iter().map(ToString::to_string).collect();
            if tasks.is_empty() { "none".to_owned() } else { tasks.join(", ") }
        };
        return differ("tasks", text(first), text(second));
    }
    if first.web() != second.web() {
        let query = |own: Workload| {
            own.web().map_or_else(
                || "none".to_owned(),
                |web| {
                    let requests = web.requests.map_or_else(|| "any".to_owned(), |n| n.to_string());
                    format!("{} × {requests} of {}", web.clients, web.server.asked())
                },
            )
        };
        return differ("requests", query(first), query(second));
    }
    (first.experiment.work != second.experiment.work).then(|| {
        format!("work {:?} and {:?}", first.experiment.work, second.experiment.work).to_lowercase()
    })
}

fn name_of(value: &Value) -> Option<&str> {
    value.as_object()?.get("name")?.as_str()
}

/// What a VM or a service of an experiment is, under its name in place of the list's; the only one,
/// where nobody gave it a name, under none.
fn named(path: &str, value: &Value, alone: bool, found: &mut Vec<(String, String)>) {
    let (name, mut value) = (name_of(value).unwrap_or_default().to_owned(), value.clone());
    value.as_object_mut().and_then(|own| own.remove("name"));
    let above = path.rsplit_once('.').map_or(path, |(above, _)| above);
    let unnamed = [Vm::NAME, Service::TASKS, Service::WEB, Service::WILD].contains(&&*name);
    if alone && unnamed {
        leaves(above, &value, found);
    } else {
        leaves(&format!("{above}.{name}"), &value, found);
    }
}

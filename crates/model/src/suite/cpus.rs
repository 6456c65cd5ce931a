//! Which CPU every load, service of the host and vCPU is on.

use serde::{Deserialize, Deserializer, de::Error};

use super::{Experiment, Suite};

/// A number, or a list of numbers.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub(super) enum OneOrList {
    One(u32),
    List(Vec<u32>),
}

/// The other name of the key, which a schema does not take from the type.
#[cfg(test)]
pub(super) fn both_names(schema: &mut schemars::Schema) {
    if let Some(keys) = schema.get_mut("properties").and_then(|keys| keys.as_object_mut()) {
        let own = keys["measured_cpus"].clone();
        keys.insert("measured_cpu".to_owned(), own);
    }
}

/// The measured CPUs, of `measured_cpus = [1, 2]` or `measured_cpu = 1`.
pub(super) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    let wrong = |_| D::Error::custom("a measured CPU is a number, several are a list, `[1, 2]`");
    let cpus = match Option::<OneOrList>::deserialize(deserializer).map_err(wrong)? {
        None => return Ok(Vec::new()),
        Some(OneOrList::One(cpu)) => vec![cpu],
        Some(OneOrList::List(cpus)) => cpus,
    };
    if cpus.is_empty() {
        return Err(D::Error::custom("no measured CPU; leave the key out to have one chosen"));
    }
    let twice = |(at, cpu): (usize, &u32)| cpus[..at].contains(cpu).then_some(*cpu);
    match cpus.iter().enumerate().find_map(twice) {
        Some(cpu) => Err(D::Error::custom(format!("CPU {cpu} is there twice; give each once"))),
        None => Ok(cpus),
    }
}

/// Gives every load, service of the host and vCPU that names no CPU the first of the measured ones.
/// Where the suite has no list of them, the first CPU that is named is the only one.
///
/// # Errors
/// A CPU that is not measured.
pub(super) fn settle(suite: &mut Suite) -> Result<(), String> {
    let measured = &mut suite.host.measured_cpus;
    for experiment in &mut suite.experiments {
        let name = experiment.name.clone();
        for (place, own) in places(experiment) {
            let Some(cpu) = *own else { continue };
            if measured.is_empty() {
                measured.push(cpu);
            }
            if !measured.contains(&cpu) {
                let all: Vec<String> = measured.iter().map(u32::to_string).collect();
                return Err(format!(
                    "experiment `{name}`: {place}: CPU {cpu} is not measured, {} is; list every CPU \
                     that is measured in `host.measured_cpus`",
                    all.join(",")
                ));
            }
        }
    }
    let first = measured.first().copied();
    let all = suite.experiments.iter_mut().flat_map(places);
    all.for_each(|(_, own)| *own = own.or(first));
    Ok(())
}

/// Everything that is on a CPU, with where the suite says so.
fn places(experiment: &mut Experiment) -> Vec<(String, &mut Option<u32>)> {
    let loads = experiment.loads.iter_mut().map(|load| ("key `load`".to_owned(), &mut load.cpu));
    let services = experiment.services.iter_mut();
    let services = services.map(|own| (format!("service `{}`: key `cpu`", own.name), &mut own.cpu));
    let vms = experiment.vms.iter_mut().flat_map(|vm| {
        let place = format!("vm `{}`: key `vcpus`", vm.name);
        vm.vcpus.iter_mut().map(move |vcpu| (place.clone(), &mut vcpu.cpu))
    });
    loads.chain(services).chain(vms).collect()
}

#[cfg(test)]
mod tests {
    use crate::suite::{Suite, SuiteError, parse};

    const TWO: &str = r#"
        name = "s"
        [host]
        measured_cpus = [2, 1]
        [[experiment]]
        name = "e"
        duration = "10s"
        load = [{ tasks = ["1ms/9ms"] }, { cpu = 1, tasks = ["2ms/9ms"] }]
        service = [{ name = "own", cpu = 1, tasks = ["1ms/10ms"] }]
        [[experiment.vm]]
        name = "smp"
        vcpus = [{ cpu = 1, budget = "3ms", period = "9ms" }, { budget = "4ms", period = "9ms" }]
        service = [{ tasks = ["1ms/20ms"] }, { name = "b", vcpu = 1, tasks = ["1ms/30ms"] }]
        [[experiment.vm]]
        name = "other"
        vcpus = [{ cpu = 2 }]
        service = [{ tasks = ["1ms/40ms"] }]
    "#;

    fn suite(text: &str) -> Result<Suite, SuiteError> {
        parse(text, "s.toml")
    }

    #[test]
    fn what_names_no_cpu_is_on_the_first_that_is_measured() {
        let suite = suite(TWO).unwrap();
        assert_eq!(suite.host.measured_cpus, [2, 1]);
        let workloads = suite.experiments[0].workloads();
        let cpus: Vec<_> = workloads.iter().map(|own| own.cpu()).collect();
        assert_eq!(cpus, [Some(1), Some(1), Some(2), Some(2)], "own, tasks, b, other");
        // The load, the neighbours and the rivals of each are those of its CPU.
        let loads: Vec<_> =
            workloads.iter().map(|own| own.load().unwrap().tasks[0].to_string()).collect();
        assert_eq!(loads, ["2ms/9ms", "2ms/9ms", "1ms/9ms", "1ms/9ms"]);
        let neighbours: Vec<Vec<_>> = workloads
            .iter()
            .map(|own| own.neighbours().map(|vm| vm.name.as_str()).collect())
            .collect();
        assert_eq!(neighbours, [vec!["smp"], vec![], vec!["other"], vec!["smp"]]);
        let loads = &suite.experiments[0].loads;
        let files: Vec<_> =
            loads.iter().map(|own| own.file(&suite.experiments[0], "jobs.csv")).collect();
        assert_eq!(files, ["load-2-jobs.csv", "load-1-jobs.csv"]);
        let json = serde_json::to_string(&suite).unwrap();
        assert_eq!(serde_json::from_str::<Suite>(&json).unwrap(), suite);
        assert_eq!(parse(&toml::to_string(&suite).unwrap(), "s.toml").unwrap(), suite);
    }

    #[test]
    fn one_cpu_is_a_list_of_one() {
        let text =
            TWO.replace("[2, 1]", "1").replace("load = [{ tasks = [\"1ms/9ms\"] }, {", "load = [{");
        let one = suite(&text.replace("cpu = 2", "cpu = 1")).unwrap();
        assert_eq!(one.host.measured_cpus, [1]);
        assert!(one.experiments[0].workloads().iter().all(|own| own.cpu() == Some(1)));
        assert_eq!(
            one.experiments[0].loads[0].file(&one.experiments[0], "jobs.csv"),
            "load-jobs.csv"
        );
        // As manifests of earlier versions have it.
        let json = serde_json::to_string(&one).unwrap();
        let before = json.replacen("\"measured_cpus\":[1]", "\"measured_cpu\":1", 1);
        assert_ne!(json, before);
        assert_eq!(serde_json::from_str::<Suite>(&before).unwrap(), one);
        // Where only they name it.
        let named =
            suite(&text.replace("cpu = 2", "cpu = 1").replace("measured_cpus = 1", "")).unwrap();
        assert_eq!(named.host.measured_cpus, [1]);
    }

    #[test]
    fn cpus_that_are_not_measured_and_lists_that_are_none_are_refused() {
        let cases = [
            (
                TWO.replace("cpu = 2 }", "cpu = 3 }"),
                "vm `other`: key `vcpus`: CPU 3 is not measured, 2,1 is",
            ),
            (
                TWO.replace("name = \"own\", cpu = 1", "name = \"own\", cpu = 7"),
                "service `own`: key `cpu`: CPU 7",
            ),
            (
                TWO.replace("{ cpu = 1, tasks = [\"2ms", "{ cpu = 0, tasks = [\"2ms"),
                "key `load`: CPU 0",
            ),
            (TWO.replace("[2, 1]", "[2, 1, 2]"), "CPU 2 is there twice"),
            (TWO.replace("[2, 1]", "[]"), "leave the key out"),
            (TWO.replace("[2, 1]", "\"all\""), "several are a list"),
            (
                TWO.replace("{ tasks = [\"1ms/40ms\"] }", "{ cpu = 2, tasks = [\"1ms/40ms\"] }"),
                "give `vcpu`",
            ),
        ];
        for (text, what) in cases {
            let error = suite(&text).unwrap_err().to_string();
            assert!(error.contains(what), "{what}: {error}");
        }
    }
}

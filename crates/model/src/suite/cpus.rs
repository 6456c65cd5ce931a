//! Which CPU every load and vCPU is on.

use serde::{Deserialize, Deserializer, de::Error};

use super::Suite;

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
        let own = keys["measured_cpu"].clone();
        keys.insert("measured_cpus".to_owned(), own);
    }
}

/// The measured CPU, of `measured_cpu = 1` or `measured_cpus = [1]`.
pub(super) fn one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let wrong = |_| D::Error::custom("the measured CPU is a number, or a list with one, `[1]`");
    match Option::<OneOrList>::deserialize(deserializer).map_err(wrong)? {
        None => Ok(None),
        Some(OneOrList::One(cpu)) => Ok(Some(cpu)),
        Some(OneOrList::List(cpus)) => match cpus[..] {
            [cpu] => Ok(Some(cpu)),
            [] => Err(D::Error::custom("no measured CPU; leave the key out to have one chosen")),
            [..] => Err(D::Error::custom(format!(
                "{} measured CPUs are not supported yet; give one",
                cpus.len()
            ))),
        },
    }
}

/// Gives every load and vCPU the measured CPU, and the suite that CPU where only they name it.
///
/// # Errors
/// A CPU that is not the measured one.
pub(super) fn settle(suite: &mut Suite) -> Result<(), String> {
    for experiment in &mut suite.experiments {
        let name = experiment.name.clone();
        let vms = experiment.vms.iter_mut().flat_map(|vm| {
            let place = format!("vm `{}`: key `vcpus`", vm.name);
            vm.vcpus.iter_mut().map(move |vcpu| (place.clone(), &mut vcpu.cpu))
        });
        let loads =
            experiment.loads.iter_mut().map(|load| ("key `load`".to_owned(), &mut load.cpu));
        for (place, own) in loads.chain(vms) {
            let Some(cpu) = *own else { continue };
            let measured = *suite.host.measured_cpu.get_or_insert(cpu);
            if cpu != measured {
                return Err(format!(
                    "experiment `{name}`: {place}: CPU {cpu} is not the measured CPU, {measured} \
                     (`host.measured_cpus`); several measured CPUs are not supported yet"
                ));
            }
        }
    }
    // One CPU has one name: what names none is on it as well.
    let measured = suite.host.measured_cpu;
    for experiment in &mut suite.experiments {
        experiment.loads.iter_mut().for_each(|load| load.cpu = measured);
        let vcpus = experiment.vms.iter_mut().flat_map(|vm| &mut vm.vcpus);
        vcpus.for_each(|vcpu| vcpu.cpu = measured);
    }
    Ok(())
}

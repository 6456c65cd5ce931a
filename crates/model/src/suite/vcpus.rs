//! Several virtual CPUs of a VM: what they may be guaranteed, and what runs on which.
//!
//! Each vCPU has a reservation of its own, or none. Tasks are partitioned: a service runs on one vCPU,
//! and is analysed by the reservation of that one.

use super::{Service, Vm};
use crate::Mechanism;

/// Each has a reservation of its own, and all may be on one CPU of the host.
const MOST: usize = 16;

/// The rules of a VM's vCPUs and of what names one.
pub(super) fn validate(vm: &Vm) -> Result<(), String> {
    let count = vm.vcpus.len();
    if count > 1 && vm.found.is_some() {
        return Err(format!(
            "key `vcpus` has {count}; of a VM that runs already one tells of all that it has, give one"
        ));
    }
    if count > MOST {
        return Err(format!("key `vcpus` has {count}; give at most {MOST}"));
    }
    let mut reservations = vm.reservations();
    let other = |own: &&super::ReservationSettings| own.mechanism != Mechanism::Deadline;
    if let Some(own) = reservations.find(other).filter(|_| count > 1) {
        return Err(format!(
            "key `vcpus` has {count} under `{}`; several vCPUs are reserved by `deadline` alone",
            own.mechanism
        ));
    }
    if count > 1 && vm.reservations().any(|own| own.control.is_some()) {
        return Err(format!(
            "key `vcpus` has {count}; a law (`control`) chooses the budget of one vCPU alone, give \
             these a fixed `budget`"
        ));
    }
    vm.services.iter().try_for_each(|service| on(service, count))
}

/// What a service of a VM with so many vCPUs says of its own.
fn on(service: &Service, count: usize) -> Result<(), String> {
    if service.cpu.is_some() {
        return Err(format!(
            "service `{}`: key `cpu`: a service of a VM runs on a vCPU, which has the CPU; give \
             `vcpu`",
            service.name
        ));
    }
    let Some(vcpu) = service.vcpu else { return Ok(()) };
    let name = &service.name;
    if service.web().is_some() || service.wild().is_some() {
        return Err(format!(
            "service `{name}`: key `vcpu`: its processes run on all vCPUs; leave it out"
        ));
    }
    if vcpu as usize >= count {
        return Err(format!(
            "service `{name}`: key `vcpu` is {vcpu}; the VM has {count}, counted from 0"
        ));
    }
    Ok(())
}

/// A service of the host has none.
pub(super) fn none(services: &[Service]) -> Result<(), String> {
    match services.iter().find(|service| service.vcpu.is_some()) {
        Some(own) => Err(format!(
            "service `{}`: key `vcpu`: a service of the host has no vCPU; leave it out",
            own.name
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::suite::{Suite, SuiteError, parse};

    fn suite(vm: &str, services: &str) -> Result<Suite, SuiteError> {
        let text = format!(
            "name = \"s\"\n[[experiment]]\nname = \"e\"\nduration = \"10s\"\n[[experiment.vm]]\n\
             name = \"smp\"\n{vm}\nservice = [{services}]\n"
        );
        parse(&text, "s.toml")
    }

    const TWO: &str = "vcpus = [{ budget = \"12ms\", period = \"50ms\" }, { budget = \"14ms\", period = \"50ms\" }]";
    const DEALT: &str = "{ name = \"a\", tasks = [\"30ms/150ms\"] }, { name = \"b\", vcpu = 1, \
                         tasks = [\"50ms/200ms\"] }";

    #[test]
    fn each_service_has_the_reservation_of_its_vcpu() {
        let own = suite(TWO, DEALT).unwrap();
        let budgets: Vec<_> = own.experiments[0]
            .workloads()
            .iter()
            .map(|one| (one.name(), one.vcpu(), one.reservation().unwrap().budget.as_millis()))
            .collect();
        let expected = [("e.smp.a", Some(0), 12), ("e.smp.b", Some(1), 14)];
        let expected = expected.map(|(name, vcpu, budget)| (name.to_owned(), vcpu, budget));
        assert_eq!(budgets, expected);
        assert_eq!(parse(&toml::to_string(&own).unwrap(), "s.toml").unwrap(), own);
        // One without a reservation beside one that has one.
        let half = suite("vcpus = [{}, { budget = \"14ms\", period = \"50ms\" }]", DEALT).unwrap();
        let workloads = half.experiments[0].workloads();
        let reserved: Vec<_> = workloads.iter().map(|own| own.reservation().is_some()).collect();
        assert_eq!(reserved, [false, true]);
        assert!(!workloads[0].is_free());
    }

    #[test]
    fn what_several_vcpus_cannot_have_is_told() {
        let many = format!("vcpus = [{}]", ["{}"; 17].join(", "));
        let cases = [
            (TWO.to_owned() + "\nmechanism = \"cfs-quota\"", DEALT.to_owned(), "`deadline` alone"),
            (many, DEALT.to_owned(), "give at most 16"),
            (format!("pid = 7\n{TWO}"), "{ web = { url = \"http://127.0.0.1:1/\" } }".to_owned(), "give one"),
            (TWO.to_owned(), DEALT.replace("vcpu = 1", "vcpu = 2"), "the VM has 2, counted from 0"),
            (TWO.to_owned(), "{ web = {}, vcpu = 1 }".to_owned(), "leave it out"),
            (
                "vcpus = [{}, { period = \"50ms\", control = \"pi\", min = \"5ms\", max = \"9ms\" }]"
                    .to_owned(),
                DEALT.to_owned(),
                "one vCPU alone",
            ),
        ];
        for (vm, services, what) in cases {
            let error = suite(&vm, &services).unwrap_err().to_string();
            assert!(error.contains(what), "{what}: {error}");
        }
        let host = "name = \"s\"\n[[experiment]]\nname = \"e\"\nduration = \"9s\"\nservice = [{ vcpu = 0, \
                    tasks = [\"1ms/9ms\"] }]";
        let error = parse(host, "s.toml").unwrap_err().to_string();
        assert!(error.contains("a service of the host has no vCPU"), "{error}");
        let swept = format!(
            "name = \"s\"\n[[experiment]]\nname = \"e\"\nduration = \"9s\"\n[[experiment.vm]]\nname = \
             \"smp\"\n{TWO}\nservice = [{{ tasks = [\"30ms/150ms\"] }}]\n[[sweep]]\nexperiment = \"e\"\n\
             from = \"10ms\"\nto = \"12ms\"\nstep = \"1ms\"\n"
        );
        let error = parse(&swept, "s.toml").unwrap_err().to_string();
        assert!(error.contains("has 2 vCPUs"), "{error}");
    }
}

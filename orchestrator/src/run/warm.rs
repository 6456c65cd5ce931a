//! Which guests are kept warm from one repetition to the next, and for which experiments they do.

use model::suite::{self, Experiment, Web};

/// Whether the machines of `experiment` are kept: those of web services alone, and those that boot a
/// disk of the user's, which takes longer than most repetitions. Where tasks are measured in a built-in
/// guest it is a part of the run, and each repetition boots its own.
pub(super) fn is_kept(experiment: &Experiment) -> bool {
    let vms = &experiment.vms;
    // One that runs already is not ours to pause.
    if vms.is_empty() || vms.iter().any(|vm| vm.found.is_some()) {
        return false;
    }
    if vms.iter().all(|vm| vm.system.disk().is_some()) {
        return true;
    }
    let workloads = experiment.workloads();
    let in_guests: Vec<_> = workloads.into_iter().filter(|own| own.vm.is_some()).collect();
    in_guests.iter().any(|own| own.web().is_some())
        && in_guests.iter().all(|own| own.tasks().is_empty())
}

/// Whether a machine that was booted for `one` holds what `other` needs; how they are reserved is of no
/// account.
pub(super) fn is_same(one: &suite::Vm, other: &suite::Vm) -> bool {
    let service = |web: &Web| (web.server.clone(), web.clients, web.port);
    let holds = |vm: &suite::Vm| {
        let tasks = vm.services.iter().any(|service| !service.tasks().is_empty());
        let web = vm.services.iter().find_map(suite::Service::web).map(service);
        (
            vm.name.clone(),
            vm.system.clone(),
            vm.memory_mib,
            vm.clock_source,
            // It was placed and calibrated there.
            vm.vcpus.iter().map(|vcpu| vcpu.cpu).collect::<Vec<_>>(),
            tasks,
            web,
        )
    };
    holds(one) == holds(other)
}

/// Whether the machines that were booted for `one` do for `other`.
pub(super) fn do_for(one: &Experiment, other: &Experiment) -> bool {
    let mut pairs = one.vms.iter().zip(&other.vms);
    one.vms.len() == other.vms.len() && pairs.all(|(one, other)| is_same(one, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment(vm: &str, services: &str) -> Experiment {
        let text = format!(
            "name = \"s\"\n[[experiment]]\nname = \"e\"\nduration = \"9s\"\n\
             [[experiment.vm]]\nname = \"a\"\n{vm}\nservice = [{services}]\n"
        );
        suite::parse(&text, "s.toml").unwrap().experiments.remove(0)
    }

    #[test]
    fn guests_with_tasks_are_part_of_their_repetition_and_not_kept() {
        let kept = |services: &str| is_kept(&experiment("vcpus = [{}]", services));
        assert!(kept("{ web = {} }"));
        assert!(!kept("{ tasks = [\"1ms/9ms\"] }"));
        assert!(!kept("{ web = {} }, { tasks = [\"1ms/9ms\"] }"));
    }

    #[test]
    fn a_disk_is_booted_once_and_does_for_other_reservations() {
        let tasks = "{ tasks = [\"1ms/9ms\"] }";
        let free = experiment("disk = \"a\"\nvcpus = [{}]", tasks);
        let reserved =
            experiment("disk = \"a\"\nvcpus = [{ budget = \"3ms\", period = \"9ms\" }]", tasks);
        let other = experiment("disk = \"b\"\nvcpus = [{}]", tasks);
        let elsewhere = experiment("disk = \"a\"\nvcpus = [{ cpu = 2 }]", tasks);
        assert!(is_kept(&free) && is_kept(&reserved));
        assert!(do_for(&free, &reserved) && !do_for(&free, &other));
        assert!(!do_for(&free, &elsewhere), "on another CPU");
    }
}

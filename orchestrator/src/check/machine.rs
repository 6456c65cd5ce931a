//! What kind of machine this is, and who else uses its measured CPU.

use kernel::affinity::format_list;
use model::manifest::{HostFacts, Platform};

use super::{Row, State};
use crate::host::{Cpus, Roots, interrupts_on};

pub(super) fn rows(roots: &Roots, cpus: &Cpus) -> Vec<Row> {
    let facts = roots.host_facts(cpus);
    vec![
        platform(&facts),
        preemption(&facts),
        unknown_or("kernel command line", facts.kernel_command_line.clone()),
        isolation(&facts),
        siblings(&facts),
        unknown_or("NUMA node", facts.numa_node.map(|node| node.to_string())),
        core_type(&facts),
        interrupts(interrupts_on(roots, cpus.first())),
    ]
}

/// A fact that is neither good nor bad.
fn unknown_or(name: &str, found: Option<String>) -> Row {
    match found {
        Some(found) => Row::new(name, State::Good, found),
        None => Row::new(name, State::Unknown, "the host does not say"),
    }
}

fn platform(facts: &HostFacts) -> Row {
    const NAME: &str = "platform";
    let Some(platform) = facts.platform else { return unknown_or(NAME, None) };
    let state = if platform == Platform::Emulated { State::Limited } else { State::Good };
    let beneath = facts.hypervisor.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let found = format!("{}{beneath}. {}", platform.name(), platform.what_is_real());
    Row::new(NAME, state, found).advise("do not compare times with those of real hardware")
}

fn preemption(facts: &HostFacts) -> Row {
    let found = facts.preempt_rt.map(|on| if on { "yes" } else { "no" }.to_owned());
    unknown_or("PREEMPT_RT", found)
}

fn isolation(facts: &HostFacts) -> Row {
    let list = |cpus: &Option<Vec<u32>>| match cpus.as_deref() {
        None => "unknown".to_owned(),
        Some([]) => "none".to_owned(),
        Some(cpus) => format_list(cpus),
    };
    let found = format!(
        "isolated {}; without a tick (nohz_full) {}",
        list(&facts.isolated_cpus),
        list(&facts.nohz_full_cpus)
    );
    let known = facts.isolated_cpus.is_some() || facts.nohz_full_cpus.is_some();
    Row::new("isolated CPUs", if known { State::Good } else { State::Unknown }, found)
}

fn siblings(facts: &HostFacts) -> Row {
    const NAME: &str = "SMT siblings";
    let measured = facts.measured_cpu;
    match facts.smt_siblings.as_deref() {
        None => unknown_or(NAME, None),
        Some([only]) if *only == measured => {
            Row::new(NAME, State::Good, "the measured CPU has a core of its own")
        }
        Some(cpus) => {
            let others: Vec<u32> = cpus.iter().copied().filter(|cpu| *cpu != measured).collect();
            let idle = others.iter().all(|cpu| facts.idle_cpus.contains(cpu));
            let state = if idle { State::Good } else { State::Limited };
            let who = if idle { "runs leave it idle" } else { "it is used" };
            Row::new(
                NAME,
                state,
                format!("CPU {} is on the same core; {who}", format_list(&others)),
            )
            .advise("it slows the measured CPU down: switch SMT off, or measure another CPU")
        }
    }
}

fn core_type(facts: &HostFacts) -> Row {
    let found = facts.core_type.map(|kind| format!("{} core", kind.name()));
    unknown_or("core type", Some(found.unwrap_or_else(|| "all cores are alike".to_owned())))
}

fn interrupts(count: Option<usize>) -> Row {
    const NAME: &str = "interrupts";
    match count {
        None => unknown_or(NAME, None),
        Some(0) => Row::new(NAME, State::Good, "none may arrive on the measured CPU"),
        Some(count) => {
            Row::new(NAME, State::Limited, format!("{count} may arrive on the measured CPU"))
                .advise("`host.quiet = true` in a suite moves them away for the run")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> HostFacts {
        HostFacts { measured_cpu: 3, ..HostFacts::default() }
    }

    #[test]
    fn an_emulated_host_is_limited_and_says_what_is_real() {
        let row = platform(&HostFacts { platform: Some(Platform::Emulated), ..facts() });
        assert_eq!(row.state, State::Limited);
        assert!(row.found.contains("the speed is not the hardware's"), "{}", row.found);
        let bare = platform(&HostFacts { platform: Some(Platform::BareMetal), ..facts() });
        assert_eq!(bare.state, State::Good);
        assert_eq!(platform(&facts()).state, State::Unknown);
    }

    #[test]
    fn a_sibling_is_good_only_where_it_is_idle() {
        let with = |idle: &[u32]| HostFacts {
            smt_siblings: Some(vec![1, 3]),
            idle_cpus: idle.to_vec(),
            ..facts()
        };
        assert_eq!(siblings(&with(&[1])).state, State::Good);
        assert_eq!(siblings(&with(&[])).state, State::Limited);
        let alone = HostFacts { smt_siblings: Some(vec![3]), ..facts() };
        assert_eq!(siblings(&alone).state, State::Good);
        assert_eq!(siblings(&facts()).state, State::Unknown);
    }

    #[test]
    fn unknown_and_none_are_told_apart() {
        assert_eq!(isolation(&facts()).state, State::Unknown);
        let row = isolation(&HostFacts { isolated_cpus: Some(vec![]), ..facts() });
        assert_eq!(row.found, "isolated none; without a tick (nohz_full) unknown");
        assert_eq!(
            (interrupts(None).state, interrupts(Some(0)).state),
            (State::Unknown, State::Good)
        );
        assert_eq!(interrupts(Some(4)).state, State::Limited);
    }
}

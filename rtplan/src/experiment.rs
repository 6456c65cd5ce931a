//! The analysis of a suite's experiment: what a run stores and a report holds measurements against.

use model::{
    Mechanism, Suite, TaskSet,
    analysis::{ExperimentAnalysis, LeastBudget, SupplyAnalysis, TaskBound},
    duration,
    suite::{Emulator, ReservationSettings, Vcpu, Vm, Workload as Measured},
};

use crate::{
    analysis::schedulable,
    budget::least_budget,
    question::Question,
    responses,
    supply::{Costs, Model, Supply},
    workload::{Scheduler, Workload},
};

/// Under rate-monotonic priorities, as the tasks run; `None` for a workload without tasks.
///
/// Of jobs that take longer for some time (`surge`), the greatest execution time counts.
///
/// The supplies are those that surely hold, the nearest to a measurement first; none where nothing
/// is promised. The host's tick, stalls and the bench's own threads are left out.
#[must_use]
pub fn analyse(measured: Measured) -> Option<ExperimentAnalysis> {
    let workload = Workload::of(&measured.greatest_tasks()).ok()?;
    let supplies = supplies(measured);
    let budget = |supply: &Supply| least(&workload, supply);
    Some(ExperimentAnalysis {
        experiment: measured.experiment.name.clone(),
        vm: measured.vm.map(|vm| vm.name.clone()),
        service: measured.service?.name.clone(),
        budgets: supplies.iter().filter_map(budget).collect(),
        supplies: supplies.iter().map(|supply| verdict(&workload, supply)).collect(),
    })
}

/// [`analyse`] of every service of tasks. What verdicts rest on is calculated anew, not read from
/// a manifest: an old folder has none, and a better analysis is seen when it is judged again.
#[must_use]
pub fn analyses(suite: &Suite) -> Vec<ExperimentAnalysis> {
    suite.experiments.iter().flat_map(|one| one.workloads()).filter_map(analyse).collect()
}

fn supplies(measured: Measured) -> Vec<Supply> {
    let own = measured.reservation();
    let reservation = own.map(ReservationSettings::reservation);
    let of = |&model: &Model| Supply::new(model, reservation).expect("models of a reservation");
    models(measured, own.map_or(Mechanism::None, |own| own.mechanism)).iter().map(of).collect()
}

/// The models that hold under `mechanism`. `docs/analysis.md` says why.
fn models(measured: Measured, mechanism: Mechanism) -> &'static [Model] {
    use Model::{Aligned, Dedicated, OneGap, TwoGap};
    // What a law of control will grant, nobody knows before.
    let adapts = measured.reservation().is_some_and(|own| own.control.is_some());
    if shared(measured) || adapts {
        return &[];
    }
    let neighbour = deadlines_beside(measured) > 0;
    if mechanism.is_deadline() {
        return match (neighbour, in_step(measured)) {
            (true, _) => &[TwoGap],
            (false, true) => &[Aligned, OneGap, TwoGap],
            (false, false) => &[OneGap, TwoGap],
        };
    }
    // Real-time tasks go before ordinary threads, and where they fill the CPU the kernel's fair
    // server, which has a deadline, goes before every fixed priority, those of an `rt-group` too.
    let alone = rivals(measured) == 0;
    if measured.place().is_guest() && (neighbour || !alone) || measured.load().is_some() {
        return &[];
    }
    if mechanism.caps() { &[OneGap, TwoGap] } else { &[Dedicated] }
}

/// Whether this model of the supply holds for `measured`.
#[must_use]
pub fn promises(measured: Measured, model: Model) -> bool {
    let mechanism = measured.reservation().map_or(Mechanism::None, |own| own.mechanism);
    models(measured, mechanism).contains(&model)
}

/// vCPUs and services of the host that share a CPU with `measured`.
fn rivals(measured: Measured) -> usize {
    let cpus = measured.cpus();
    let vcpus = measured.experiment.vms.iter().flat_map(|vm| &vm.vcpus);
    let vcpus = vcpus.filter(|vcpu| cpus.contains(&vcpu.cpu)).count();
    let services = measured.experiment.services.iter();
    let services = services.filter(|own| cpus.contains(&own.cpu)).count();
    (vcpus + services).saturating_sub(1)
}

/// Whether other tasks with priorities of their own run on the same vCPU, or the same CPU of the host:
/// nothing here orders them.
fn shared(measured: Measured) -> bool {
    let all = measured.experiment.workloads().into_iter();
    let with_tasks = all.filter(|own| !own.tasks().is_empty());
    let here = (measured.place_in_guest(), measured.cpu());
    with_tasks.filter(|own| (own.place_in_guest(), own.cpu()) == here).count() > 1
}

/// How many other reservations with deadlines may go before that of `measured` on its CPU: those of
/// all vCPUs there, of its own VM's and its neighbours', and of emulators.
#[must_use]
pub fn deadlines_beside(measured: Measured) -> u32 {
    let cpus = measured.cpus();
    let here = |vcpu: &&Vcpu| cpus.contains(&vcpu.cpu);
    let reserved =
        |vcpu: &&Vcpu| vcpu.reservation.as_ref().is_some_and(|own| own.mechanism.is_deadline());
    let of = |vm: &Vm| {
        // QEMU's other threads are where the first vCPU is.
        let emulator = matches!(vm.emulator, Emulator::Reserved(_))
            && vm.vcpus.first().is_some_and(|vcpu| here(&vcpu));
        vm.vcpus.iter().filter(here).filter(reserved).count() as u32 + u32::from(emulator)
    };
    let own = measured.reservation().is_some_and(|own| own.mechanism.is_deadline());
    measured.experiment.vms.iter().map(of).sum::<u32>() - u32::from(own)
}

/// Whether every release falls on the start of a server period: P divides every T, and all tasks
/// are first released together.
fn in_step(measured: Measured) -> bool {
    let period = measured.reservation().map_or(1, |own| own.period.as_nanos());
    measured.tasks().iter().all(|task| task.period().as_nanos().is_multiple_of(period))
}

fn verdict(workload: &Workload, supply: &Supply) -> SupplyAnalysis {
    let scheduler = Scheduler::RateMonotonic;
    let bounds = responses(workload, supply, scheduler).unwrap_or_default().into_iter();
    let bound = |(at, response): (usize, crate::Response)| TaskBound {
        task: TaskSet::name(at),
        wcrt_ns: response.ns().and_then(|ns| u64::try_from(ns).ok()),
    };
    SupplyAnalysis {
        supply: supply.model().name().to_owned(),
        schedulable: schedulable(workload, supply, scheduler).ok(),
        tasks: bounds.enumerate().map(bound).collect(),
    }
}

/// None for a dedicated CPU, which has no budget.
fn least(workload: &Workload, supply: &Supply) -> Option<LeastBudget> {
    let question = Question {
        scheduler: Scheduler::RateMonotonic,
        model: supply.model(),
        costs: Costs::default(),
        period: supply.reservation()?.period(),
    };
    let found = least_budget(workload, &question).ok().flatten();
    Some(LeastBudget {
        supply: supply.model().name().to_owned(),
        budget_ns: found.map(|budget| duration::as_ns(budget.least)),
        budget_exact: found.and_then(|budget| budget.exact).map(|exact| exact.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::suite::parse;

    fn analysis(rest: &str) -> ExperimentAnalysis {
        let text = format!(
            "name = \"s\"\n[[experiment]]\nname = \"x\"\nwhere = \"guest\"\n\
             tasks = [\"30ms/150ms\", \"50ms/200ms\"]\n{rest}"
        );
        analyse(parse(&text, "s.toml").unwrap().experiments[0].workloads()[0]).unwrap()
    }

    fn bounds(own: &SupplyAnalysis) -> Vec<Option<u64>> {
        own.tasks.iter().map(|task| task.wcrt_ns.map(|ns| ns / 1_000_000)).collect()
    }

    #[test]
    fn a_reservation_is_seen_under_three_models() {
        let own = analysis("reservation = { budget = \"28ms\", period = \"50ms\" }");
        let verdicts: Vec<_> =
            own.supplies.iter().map(|one| (one.supply.as_str(), one.schedulable)).collect();
        let wanted = [("aligned", Some(true)), ("one-gap", Some(true)), ("two-gap", Some(false))];
        assert_eq!(verdicts, wanted);
        assert_eq!(bounds(own.expected().unwrap()), [Some(52), Some(124)]);
        assert_eq!(bounds(&own.supplies[1]), [Some(74), Some(146)]);
        assert!(own.is_bounded());
        let least: Vec<_> = own.budgets.iter().map(|one| one.text().unwrap()).collect();
        assert_eq!(least, ["80/3 ms", "80/3 ms", "32 ms"]);
        assert_eq!(own.budgets[0].budget_ns, Some(26_666_667));
    }

    #[test]
    fn without_one_the_cpu_is_the_tasks_own_or_nothing_is_promised() {
        let alone = analysis("");
        assert_eq!(bounds(alone.expected().unwrap()), [Some(30), Some(80)]);
        assert!(alone.budgets.is_empty() && alone.supplies.len() == 1);
        let beside = analysis("load = { tasks = [\"50ms/120ms\"] }");
        assert!(beside.supplies.is_empty() && !beside.is_bounded());
    }

    #[test]
    fn a_surge_counts_at_its_greatest_and_a_budget_that_adapts_promises_nothing() {
        let half = analysis(
            "reservation = { budget = \"28ms\", period = \"50ms\" }\nsurge = \
                             \"10s..20s*1.5\"",
        );
        // 45 in 150 and 75 in 200 are more than 28 in 50.
        assert!(!half.is_bounded());
        let law = "period = \"50ms\", control = \"pi\", min = \"5ms\", max = \"40ms\"";
        let adapts = analysis(&format!("reservation = {{ {law} }}"));
        assert!(adapts.supplies.is_empty() && adapts.budgets.is_empty());
    }

    fn models(rest: &str) -> Vec<String> {
        analysis(rest).supplies.into_iter().map(|own| own.supply).collect()
    }

    /// Each mechanism under (28, 50), alone and beside a real-time load.
    #[test]
    fn nothing_is_promised_where_the_mechanism_promises_nothing() {
        let hard = ["aligned", "one-gap", "two-gap"];
        let (capped, alone, nothing) = (["one-gap", "two-gap"], ["dedicated"], [""; 0]);
        let expected: [(&str, &[&str], &[&str]); 9] = [
            ("deadline", &hard, &hard),
            ("deadline-reclaim", &hard, &hard),
            ("timer-server", &hard, &hard),
            ("rt-group", &capped, &nothing),
            ("cfs-quota", &capped, &nothing),
            ("cfs-quota-weight", &capped, &nothing),
            ("cfs-weight", &alone, &nothing),
            ("fifo-above", &alone, &nothing),
            ("fifo-below", &alone, &nothing),
        ];
        for (mechanism, without, beside) in expected {
            let own = format!(
                "reservation = {{ budget = \"28ms\", period = \"50ms\", mechanism = \
                 \"{mechanism}\" }}"
            );
            assert_eq!(models(&own), without, "{mechanism} alone");
            let load = "load = { tasks = [\"50ms/120ms\", \"20ms/80ms\"] }";
            let loaded = analysis(&format!("{own}\n{load}"));
            let supplies: Vec<_> = loaded.supplies.iter().map(|own| &own.supply).collect();
            assert_eq!(supplies, beside, "{mechanism} beside a load");
            assert_eq!(loaded.budgets.len(), beside.len());
            // What a sweep asks before it leaves disturbed jobs out.
            assert_eq!(loaded.is_bounded(), !beside.is_empty());
        }
    }

    #[test]
    fn aligned_only_where_releases_keep_step_and_nothing_delays_the_server() {
        let with = |period: &str, more: &str| {
            format!("reservation = {{ budget = \"28ms\", period = \"{period}\" }}\n{more}")
        };
        assert_eq!(models(&with("50ms", "")), ["aligned", "one-gap", "two-gap"]);
        assert_eq!(models(&with("40ms", "")), ["one-gap", "two-gap"]);
        let emulator = "emulator = { budget = \"1ms\", period = \"10ms\" }";
        assert_eq!(models(&with("50ms", emulator)), ["two-gap"]);
    }

    #[test]
    fn a_neighbour_with_a_reservation_may_go_first() {
        let vm = |name: &str, more: &str| {
            format!(
                "[[experiment.vm]]\nname = \"{name}\"\nvcpus = [{{ budget = \"28ms\", period = \
                 \"50ms\" }}]\nservice = [{{ tasks = [\"30ms/150ms\", \"50ms/200ms\"] }}]\n{more}\n"
            )
        };
        let models = |text: &str| -> Vec<Vec<String>> {
            let text = format!("name = \"s\"\n[[experiment]]\nname = \"x\"\n{text}");
            let own = analyses(&parse(&text, "s.toml").unwrap()).into_iter();
            own.map(|one| one.supplies.into_iter().map(|one| one.supply).collect()).collect()
        };
        let hard = ["aligned", "one-gap", "two-gap"].map(str::to_owned).to_vec();
        assert_eq!(models(&vm("a", "")), std::slice::from_ref(&hard));
        let two = format!("{}{}", vm("a", ""), vm("b", ""));
        assert_eq!(models(&two), [["two-gap"], ["two-gap"]]);
        // What has no deadline comes after all that have one.
        let quota = format!("{}{}", vm("a", ""), vm("b", "mechanism = \"cfs-quota\""));
        assert_eq!(models(&quota), [hard, vec![]]);
        let twice =
            vm("a", "").replace("[{ tasks", "[{ name = \"o\", tasks = [\"1ms/9ms\"] }, { tasks");
        assert_eq!(models(&twice), [[""; 0], [""; 0]]);
    }

    #[test]
    fn each_vcpu_is_a_neighbour_of_the_others() {
        let dealt = |vcpus: &str, second: u32| {
            let text = format!(
                "name = \"s\"\n[[experiment]]\nname = \"x\"\n[[experiment.vm]]\nname = \"smp\"\nvcpus = \
                 [{vcpus}]\nservice = [{{ name = \"a\", tasks = [\"30ms/150ms\"] }}, {{ name = \"b\", \
                 vcpu = {second}, tasks = [\"50ms/200ms\"] }}]"
            );
            let suite = parse(&text, "s.toml").unwrap();
            let beside: Vec<_> =
                suite.experiments[0].workloads().into_iter().map(deadlines_beside).collect();
            let own = analyses(&suite).into_iter();
            let own: Vec<(Vec<String>, Vec<_>)> = own
                .map(|one| {
                    let bound = one.expected().map(|own| bounds(own)[0]);
                    (one.supplies.into_iter().map(|one| one.supply).collect(), vec![bound])
                })
                .collect();
            (beside, own)
        };
        let reserved = |ms: u32| format!("{{ budget = \"{ms}ms\", period = \"50ms\" }}");
        let two = format!("{}, {}", reserved(17), reserved(18));
        let two_gap = || vec!["two-gap".to_owned()];
        let (beside, own) = dealt(&two, 1);
        assert_eq!(beside, [1, 1]);
        assert_eq!(own[0].0, two_gap());
        assert_eq!(own[1].0, two_gap());
        assert!(own.iter().all(|(_, bound)| bound[0].flatten().is_some()), "{own:?}");
        // Both on one vCPU: nothing orders them.
        assert!(dealt(&two, 0).1.iter().all(|(supplies, _)| supplies.is_empty()));
        // Without reservations they share a CPU with each other.
        let (beside, own) = dealt("{}, {}", 1);
        assert_eq!(beside, [0, 0]);
        assert!(own.iter().all(|(supplies, _)| supplies.is_empty()), "{own:?}");
    }

    #[test]
    fn only_what_is_on_the_same_cpu_stands_in_the_way() {
        let analysed = |text: &str| -> Vec<(u32, Vec<String>)> {
            let suite = parse(text, "s.toml").unwrap();
            let beside = suite.experiments[0].workloads().into_iter().map(deadlines_beside);
            let own = analyses(&suite).into_iter();
            let own = own.map(|one| one.supplies.into_iter().map(|one| one.supply).collect());
            beside.zip(own).collect()
        };
        let hard = ["aligned", "one-gap", "two-gap"].map(str::to_owned).to_vec();
        let two_gap = vec!["two-gap".to_owned()];
        let text = |second: u32, third: u32| {
            format!(
                "name = \"s\"\n[host]\nmeasured_cpus = [1, 2, 3]\n[[experiment]]\nname = \"x\"\n\
                 load = [{{ cpu = 2, tasks = [\"1ms/9ms\"] }}]\n\
                 [[experiment.vm]]\nname = \"smp\"\nvcpus = [{{ cpu = 1, budget = \"20ms\", period = \
                 \"50ms\" }}, {{ cpu = {second}, budget = \"20ms\", period = \"50ms\" }}]\nservice = [{{ \
                 tasks = [\"30ms/150ms\"] }}, {{ name = \"b\", vcpu = 1, tasks = [\"30ms/200ms\"] }}]\n\
                 [[experiment.vm]]\nname = \"other\"\nvcpus = [{{ cpu = {third} }}]\nservice = [{{ tasks = \
                 [\"1ms/150ms\"] }}]\n"
            )
        };
        let dedicated = vec!["dedicated".to_owned()];
        assert_eq!(analysed(&text(2, 3)), [(0, hard.clone()), (0, hard.clone()), (0, dedicated)]);
        assert_eq!(analysed(&text(1, 3))[..2], [(1, two_gap.clone()), (1, two_gap)]);
        // Beside a reservation on its CPU, and beside a load there, an ordinary vCPU has no promise.
        assert_eq!(analysed(&text(2, 1))[2], (1, vec![]));
        assert_eq!(analysed(&text(3, 2))[2], (0, vec![]));
    }

    #[test]
    fn too_little_for_the_load_is_unbounded() {
        let own = analysis("reservation = { budget = \"20ms\", period = \"50ms\" }");
        assert!(!own.is_bounded());
        assert_eq!(own.supplies[0].schedulable, Some(false));
    }
}

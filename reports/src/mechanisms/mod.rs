//! Which mechanism isolates: the experiments that differ in nothing but the mechanism, ranked.
//!
//! The rule stands in `docs/method.md` and in `Member::order`.

pub mod member;
pub mod table;

use std::{cmp::Ordering, collections::BTreeSet};

use model::{
    Mechanism, Reservation,
    suite::{Experiment, ReservationSettings},
};

pub use self::member::Member;
use crate::folder::{Case, Results};

/// Experiments that differ in nothing but the mechanism, best first.
#[derive(Debug)]
pub struct Group<'a> {
    /// What every mechanism was asked for.
    pub reservation: Reservation,
    /// Rank and member; those that cannot be told apart share a rank, those that were not measured
    /// have none and stand last.
    pub members: Vec<(Option<usize>, Member<'a>)>,
}

/// The groups of at least two mechanisms under the same (Q, P), in the suite's order. The unreserved
/// experiment of the same kind, where there is one, belongs to each as mechanism `none`.
#[must_use]
pub fn groups(results: &Results) -> Vec<Group<'_>> {
    let mut found: Vec<(Kind, Reservation)> = Vec::new();
    for case in &results.cases {
        let Some(own) = case.reservation() else { continue };
        let same = (but_for_the_mechanism(case), own.reservation());
        if !found.contains(&same) {
            found.push(same);
        }
    }
    let of = |(kind, reservation)| {
        let cases: Vec<&Case> = results
            .cases
            .iter()
            .filter(|case| case.workload().place().is_guest())
            .filter(|case| but_for_the_mechanism(case) == kind)
            .filter(|case| asked(case).is_none_or(|own| own == reservation))
            .collect();
        (mechanisms(&cases) >= 2).then(|| Group::of(results, reservation, &cases))
    };
    found.into_iter().filter_map(of).collect()
}

fn asked(case: &Case) -> Option<Reservation> {
    case.reservation().map(ReservationSettings::reservation)
}

/// How many mechanisms there are, `none` aside.
fn mechanisms(cases: &[&Case]) -> usize {
    let reserved = cases.iter().filter_map(|case| case.reservation());
    reserved.map(|own| own.mechanism.name()).collect::<BTreeSet<_>>().len()
}

/// An experiment without what two of a group may differ in, and which of its services is meant.
type Kind = (Experiment, Option<String>, Option<String>);

fn but_for_the_mechanism(case: &Case) -> Kind {
    let (vm, service) = (case.workload().vm, case.workload().service);
    let (vm, service) = (vm.map(|vm| vm.name.clone()), service.map(|own| own.name.clone()));
    let mut experiment =
        Experiment { name: String::new(), repetitions: 1, trace: None, ..case.experiment.clone() };
    for own in experiment.vms.iter_mut().filter(|own| Some(&own.name) == vm.as_ref()) {
        own.vcpus.iter_mut().for_each(|vcpu| vcpu.reservation = None);
    }
    (experiment, vm, service)
}

impl<'a> Group<'a> {
    fn of(results: &'a Results, reservation: Reservation, cases: &[&'a Case]) -> Self {
        let member = |case: &&'a Case| Member::of(results, case, reservation);
        let mut members: Vec<Member> = cases.iter().map(member).collect();
        let best = members.iter().filter_map(Member::service_p99_ns).min();
        members.sort_by(|a, b| a.order(b, best));
        let mut ranked: Vec<(Option<usize>, Member)> = Vec::new();
        for (at, member) in members.into_iter().enumerate() {
            let same = |(_, last): &&(_, Member)| last.order(&member, best) == Ordering::Equal;
            let shared = ranked.last().filter(same).and_then(|(rank, _)| *rank);
            let rank = member.is_measured().then(|| shared.unwrap_or(at + 1));
            ranked.push((rank, member));
        }
        Self { reservation, members: ranked }
    }
}

/// The mechanism of an experiment, `none` where nothing is reserved.
#[must_use]
pub fn mechanism(case: &Case) -> Mechanism {
    case.reservation().map_or(Mechanism::None, |own| own.mechanism)
}

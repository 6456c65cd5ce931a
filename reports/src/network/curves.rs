//! Which services differ in nothing but the size of the reply, or the rate of requests.

use model::suite::{Experiment, Server, ServiceKind};

use super::{Account, Served};

/// What a group of services differs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// What is asked for.
    Reply,
    /// How often.
    Rate,
}

impl Over {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Reply, Self::Rate];

    fn x(self, account: &Account) -> Option<f64> {
        match self {
            Self::Reply => account.reply_bytes().map(|bytes| bytes / 1e3),
            Self::Rate => account.rate_per_s(),
        }
    }
}

/// Services that differ in one thing, and in where QEMU's other threads run.
#[derive(Debug)]
pub struct Group {
    /// In what.
    pub over: Over,
    /// The first of their experiments.
    pub first: String,
    /// For each place of QEMU's other threads, what is on the axis (kB, or requests a second) and the
    /// account there, ascending.
    pub places: Vec<(String, Vec<(f64, Account)>)>,
}

/// All groups in which some place has two points at least.
#[must_use]
pub fn groups(served: &[Served]) -> Vec<Group> {
    let mut found = Vec::new();
    for over in Over::ALL {
        let mut kinds: Vec<(Experiment, Group)> = Vec::new();
        for own in served {
            let account = own.together();
            let Some(x) = over.x(&account) else { continue };
            let kind = but_for(over, &own.case.experiment);
            let at = kinds.iter().position(|(other, _)| *other == kind).unwrap_or_else(|| {
                let first = own.case.experiment.name.clone();
                kinds.push((kind, Group { over, first, places: Vec::new() }));
                kinds.len() - 1
            });
            kinds[at].1.enter(own.emulator(), x, account);
        }
        let enough = |group: &Group| group.places.iter().any(|(_, points)| points.len() > 1);
        found.extend(kinds.into_iter().map(|(_, group)| group).filter(enough));
    }
    found
}

impl Group {
    fn enter(&mut self, place: String, x: f64, account: Account) {
        let at = self.places.iter().position(|(own, _)| *own == place).unwrap_or_else(|| {
            self.places.push((place, Vec::new()));
            self.places.len() - 1
        });
        let points = &mut self.places[at].1;
        points.push((x, account));
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
}

/// The experiment without what members of a group may differ in.
fn but_for(over: Over, experiment: &Experiment) -> Experiment {
    let mut own =
        Experiment { name: String::new(), repetitions: 1, trace: None, ..experiment.clone() };
    for vm in &mut own.vms {
        vm.emulator = model::suite::Emulator::default();
        for service in &mut vm.services {
            let ServiceKind::Web(web) = &mut service.kind else { continue };
            match (over, &mut web.server) {
                (Over::Rate, _) => (web.rate, web.requests) = (None, None),
                (Over::Reply, Server::Cgi { query, .. }) => query.clear(),
                (Over::Reply, Server::Command(own)) => own.path.clear(),
                (Over::Reply, Server::Url { url, .. }) => url.clear(),
            }
        }
    }
    own
}

//! A web service in a virtual machine.

use model::suite::{Server, Web};
use webload::{Target, run::WarmUp};

/// A web service that answers.
pub(super) struct Served {
    /// Where clients ask, one a client.
    pub targets: Vec<Target>,
    /// The requests that are no part of the measurement.
    pub warm_up: WarmUp,
    /// The process of a program of the user's, in the guest.
    pub pid: Option<i32>,
    /// Who answers.
    pub server: Server,
}

impl Served {
    /// One that runs already.
    pub fn by_url(targets: Vec<Target>, warm_up: WarmUp, web: &Web) -> Self {
        Self { targets, warm_up, pid: None, server: web.server.clone() }
    }
}

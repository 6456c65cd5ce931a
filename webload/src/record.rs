//! Samples as they are taken: small, in memory that was there before the run.

use model::sample::Request;

use crate::Failure;

/// One measured request.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) repetition: u32,
    pub(crate) client: u32,
    pub(crate) request: u64,
    pub(crate) intended_ns: u64,
    pub(crate) start_ns: u64,
    pub(crate) connect_ns: Option<u64>,
    pub(crate) first_byte_ns: Option<u64>,
    pub(crate) finish_ns: u64,
    pub(crate) status: Option<u16>,
    pub(crate) bytes: u64,
    pub(crate) delimited: bool,
    /// Whether the client had waited for `intended_ns`: what it then started late is our own doing.
    pub(crate) was_free: bool,
    pub(crate) failure: Option<Failure>,
}

impl Sample {
    /// The row of `requests.csv`.
    pub(crate) fn row(&self, experiment: Option<&str>) -> Request {
        let good = self.failure.is_none();
        Request {
            experiment: experiment.map(ToOwned::to_owned),
            repetition: Some(self.repetition),
            client: self.client,
            request: self.request,
            intended_ns: self.intended_ns,
            start_ns: self.start_ns,
            first_byte_ns: self.first_byte_ns,
            finish_ns: Some(self.finish_ns),
            response_ns: good.then(|| self.finish_ns.saturating_sub(self.intended_ns)),
            status: self.status,
            bytes: self.bytes,
            error: self.failure.as_ref().map(ToString::to_string),
            vm: None,
            service: None,
        }
    }
}

/// A request of which nothing is known.
pub(crate) const BLANK: Sample = Sample {
    repetition: 0,
    client: 0,
    request: 0,
    intended_ns: 0,
    start_ns: 0,
    connect_ns: None,
    first_byte_ns: None,
    finish_ns: 0,
    status: None,
    bytes: 0,
    delimited: false,
    was_free: false,
    failure: None,
};

/// Room for `capacity` samples, its memory touched, so that no page fault falls into a request.
pub(crate) fn room_for(capacity: usize) -> Vec<Sample> {
    let mut room = vec![BLANK; capacity];
    room.clear();
    room
}

//! The request that a client has under way.

use kernel::clock::monotonic_ns;

use crate::{Failure, protocol::answer::Answer, record::Sample, stamp::Stamps};

/// The request that is under way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    pub(crate) repetition: u32,
    pub(crate) request: u64,
    pub(crate) intended_ns: u64,
    pub(crate) start_ns: u64,
    /// Whether the client had waited for `intended_ns`.
    pub(crate) was_free: bool,
    /// How long its connection took, where one was opened.
    pub(crate) connect_ns: Option<u64>,
    /// Whether there is no request: the connection is opened ahead of it.
    pub(crate) ahead: bool,
}

impl Asked {
    /// A request that begins now, due at `due` or else now.
    pub(crate) fn now(repetition: u32, request: u64, due: Option<u64>, was_free: bool) -> Self {
        let start_ns = monotonic_ns();
        let intended_ns = due.unwrap_or(start_ns);
        Self { repetition, request, intended_ns, start_ns, was_free, ..Self::default() }
    }

    /// A connection for a later request.
    pub(crate) fn connection() -> Self {
        Self { ahead: true, ..Self::now(0, 0, None, false) }
    }

    /// What has become of it, asked by `client`.
    pub(crate) fn sample(
        &self,
        client: u32,
        answer: &Answer,
        stamps: &Stamps,
        failure: Option<Failure>,
    ) -> Sample {
        // A body that only the end of the connection delimits is whole when that end is seen.
        let whole = if answer.delimited { stamps.last_byte_ns() } else { stamps.end_ns() };
        let finish_ns = whole.filter(|_| failure.is_none()).unwrap_or_else(monotonic_ns);
        Sample {
            repetition: self.repetition,
            client,
            request: self.request,
            intended_ns: self.intended_ns,
            start_ns: self.start_ns,
            connect_ns: self.connect_ns,
            first_byte_ns: stamps.first_byte_ns(),
            finish_ns,
            status: answer.status,
            bytes: answer.bytes,
            delimited: answer.delimited,
            was_free: self.was_free,
            failure,
        }
    }
}

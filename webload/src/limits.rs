//! Where the clients themselves are the bottleneck.

use model::stats;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{Summary, error::RunError};

/// Files that a process has open beside the clients' connections: the standard streams, outputs, the
/// event loop and its timer, and some room.
const OTHER_DESCRIPTORS: u64 = 32;

/// Share of a CPU above which the clients have no time left, had or asked for.
const BUSY: f64 = 0.9;

/// Share of the median response time above which our own late starts spoil it.
const LATE: f64 = 0.1;

/// Makes sure that every client can have a connection, by raising the soft limit where that is
/// needed.
pub(crate) fn allow_descriptors(clients: u32) -> Result<(), RunError> {
    let needed = u64::from(clients) + OTHER_DESCRIPTORS;
    let fail = |errno: nix::Error| RunError::Setup(errno.into());
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(fail)?;
    if needed <= soft {
        return Ok(());
    }
    if needed > hard {
        return Err(RunError::Descriptors { clients, needed, limit: hard });
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard).map_err(fail)
}

/// What the figures owe to the clients and not to the service.
pub(crate) fn warnings(summary: &Summary) -> Vec<String> {
    let median = |of: &Option<stats::Summary>| of.as_ref().map(|summary| summary.p50 as f64);
    let mut warnings = Vec::new();
    if let Some(share) = summary.own_cpu_share.filter(|share| *share > BUSY) {
        warnings.push(format!(
            "the clients' own CPU was {:.0} % busy: rate and response times are theirs, not the \
             service's; ask for less, or run several webloads on CPUs of their own",
            share * 100.0
        ));
    }
    let wanted =
        summary.own_cpu_share.zip(summary.own_wait_share).map(|(had, wait)| (had, had + wait));
    if let Some((had, wanted)) = wanted.filter(|(had, wanted)| *had <= BUSY && *wanted > BUSY) {
        warnings.push(format!(
            "the clients wanted a CPU for {:.0} % of the time and had it for {:.0} %: others took it, \
             and rate and response times are theirs, not the service's; give the clients a CPU of \
             their own (--cpu)",
            wanted * 100.0,
            had * 100.0
        ));
    }
    if let (Some(late), Some(response)) =
        (median(&summary.late_start_ns), median(&summary.response_ns))
        && late > LATE * response
    {
        warnings.push(format!(
            "free clients started {:.3} ms late at the median, which is {:.0} % of the median \
             response time: the clients are slow, not the service; lower --rate, or give them a CPU \
             of their own (--cpu)",
            late / 1e6,
            late / response * 100.0
        ));
    }
    warnings
}

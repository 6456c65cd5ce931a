//! The figures of a run, as one JSON object or as text.

use std::{collections::BTreeMap, fmt, time::Duration};

use model::{duration, stats};
use serde::Serialize;

use crate::{Config, Run, limits, run::WarmUp};

/// The figures of a run. Durations are in nanoseconds, of good requests only, and null where there
/// is none; percentiles are those of [`model::stats`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Measured requests, good and failed.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
    /// From the intended instant to the last byte: corrected for coordinated omission.
    pub response_ns: Option<stats::Summary>,
    /// From the actual start to the last byte: uncorrected. Equal to `response_ns` in a closed loop,
    /// where a request is due when it starts.
    pub uncorrected_ns: Option<stats::Summary>,
    /// From the actual start to the first byte.
    pub first_byte_ns: Option<stats::Summary>,
    /// Opening a connection, of those that were opened for a measured request.
    pub connect_ns: Option<stats::Summary>,
    /// Connections that took 1 s or more: one whose request was lost and sent again is among them.
    pub connects_of_1s_or_more: u64,
    /// Failed requests by cause.
    pub causes: BTreeMap<&'static str, u64>,
    /// Good answers of which nothing told the length.
    pub unverified: u64,
    /// Requests before the measured ones, in none of the other figures.
    pub warm_up: WarmUp,
    /// `closed` or `open`.
    pub pace: &'static str,
    /// The rate of an open loop.
    pub rate_per_s: Option<f64>,
    /// `new` for each request, or `keep-alive`.
    pub connection: &'static str,
    /// Clients at the same time.
    pub clients: u32,
    /// Repetitions that were done.
    pub repetitions: u32,
    /// Bytes of all bodies received.
    pub bytes: u64,
    /// The repetitions' lengths, added up.
    pub elapsed_ns: u64,
    /// Good requests in a second of `elapsed_ns`.
    pub good_per_s: Option<f64>,
    /// Whether the run was stopped before its end.
    pub interrupted: bool,
    /// Requests that were due (open loop) and not sent when the run was stopped.
    pub unsent: u64,
    /// Requests that were sent and not answered when the run was stopped.
    pub unanswered: u64,
    /// Share of one CPU that the clients themselves took while they asked.
    pub own_cpu_share: Option<f64>,
    /// Share of the time in which they could run and others had their CPU.
    pub own_wait_share: Option<f64>,
    /// How late requests started for which a client had been waiting (open loop).
    pub late_start_ns: Option<stats::Summary>,
    /// What the figures owe to the clients and not to the service.
    pub warnings: Vec<String>,
}

impl Summary {
    /// The figures of `run`, which was made with `config`.
    #[must_use]
    pub fn of(config: &Config, run: &Run) -> Self {
        let account = &run.account;
        let (requests, failures) = (account.requests, account.failures());
        let good_count = requests - failures;
        let elapsed_ns = run.repetitions.iter().map(|one| one.end_ns - one.start_ns).sum();
        let sum = |of: fn(&crate::Repetition) -> u64| run.repetitions.iter().map(of).sum::<u64>();
        let cpu_ns = sum(|one| one.cpu_ns);
        let wait_ns: Option<u64> = run.repetitions.iter().map(|one| one.wait_ns).sum();
        let mut summary = Self {
            requests,
            failures,
            response_ns: account.response.summary(),
            uncorrected_ns: account.uncorrected.summary(),
            first_byte_ns: account.first_byte.summary(),
            connect_ns: account.connect.summary(),
            connects_of_1s_or_more: account.connects_of_1s_or_more,
            causes: account.causes.clone(),
            unverified: account.unverified,
            warm_up: run.warm_up,
            pace: if config.rate.is_some() { "open" } else { "closed" },
            rate_per_s: config.rate.map(|rate| rate.as_per_second()),
            connection: if config.keep_alive { "keep-alive" } else { "new" },
            clients: config.clients,
            repetitions: run.repetitions.iter().filter(|one| one.complete).count() as u32,
            bytes: account.bytes,
            elapsed_ns,
            good_per_s: (elapsed_ns > 0).then(|| good_count as f64 * 1e9 / elapsed_ns as f64),
            interrupted: run.interrupted,
            unsent: sum(|one| one.unsent),
            unanswered: sum(|one| one.unanswered),
            own_cpu_share: (elapsed_ns > 0).then(|| cpu_ns as f64 / elapsed_ns as f64),
            own_wait_share: wait_ns
                .filter(|_| elapsed_ns > 0)
                .map(|wait_ns| wait_ns as f64 / elapsed_ns as f64),
            late_start_ns: account.late_start.summary(),
            warnings: Vec::new(),
        };
        summary.warnings = limits::warnings(&summary);
        summary
    }

    /// Whether the failures exceed `limit`, a share of the requests; 1 is never exceeded.
    #[must_use]
    pub fn fails(&self, limit: f64) -> bool {
        self.failures as f64 > limit * self.requests as f64
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, failures, clients, repetitions, connection, .. } = self;
        let pace = self.rate_per_s.map_or("closed loop".to_owned(), |r| format!("{r} requests/s"));
        writeln!(
            f,
            "clients: {clients}, repetitions: {repetitions}, {pace}, connection: {connection}"
        )?;
        write!(f, "{requests} requests, {failures} failed")?;
        for (cause, count) in &self.causes {
            write!(f, ", {count} {cause}")?;
        }
        let WarmUp { requests, failures } = self.warm_up;
        writeln!(f, "; warm-up: {requests} requests, {failures} failed")?;
        if let Some(rate) = self.good_per_s {
            let elapsed = Duration::from_nanos(self.elapsed_ns).as_secs_f64();
            writeln!(f, "{rate:.1} good requests/s over {elapsed:.3} s, {} bytes", self.bytes)?;
        }
        if self.interrupted {
            writeln!(
                f,
                "stopped early: {} requests were due and not sent, {} sent and not answered",
                self.unsent, self.unanswered
            )?;
        }
        if let Some(share) = self.own_cpu_share {
            writeln!(f, "clients: {:.0} % of a CPU", share * 100.0)?;
        }
        write!(f, "{:<14}", "milliseconds")?;
        for name in ["min", "mean", "stddev", "p50", "p90", "p99", "p99.9", "p99.99", "max"] {
            write!(f, "{name:>12}")?;
        }
        writeln!(f)?;
        line(f, "response", self.response_ns.as_ref())?;
        if self.pace == "open" {
            line(f, "uncorrected", self.uncorrected_ns.as_ref())?;
            line(f, "late start", self.late_start_ns.as_ref())?;
        }
        line(f, "first byte", self.first_byte_ns.as_ref())?;
        line(f, "connect", self.connect_ns.as_ref())
    }
}

/// A line of the table, in milliseconds; a dash for what is not known.
fn line(f: &mut fmt::Formatter<'_>, name: &str, s: Option<&stats::Summary>) -> fmt::Result {
    let of = |pick: fn(&stats::Summary) -> Option<f64>| s.and_then(pick);
    write!(f, "{name:<14}")?;
    for ns in [
        of(|s| Some(s.min as f64)),
        of(|s| Some(s.mean)),
        of(|s| s.stddev),
        of(|s| Some(s.p50 as f64)),
        of(|s| Some(s.p90 as f64)),
        of(|s| Some(s.p99 as f64)),
        of(|s| Some(s.p999 as f64)),
        of(|s| Some(s.p9999 as f64)),
        of(|s| Some(s.max as f64)),
    ] {
        match ns {
            Some(ns) => write!(f, "{:>12.3}", ns / 1e6)?,
            None => write!(f, "{:>12}", "-")?,
        }
    }
    writeln!(f)
}

/// A repetition in one line, for progress.
#[must_use]
pub fn progress(one: &crate::Repetition, of: u32, first: u32) -> String {
    let took = Duration::from_millis((one.end_ns - one.start_ns) / 1_000_000);
    format!(
        "repetition {} of {of}: {} requests, {} failed, {}{}",
        one.number - first + 1,
        one.requests,
        one.failures,
        duration::format(took),
        if one.complete { "" } else { " (stopped)" },
    )
}

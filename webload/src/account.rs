//! What a run's requests come to: counts, and durations either kept or counted.

use std::collections::BTreeMap;

use model::{
    hist::{self, Distribution, Histogram, SIGNIFICANT_DIGITS},
    stats,
};

use crate::record::Sample;

/// A connection that took as long, or longer, may have lost its request: Linux sends it again after
/// 1 s at the earliest.
const RETRANSMITTED_NS: u64 = 1_000_000_000;

/// Durations in nanoseconds.
#[derive(Debug, Clone)]
pub enum Durations {
    /// Each of them: statistics are exact.
    Kept(Vec<u64>),
    /// In constant memory: percentiles are within 0.1 %.
    Counted(Distribution),
}

impl Durations {
    fn add(&mut self, ns: u64) {
        match self {
            Self::Kept(all) => all.push(ns),
            Self::Counted(distribution) => distribution.add(ns),
        }
    }

    /// Their statistics; none where there are none.
    #[must_use]
    pub fn summary(&self) -> Option<stats::Summary> {
        match self {
            Self::Kept(all) => stats::Summary::of(&mut all.clone()),
            Self::Counted(distribution) => distribution.summary(),
        }
    }

    /// As an HdrHistogram.
    #[must_use]
    pub fn histogram(&self) -> Histogram {
        match self {
            Self::Kept(all) => hist::histogram(all.iter().copied()),
            Self::Counted(distribution) => distribution.histogram().clone(),
        }
    }
}

/// The measured requests of a run, added up; durations are of good requests, but for `connect`.
#[derive(Debug, Clone)]
pub struct Account {
    /// Good and failed.
    pub requests: u64,
    /// Failed ones by cause.
    pub causes: BTreeMap<&'static str, u64>,
    /// Bytes of all bodies received.
    pub bytes: u64,
    /// Good answers that told no length, so that a cut could not have been seen.
    pub unverified: u64,
    /// Connections that took 1 s or more.
    pub connects_of_1s_or_more: u64,
    /// From the intended instant to the last byte.
    pub response: Durations,
    /// From the actual start to the last byte.
    pub uncorrected: Durations,
    /// From the actual start to the first byte.
    pub first_byte: Durations,
    /// Opening a connection, of those that were opened for a measured request.
    pub connect: Durations,
    /// How late requests started for which a client had been waiting: our own doing.
    pub late_start: Durations,
}

impl Account {
    /// That keeps every duration.
    #[must_use]
    pub(crate) fn keeping() -> Self {
        Self::with(|| Durations::Kept(Vec::new()))
    }

    /// In constant memory.
    #[must_use]
    pub(crate) fn counting() -> Self {
        Self::with(|| Durations::Counted(Distribution::growing(SIGNIFICANT_DIGITS)))
    }

    fn with(durations: impl Fn() -> Durations) -> Self {
        Self {
            requests: 0,
            causes: BTreeMap::new(),
            bytes: 0,
            unverified: 0,
            connects_of_1s_or_more: 0,
            response: durations(),
            uncorrected: durations(),
            first_byte: durations(),
            connect: durations(),
            late_start: durations(),
        }
    }

    /// Failed requests.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.causes.values().sum()
    }

    pub(crate) fn add(&mut self, sample: &Sample) {
        self.requests += 1;
        self.bytes += sample.bytes;
        if let Some(ns) = sample.connect_ns {
            self.connects_of_1s_or_more += u64::from(ns >= RETRANSMITTED_NS);
            self.connect.add(ns);
        }
        if sample.was_free {
            self.late_start.add(sample.start_ns.saturating_sub(sample.intended_ns));
        }
        if let Some(failure) = &sample.failure {
            *self.causes.entry(failure.cause()).or_default() += 1;
            return;
        }
        self.unverified += u64::from(!sample.delimited);
        self.response.add(sample.finish_ns.saturating_sub(sample.intended_ns));
        self.uncorrected.add(sample.finish_ns.saturating_sub(sample.start_ns));
        if let Some(ns) = sample.first_byte_ns {
            self.first_byte.add(ns.saturating_sub(sample.start_ns));
        }
    }
}

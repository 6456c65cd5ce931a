//! What a run is to do, as plain data.

use std::time::Duration;

use bytes::Bytes;
use http::{
    Method,
    header::{HeaderName, HeaderValue},
};
use thiserror::Error;

use crate::{Rate, Target};

/// One run: who asks whom, how often, and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to; client i uses the target i modulo their number, so that each client can have a
    /// forwarded port of its own. At least one.
    pub targets: Vec<Target>,
    /// Number of concurrent clients.
    pub clients: u32,
    /// Measured requests per client and repetition; an open loop sends `clients` × `requests` in
    /// all, each by the first client that is free.
    pub requests: u64,
    /// Repetitions (the paper's simulations), one after the other.
    pub repetitions: u32,
    /// The number that the first repetition carries in its rows.
    pub first_repetition: u32,
    /// Requests per client before the first repetition, counted but not recorded.
    pub warm_up: u64,
    /// An open loop at this rate; `None` is the closed loop.
    pub rate: Option<Rate>,
    /// Time after which a request is given up; it counts from the request's start, in an open loop
    /// too, where the request may have been due before.
    pub timeout: Duration,
    /// The method of every request.
    pub method: Method,
    /// Headers of every request; they replace those of the same name.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body of every request.
    pub body: Bytes,
    /// Keep a client's connection from one request to the next, else open one for each, as the
    /// paper's clients do.
    pub keep_alive: bool,
    /// The only CPU that the clients run on.
    pub cpu: Option<u32>,
    /// What stands in the column `experiment`.
    pub experiment: Option<String>,
    /// The most requests of which samples are kept in memory, about 150 bytes each; more than these
    /// are counted in constant memory.
    pub most_records: u64,
}

/// A combination of settings that cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A count that must be at least 1 is 0.
    #[error("`{0}` is 0; it must be at least 1")]
    Zero(&'static str),
    /// A time-out that the timer cannot measure.
    #[error(
        "the timeout is {}; timeouts are exact to 1 ms, so it must be at least {}",
        model::duration::format(*.0), model::duration::format(Config::SHORTEST_TIMEOUT)
    )]
    TooShort(Duration),
    /// More requests than can be counted.
    #[error(
        "{clients} clients x {requests} requests x {repetitions} repetitions are more than 2^64 \
         requests in one run"
    )]
    TooMany {
        /// As configured.
        clients: u32,
        /// As configured.
        requests: u64,
        /// As configured.
        repetitions: u32,
    },
}

impl Config {
    /// The most requests whose samples are kept, by default.
    pub const MOST_RECORDS: u64 = 2_000_000;

    /// The shortest time-out: waiting for events can be limited in whole milliseconds.
    pub const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

    /// The paper's load on `targets`: 10 clients with 10 requests each, once, in a closed loop, a
    /// new connection for each request, given up after 120 s.
    #[must_use]
    pub fn new(targets: Vec<Target>) -> Self {
        Self {
            targets,
            clients: 10,
            requests: 10,
            repetitions: 1,
            first_repetition: 0,
            warm_up: 0,
            rate: None,
            timeout: Duration::from_secs(120),
            method: Method::GET,
            headers: Vec::new(),
            body: Bytes::new(),
            keep_alive: false,
            cpu: None,
            experiment: None,
            most_records: Self::MOST_RECORDS,
        }
    }

    /// Whether requests are counted in constant memory, and none is kept.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.total().is_ok_and(|total| total > self.most_records)
    }

    /// Checks what no single setting can tell; returns the measured requests of the whole run.
    ///
    /// # Errors
    /// One [`ConfigError`] a rule.
    pub fn total(&self) -> Result<u64, ConfigError> {
        let counts = [
            ("url", self.targets.len() as u64),
            ("clients", u64::from(self.clients)),
            ("requests", self.requests),
            ("repetitions", u64::from(self.repetitions)),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(ConfigError::Zero(name));
        }
        if self.timeout < Self::SHORTEST_TIMEOUT {
            return Err(ConfigError::TooShort(self.timeout));
        }
        u64::from(self.clients)
            .checked_mul(self.requests)
            .and_then(|all| all.checked_mul(u64::from(self.repetitions)))
            .ok_or(ConfigError::TooMany {
                clients: self.clients,
                requests: self.requests,
                repetitions: self.repetitions,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new(vec![Target::new("http://127.0.0.1:1/").unwrap()])
    }

    #[test]
    fn counts_the_requests() {
        assert_eq!(Config { repetitions: 20, ..config() }.total(), Ok(2000));
    }

    #[test]
    fn more_requests_than_are_kept_are_counted() {
        let of = |requests| Config { requests, most_records: 100, ..config() };
        assert!(!of(10).counts() && of(11).counts());
    }

    #[test]
    fn refuses_with_the_reason() {
        assert_eq!(Config { targets: vec![], ..config() }.total(), Err(ConfigError::Zero("url")));
        assert_eq!(Config { requests: 0, ..config() }.total(), Err(ConfigError::Zero("requests")));
        for timeout in [Duration::ZERO, Duration::from_micros(999)] {
            let refused = Config { timeout, ..config() }.total();
            assert_eq!(refused, Err(ConfigError::TooShort(timeout)));
        }
        let error = Config { requests: u64::MAX, ..config() }.total().unwrap_err();
        assert!(matches!(error, ConfigError::TooMany { .. }), "{error}");
    }
}

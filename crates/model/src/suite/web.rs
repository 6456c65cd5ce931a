//! The web service of the macro benchmark: what is served, who asks, and over which network.

use std::{net::Ipv4Addr, ops::Range, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Rate, duration};

/// Apache 2 with a CGI program, and the clients that ask it (the paper, section 4.2). One
/// repetition is one of the paper's simulations: `clients` × `requests` requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Web {
    /// The CGI program, a file of the host; `cgi-rotate` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,
    /// The query of every request.
    pub query: String,
    /// Number of concurrent clients.
    pub clients: u32,
    /// Requests of each client in a repetition, one after the other; until the experiment's
    /// `duration` has passed where absent (in the short form: 10).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// Requests of each client between the service's start and the first measured one.
    pub warm_up: u64,
    /// An open loop at this rate; a closed loop where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// A request without a whole answer after this time has failed.
    #[cfg_attr(test, schemars(with = "crate::suite::schema::DurationText"))]
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Keep a client's connection from one request to the next.
    pub keep_alive: bool,
    /// The largest share of failed requests, in 0..=1; a repetition with more has failed.
    pub max_failures: f64,
    /// The first loopback port of the host to use; any free ones where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            program: None,
            query: "angle=20&width=2000&height=2000&format=ppm&reply=summary".to_owned(),
            clients: 10,
            requests: None,
            warm_up: 1,
            rate: None,
            timeout: Duration::from_secs(120),
            keep_alive: false,
            max_failures: 0.01,
            port: None,
        }
    }
}

impl Web {
    /// The most clients: each of a guest's has a forwarded port of its own.
    pub const MOST_CLIENTS: u32 = 256;

    /// Requests of each client where the short form names none: the paper's.
    pub const REQUESTS: u64 = 10;

    /// The host's ports, one a client, where the suite names them.
    #[must_use]
    pub fn ports(&self) -> Option<Range<u32>> {
        self.port.map(|first| u32::from(first)..u32::from(first) + self.clients)
    }

    /// Measured requests of a repetition; none where the clients go on until a time has passed.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        Some(u64::from(self.clients).saturating_mul(self.requests?))
    }
}

/// How the guest is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Network {
    /// `"user"`: QEMU's user-mode network, a forwarded loopback port for each client.
    User(User),
    /// `{ tap = "br0", address = "192.168.7.2/24" }`: a bridge of the host.
    Tap(Tap),
}

impl Default for Network {
    fn default() -> Self {
        Self::User(User::User)
    }
}

/// The word `user`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum User {
    /// QEMU's user-mode network.
    User,
}

/// A guest's card on a bridge of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tap {
    /// The bridge, which is there and has an address in the same network.
    pub tap: String,
    /// The guest's address and prefix length, `192.168.7.2/24`.
    pub address: String,
}

impl Tap {
    /// The guest's address and prefix length.
    ///
    /// # Errors
    /// What is wrong with the address or the bridge's name.
    pub fn interface(&self) -> Result<(Ipv4Addr, u8), String> {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.tap.is_empty() || self.tap.len() > 15 || !self.tap.chars().all(good) {
            return Err(format!(
                "`tap` is `{}`; it is the name of a bridge, for example `br0`",
                self.tap
            ));
        }
        interface(&self.address).ok_or_else(|| {
            format!(
                "`address` is `{}`; write the guest's IPv4 address and prefix length, for example \
                 `192.168.7.2/24`",
                self.address
            )
        })
    }
}

/// Reads `ADDRESS/PREFIX`.
#[must_use]
pub fn interface(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.trim().split_once('/')?;
    let prefix = prefix.parse().ok().filter(|prefix| (1..=32).contains(prefix))?;
    Some((address.parse().ok()?, prefix))
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    const SERVICE: &str = r#"
name = "service"
[guest]
network = "user"
[[experiment]]
name = "table1-guest"
where = "guest"
web = { clients = 4, query = "angle=20" }
"#;

    fn error(text: &str) -> String {
        parse(text, "s.toml").unwrap_err().to_string()
    }

    #[test]
    fn a_service_gets_the_papers_protocol_by_default() {
        let suite = parse(&SERVICE.replace("clients = 4, ", ""), "s.toml").unwrap();
        let web = suite.experiments[0].workloads()[0].web().unwrap();
        assert_eq!((web.clients, web.requests, web.total()), (10, Some(10), Some(100)));
        let text = toml::to_string(&suite).unwrap();
        assert_eq!(parse(&text, "s.toml").unwrap(), suite);
    }

    #[test]
    fn a_bridge_of_the_host() {
        let with = |network: &str| SERVICE.replace("\"user\"", network);
        let suite = parse(&with("{ tap = \"br0\", address = \"192.168.7.2/24\" }"), "s").unwrap();
        let super::Network::Tap(tap) = &suite.guest.network else { panic!("{suite:?}") };
        assert_eq!(tap.interface(), Ok(([192, 168, 7, 2].into(), 24)));
        for (network, wanted) in [
            ("{ tap = \"br0\", address = \"192.168.7.2\" }", "192.168.7.2/24"),
            ("{ tap = \"br 0,x\", address = \"192.168.7.2/24\" }", "`tap`"),
            ("{ tap = \"br0\", address = \"192.168.7.2/40\" }", "`address`"),
            ("\"nat\"", "network"),
        ] {
            let said = error(&with(network));
            assert!(said.contains(wanted) && !said.contains('\n'), "{network}: {said}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, wanted) in [
            ("clients = 4", "clients = 0", "`web.clients` is 0"),
            ("clients = 4", "requests = 0", "`web.requests` is 0"),
            ("clients = 4", "clients = 1000", "at most 256"),
            ("clients = 4", "colour = 1", "colour"),
            ("clients = 4", "timeout = \"0\"", "`web.timeout`"),
            ("clients = 4", "max_failures = 2.0", "between 0 and 1"),
            ("clients = 4", "rate = \"fast\"", "50/s"),
            ("clients = 4", "port = 65530", "ports are 1 to 65535"),
            ("angle=20", "angle=20 and more", "%XX"),
            ("web = {", "tasks = [\"30ms/150ms\"]\nweb = {", "one or the other"),
        ] {
            let said = error(&SERVICE.replace(from, to));
            assert!(said.contains(wanted), "{to}: {said}");
        }
    }
}

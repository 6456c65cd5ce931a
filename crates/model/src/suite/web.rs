//! A web service that is measured: who answers, who asks, and how.

use std::{ops::Range, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::web_table::WebTable;
use crate::Rate;

/// A web service and the clients that ask it (the paper, section 4.2). One repetition is one of the
/// paper's simulations: `clients` × `requests` requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "WebTable", into = "WebTable")]
pub struct Web {
    /// Who answers.
    pub server: Server,
    /// Clients that ask at the same time.
    pub clients: u32,
    /// Requests of each client in a repetition, one after the other; until the experiment's
    /// `duration` has passed where absent (in the short form: 10).
    pub requests: Option<u64>,
    /// Requests of each client between the service's start and the first measured one.
    pub warm_up: u64,
    /// An open loop at this rate; a closed loop where absent.
    pub rate: Option<Rate>,
    /// A request without a whole answer after this time has failed.
    pub timeout: Duration,
    /// Keep a client's connection from one request to the next.
    pub keep_alive: bool,
    /// The largest share of failed requests, in 0..=1; a repetition with more has failed.
    pub max_failures: f64,
    /// The first loopback port of the host to use; any free ones where absent.
    pub port: Option<u16>,
}

/// Who answers the requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// Apache 2 with a CGI program: the paper's service.
    Cgi {
        /// The CGI program, a file of the host; `cgi-rotate` where absent.
        program: Option<PathBuf>,
        /// The query of every request.
        query: String,
    },
    /// A program of the user's, which listens on a port of its own.
    Command(Own),
    /// Somebody else's service, which runs already.
    Url {
        /// What every request asks for.
        url: String,
        /// When it can be measured.
        ready: Ready,
    },
}

/// A program of the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// The program, a file of the host or a name in `$PATH`, and its arguments.
    pub command: Vec<String>,
    /// The port on which it listens.
    pub listen: u16,
    /// Path and query of every request.
    pub path: String,
    /// When it can be measured.
    pub ready: Ready,
}

/// When a service is ready: as soon as a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// A URL, or a path on the same server; the measured request where absent.
    pub request: Option<String>,
    /// How long that may take.
    pub within: Duration,
}

impl Ready {
    /// How long a program may take that is just being started.
    pub const STARTING: Duration = Duration::from_secs(60);
    /// How long a service may take that runs already.
    pub const RUNNING: Duration = Duration::from_secs(5);
    /// The most that may be waited for.
    pub const MOST: Duration = Duration::from_secs(600);
}

impl Default for Web {
    fn default() -> Self {
        Self {
            server: Server::Cgi { program: None, query: Server::QUERY.to_owned() },
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

impl Server {
    /// The paper's request.
    pub(super) const QUERY: &str = "angle=20&width=2000&height=2000&format=ppm&reply=summary";

    /// What is asked for, for people.
    #[must_use]
    pub fn asked(&self) -> String {
        match self {
            Self::Cgi { query, .. } => query.clone(),
            Self::Command(own) => format!("{} of `{}`", own.path, own.command.join(" ")),
            Self::Url { url, .. } => url.clone(),
        }
    }
}

impl Web {
    /// The most clients: each of a guest's has a forwarded port of its own.
    pub const MOST_CLIENTS: u32 = 256;

    /// Requests of each client where the short form names none: the paper's.
    pub const REQUESTS: u64 = 10;

    /// The host's ports that the suite names: of a guest one a client, on the host the one at which
    /// the service is asked by all.
    #[must_use]
    pub fn ports(&self, in_guest: bool) -> Option<Range<u32>> {
        let (first, count) = match &self.server {
            Server::Url { .. } => return None,
            _ if in_guest => (self.port?, self.clients),
            Server::Command(own) => (own.listen, 1),
            Server::Cgi { .. } => (self.port?, 1),
        };
        Some(u32::from(first)..u32::from(first) + count)
    }

    /// Measured requests of a repetition; none where the clients go on until a time has passed.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        Some(u64::from(self.clients).saturating_mul(self.requests?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::{Ready, Server};

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
        let super::super::Network::Tap(tap) = &suite.guest.network else { panic!("{suite:?}") };
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
            ("query =", "url = \"http://127.0.0.1/\", query =", "behind a `?`"),
            ("query = \"angle=20\"", "url = \"http://127.0.0.1/\"", "nothing answers in a guest"),
            ("query = \"angle=20\"", "url = \"http://x/\", program = \"p\"", "`web.program`: a"),
            ("query = \"angle=20\"", "url = \"http://x/\", command = [\"p\"]", "`web.command`"),
            ("query = \"angle=20\"", "url = \"http://x/\", port = 8080", "part of the URL"),
            ("query = \"angle=20\"", "command = [\"p\"]", "`web.listen` is missing"),
            ("query = \"angle=20\"", "command = [\"\"], listen = 1", "first word is a program"),
            ("query = \"angle=20\"", "command = [\"p\"], listen = 0", "`web.listen` is 0"),
            ("query =", "command = [\"p\"], listen = 1, query =", "a part of `path`"),
            ("query = \"angle=20\"", "listen = 9000", "`web.listen` belongs to"),
            ("query = \"angle=20\"", "ready = \"/health\"", "`web.ready` belongs to"),
            (
                "query = \"angle=20\"",
                "command = [\"p\"], listen = 1, ready = \"http://x/\"",
                "of a `command` it is a path",
            ),
            (
                "query = \"angle=20\"",
                "command = [\"p\"], listen = 1, ready_within = \"1h\"",
                "from 1ms to 600s",
            ),
            ("web = {", "tasks = [\"30ms/150ms\"]\nweb = {", "one or the other"),
        ] {
            let said = error(&SERVICE.replace(from, to));
            assert!(said.contains(wanted), "{to}: {said}");
        }
    }

    #[test]
    fn services_of_ones_own_are_read_and_written_back() {
        let with = |keys: &str, place: &str| {
            let text = SERVICE.replace("query = \"angle=20\"", keys).replace("\"guest\"", place);
            let suite = parse(&text, "s.toml").unwrap();
            let again = toml::to_string(&suite).unwrap();
            assert_eq!(parse(&again, "s.toml").unwrap(), suite, "{again}");
            suite.experiments[0].workloads()[0].web().unwrap().clone()
        };
        let url = with("url = \"http://127.0.0.1:8080/a?b\", ready = \"/health\"", "\"host\"");
        let Server::Url { url: asked, ready } = &url.server else { panic!("{url:?}") };
        assert_eq!((asked.as_str(), ready.within), ("http://127.0.0.1:8080/a?b", Ready::RUNNING));
        assert_eq!(url.ports(false), None);
        let own = with("command = [\"./server\", \"-v\"], listen = 9000, port = 8100", "\"guest\"");
        let Server::Command(command) = &own.server else { panic!("{own:?}") };
        assert_eq!((command.path.as_str(), command.ready.within), ("/", Ready::STARTING));
        assert_eq!(own.ports(true), Some(8100..8104));
        let on_host = with("command = [\"./server\"], listen = 9000", "\"host\"");
        assert_eq!(on_host.ports(false), Some(9000..9001));
        assert_eq!(on_host.server.asked(), "/ of `./server`");
    }

    #[test]
    fn two_services_of_the_host_listen_on_ports_of_their_own() {
        let one = |name: &str, port: u16| {
            format!("{{ name = \"{name}\", web = {{ command = [\"p\"], listen = {port} }} }}")
        };
        let text = |other| {
            let services = format!("[{}, {}]", one("a", 9000), one("b", other));
            format!("name = \"s\"\n[[experiment]]\nname = \"e\"\nservice = {services}\n")
        };
        parse(&text(9001), "s.toml").unwrap();
        let said = error(&text(9000));
        assert!(
            said.contains("key `web.listen`: service `b` of `host` needs ports 9000"),
            "{said}"
        );
    }
}

//! A web service as it is written: one table, whose keys say who answers.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Own, Ready, Server, Web, written_reservation::Length};
use crate::{Rate, duration};

/// `web = { … }`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct WebTable {
    /// A service that runs already: what every request asks for. Nothing is started.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// A program of your own and its arguments, started for the measurement.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    command: Vec<String>,
    /// The port on which `command` listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<u16>,
    /// Path and query of every request to `command`; `/` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// What has to be answered before anything is measured: a URL, or a path on the same server; of
    /// `url` and `command`. What is measured where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<String>,
    /// How long that may take, at most 10 minutes; 5 s for `url`, 60 s for `command` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    ready_within: Option<Length>,
    /// The CGI program, a file of the host; `cgi-rotate` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<PathBuf>,
    /// The query of every request to the CGI program; the paper's picture where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    /// Clients that ask at the same time.
    clients: u32,
    /// Requests of each client in a repetition, one after the other; until the experiment's
    /// `duration` has passed where absent (in the short form: 10).
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<u64>,
    /// Requests of each client between the service's start and the first measured one.
    warm_up: u64,
    /// An open loop at this rate; a closed loop where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<Rate>,
    /// A request without a whole answer after this time has failed.
    #[cfg_attr(test, schemars(with = "crate::suite::schema::DurationText"))]
    #[serde(with = "duration")]
    timeout: Duration,
    /// Keep a client's connection from one request to the next.
    keep_alive: bool,
    /// The largest share of failed requests, in 0..=1; a repetition with more has failed.
    max_failures: f64,
    /// The first loopback port of the host to use; any free ones where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

impl Default for WebTable {
    fn default() -> Self {
        let mut own = Self::from(Web::default());
        own.query = None;
        own
    }
}

impl WebTable {
    /// Refuses the first of `keys` that was given.
    fn without(&self, with: &str, keys: &[(&str, &str)]) -> Result<(), String> {
        let given = |key: &str| match key {
            "program" => self.program.is_some(),
            "query" => self.query.is_some(),
            "listen" => self.listen.is_some(),
            "path" => self.path.is_some(),
            "ready" => self.ready.is_some(),
            "ready_within" => self.ready_within.is_some(),
            "port" => self.port.is_some(),
            _ => !self.command.is_empty(),
        };
        match keys.iter().find(|(key, _)| given(key)) {
            Some((key, right)) => Err(format!("keys `web.{with}` and `web.{key}`: {right}")),
            None => Ok(()),
        }
    }

    fn ready(&self, usual: Duration) -> Ready {
        let within = self.ready_within.map_or(usual, |Length(within)| within);
        Ready { request: self.ready.clone(), within }
    }

    fn server(&self) -> Result<Server, String> {
        const EITHER: &str = "a service is one that runs already (`url`), a program of your own \
                              (`command`) or a CGI program (`program`)";
        if let Some(url) = &self.url {
            self.without(
                "url",
                &[
                    ("command", EITHER),
                    ("program", EITHER),
                    ("query", "the query is a part of the URL, behind a `?`"),
                    ("path", "the path is a part of the URL"),
                    ("listen", "the port is a part of the URL"),
                    ("port", "the port is a part of the URL"),
                ],
            )?;
            return Ok(Server::Url { url: url.clone(), ready: self.ready(Ready::RUNNING) });
        }
        if !self.command.is_empty() {
            let query = "the query is a part of `path`, behind a `?`";
            self.without("command", &[("program", EITHER), ("query", query)])?;
            let listen = self.listen.ok_or(
                "key `web.listen` is missing; give the port on which `command` listens, for \
                 example `listen = 9000`",
            )?;
            return Ok(Server::Command(Own {
                command: self.command.clone(),
                listen,
                path: self.path.clone().unwrap_or_else(|| "/".to_owned()),
                ready: self.ready(Ready::STARTING),
            }));
        }
        let own = [
            ("listen", self.listen.is_some()),
            ("path", self.path.is_some()),
            ("ready", self.ready.is_some()),
            ("ready_within", self.ready_within.is_some()),
        ];
        if let Some((key, _)) = own.iter().find(|(_, given)| *given) {
            return Err(format!(
                "key `web.{key}` belongs to a service of your own; give `command` (or `url`, with \
                 `ready` and `ready_within`) as well, or leave it out"
            ));
        }
        let query = self.query.clone().unwrap_or_else(|| Server::QUERY.to_owned());
        Ok(Server::Cgi { program: self.program.clone(), query })
    }
}

impl TryFrom<WebTable> for Web {
    type Error = String;

    fn try_from(table: WebTable) -> Result<Self, String> {
        let server = table.server()?;
        let WebTable { clients, requests, warm_up, rate, .. } = table;
        let WebTable { timeout, keep_alive, max_failures, port, .. } = table;
        Ok(Self {
            server,
            clients,
            requests,
            warm_up,
            rate,
            timeout,
            keep_alive,
            max_failures,
            port,
        })
    }
}

impl From<Web> for WebTable {
    fn from(own: Web) -> Self {
        let mut table = Self {
            url: None,
            command: Vec::new(),
            listen: None,
            path: None,
            ready: None,
            ready_within: None,
            program: None,
            query: None,
            clients: own.clients,
            requests: own.requests,
            warm_up: own.warm_up,
            rate: own.rate,
            timeout: own.timeout,
            keep_alive: own.keep_alive,
            max_failures: own.max_failures,
            port: own.port,
        };
        let mut waits = |ready: Ready| {
            (table.ready, table.ready_within) = (ready.request, Some(Length(ready.within)));
        };
        match own.server {
            Server::Cgi { program, query } => {
                (table.program, table.query) = (program, Some(query));
            }
            Server::Command(Own { command, listen, path, ready }) => {
                waits(ready);
                (table.command, table.listen, table.path) = (command, Some(listen), Some(path));
            }
            Server::Url { url, ready } => {
                waits(ready);
                table.url = Some(url);
            }
        }
        table
    }
}

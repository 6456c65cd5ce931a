//! The services that are asked: Apache 2 with a CGI program, from a configuration of its own, on the
//! host or in a guest; a program of the user's in the same places; and somebody else's service, of
//! which a URL is known. No service of the system is touched.

mod apache;
mod in_guest;
mod on_host;
mod own;
mod ports;
mod ready;
mod resolve;

use std::path::{Path, PathBuf};

use anyhow::Result;
use model::suite::Server;
use webload::Target;

pub use apache::{Apache, find};
pub use in_guest::{Serving, contents, error_log, log_name, start, still_runs};
pub use on_host::HostService;
pub use own::program_of;
pub use ports::{free, taken};
pub use ready::{answers, asked_by_url, check};

use crate::{
    error::Refusal,
    host::{Stop, program},
};

/// What the clients ask for, at each of `authorities`.
///
/// # Errors
/// What makes no URL, or a host that cannot be resolved.
fn targets(authorities: &[String], server: &Server, stop: &Stop) -> Result<Vec<Target>> {
    let at = |path: String| -> Result<Vec<Target>> {
        let target = |authority| Ok(Target::new(&format!("http://{authority}{path}"))?);
        authorities.iter().map(target).collect()
    };
    match server {
        Server::Cgi { query, .. } => at(format!("/cgi-bin/service?{query}")),
        Server::Command(own) => at(own.path.clone()),
        Server::Url { url, ready } => Ok(vec![resolve::resolved(url, ready.within, stop)?]),
    }
}

/// The CGI program that a service serves. Of `cgi-rotate` the static build is taken where there is one:
/// under emulation a program with libraries takes three times as long to start.
///
/// # Errors
/// [`Refusal`] where there is none.
pub fn cgi_program(own: Option<&Path>) -> Result<PathBuf, Refusal> {
    match own {
        None => program("cgi-rotate-static").or_else(|_| program("cgi-rotate")),
        Some(path) if path.is_file() => Ok(path.to_owned()),
        Some(path) => Err(Refusal::Usage(format!(
            "key `web.program`: {} is no file; name a CGI program of this host",
            path.display()
        ))),
    }
}

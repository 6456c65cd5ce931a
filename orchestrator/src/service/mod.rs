//! The web service of the macro benchmark: Apache 2 with a CGI program, on the host or in a guest,
//! from a configuration of its own. No service of the system is touched.

mod apache;
mod in_guest;
mod on_host;
mod ports;

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, bail};
use model::suite::Web;
use webload::{Config, Target, run::WarmUp};

pub use apache::{Apache, find};
pub use in_guest::{Serving, contents, error_log, start};
pub use on_host::HostService;
pub use ports::{free, taken};

use crate::{
    error::Refusal,
    host::{Stop, pause, program},
};

/// How long a service may take until it answers its first request.
const READY: Duration = Duration::from_secs(60);

/// What a request of `web` asks for, on the server at `authority`.
///
/// # Errors
/// A query that makes no URL.
fn target(authority: &str, web: &Web) -> Result<Target> {
    Ok(Target::new(&format!("http://{authority}/cgi-bin/service?{}", web.query))?)
}

/// The CGI program that `web` serves. Of `cgi-rotate` the static build is taken where there is one:
/// under emulation a program with libraries takes three times as long to start.
///
/// # Errors
/// [`Refusal`] where there is none.
pub fn cgi_program(web: &Web) -> Result<PathBuf, Refusal> {
    match &web.program {
        None => program("cgi-rotate-static").or_else(|_| program("cgi-rotate")),
        Some(path) if path.is_file() => Ok(path.clone()),
        Some(path) => Err(Refusal::Usage(format!(
            "key `web.program`: {} is no file; name a CGI program of this host",
            path.display()
        ))),
    }
}

/// Waits until the service gives a whole, good answer, then sends the warm-up requests, whose
/// number and failures it returns. `alive` says why the service can no longer come up.
///
/// # Errors
/// Where no answer comes in time, with the cause of the last failure.
fn ready(
    targets: &[Target],
    web: &Web,
    stop: &Stop,
    mut alive: impl FnMut() -> Result<()>,
) -> Result<WarmUp> {
    let since = std::time::Instant::now();
    loop {
        let config = Config {
            clients: 1,
            requests: 1,
            timeout: Duration::from_secs(10).min(web.timeout),
            ..Config::new(targets[..1].to_vec())
        };
        let first = webload::run(&config, stop.flag(), |_| ())?;
        stop.check()?;
        match first.rows.first().map(|row| row.error.clone()) {
            Some(None) => break,
            _ if since.elapsed() < READY => {}
            Some(Some(error)) => bail!("the service gave no good answer within {READY:?}: {error}"),
            None => bail!("the service gave no answer within {READY:?}"),
        }
        alive()?;
        pause(Duration::from_millis(50), stop)?;
    }
    warm_up(targets, web, stop)
}

fn warm_up(targets: &[Target], web: &Web, stop: &Stop) -> Result<WarmUp> {
    if web.warm_up == 0 {
        return Ok(WarmUp { requests: 1, failures: 0 });
    }
    let config = Config {
        clients: web.clients,
        requests: web.warm_up,
        timeout: web.timeout,
        ..Config::new(targets.to_vec())
    };
    let run = webload::run(&config, stop.flag(), |_| ())?;
    stop.check()?;
    let failures = run.rows.iter().filter(|row| row.error.is_some()).count() as u64;
    Ok(WarmUp { requests: 1 + run.rows.len() as u64, failures })
}

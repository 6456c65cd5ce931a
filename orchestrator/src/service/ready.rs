//! When a service can be measured: once it has answered, and has been warmed up.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use model::{
    duration,
    suite::{Experiment, Ready, Server, Web},
};
use webload::{Config, Target, run::WarmUp};

use super::{resolve::resolved, targets};
use crate::{
    error::Refusal,
    host::{Stop, pause},
};

/// How long one request may take until the service is asked again.
const ANSWER: Duration = Duration::from_secs(10);

/// Waits until the service gives a whole, good answer, then sends the warm-up requests, whose
/// number and failures it returns. `alive` says why the service can no longer come up.
///
/// # Errors
/// Where no answer comes in time, with the cause of the last failure.
pub(super) fn ready(
    targets: &[Target],
    web: &Web,
    stop: &Stop,
    alive: impl FnMut() -> Result<()>,
) -> Result<WarmUp> {
    let (request, within) = asked(targets, &web.server, stop)?;
    wait(&request, within, web, stop, alive)?;
    warm_up(targets, web, stop)
}

/// Where a service by URL is asked, once it has answered and was warmed up. `alive` says why it can
/// no longer answer.
///
/// # Errors
/// Where no answer comes in time.
pub fn asked_by_url(
    web: &Web,
    stop: &Stop,
    alive: impl FnMut() -> Result<()>,
) -> Result<(Vec<Target>, WarmUp)> {
    let targets = targets(&[], &web.server, stop)?;
    let warm_up = ready(&targets, web, stop, alive)?;
    Ok((targets, warm_up))
}

/// Refuses an experiment with a URL that nobody answers, before anything is touched.
///
/// # Errors
/// [`Refusal::Usage`] with the URL.
pub fn answers(experiment: &Experiment, stop: &Stop) -> Result<()> {
    for web in experiment.workloads().into_iter().filter_map(|own| own.web()) {
        if !matches!(web.server, Server::Url { .. }) {
            continue;
        }
        let answered = targets(&[], &web.server, stop).and_then(|targets| {
            let (request, within) = asked(&targets, &web.server, stop)?;
            wait(&request, within, web, stop, || Ok(()))
        });
        if let Err(error) = answered {
            stop.check()?;
            bail!(Refusal::Usage(format!("experiment `{}`: {error:#}", experiment.name)));
        }
    }
    Ok(())
}

/// Whether the URLs that a suite names are such; nobody is asked.
///
/// # Errors
/// One sentence.
pub fn check(server: &Server) -> Result<(), String> {
    let Server::Url { url, ready } = server else { return Ok(()) };
    let whole = |text: &&String| !text.starts_with('/');
    let ready = ready.request.as_ref().filter(whole);
    let keys = [("url", Some(url)), ("ready", ready)];
    for (key, url) in keys.into_iter().filter_map(|(key, url)| Some((key, url?))) {
        Target::check(url).map_err(|error| format!("key `web.{key}`: {error}"))?;
    }
    Ok(())
}

/// The request that has to be answered first, and how long that may take.
fn asked(targets: &[Target], server: &Server, stop: &Stop) -> Result<(Target, Duration)> {
    let first = &targets[0];
    let Ready { request, within } = match server {
        Server::Cgi { .. } => return Ok((first.clone(), Ready::STARTING)),
        Server::Command(own) => &own.ready,
        Server::Url { ready, .. } => ready,
    };
    let request = match request {
        None => first.clone(),
        Some(path) if path.starts_with('/') => {
            Target::new(&format!("http://{}{path}", first.host))?
        }
        Some(url) => resolved(url, *within, stop)?,
    };
    Ok((request, *within))
}

fn wait(
    request: &Target,
    within: Duration,
    web: &Web,
    stop: &Stop,
    mut alive: impl FnMut() -> Result<()>,
) -> Result<()> {
    let since = Instant::now();
    loop {
        let left = within.saturating_sub(since.elapsed());
        let config = Config {
            clients: 1,
            requests: 1,
            timeout: ANSWER.min(web.timeout).min(left).max(Config::SHORTEST_TIMEOUT),
            ..Config::new(vec![request.clone()])
        };
        let first = webload::run(&config, stop.flag(), |_| ())?;
        stop.check()?;
        let said = match first.rows.first().map(|row| row.error.clone()) {
            Some(None) => return Ok(()),
            Some(Some(error)) => error,
            None => "no answer".to_owned(),
        };
        alive()?;
        if since.elapsed() >= within {
            let (url, within) = (&request.url, duration::format(within));
            bail!("{url} gave no good answer within {within}: {said}; {}", remedy(&web.server));
        }
        pause(Duration::from_millis(50), stop)?;
    }
}

/// What would be right.
fn remedy(server: &Server) -> String {
    match server {
        Server::Cgi { .. } => "the log of Apache tells more".to_owned(),
        Server::Command(own) => format!(
            "`web.command` has to listen on port {} (in a guest on every address, 0.0.0.0) and to \
             answer `web.ready` with 2xx",
            own.listen
        ),
        Server::Url { .. } => {
            "start the service, or correct `web.url` or `web.ready`; an answer is 2xx".to_owned()
        }
    }
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

//! The rules of web services that their types cannot say.

use std::time::Duration;

use super::{Experiment, Network, Own, Ready, Server, Web};
use crate::duration;

/// Every web service has ports, or an address, of its own.
pub(super) fn reachable(experiment: &Experiment, network: &Network) -> Result<(), String> {
    let mut taken: Vec<(String, std::ops::Range<u32>)> = Vec::new();
    let mut in_guests = 0;
    for workload in experiment.workloads() {
        let (Some(web), Some(service)) = (workload.web(), workload.service) else { continue };
        in_guests += u32::from(workload.vm.is_some_and(|vm| vm.found.is_none()));
        let place = workload.vm.map_or("host", |vm| &vm.name);
        let own = format!("service `{}` of `{place}`", service.name);
        let Some(ports) = web.ports(workload.vm.is_some()) else { continue };
        let listens = workload.vm.is_none() && matches!(web.server, Server::Command(_));
        let shared =
            |other: &std::ops::Range<u32>| other.start < ports.end && ports.start < other.end;
        if let Some((other, used)) = taken.iter().find(|(_, used)| shared(used)) {
            return Err(format!(
                "key `web.{}`: {own} needs ports {} to {}, and {other} has {} to {}; give \
                 another{}",
                if listens { "listen" } else { "port" },
                ports.start,
                ports.end - 1,
                used.start,
                used.end - 1,
                if listens { "" } else { ", or leave the key out for any that are free" }
            ));
        }
        taken.push((own, ports));
    }
    if in_guests > 1 && matches!(network, Network::Tap(_)) {
        return Err(
            "key `guest.network`: all guests on a bridge would have the same address; use \
                    `network = \"user\"` where several VMs have web services"
                .to_owned(),
        );
    }
    Ok(())
}

/// Where a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    Host,
    /// In a guest that is booted for the measurement.
    Guest,
    /// In a system on a disk of the user's, booted for the measurement.
    Disk,
    /// In a VM that runs already.
    Running,
}

/// Why no web service is started in a VM that runs already: nobody knows by which address it would be
/// reached.
const BY_URL: &str = "the VM runs already: its web service is asked by URL, \
     `web = { url = \"http://…\" }`; start it there yourself, or measure it in a guest that is booted \
     for it (without `libvirt`, `qmp` and `pid`)";

pub(super) fn web(web: &Web, place: Where) -> Result<(), String> {
    clients(web)?;
    if place == Where::Disk {
        return Err("key `web`: web services in a VM with a `disk` are not supported yet; measure its \
                    tasks, or the service by URL in a VM that runs already (`libvirt`, `qmp`, `pid`)"
            .to_owned());
    }
    match &web.server {
        Server::Cgi { .. } | Server::Command(_) if place == Where::Running => {
            return Err(BY_URL.to_owned());
        }
        Server::Cgi { query, .. } => plain("query", query)?,
        Server::Command(own) => command(own, web.port, place)?,
        Server::Url { .. } if place == Where::Guest => {
            return Err("key `web.url`: nothing answers in a guest that is booted for the \
                        measurement; give `command` or `program`, or make it a service of the host"
                .to_owned());
        }
        Server::Url { url, ready } => {
            plain("url", url)?;
            is_ready(ready)?;
        }
    }
    let named = web.port.map(|port| u32::from(port)..u32::from(port) + web.clients);
    if named.is_some_and(|ports| ports.start == 0 || ports.end > 0x1_0000) {
        return Err(format!(
            "key `web.port` is {}; ports are 1 to 65535, and each client of a guest has one",
            web.port.unwrap_or_default()
        ));
    }
    Ok(())
}

fn clients(web: &Web) -> Result<(), String> {
    let requests = web.requests.unwrap_or(u64::MAX);
    let counts = [("clients", u64::from(web.clients)), ("requests", requests)];
    if let Some((key, _)) = counts.iter().find(|(_, count)| *count == 0) {
        return Err(format!("key `web.{key}` is 0; it is at least 1"));
    }
    if web.clients > Web::MOST_CLIENTS {
        return Err(format!(
            "key `web.clients` is {}; it is at most {}",
            web.clients,
            Web::MOST_CLIENTS
        ));
    }
    if web.timeout.is_zero() {
        return Err("key `web.timeout` is 0; every request would fail".to_owned());
    }
    if !(0.0..=1.0).contains(&web.max_failures) {
        return Err(format!(
            "key `web.max_failures` is {}; it is a share between 0 and 1",
            web.max_failures
        ));
    }
    Ok(())
}

fn command(own: &Own, port: Option<u16>, place: Where) -> Result<(), String> {
    let words = || own.command.iter();
    if words().next().is_none_or(String::is_empty) || words().any(|word| word.contains('\0')) {
        return Err("key `web.command`: the first word is a program, for example \
                    `command = [\"./server\", \"--port\", \"9000\"]`"
            .to_owned());
    }
    if own.listen == 0 {
        return Err("key `web.listen` is 0; ports are 1 to 65535".to_owned());
    }
    if port.is_some() && place == Where::Host {
        return Err("key `web.port` belongs to a service in a guest; on the host `command` is \
                    asked at the port `listen`"
            .to_owned());
    }
    let ready = own.ready.request.as_ref();
    let paths = [("path", Some(&own.path)), ("ready", ready)];
    for (key, path) in paths.into_iter().filter_map(|(key, path)| Some((key, path?))) {
        if !path.starts_with('/') {
            return Err(format!(
                "key `web.{key}` is `{path}`; of a `command` it is a path, for example `/health`"
            ));
        }
        plain(key, path)?;
    }
    is_ready(&own.ready)
}

fn is_ready(ready: &Ready) -> Result<(), String> {
    if !(Duration::from_millis(1)..=Ready::MOST).contains(&ready.within) {
        return Err(format!(
            "key `web.ready_within` is {}; it is from 1ms to {}",
            duration::format(ready.within),
            duration::format(Ready::MOST)
        ));
    }
    ready.request.as_ref().map_or(Ok(()), |request| plain("ready", request))
}

/// As it may stand in a request line.
fn plain(key: &str, text: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_graphic() && c != '#';
    if text.chars().all(plain) {
        return Ok(());
    }
    Err(format!(
        "key `web.{key}` is `{text}`; write it as in a URL: no spaces, no `#`, others as %XX"
    ))
}

//! The service in a guest: what the guest's file system holds for it, its start, its log.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use guest_agent::net::ADDRESS_FILE;
use model::suite::{self, Own, Server, Web};
use webload::{Target, run::WarmUp};

use super::{Apache, apache::Site, cgi_program, free, own::program_of, ready::ready, targets};
use crate::{
    guest::{Contents, Guest, Network, Status},
    host::Stop,
};

const ROOT: &str = "/srv";
const CONFIGURATION: &str = "/etc/httpd.conf";
const PROGRAM: &str = "/bin/httpd";
const ERROR_LOG: &str = "/var/apache-error.log";
const PORT: u16 = 80;

/// The log of a program of the user's, in the guest.
const OWN_LOG: &str = "/var/service.log";

/// Programs and files beside those that every guest has; `apache` where it is that which serves.
///
/// # Errors
/// [`crate::error::Refusal`] where the program is missing.
pub fn contents(
    mut all: Contents,
    apache: Option<&Apache>,
    web: &Web,
    network: &suite::Network,
) -> Result<Contents> {
    match &web.server {
        Server::Cgi { program, .. } => {
            let apache = apache.context("the plan has no Apache")?;
            all = with_apache(all, apache, web.clients);
            let script = Path::new(ROOT).join("cgi-bin/service");
            all.programs.insert(script, cgi_program(program.as_deref())?);
        }
        Server::Command(own) => {
            let program = program_of(own, true)?;
            all.programs.insert(place_of(&program), program);
        }
        Server::Url { .. } => {}
    }
    if let suite::Network::Tap(tap) = network {
        all.texts.insert(ADDRESS_FILE.into(), tap.address.clone());
    }
    Ok(all)
}

/// Where a program of the user's is in the guest.
fn place_of(program: &Path) -> PathBuf {
    Path::new(ROOT).join(program.file_name().unwrap_or_default())
}

fn with_apache(mut all: Contents, apache: &Apache, clients: u32) -> Contents {
    let modules = |(name, host): &(String, PathBuf)| {
        (name.clone(), Path::new("/lib/httpd").join(host.file_name().unwrap_or_default()))
    };
    let inside =
        Apache { program: PROGRAM.into(), modules: apache.modules.iter().map(modules).collect() };
    all.programs.insert(PROGRAM.into(), apache.program.clone());
    for ((_, guest), (_, host)) in inside.modules.iter().zip(&apache.modules) {
        all.programs.insert(guest.clone(), host.clone());
    }
    let site = Site {
        root: ROOT,
        listen: &PORT.to_string(),
        user: Some(("nobody", "nogroup")),
        log: ERROR_LOG,
        clients,
    };
    all.texts.insert(CONFIGURATION.into(), inside.configuration(&site));
    all
}

/// How a guest is reached: the network that QEMU gives it, and where each client asks.
#[derive(Debug, Clone)]
pub struct Serving {
    /// For QEMU.
    pub network: Network,
    authorities: Vec<String>,
}

impl Serving {
    /// A loopback port for each client, or the address on the bridge.
    ///
    /// # Errors
    /// Where there are not enough free ports.
    pub fn new(web: &Web, network: &suite::Network) -> Result<Self> {
        let inside = match &web.server {
            Server::Command(own) => own.listen,
            Server::Cgi { .. } | Server::Url { .. } => PORT,
        };
        match network {
            suite::Network::User(_) => {
                let ports = match web.ports(true) {
                    Some(ports) => ports.filter_map(|port| u16::try_from(port).ok()).collect(),
                    None => free(web.clients as usize)?,
                };
                let authorities = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
                let forwards = ports.into_iter().map(|port| (port, inside)).collect();
                Ok(Self { network: Network::User { forwards }, authorities })
            }
            suite::Network::Tap(tap) => {
                let (address, _): (Ipv4Addr, u8) = tap.interface().map_err(anyhow::Error::msg)?;
                let network = Network::Tap { bridge: tap.tap.clone() };
                Ok(Self { network, authorities: vec![format!("{address}:{inside}")] })
            }
        }
    }
}

/// A service in a guest, which has answered.
pub struct Started {
    /// Where each client asks.
    pub targets: Vec<Target>,
    /// The requests that are no part of the measurement.
    pub warm_up: WarmUp,
    /// The process of a program of the user's, in the guest.
    pub pid: Option<i32>,
}

/// Starts the service in a guest that was made with [`contents`], and waits until it has answered.
///
/// # Errors
/// Where it does not come up, with the end of its log.
pub fn start(guest: &Guest, serving: &Serving, web: &Web, stop: &Stop) -> Result<Started> {
    let pid = match &web.server {
        Server::Command(own) => Some(start_own(guest, own, stop)?),
        Server::Cgi { .. } | Server::Url { .. } => {
            start_apache(guest, stop)?;
            None
        }
    };
    let targets = targets(&serving.authorities, &web.server, stop)?;
    let alive = || {
        guest.is_alive().then_some(()).context("the guest has ended")?;
        still_runs(guest, pid, stop)
    };
    let warm_up =
        ready(&targets, web, stop, alive).with_context(|| said(guest, &web.server, stop))?;
    Ok(Started { targets, warm_up, pid })
}

fn start_apache(guest: &Guest, stop: &Stop) -> Result<()> {
    let limit = Duration::from_secs(30);
    let output = guest.run(&[PROGRAM, "-f", CONFIGURATION], limit, stop.flag())?;
    if output.status != Status::Code(0) {
        let said = String::from_utf8_lossy(&output.stderr);
        let log = log_of(guest, ERROR_LOG, stop);
        bail!("Apache in the guest: {}: {} {log}", output.status, said.trim());
    }
    Ok(())
}

/// Its process: it goes on until the guest ends.
fn start_own(guest: &Guest, own: &Own, stop: &Stop) -> Result<i32> {
    let program = place_of(Path::new(&own.command[0])).display().to_string();
    let arguments = own.command[1..].iter().map(String::as_str);
    let agent = guest.programs.agent.as_str();
    let line: Vec<&str> =
        [agent, "--log", OWN_LOG, &program].into_iter().chain(arguments).collect();
    Ok(guest.start(&line, &[], stop.flag())?.pid)
}

/// Fails once the process `pid` of the guest has ended; nothing is asked where there is none.
///
/// # Errors
/// That it has ended, or what is the matter with the guest.
pub fn still_runs(guest: &Guest, pid: Option<i32>, stop: &Stop) -> Result<()> {
    let Some(pid) = pid else { return Ok(()) };
    // Not by its command line: that is empty for a moment while the program is being loaded.
    match guest.read(&format!("/proc/{pid}/stat"), stop.flag()) {
        Ok(stat) if !has_ended(&stat) => Ok(()),
        // That the guest does not answer in time says nothing of the program.
        Err(error) if !guest.is_alive() || !format!("{error:#}").contains("No such file") => {
            stop.check()?;
            Err(error)
        }
        _ => {
            stop.check()?;
            bail!("`web.command` has ended in the guest: {}", last_line(guest, stop))
        }
    }
}

/// Whether `/proc/PID/stat` is that of a process that has ended and was not waited for (proc(5)). Its
/// name may have any characters.
fn has_ended(stat: &[u8]) -> bool {
    let name_ends = stat.iter().rposition(|byte| *byte == b')');
    let state = name_ends.and_then(|at| stat.get(at + 2));
    state.is_none_or(|state| matches!(state, b'Z' | b'X' | b'x'))
}

fn last_line(guest: &Guest, stop: &Stop) -> String {
    let log = log_of(guest, OWN_LOG, stop);
    log.lines().next_back().unwrap_or("its log is empty").to_owned()
}

/// What its log says of a service that does not come up.
fn said(guest: &Guest, server: &Server, stop: &Stop) -> String {
    match server {
        Server::Command(_) => format!("`web.command` in the guest: {}", last_line(guest, stop)),
        Server::Cgi { .. } | Server::Url { .. } => log_of(guest, ERROR_LOG, stop),
    }
}

/// The file that a service's log is kept in, beside a repetition's samples.
#[must_use]
pub fn log_name(server: &Server) -> &'static str {
    match server {
        Server::Command(_) => "service.log",
        Server::Cgi { .. } | Server::Url { .. } => "apache-error.log",
    }
}

/// The service's log in the guest; what cannot be read is said instead.
#[must_use]
pub fn error_log(guest: &Guest, server: &Server, stop: &Stop) -> String {
    match server {
        Server::Command(_) => log_of(guest, OWN_LOG, stop),
        Server::Cgi { .. } | Server::Url { .. } => log_of(guest, ERROR_LOG, stop),
    }
}

fn log_of(guest: &Guest, path: &str, stop: &Stop) -> String {
    match guest.read(path, stop.flag()) {
        Ok(text) => String::from_utf8_lossy(&text).trim_end().to_owned(),
        Err(error) => format!("{path} in the guest: {error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_ended_by_its_state_whatever_its_name() {
        let states = [(b"S", false), (b"R", false), (b"D", false), (b"Z", true), (b"X", true)];
        for (state, ended) in states {
            let stat = [&b"71 (a) Z b) "[..], state, b" 1 71 71 0 -1"].concat();
            assert_eq!(has_ended(&stat), ended, "{}", String::from_utf8_lossy(&stat));
        }
        assert!(has_ended(b""));
    }
}

//! The service in a guest: what the guest's file system holds for it, and its start.

use std::{net::Ipv4Addr, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use guest_agent::net::ADDRESS_FILE;
use model::suite::{self, Web};
use webload::{Target, run::WarmUp};

use super::{Apache, apache::Site, cgi_program, free, ready, target};
use crate::{
    guest::{Contents, Guest, Network, Status},
    host::Stop,
};

const ROOT: &str = "/srv";
const CONFIGURATION: &str = "/etc/httpd.conf";
const PROGRAM: &str = "/bin/httpd";
const ERROR_LOG: &str = "/var/apache-error.log";
const PORT: u16 = 80;

/// Programs and files beside those that every guest has.
///
/// # Errors
/// [`crate::error::Refusal`] where the CGI program is missing.
pub fn contents(
    mut all: Contents,
    apache: &Apache,
    web: &Web,
    network: &suite::Network,
) -> Result<Contents> {
    let modules = |(name, host): &(String, std::path::PathBuf)| {
        (name.clone(), Path::new("/lib/httpd").join(host.file_name().unwrap_or_default()))
    };
    let inside =
        Apache { program: PROGRAM.into(), modules: apache.modules.iter().map(modules).collect() };
    all.programs.insert(PROGRAM.into(), apache.program.clone());
    for ((_, guest), (_, host)) in inside.modules.iter().zip(&apache.modules) {
        all.programs.insert(guest.clone(), host.clone());
    }
    all.programs.insert(Path::new(ROOT).join("cgi-bin/service"), cgi_program(web)?);
    let site = Site {
        root: ROOT,
        listen: &PORT.to_string(),
        user: Some(("nobody", "nogroup")),
        log: ERROR_LOG,
        clients: web.clients,
    };
    all.texts.insert(CONFIGURATION.into(), inside.configuration(&site));
    if let suite::Network::Tap(tap) = network {
        all.texts.insert(ADDRESS_FILE.into(), tap.address.clone());
    }
    Ok(all)
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
        match network {
            suite::Network::User(_) => {
                let ports = match web.ports() {
                    Some(ports) => ports.filter_map(|port| u16::try_from(port).ok()).collect(),
                    None => free(web.clients as usize)?,
                };
                let authorities = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
                let forwards = ports.into_iter().map(|port| (port, PORT)).collect();
                Ok(Self { network: Network::User { forwards }, authorities })
            }
            suite::Network::Tap(tap) => {
                let (address, _): (Ipv4Addr, u8) = tap.interface().map_err(anyhow::Error::msg)?;
                let network = Network::Tap { bridge: tap.tap.clone() };
                Ok(Self { network, authorities: vec![format!("{address}:{PORT}")] })
            }
        }
    }
}

/// Starts Apache in a guest that was made with [`contents`], and waits until it has answered.
///
/// # Errors
/// Where it does not come up, with the end of its log.
pub fn start(
    guest: &Guest,
    serving: &Serving,
    web: &Web,
    stop: &Stop,
) -> Result<(Vec<Target>, WarmUp)> {
    let limit = Duration::from_secs(30);
    let output = guest.run(&[PROGRAM, "-f", CONFIGURATION], limit, stop.flag())?;
    if output.status != Status::Code(0) {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("Apache in the guest: {}: {} {}", output.status, said.trim(), error_log(guest, stop));
    }
    let targets = serving
        .authorities
        .iter()
        .map(|authority| target(authority, web))
        .collect::<Result<Vec<_>>>()?;
    let alive = || guest.is_alive().then_some(()).context("the guest has ended");
    let warm_up = ready(&targets, web, stop, alive).with_context(|| error_log(guest, stop))?;
    Ok((targets, warm_up))
}

/// Apache's error log in the guest; what cannot be read is said instead.
#[must_use]
pub fn error_log(guest: &Guest, stop: &Stop) -> String {
    match guest.read(ERROR_LOG, stop.flag()) {
        Ok(text) => String::from_utf8_lossy(&text).trim_end().to_owned(),
        Err(error) => format!("{ERROR_LOG} in the guest: {error:#}"),
    }
}

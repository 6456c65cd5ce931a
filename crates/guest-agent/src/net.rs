//! The guest's network: loopback, and the address that the host chose or QEMU's user-mode network
//! expects.

use std::{fs, io, net::Ipv4Addr};

use model::suite::interface;

use crate::netlink::Netlink;

/// Holds the card's `ADDRESS/PREFIX`; where it is missing, QEMU's user-mode network is assumed.
pub const ADDRESS_FILE: &str = "/network.address";

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const PREFIX: u8 = 24;
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Brings up the loopback device and, where there is one, the first network card; returns the
/// card's name. What fails is a warning.
pub fn bring_up(warnings: &mut Vec<String>) -> Option<String> {
    let netlink = match Netlink::open() {
        Ok(netlink) => netlink,
        Err(error) => {
            warnings.push(format!("netlink: {error}"));
            return None;
        }
    };
    if let Err(error) = index("lo").and_then(|device| netlink.up(device)) {
        warnings.push(format!("loopback: {error}"));
    }
    let card = card()?;
    match configure(&netlink, &card) {
        Ok(()) => Some(card),
        Err(error) => {
            warnings.push(format!("network card {card}: {error}"));
            None
        }
    }
}

fn configure(netlink: &Netlink, card: &str) -> io::Result<()> {
    let device = index(card)?;
    let Ok(text) = fs::read_to_string(ADDRESS_FILE) else {
        netlink.address(device, ADDRESS, PREFIX)?;
        netlink.up(device)?;
        return netlink.default_route(device, GATEWAY);
    };
    let (address, prefix) = interface(&text).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{ADDRESS_FILE}: `{text}`"))
    })?;
    netlink.address(device, address, prefix)?;
    netlink.up(device)
}

/// The first device, by name, that stands on hardware.
fn card() -> Option<String> {
    let devices = fs::read_dir("/sys/class/net").ok()?;
    let mut cards: Vec<String> = devices
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("device").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    cards.sort();
    cards.into_iter().next()
}

fn index(device: &str) -> io::Result<u32> {
    let path = format!("/sys/class/net/{device}/ifindex");
    let text = fs::read_to_string(path)?;
    text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

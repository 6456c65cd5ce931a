//! The guest's network: loopback, and the address that QEMU's user-mode network expects.

use std::{fs, io, net::Ipv4Addr};

use crate::netlink::Netlink;

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
    netlink.address(device, ADDRESS, PREFIX)?;
    netlink.up(device)?;
    netlink.default_route(device, GATEWAY)
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

//! Over which network the guest is reached.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// How the guest is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Network {
    /// `"user"`: QEMU's user-mode network, a forwarded loopback port for each client.
    User(User),
    /// `{ tap = "br0", address = "192.168.7.2/24" }`: a bridge of the host.
    Tap(Tap),
}

impl Default for Network {
    fn default() -> Self {
        Self::User(User::User)
    }
}

/// The word `user`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum User {
    /// QEMU's user-mode network.
    User,
}

/// A guest's card on a bridge of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tap {
    /// The bridge, which is there and has an address in the same network.
    pub tap: String,
    /// The guest's address and prefix length, `192.168.7.2/24`.
    pub address: String,
}

impl Tap {
    /// The guest's address and prefix length.
    ///
    /// # Errors
    /// What is wrong with the address or the bridge's name.
    pub fn interface(&self) -> Result<(Ipv4Addr, u8), String> {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.tap.is_empty() || self.tap.len() > 15 || !self.tap.chars().all(good) {
            return Err(format!(
                "`tap` is `{}`; it is the name of a bridge, for example `br0`",
                self.tap
            ));
        }
        interface(&self.address).ok_or_else(|| {
            format!(
                "`address` is `{}`; write the guest's IPv4 address and prefix length, for example \
                 `192.168.7.2/24`",
                self.address
            )
        })
    }
}

/// Reads `ADDRESS/PREFIX`.
#[must_use]
pub fn interface(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.trim().split_once('/')?;
    let prefix = prefix.parse().ok().filter(|prefix| (1..=32).contains(prefix))?;
    Some((address.parse().ok()?, prefix))
}

//! Three messages of rtnetlink(7), by hand: they are a few dozen bytes, and need no ioctl.

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const AF_INET: u8 = 2;
const IFF_UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;

/// A socket to the kernel's network configuration.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    /// Opens it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Self { socket })
    }

    /// Brings the device with this index up.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn up(&self, device: u32) -> io::Result<()> {
        self.ask(RTM_NEWLINK, 0, &link_up(device))
    }

    /// Gives the device an address.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn address(&self, device: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        self.ask(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &new_address(device, address, prefix))
    }

    /// Sends what is not local through `gateway` on this device.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn default_route(&self, device: u32, gateway: Ipv4Addr) -> io::Result<()> {
        self.ask(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &default_route(device, gateway))
    }

    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        let request = message(kind, NLM_F_REQUEST | NLM_F_ACK | flags, body);
        let socket = self.socket.as_raw_fd();
        sendto(socket, &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut answer = [0; 4096];
        let length = recv(socket, &mut answer, MsgFlags::empty())?;
        acknowledged(&answer[..length])
    }
}

/// `struct nlmsghdr` before `body`.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + body.len());
    bytes.extend_from_slice(&(16 + body.len() as u32).to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&1_u32.to_ne_bytes());
    bytes.extend_from_slice(&0_u32.to_ne_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// `struct ifinfomsg` that sets IFF_UP.
fn link_up(device: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for word in [device, IFF_UP, IFF_UP] {
        body.extend_from_slice(&word.to_ne_bytes());
    }
    body
}

/// `struct ifaddrmsg` and its attributes.
fn new_address(device: u32, address: Ipv4Addr, prefix: u8) -> Vec<u8> {
    let mut body = vec![AF_INET, prefix, 0, 0];
    body.extend_from_slice(&device.to_ne_bytes());
    body.extend(attribute(IFA_LOCAL, address.octets()));
    body.extend(attribute(IFA_ADDRESS, address.octets()));
    body
}

/// `struct rtmsg` and its attributes.
fn default_route(device: u32, gateway: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0];
    body.extend(attribute(RTA_GATEWAY, gateway.octets()));
    body.extend(attribute(RTA_OIF, device.to_ne_bytes()));
    body
}

/// `struct rtattr` with four bytes of content.
fn attribute(kind: u16, content: [u8; 4]) -> [u8; 8] {
    let [l0, l1] = 8_u16.to_ne_bytes();
    let [k0, k1] = kind.to_ne_bytes();
    let [c0, c1, c2, c3] = content;
    [l0, l1, k0, k1, c0, c1, c2, c3]
}

/// `struct nlmsgerr`: error 0 is the acknowledgement.
fn acknowledged(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
    let code = answer
        .get(16..20)
        .map(|bytes| i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    match (kind, code) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not an answer of rtnetlink")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_lengths_that_the_kernel_expects() {
        assert_eq!(link_up(2).len(), 16);
        assert_eq!(new_address(2, Ipv4Addr::new(10, 0, 2, 15), 24).len(), 8 + 16);
        assert_eq!(default_route(2, Ipv4Addr::new(10, 0, 2, 2)).len(), 12 + 16);
        let whole = message(RTM_NEWLINK, NLM_F_REQUEST, &link_up(2));
        assert_eq!(whole[..4], 32_u32.to_ne_bytes());
    }

    #[test]
    fn the_kernel_understands_them() {
        let netlink = Netlink::open().unwrap();
        // A device that does not exist: parsed, and refused for that.
        let refused = netlink.address(0x00ff_ffff, Ipv4Addr::LOCALHOST, 8).unwrap_err();
        assert!(
            matches!(refused.raw_os_error(), Some(code) if code == nix::libc::ENODEV
                || code == nix::libc::EPERM),
            "{refused}"
        );
    }

    #[test]
    fn answers_are_decoded() {
        let answer = |code: i32| message(NLMSG_ERROR, 0, &code.to_ne_bytes());
        assert!(acknowledged(&answer(0)).is_ok());
        assert_eq!(acknowledged(&answer(-1)).unwrap_err().raw_os_error(), Some(1));
        assert!(acknowledged(b"short").is_err());
    }
}

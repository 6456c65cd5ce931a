//! Ports of the host's loopback address.

use std::{io, net::TcpListener};

/// `count` different ports that are free now. They can be taken by others until they are used;
/// whoever uses them then says so.
///
/// # Errors
/// Where there are not so many.
pub fn free(count: usize) -> io::Result<Vec<u16>> {
    // All are held until the last is found, so that none is given twice.
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<io::Result<_>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// Why `port` cannot be used.
#[must_use]
pub fn taken(port: u16) -> Option<io::Error> {
    TcpListener::bind(("127.0.0.1", port)).err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_free_and_different() {
        let mut ports = free(20).unwrap();
        assert!(ports.iter().all(|port| taken(*port).is_none()));
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
    }

    #[test]
    fn a_port_in_use_is_taken() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(taken(port).unwrap().kind(), io::ErrorKind::AddrInUse);
    }
}

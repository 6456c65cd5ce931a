//! A guest that goes wild: it asks for all the CPU that it can get, so that its neighbours on the
//! host can be measured beside it. Only inside a guest, by `guest-agent --wild`.

use std::{
    process::{Command, Stdio},
    thread,
};

use model::suite::Wild;

use crate::port;

/// As many children at a time as no guest of ours can serve in time; bounded, since a guest that runs
/// out of memory would end and be no neighbour any more.
const FORKS: usize = 32;

/// Whether the control port is there: in a guest of the bench's, whatever its first process, and on no
/// host.
#[must_use]
pub fn is_guest() -> bool {
    port::is_there()
}

/// Goes on until it is killed.
pub fn run(wild: Wild) {
    match wild {
        Wild::Spin => loop {
            std::hint::spin_loop();
        },
        Wild::Forks => thread::scope(|scope| {
            for _ in 0..FORKS {
                scope.spawn(fork_for_ever);
            }
        }),
    }
}

fn fork_for_ever() {
    loop {
        let mut child = Command::new("/proc/self/exe");
        child.arg("--nothing").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A fork that is refused is asked for again: that is what wild is.
        let _ = child.status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_no_guest() {
        assert!(!is_guest());
    }
}

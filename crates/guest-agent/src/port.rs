//! The control port: a virtio-serial port, found by its name, since no udev names its node.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::message::PORT_NAME;

/// The driver announces the port some milliseconds after its module was loaded.
const APPEARS_WITHIN: Duration = Duration::from_secs(5);

/// The control port. Reads and writes wait in `poll`.
///
/// The file is in non-blocking mode because a blocking write to a virtio-serial port spins in the
/// kernel until the host has taken the bytes, at the cost of whatever else runs in the guest.
#[derive(Debug)]
pub struct Port {
    file: File,
}

/// Where the kernel lists the ports.
const CLASS: &str = "/sys/class/virtio-ports";

/// Whether there is such a port.
#[must_use]
pub fn is_there() -> bool {
    find(Path::new(CLASS), PORT_NAME).is_some()
}

/// Waits for the port to appear and opens it.
///
/// # Errors
/// It did not appear, or could not be opened.
pub fn open() -> io::Result<Port> {
    let give_up = Instant::now() + APPEARS_WITHIN;
    loop {
        if let Some(node) = find(Path::new(CLASS), PORT_NAME) {
            let flags = OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let open =
                OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(&node);
            match open {
                Ok(file) => return Ok(Port { file }),
                Err(error) if Instant::now() > give_up => return Err(error),
                Err(_not_yet) => {}
            }
        } else if Instant::now() > give_up {
            let what = format!("no virtio-serial port is named {PORT_NAME}");
            return Err(io::Error::new(io::ErrorKind::NotFound, what));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The device node of the port `name`, if `class` (/sys/class/virtio-ports) lists it.
fn find(class: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(class).ok()?.filter_map(Result::ok).find_map(|entry| {
        let found = fs::read_to_string(entry.path().join("name")).ok()?;
        (found.trim() == name).then(|| Path::new("/dev").join(entry.file_name()))
    })
}

impl Port {
    /// Waits for one of `flags`, or for the host to hang up; returns what is the case.
    fn wait(&self, flags: PollFlags) -> io::Result<PollFlags> {
        loop {
            let mut fds = [PollFd::new(self.file.as_fd(), flags)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => return Ok(fds[0].revents().unwrap_or(PollFlags::POLLERR)),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Read for &Port {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&self.file).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLIN)?;
                }
                other => return other,
            }
        }
    }
}

impl Write for &Port {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            match (&self.file).write(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Without a host the queue stays full for ever.
                    if !self.wait(PollFlags::POLLOUT)?.contains(PollFlags::POLLOUT) {
                        return Err(io::ErrorKind::BrokenPipe.into());
                    }
                }
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_node_by_the_ports_name() {
        let class = tempfile::tempdir().unwrap();
        for (node, name) in [("vport0p1", "other\n"), ("vport2p3", "rtvm.agent\n")] {
            fs::create_dir(class.path().join(node)).unwrap();
            fs::write(class.path().join(node).join("name"), name).unwrap();
        }
        assert_eq!(find(class.path(), "rtvm.agent"), Some(PathBuf::from("/dev/vport2p3")));
        assert_eq!(find(class.path(), "third"), None);
        assert_eq!(find(&class.path().join("none"), "third"), None);
    }
}

//! The agent in a virtual machine that somebody else started. It was put into a temporary folder there,
//! speaks through its standard streams (SSH) or through two files of that folder (QEMU's guest agent,
//! which has no streams), and removes the folder as it ends: when the host asks for it, closes the
//! stream or is not heard of any more, and on a signal.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        inotify::{AddWatchFlags, InitFlags, Inotify},
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

use crate::{init::hello, serve};

/// What the folder's name begins with.
pub const PREFIX: &str = "rt-vm-bench.";

/// The file to which the host appends requests, and the one to which the agent appends replies.
pub const REQUESTS: &str = "requests";
/// See [`REQUESTS`].
pub const REPLIES: &str = "replies";

/// How long nothing may be heard of the host. It asks for the clock more often than that; but where tasks
/// take all that the machine gets, nobody else runs in it.
pub const LEASE: Duration = Duration::from_secs(180);

/// Serves in `folder`, by its standard streams or (`by_files`) by the files of the folder, and removes
/// it at the end.
///
/// # Errors
/// The folder is not one that this program was put into, or a stream cannot be opened or fails.
pub fn run(folder: &Path, by_files: bool) -> io::Result<()> {
    let own = is_ours(folder, &env::current_exe()?)?;
    let served = serve_in(&own, by_files);
    fs::remove_dir_all(&own)?;
    served
}

fn serve_in(folder: &Path, by_files: bool) -> io::Result<()> {
    // Before any thread, so that all of them have the mask; the standard library takes it off children.
    let ends: SigSet = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT].into_iter().collect();
    ends.thread_block()?;
    let signals = SignalFd::with_flags(&ends, SfdFlags::SFD_CLOEXEC)?;
    let streams = if by_files { Streams::files(folder)? } else { Streams::standard()? };
    let channel = Channel { streams: &streams, signals: &signals, lease: LEASE };
    serve::serve(channel, hello(crate::facts::monotonic_ns(), None, Vec::new()))
        .map_err(io::Error::other)
}

/// The folder's real path, if it is one that the bench made and that holds this program: nothing else
/// may be removed.
fn is_ours(folder: &Path, program: &Path) -> io::Result<PathBuf> {
    let own = folder.canonicalize()?;
    let named = own.file_name().and_then(|name| name.to_str());
    if named.is_some_and(|name| name.starts_with(PREFIX)) && program.parent() == Some(own.as_path())
    {
        return Ok(own);
    }
    let what = format!("{}: not a folder {PREFIX}… that holds this program", folder.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

/// What is read from and written to.
struct Streams {
    input: File,
    output: File,
    /// Tells that the input has grown, where it is a file.
    grown: Option<Inotify>,
}

impl Streams {
    fn standard() -> io::Result<Self> {
        let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
        let (input, output) = (own(io::stdin().as_fd())?, own(io::stdout().as_fd())?);
        // A write to a peer that is gone must not wait for ever.
        let flags = OFlag::from_bits_retain(fcntl(&output, FcntlArg::F_GETFL)?);
        fcntl(&output, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Self { input, output, grown: None })
    }

    fn files(folder: &Path) -> io::Result<Self> {
        let input = folder.join(REQUESTS);
        let grown = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        grown.add_watch(&input, AddWatchFlags::IN_MODIFY)?;
        let output = OpenOptions::new().append(true).open(folder.join(REPLIES))?;
        Ok(Self { input: File::open(input)?, output, grown: Some(grown) })
    }
}

/// Both directions, as [`serve::serve`] wants them.
#[derive(Clone, Copy)]
struct Channel<'a> {
    streams: &'a Streams,
    signals: &'a SignalFd,
    lease: Duration,
}

impl Channel<'_> {
    /// Waits until `fd` is ready for `flags`; false at a signal, or when the lease is over.
    fn wait(&self, fd: BorrowedFd<'_>, flags: PollFlags) -> io::Result<bool> {
        let lease = PollTimeout::try_from(self.lease).map_err(io::Error::other)?;
        loop {
            let signals = PollFd::new(self.signals.as_fd(), PollFlags::POLLIN);
            let mut fds = [PollFd::new(fd, flags), signals];
            match poll(&mut fds, lease) {
                Ok(0) => {
                    eprintln!("guest-agent: the host was not heard of for {:?}", self.lease);
                    return Ok(false);
                }
                Ok(_) => return Ok(!fds[1].any().unwrap_or(true)),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Read for Channel<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut input = &self.streams.input;
        let Some(grown) = &self.streams.grown else {
            while self.wait(input.as_fd(), PollFlags::POLLIN)? {
                match input.read(buffer) {
                    // The two may be one socket.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    other => return other,
                }
            }
            return Ok(0);
        };
        loop {
            let length = input.read(buffer)?;
            if length > 0 || !self.wait(grown.as_fd(), PollFlags::POLLIN)? {
                return Ok(length);
            }
            // Only that there were some is of interest.
            let _ = grown.read_events();
        }
    }
}

impl Write for Channel<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let mut output = &self.streams.output;
        loop {
            match output.write(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.wait(output.as_fd(), PollFlags::POLLOUT)? {
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
    use std::thread;

    use super::*;

    #[test]
    fn only_a_folder_that_holds_the_program_is_removed() {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        assert_eq!(is_ours(folder.path(), &real.join("guest-agent")).unwrap(), real);
        let elsewhere = Path::new("/usr/bin/guest-agent");
        let said = is_ours(folder.path(), elsewhere).unwrap_err().to_string();
        assert!(said.contains("that holds this program"), "{said}");
        assert!(is_ours(Path::new("/tmp"), Path::new("/tmp/guest-agent")).is_err());
        assert!(is_ours(&real.join("none"), elsewhere).is_err());
        assert!(run(folder.path(), true).is_err(), "the test is in no such folder");
        assert!(real.exists());
    }

    fn channel(streams: &Streams, lease: Duration, read: impl FnOnce(Channel<'_>)) {
        let none = SigSet::empty();
        let signals = SignalFd::with_flags(&none, SfdFlags::SFD_CLOEXEC).unwrap();
        read(Channel { streams, signals: &signals, lease });
    }

    #[test]
    fn what_is_appended_is_read_as_it_comes_until_nobody_is_heard_of() {
        let folder = tempfile::tempdir().unwrap();
        let requests = folder.path().join(REQUESTS);
        fs::write(&requests, "one").unwrap();
        fs::write(folder.path().join(REPLIES), "").unwrap();
        let streams = Streams::files(folder.path()).unwrap();
        channel(&streams, Duration::from_millis(400), |mut channel| {
            let mut buffer = [0; 8];
            assert_eq!(channel.read(&mut buffer).unwrap(), 3);
            let later = thread::spawn(move || {
                thread::sleep(Duration::from_millis(50));
                OpenOptions::new().append(true).open(requests).unwrap().write_all(b"more").unwrap();
            });
            assert_eq!(channel.read(&mut buffer).unwrap(), 4);
            assert_eq!(&buffer[..4], b"more");
            later.join().unwrap();
            assert_eq!(channel.read(&mut buffer).unwrap(), 0, "the lease is over");
            channel.write_all(b"reply").unwrap();
        });
        assert_eq!(fs::read(folder.path().join(REPLIES)).unwrap(), b"reply");
    }
}

//! Running a command: its output and its end go to the host as they happen.

use std::{
    env,
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{ChildStderr, ChildStdout, Command, Stdio},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{
    message::{Reply, Status, Stream},
    reaper::{Ending, Reaper},
};

/// Where programs without a slash in their name are searched for.
pub const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

const CHUNK: usize = 32 * 1024;

/// A command on its way.
#[derive(Debug)]
pub struct Running {
    /// Its process, which leads a group of its own.
    pub pid: i32,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    ending: Ending,
}

/// Starts a command in a process group of its own, without standard input.
///
/// # Errors
/// It could not be started.
pub fn start(
    reaper: &Reaper,
    argv: &[String],
    env: &[(String, String)],
    cwd: Option<&str>,
) -> io::Result<Running> {
    let Some((name, arguments)) = argv.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program is named"));
    };
    let mut command = Command::new(locate(name)?);
    command
        .args(arguments)
        .env("PATH", PATH)
        .env("HOME", "/")
        .envs(env.iter().map(|(key, value)| (key, value)))
        .current_dir(cwd.unwrap_or("/"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let (mut child, ending) = reaper.spawn(&mut command)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    Ok(Running { pid: child.id() as i32, stdout, stderr, ending })
}

/// The program's path; an error that names it is better than one that says that a file is missing.
fn locate(name: &str) -> io::Result<PathBuf> {
    let found = if name.contains('/') {
        Some(PathBuf::from(name)).filter(|path| path.exists())
    } else {
        env::split_paths(PATH).map(|folder: PathBuf| folder.join(name)).find(|path| path.exists())
    };
    found.ok_or_else(|| {
        let place = if Path::new(name).is_absolute() { "" } else { " in the guest's PATH" };
        io::Error::new(io::ErrorKind::NotFound, format!("there is no {name}{place}"))
    })
}

impl Running {
    /// Hands output to `send` until the command is over and all that it wrote has been read; what
    /// processes that it left behind write later is lost.
    pub fn follow(mut self, mut send: impl FnMut(Reply, &[u8])) -> Option<Status> {
        let mut over = false;
        while !over {
            let fds =
                [self.stdout.as_ref().map(AsFd::as_fd), self.stderr.as_ref().map(AsFd::as_fd)];
            let [stdout, stderr, ended] = ready(fds, self.ending.hangup.as_fd(), PollTimeout::NONE);
            over = ended;
            pass_on(&mut self.stdout, stdout, Stream::Stdout, &mut send);
            pass_on(&mut self.stderr, stderr, Stream::Stderr, &mut send);
        }
        loop {
            let fds =
                [self.stdout.as_ref().map(AsFd::as_fd), self.stderr.as_ref().map(AsFd::as_fd)];
            let [stdout, stderr, _] = ready(fds, self.ending.hangup.as_fd(), PollTimeout::ZERO);
            if !stdout && !stderr {
                break;
            }
            pass_on(&mut self.stdout, stdout, Stream::Stdout, &mut send);
            pass_on(&mut self.stderr, stderr, Stream::Stderr, &mut send);
        }
        self.ending.status()
    }
}

/// Which of the outputs and the ending can be read without waiting.
fn ready(
    outputs: [Option<BorrowedFd<'_>>; 2],
    ending: BorrowedFd<'_>,
    timeout: PollTimeout,
) -> [bool; 3] {
    let places = [outputs[0], outputs[1], Some(ending)];
    let mut fds: Vec<PollFd<'_>> =
        places.iter().flatten().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    if poll(&mut fds, timeout).is_err() {
        return [false; 3];
    }
    let mut answers = fds.iter().map(|fd| fd.any().unwrap_or(true));
    places.map(|place| place.is_some() && answers.next().unwrap_or(false))
}

/// Sends what can be read at once; closes the output at its end.
fn pass_on(
    output: &mut Option<impl Read>,
    ready: bool,
    stream: Stream,
    send: &mut impl FnMut(Reply, &[u8]),
) {
    let Some(pipe) = output.as_mut().filter(|_| ready) else { return };
    let mut buffer = [0; CHUNK];
    match pipe.read(&mut buffer) {
        Ok(0) => *output = None,
        Ok(length) => send(Reply::Output { stream }, &buffer[..length]),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(_broken) => *output = None,
    }
}

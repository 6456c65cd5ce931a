//! Locks between programs of the bench, which end with whoever holds them, however that ends.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::fcntl::{Flock, FlockArg};

use super::state;

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _held: Flock<File>,
}

impl Lock {
    /// The lock `name` of the state folder, for as long as something is held that cannot be shared.
    ///
    /// # Errors
    /// `WouldBlock` with the process that has it; the file system's.
    pub fn take(state_dir: &Path, name: &str) -> io::Result<Self> {
        state::make(state_dir)?;
        let path = state_dir.join(format!("{name}.lock"));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut held) => {
                held.set_len(0)?;
                write!(held, "{}", std::process::id())?;
                Ok(Self { _held: held })
            }
            Err((mut file, _)) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)?;
                Err(io::Error::new(io::ErrorKind::WouldBlock, format!("process {holder} has it")))
            }
        }
    }

    /// Locks a folder, for a change that takes a moment; waits for others.
    ///
    /// # Errors
    /// `TimedOut`; the file system's.
    pub fn folder(path: &Path, limit: Duration) -> io::Result<Self> {
        let named = |text: String| format!("{}: {text}", path.display());
        let mut file = File::open(path)
            .map_err(|error| io::Error::new(error.kind(), named(error.to_string())))?;
        let give_up = Instant::now() + limit;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(held) => return Ok(Self { _held: held }),
                Err(_) if Instant::now() >= give_up => {
                    let text = named("another program of the bench is using it".to_owned());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
                Err((again, _)) => file = again,
            }
            sleep(Duration::from_millis(10));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_the_other_learns_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path(), "partition").unwrap();
        let error = Lock::take(dir.path(), "partition").unwrap_err();
        assert_eq!(error.to_string(), format!("process {} has it", std::process::id()));
        assert!(Lock::take(dir.path(), "other").is_ok());
        drop(first);
        Lock::take(dir.path(), "partition").unwrap();
    }

    #[test]
    fn a_folder_is_waited_for_but_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::folder(dir.path(), Duration::ZERO).unwrap();
        let error = Lock::folder(dir.path(), Duration::from_millis(30)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(first);
        Lock::folder(dir.path(), Duration::ZERO).unwrap();
    }
}

//! Printing to a reader that may have gone.
//!
//! `println!` and `eprintln!` panic where their stream is closed or full, and a panic loses whatever
//! the program was about to save. Here a message that cannot be printed is lost and nothing else,
//! and an answer that cannot be printed is an ordinary error.

use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    os::{fd::AsFd, unix::fs::FileTypeExt},
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether details are printed.
static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Whether anybody reads standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// As far as is known.
    Present,
    /// The pipe is closed at its other end.
    Gone,
}

/// Prints `text` on standard output, as it is. A reader that has gone has seen what it wanted: that
/// is no error.
///
/// # Errors
/// What the system says otherwise, for example that the device is full.
pub fn answer(text: &str) -> io::Result<Reader> {
    heard(write_all(&mut io::stdout().lock(), text.as_bytes()))
}

/// What the outcome of writing to standard output tells of its reader.
///
/// # Errors
/// Every error but that the reader has gone.
pub fn heard(outcome: io::Result<()>) -> io::Result<Reader> {
    match outcome {
        Ok(()) => Ok(Reader::Present),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) if error.raw_os_error() == Some(EIO) && is_device() => Ok(Reader::Gone),
        Err(error) => Err(error),
    }
}

/// What a terminal says that was closed; of a file it is an error like any other.
const EIO: i32 = 5;

/// Whether standard output is a device, as a terminal is.
fn is_device() -> bool {
    let own = io::stdout().as_fd().try_clone_to_owned();
    own.and_then(|fd| File::from(fd).metadata())
        .is_ok_and(|found| found.file_type().is_char_device())
}

fn write_all(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    out.flush()
}

/// Prints a message and a line feed on standard error, in one piece; where that is closed or full
/// the message is lost. Use [`say!`](crate::say).
pub fn message(text: std::fmt::Arguments<'_>) {
    let _lost = write_all(&mut io::stderr().lock(), format!("{text}\n").as_bytes());
}

/// From now on, [`detail!`](crate::detail) prints.
pub fn be_verbose() {
    VERBOSE.store(true, Ordering::Relaxed);
}

/// Whether details are printed.
#[must_use]
pub fn is_verbose() -> bool {
    VERBOSE.load(Ordering::Relaxed)
}

/// As [`say!`](crate::say), but only where the user asked for details (`--verbose`).
#[macro_export]
macro_rules! detail {
    ($($argument:tt)*) => {
        if $crate::print::is_verbose() { $crate::print::message(format_args!($($argument)*)) }
    };
}

/// As `eprintln!`, but where standard error is closed or full the message is lost and nothing else.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => { $crate::print::message(format_args!($($argument)*)) };
}

/// As `println!`, but with an error in place of a panic: [`answer`] of one line.
#[macro_export]
macro_rules! answer {
    ($($argument:tt)*) => { $crate::print::answer(&(format!($($argument)*) + "\n")) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_has_gone_is_no_error() {
        let broken = || Err(io::Error::from(ErrorKind::BrokenPipe));
        assert_eq!(heard(Ok(())).unwrap(), Reader::Present);
        assert_eq!(heard(broken()).unwrap(), Reader::Gone);
        assert!(heard(Err(ErrorKind::StorageFull.into())).is_err());
    }

    #[test]
    fn a_full_device_is_an_error() {
        let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_eq!(write_all(&mut full, b"x").unwrap_err().kind(), ErrorKind::StorageFull);
    }
}

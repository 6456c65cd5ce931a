//! Why a request failed, each cause apart.

use std::{error::Error, io, time::Duration};

use thiserror::Error;

/// Why a request failed. The text (the column `error`) begins with the [`cause`](Self::cause).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// The answer was not whole in time.
    #[error("timeout: no whole answer within {}", model::duration::format(*.0))]
    Timeout(Duration),
    /// Nobody listens there.
    #[error("refused")]
    Refused,
    /// No connection for another reason.
    #[error("connect: {0}")]
    Connect(String),
    /// The service reset the connection.
    #[error("reset")]
    Reset,
    /// The service closed the connection before the answer's head was whole.
    #[error("closed: before the answer")]
    Closed,
    /// The body ended before the length that was announced, or before its last chunk.
    #[error("cut-off: {got} of {} bytes", .announced.map_or("?".to_owned(), |n| n.to_string()))]
    CutOff {
        /// Bytes received.
        got: u64,
        /// `Content-Length`, where there was one.
        announced: Option<u64>,
    },
    /// More bytes came than the answer announced.
    #[error("too-long: more than the {0} bytes announced")]
    TooLong(u64),
    /// The body's CRC-32 is not that of the header `X-Content-CRC32`.
    #[error("checksum: {got:08x} instead of {announced:08x}")]
    Checksum {
        /// Of the body received.
        got: u32,
        /// Of the header.
        announced: u32,
    },
    /// A status other than 2xx.
    #[error("status: {0}")]
    Status(u16),
    /// Not HTTP, or a header that cannot be read.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Anything else between the socket and us.
    #[error("io: {0}")]
    Io(String),
}

impl Failure {
    /// The cause in one word, for counting.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Refused => "refused",
            Self::Connect(_) => "connect",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::CutOff { .. } => "cut-off",
            Self::TooLong(_) => "too-long",
            Self::Checksum { .. } => "checksum",
            Self::Status(_) => "status",
            Self::Malformed(_) => "malformed",
            Self::Io(_) => "io",
        }
    }

    /// What an error of `connect` means.
    pub(crate) fn of_connect(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset => Self::Reset,
            _ => Self::Connect(error.to_string()),
        }
    }

    /// What an error of the HTTP connection means before the answer's head is whole.
    pub(crate) fn of_exchange(error: &hyper::Error) -> Self {
        let cause = io_cause(error);
        match cause.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => Self::Reset,
            Some(io::ErrorKind::UnexpectedEof) => Self::Closed,
            // What hyper makes of a chunk's size or of trailers that it cannot read.
            Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
                Self::Malformed(cause.map_or_else(String::new, ToString::to_string))
            }
            _ if error.is_incomplete_message() || error.is_closed() => Self::Closed,
            _ if error.is_parse() => Self::Malformed(error.to_string()),
            _ => Self::Io(chain(error)),
        }
    }

    /// What an error means once the body has begun.
    pub(crate) fn of_body(error: &hyper::Error, got: u64, announced: Option<u64>) -> Self {
        match Self::of_exchange(error) {
            Self::Closed => Self::CutOff { got, announced },
            other => other,
        }
    }
}

/// The first I/O error in the chain of causes.
fn io_cause(error: &hyper::Error) -> Option<&io::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref() {
            return Some(io);
        }
        cause = error.source();
    }
    None
}

/// An error with its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_begins_with_the_cause() {
        let all = [
            Failure::Timeout(Duration::from_secs(120)),
            Failure::Refused,
            Failure::Connect("x".into()),
            Failure::Reset,
            Failure::Closed,
            Failure::CutOff { got: 5, announced: None },
            Failure::CutOff { got: 5, announced: Some(10) },
            Failure::TooLong(10),
            Failure::Checksum { got: 1, announced: 2 },
            Failure::Status(500),
            Failure::Malformed("x".into()),
            Failure::Io("x".into()),
        ];
        for failure in &all {
            assert!(failure.to_string().starts_with(failure.cause()), "{failure}");
        }
        let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(texts.join("\n"), @r"
        timeout: no whole answer within 120s
        refused
        connect: x
        reset
        closed: before the answer
        cut-off: 5 of ? bytes
        cut-off: 5 of 10 bytes
        too-long: more than the 10 bytes announced
        checksum: 00000001 instead of 00000002
        status: 500
        malformed: x
        io: x
        ");
    }
}

//! Why a request failed, each cause apart.

use std::{io, time::Duration};

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

    /// What an error of reading or writing means.
    pub(crate) fn of_exchange(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset,
            _ => Self::Io(error.to_string()),
        }
    }
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

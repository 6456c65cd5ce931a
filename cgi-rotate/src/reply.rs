//! A CGI response: status, headers, body (RFC 3875, section 6).

use std::io::{self, Write};

use crate::refusal::{ALLOWED, Refusal};
use crate::work::Outcome;

/// Name of the header that holds the CRC-32 (IEEE 802.3, as in zlib and PNG) of the body, in eight
/// hexadecimal digits.
pub const CHECKSUM_HEADER: &str = "X-Content-CRC32";

/// A whole response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Code and reason phrase.
    pub status: &'static str,
    /// Names and values beside status, length and checksum.
    pub headers: Vec<(&'static str, String)>,
    /// The body, which a reply to HEAD describes but does not send.
    pub body: Vec<u8>,
    /// Whether the body is sent.
    pub with_body: bool,
}

impl Reply {
    /// The reply to a request that was served or refused.
    #[must_use]
    pub fn new(result: Result<Outcome, Refusal>, with_body: bool) -> Self {
        match result {
            Ok(outcome) => Self {
                status: "200 OK",
                headers: vec![
                    ("Content-Type", outcome.media_type.into()),
                    ("Cache-Control", "no-store".into()),
                    ("X-Image-Size", format!("{}x{}", outcome.size.0, outcome.size.1)),
                ],
                body: outcome.body,
                with_body,
            },
            Err(refusal) => Self::refused(&refusal, with_body),
        }
    }

    fn refused(refusal: &Refusal, with_body: bool) -> Self {
        let mut headers = vec![
            ("Content-Type", "text/plain; charset=utf-8".into()),
            ("Cache-Control", "no-store".into()),
        ];
        if matches!(refusal, Refusal::Method(_)) {
            headers.push(("Allow", ALLOWED.into()));
        }
        let body = format!("{refusal}\n").into_bytes();
        Self { status: refusal.status(), headers, body, with_body }
    }

    /// Writes the response for the server to pass on.
    ///
    /// # Errors
    /// Whatever writing meets; most often that the client has gone.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let mut head = format!("Status: {}\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let checksum = crc32fast::hash(&self.body);
        head += &format!("Content-Length: {}\r\n", self.body.len());
        head += &format!("{CHECKSUM_HEADER}: {checksum:08x}\r\n\r\n");
        to.write_all(head.as_bytes())?;
        if self.with_body {
            to.write_all(&self.body)?;
        }
        to.flush()
    }
}

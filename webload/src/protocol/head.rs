//! The head of an answer, and what it says of the body and of the connection.

use std::mem::MaybeUninit;

use http::Method;
use httparse::{Error, Header, ParserConfig, Response, Status};

use crate::Failure;

/// The most headers of an answer.
const MOST_HEADERS: usize = 100;

/// The header in which a service tells the CRC-32 (ISO-HDLC, 8 hexadecimal digits) of its body.
const CHECKSUM: &str = "X-Content-CRC32";

/// What the bytes of an answer begin with.
#[derive(Debug)]
pub(super) enum Parsed {
    /// A head that is not whole.
    Partial,
    /// An interim answer (RFC 9110, section 15.2) of so many bytes: another one follows.
    Interim(usize),
    /// The final answer's head, of so many bytes.
    Final(usize, Head),
}

/// The final answer's head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) framing: Framing,
    /// Whether the connection can take another request.
    pub(super) keeps: bool,
    /// The body's checksum, where the service sent one.
    pub(super) checksum: Option<Result<u32, Failure>>,
}

/// How the end of the body is found (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    /// The service closes the connection.
    UntilEnd,
}

/// Parses the first head of `bytes`, of an answer to a request with `method`.
pub(super) fn parse(bytes: &[u8], method: &Method) -> Result<Parsed, Failure> {
    let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut response = Response::new(&mut []);
    let parsed = ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, bytes, &mut headers)
        .map_err(|error| malformed(reason(error)))?;
    let (Status::Complete(length), Some(status), Some(minor)) =
        (parsed, response.code, response.version)
    else {
        return Ok(Parsed::Partial);
    };
    match status {
        0..=99 => Err(malformed(reason(Error::Status))),
        100 | 102..=199 => Ok(Parsed::Interim(length)),
        _ => {
            let fields = Fields::of(response.headers);
            Ok(Parsed::Final(length, fields.head(status, minor, method)?))
        }
    }
}

/// The headers that matter here.
#[derive(Default)]
struct Fields<'a> {
    close: bool,
    keep_alive: bool,
    /// The last `Transfer-Encoding`.
    coding: Option<&'a [u8]>,
    /// `Content-Length`; none inside where it cannot be read, or several differ.
    length: Option<Option<u64>>,
    checksum: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn of(headers: &[Header<'a>]) -> Self {
        let mut fields = Self::default();
        for &Header { name, value } in headers {
            if name.eq_ignore_ascii_case("Content-Length") {
                fields.add_length(value);
            } else if name.eq_ignore_ascii_case("Connection") {
                fields.close |= lists(value, "close");
                fields.keep_alive |= lists(value, "keep-alive");
            } else if name.eq_ignore_ascii_case("Transfer-Encoding") {
                fields.coding = Some(value);
            } else if name.eq_ignore_ascii_case(CHECKSUM) {
                fields.checksum.get_or_insert(value);
            }
        }
        fields
    }

    /// Several lengths are one where they are the same.
    fn add_length(&mut self, value: &[u8]) {
        for item in items(value) {
            let length = digits(item);
            self.length = Some(length.filter(|_| self.length.is_none_or(|known| known == length)));
        }
    }

    fn head(&self, status: u16, minor: u8, method: &Method) -> Result<Head, Failure> {
        let framing = self.framing(status, minor, method)?;
        // After 101, and after 2xx to CONNECT, the connection speaks another protocol.
        let switches = status == 101 || tunnels(status, method);
        let keeps = !self.close && (minor == 1 || self.keep_alive);
        let keeps = keeps && !switches && framing != Framing::UntilEnd;
        let checksum = self.checksum.filter(|_| method != Method::HEAD).map(checksum);
        Ok(Head { status, framing, keeps, checksum })
    }

    fn framing(&self, status: u16, minor: u8, method: &Method) -> Result<Framing, Failure> {
        let bodyless = matches!(status, 101 | 204 | 304) || tunnels(status, method);
        match (self.coding, self.length) {
            _ if bodyless || method == Method::HEAD => Ok(Framing::Length(0)),
            (Some(_), _) if minor == 0 => Err(malformed("unexpected transfer-encoding parsed")),
            (Some(coding), _) if is_chunked(coding) => Ok(Framing::Chunked),
            (Some(_), _) | (None, None) => Ok(Framing::UntilEnd),
            (None, Some(Some(length))) => Ok(Framing::Length(length)),
            (None, Some(None)) => Err(malformed("invalid content-length parsed")),
        }
    }
}

fn tunnels(status: u16, method: &Method) -> bool {
    method == Method::CONNECT && (200..=299).contains(&status)
}

/// The items of a list, without the blanks around them.
fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

fn lists(value: &[u8], wanted: &str) -> bool {
    items(value).any(|item| item.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// Whether `chunked` is the last coding; any other ends with the connection.
fn is_chunked(coding: &[u8]) -> bool {
    items(coding).last().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"))
}

/// A number of decimal digits alone.
fn digits(text: &[u8]) -> Option<u64> {
    let all_digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    str::from_utf8(text).ok().filter(|_| all_digits)?.parse().ok()
}

fn checksum(value: &[u8]) -> Result<u32, Failure> {
    let hexadecimal = value.len() == 8 && value.iter().all(u8::is_ascii_hexdigit);
    let text = String::from_utf8_lossy(value);
    u32::from_str_radix(&text, 16).ok().filter(|_| hexadecimal).ok_or_else(|| {
        Failure::Malformed(format!("{CHECKSUM} {text:?} is not 8 hexadecimal digits"))
    })
}

pub(super) fn malformed(reason: &str) -> Failure {
    Failure::Malformed(reason.to_owned())
}

pub(super) fn reason(error: Error) -> &'static str {
    match error {
        Error::Version => "invalid HTTP version parsed",
        Error::Status => "invalid HTTP status-code parsed",
        Error::TooManyHeaders => "message head is too large",
        _ => "invalid HTTP header parsed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(method: Method, status: &str, headers: &[&str]) -> Result<Head, Failure> {
        let head = format!("{status}\r\n{}\r\n\r\n", headers.join("\r\n"));
        match parse(head.replace("\r\n\r\n\r\n", "\r\n\r\n").as_bytes(), &method)? {
            Parsed::Final(_, head) => Ok(head),
            other => panic!("{other:?}"),
        }
    }

    fn get(headers: &[&str]) -> Head {
        answer(Method::GET, "HTTP/1.1 200 OK", headers).unwrap()
    }

    #[test]
    fn a_body_is_chunked_where_that_is_its_last_coding() {
        let of = |values: &[&str]| {
            let lines: Vec<_> = values.iter().map(|v| format!("transfer-encoding: {v}")).collect();
            get(&lines.iter().map(String::as_str).collect::<Vec<_>>()).framing
        };
        for chunked in [&["chunked"][..], &["gzip, Chunked"], &["gzip", "chunked"]] {
            assert_eq!(of(chunked), Framing::Chunked, "{chunked:?}");
        }
        for other in [&[][..], &["gzip"], &["chunked, gzip"], &["chunked", "gzip"]] {
            assert_eq!(of(other), Framing::UntilEnd, "{other:?}");
        }
        assert_eq!(
            get(&["Transfer-Encoding: chunked", "Content-Length: 5"]).framing,
            Framing::Chunked
        );
        let of_old = answer(Method::GET, "HTTP/1.0 200 OK", &["Transfer-Encoding: chunked"]);
        assert!(matches!(of_old, Err(Failure::Malformed(_))), "{of_old:?}");
    }

    #[test]
    fn lengths_have_to_agree() {
        for same in
            [&["Content-Length: 5"][..], &["content-length: 5, 5"], &["Content-Length: 5"; 2]]
        {
            assert_eq!(get(same).framing, Framing::Length(5), "{same:?}");
        }
        for wrong in ["5, 6", "-5", "+5", "5x", "", "5,", "99999999999999999999"] {
            let head =
                answer(Method::GET, "HTTP/1.1 200 OK", &[&format!("Content-Length: {wrong}")]);
            assert_eq!(head, Err(malformed("invalid content-length parsed")), "{wrong}");
        }
        let differing = ["Content-Length: 6", "Content-Length: 5", "Content-Length: 5"];
        assert!(answer(Method::GET, "HTTP/1.1 200 OK", &differing).is_err());
    }

    #[test]
    fn some_answers_have_no_body() {
        let length = "Content-Length: 5";
        for (method, status) in [
            (Method::HEAD, "200"),
            (Method::GET, "204"),
            (Method::GET, "304"),
            (Method::GET, "101"),
            (Method::CONNECT, "200"),
        ] {
            let head = answer(method, &format!("HTTP/1.1 {status} X"), &[length]).unwrap();
            assert_eq!(head.framing, Framing::Length(0), "{status}");
        }
    }

    #[test]
    fn a_connection_is_kept_where_both_sides_can() {
        let keeps = |version: &str, headers: &[&str]| {
            let headers = [headers, &["Content-Length: 0"]].concat();
            answer(Method::GET, &format!("HTTP/{version} 200 OK"), &headers).unwrap().keeps
        };
        assert!(keeps("1.1", &[]) && !keeps("1.0", &[]));
        assert!(keeps("1.0", &["Connection: Keep-Alive"]));
        assert!(!keeps("1.1", &["Connection: x, CLOSE"]));
        assert!(!keeps("1.1", &["Connection: close", "Connection: keep-alive"]));
        assert!(!get(&[]).keeps, "the end of the connection is the end of the body");
        assert!(!answer(Method::GET, "HTTP/1.1 101 X", &[]).unwrap().keeps);
    }

    #[test]
    fn the_checksum_is_eight_hexadecimal_digits() {
        let of = |text: &str| get(&[&format!("x-content-crc32: {text}")]).checksum.unwrap();
        assert_eq!(of("cbf43926"), Ok(0xcbf4_3926));
        for text in ["", "cbf4392", "cbf4392g", "+bf43926", "cbf43926x"] {
            assert!(matches!(of(text), Err(Failure::Malformed(_))), "{text}");
        }
        assert!(get(&[]).checksum.is_none());
    }

    #[test]
    fn what_is_no_head_is_told() {
        let of = |bytes: &[u8]| parse(bytes, &Method::GET);
        assert!(matches!(of(b"HTTP/1.1 200 OK\r\nContent-Le"), Ok(Parsed::Partial)));
        assert!(matches!(of(b"HTTP/1.1 103 Hint\r\n\r\nHTTP"), Ok(Parsed::Interim(21))));
        for bytes in [
            "220 mail.example ESMTP\r\n\r\n",
            "HTTP/1.1 099 X\r\n\r\n",
            "HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
        ] {
            assert!(matches!(of(bytes.as_bytes()), Err(Failure::Malformed(_))), "{bytes}");
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MOST_HEADERS + 1));
        assert_eq!(of(many.as_bytes()).unwrap_err(), malformed("message head is too large"));
    }
}

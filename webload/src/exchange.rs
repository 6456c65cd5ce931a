//! One request and its answer: sent, received, verified.

use std::rc::Rc;

use http_body_util::Full;
use hyper::{
    Method, Request, Response,
    body::{Body, Incoming},
    header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, USER_AGENT},
};
use kernel::clock::monotonic_ns;

use crate::{
    Config, Failure, Target,
    link::{Addresses, Ask, Link},
    stamp::Stamps,
    yielding::others_first,
};

/// The header in which a service tells the CRC-32 (ISO-HDLC, 8 hexadecimal digits) of its body.
const CHECKSUM: HeaderName = HeaderName::from_static("x-content-crc32");

/// Pieces of a body that are read before others have their turn: a service that sends without a
/// pause would otherwise keep everybody from looking at the clock.
const PIECES_IN_A_ROW: u32 = 32;

/// What is known of an answer so far; filled on the way, so that a request which is given up still
/// tells how far it came.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// How long the connection took, where one was opened.
    pub(crate) connect_ns: Option<u64>,
    pub(crate) status: Option<u16>,
    pub(crate) bytes: u64,
    /// Whether something told where the body ends, so that a cut could be seen.
    pub(crate) delimited: bool,
}

/// What a client sends every time.
pub(crate) struct Template(Ask);

impl Template {
    pub(crate) fn new(config: &Config, target: &Target) -> Self {
        let mut ask = Request::new(Full::new(config.body.clone()));
        *ask.method_mut() = config.method.clone();
        *ask.uri_mut() = target.path.clone();
        let headers = ask.headers_mut();
        let host = HeaderValue::from_str(&target.host).expect("a URL's authority is visible ASCII");
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, HeaderValue::from_static("webload"));
        if !config.keep_alive {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        for (name, value) in &config.headers {
            headers.insert(name, value.clone());
        }
        Self(ask)
    }
}

/// Sends the request over `link`, or over a new connection where there is none that is usable, and
/// reads the whole answer. `link` holds the connection afterwards where it can be used again.
pub(crate) async fn exchange(
    link: &mut Option<Link>,
    addresses: &Addresses<'_>,
    template: &Template,
    stamps: &Rc<Stamps>,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let kept = match link.take() {
        Some(mut kept) => kept.is_usable().await.then_some(kept),
        None => None,
    };
    let mut own = match kept {
        Some(kept) => kept,
        None => {
            let began = monotonic_ns();
            let new = Link::open(addresses, Rc::clone(stamps)).await?;
            answer.connect_ns = Some(monotonic_ns() - began);
            new
        }
    };
    own.ready().await?;
    // What has arrived until here, on an idle connection, is no answer to what is sent now.
    stamps.reset();
    let response = own.send(template.0.clone()).await?;
    answer.status = Some(response.status().as_u16());
    answer.delimited =
        response.body().size_hint().exact().is_some() || is_chunked(response.headers());
    let bodyless = template.0.method() == Method::HEAD;
    let announced = receive(&mut own, response, answer, bodyless).await?;
    if own.is_usable().await {
        *link = Some(own);
        return Ok(());
    }
    match (own.has_unread_bytes(), announced) {
        (true, Some(announced)) => Err(Failure::TooLong(announced)),
        (true, None) => Err(Failure::Malformed("bytes after the last chunk".to_owned())),
        (false, _) => Ok(()),
    }
}

/// Reads and verifies the body; returns its announced length.
async fn receive(
    link: &mut Link,
    response: Response<Incoming>,
    answer: &mut Answer,
    bodyless: bool,
) -> Result<Option<u64>, Failure> {
    let status = response.status();
    let checksum = checksum(response.headers()).filter(|_| !bodyless);
    let mut body = response.into_body();
    let announced = body.size_hint().exact();
    let mut crc = crc32fast::Hasher::new();
    let mut pieces = 0_u32;
    while let Some(frame) = link.frame(&mut body).await {
        let bytes = frame.map_err(|error| Failure::of_body(&error, answer.bytes, announced))?;
        answer.bytes += bytes.len() as u64;
        if checksum.is_some() {
            crc.update(&bytes);
        }
        pieces = pieces.wrapping_add(1);
        if pieces.is_multiple_of(PIECES_IN_A_ROW) {
            others_first().await;
        }
    }
    if !status.is_success() {
        return Err(Failure::Status(status.as_u16()));
    }
    if let Some(expected) = checksum.transpose()? {
        let got = crc.finalize();
        if got != expected {
            return Err(Failure::Checksum { got, announced: expected });
        }
    }
    Ok(announced)
}

/// Whether the body is chunked, that is, whether `chunked` is the last coding (RFC 9112 section
/// 6.3); any other ends with the connection.
fn is_chunked(headers: &HeaderMap) -> bool {
    let last = headers.get_all(TRANSFER_ENCODING).iter().next_back();
    let codings = last.and_then(|value| value.to_str().ok()).unwrap_or_default();
    codings.rsplit(',').next().is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

/// The checksum that the service sent, where it sent one.
fn checksum(headers: &HeaderMap) -> Option<Result<u32, Failure>> {
    let value = headers.get(CHECKSUM)?;
    let digits = value.to_str().ok().filter(|text| text.len() == 8);
    let parsed = digits.and_then(|text| u32::from_str_radix(text, 16).ok());
    Some(parsed.ok_or_else(|| {
        Failure::Malformed(format!("X-Content-CRC32 {value:?} is not 8 hexadecimal digits"))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_chunked_where_that_is_its_last_coding() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRANSFER_ENCODING, HeaderValue::from_static(value));
            }
            is_chunked(&headers)
        };
        for chunked in [&["chunked"][..], &["gzip, Chunked"], &["gzip", "chunked"]] {
            assert!(of(chunked), "{chunked:?}");
        }
        for other in [&[][..], &["gzip"], &["chunked, gzip"], &["chunked", "gzip"]] {
            assert!(!of(other), "{other:?}");
        }
    }

    #[test]
    fn the_checksum_is_eight_hexadecimal_digits() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CHECKSUM, HeaderValue::from_static(text));
            checksum(&headers).unwrap()
        };
        assert_eq!(of("cbf43926"), Ok(0xcbf4_3926));
        for text in ["", "cbf4392", "cbf4392g", "+bf43926x"] {
            assert!(matches!(of(text), Err(Failure::Malformed(_))), "{text}");
        }
        assert!(checksum(&HeaderMap::new()).is_none());
    }
}

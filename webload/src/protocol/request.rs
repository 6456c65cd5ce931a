//! The bytes of a request: the same every time.

use http::{
    HeaderMap, HeaderValue, Method,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, USER_AGENT},
};

use bytes::Bytes;

use crate::{Config, Target};

/// What a client sends every time.
pub(crate) struct Template {
    pub(crate) method: Method,
    pub(crate) head: Vec<u8>,
    pub(crate) body: Bytes,
}

impl Template {
    pub(crate) fn new(config: &Config, target: &Target) -> Self {
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(&target.host).expect("a URL's authority is visible ASCII");
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, HeaderValue::from_static("webload"));
        if !config.keep_alive {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        for (name, value) in &config.headers {
            headers.insert(name, value.clone());
        }
        let body = framed(&config.body, &mut headers);
        let mut head = format!("{} {} HTTP/1.1\r\n", config.method, target.path).into_bytes();
        for (name, value) in &headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        Self { method: config.method.clone(), head, body }
    }
}

/// The body as it is sent, and the header that tells its end. What the user says of that counts: a
/// length, to which the body is then cut, or `chunked`.
fn framed(body: &Bytes, headers: &mut HeaderMap) -> Bytes {
    if body.is_empty() {
        headers.remove(TRANSFER_ENCODING);
        return Bytes::new();
    }
    if let Some(coding) = headers.get(TRANSFER_ENCODING) {
        if !coding.as_bytes().to_ascii_lowercase().ends_with(b"chunked") {
            let with_chunked = [coding.as_bytes(), b", chunked"].concat();
            let with_chunked =
                HeaderValue::from_bytes(&with_chunked).expect("it was a value before");
            headers.insert(TRANSFER_ENCODING, with_chunked);
        }
        headers.remove(CONTENT_LENGTH);
        let size = format!("{:x}\r\n", body.len());
        return [size.as_bytes(), body, b"\r\n0\r\n\r\n"].concat().into();
    }
    let given = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if let Some(given) = given {
        return body.slice(..body.len().min(given));
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    body.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(config: &Config) -> String {
        let template = Template::new(config, &config.targets[0]);
        String::from_utf8([&template.head[..], &template.body].concat()).unwrap()
    }

    fn config(headers: &[(&str, &str)], body: &'static str) -> Config {
        let target = Target::new("http://127.0.0.1:80/path?query").unwrap();
        let header = |&(name, value): &(&str, &str)| {
            (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        let headers = headers.iter().map(header).collect();
        Config { headers, body: body.into(), keep_alive: true, ..Config::new(vec![target]) }
    }

    #[test]
    fn a_request_has_its_headers_and_its_length() {
        let plain = "GET /path?query HTTP/1.1\r\nhost: 127.0.0.1:80\r\nuser-agent: webload\r\n";
        assert_eq!(sent(&config(&[], "")), format!("{plain}\r\n"));
        let closing = Config { keep_alive: false, ..config(&[], "") };
        assert_eq!(sent(&closing), format!("{plain}connection: close\r\n\r\n"));
        let named = sent(&config(&[("User-Agent", "me"), ("X-Tag", "7")], ""));
        assert_eq!(named, plain.replace("webload", "me") + "x-tag: 7\r\n\r\n");
        let posted = Config { method: Method::POST, ..config(&[], "hello") };
        let expected = plain.replace("GET", "POST") + "content-length: 5\r\n\r\nhello";
        assert_eq!(sent(&posted), expected);
    }

    #[test]
    fn what_the_user_says_of_the_bodys_end_counts() {
        let end = |headers: &[(&str, &str)], body| {
            sent(&config(headers, body)).split_once("webload\r\n").unwrap().1.to_owned()
        };
        assert_eq!(end(&[("Content-Length", "3")], "hello"), "content-length: 3\r\n\r\nhel");
        assert_eq!(
            end(&[("Transfer-Encoding", "gzip"), ("Content-Length", "3")], "hello"),
            "transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        assert_eq!(end(&[("Transfer-Encoding", "chunked")], ""), "\r\n");
    }
}

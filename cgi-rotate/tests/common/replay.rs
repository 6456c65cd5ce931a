// One request as one blob of bytes, for the seed corpus, the malformed-request test and the fuzz
// target. Four lines (query, method, content type, content length; an empty length is that of the
// body), then the body.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use cgi_rotate::cgi::respond;
use cgi_rotate::reply::Reply;

/// The meta-variables and the body of a blob.
pub struct Request {
    pub variables: Vec<(&'static str, OsString)>,
    pub body: Vec<u8>,
}

impl Request {
    /// Takes a blob apart; files come from `images`.
    pub fn parse(blob: &[u8], images: &Path) -> Self {
        let mut parts = blob.splitn(5, |&byte| byte == b'\n');
        let mut next = || parts.next().unwrap_or_default().to_vec();
        let (query, method, kind, mut length, body) = (next(), next(), next(), next(), next());
        if length.is_empty() {
            length = body.len().to_string().into_bytes();
        }
        let mut variables = vec![
            ("CGI_ROTATE_IMAGES", images.as_os_str().to_owned()),
            ("CGI_ROTATE_MAX_PIXELS", "40000".into()),
            ("CGI_ROTATE_MAX_BODY", "100000".into()),
            ("CGI_ROTATE_MAX_MEMORY", "10000000".into()),
        ];
        let given = [
            ("QUERY_STRING", query),
            ("REQUEST_METHOD", method),
            ("CONTENT_TYPE", kind),
            ("CONTENT_LENGTH", length),
        ];
        // No environment can hold a NUL.
        let text = |bytes: Vec<u8>| bytes.into_iter().filter(|&byte| byte != 0).collect();
        variables.extend(given.map(|(name, bytes)| (name, OsString::from_vec(text(bytes)))));
        Self { variables, body }
    }

    /// The library's reply.
    pub fn reply(&self) -> Reply {
        let get = |name: &str| {
            self.variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
        };
        respond(&get, &mut self.body.as_slice())
    }
}

/// What must hold of every reply, as (status, body): a known status, and one line for a refusal.
pub fn check(status: &str, body: &[u8]) {
    let known = ["200", "400", "405", "413", "415"].iter().any(|code| status.starts_with(code));
    assert!(known, "status {status}");
    if !status.starts_with("200") {
        let text = std::str::from_utf8(body).expect("refusals are text");
        let line = text.strip_suffix('\n').expect("refusals end");
        assert!(!line.is_empty() && !line.contains(|c: char| c.is_control()), "{line:?}");
        assert!(line.chars().count() < 400, "{line:?}");
    }
}

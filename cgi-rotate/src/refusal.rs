//! Why a request is not served, and the HTTP status that says so.

use model::Exit;

/// A request that is not served; its text is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400: the request itself is wrong.
    #[error("{0}")]
    BadRequest(String),
    /// 405: the method named here is not one of [`ALLOWED`].
    #[error("method {0} is not served; use one of {ALLOWED}")]
    Method(String),
    /// 413: more pixels, bytes or memory than the limits allow.
    #[error("{0}")]
    TooLarge(String),
    /// 415: not a picture format that is read here.
    #[error("{0}")]
    Unsupported(String),
    /// 500: the server's own configuration or files are at fault, never the request.
    #[error("{0}")]
    Server(String),
}

/// The methods that are served, as the `Allow` header names them.
pub const ALLOWED: &str = "GET, HEAD, POST";

impl Refusal {
    /// Code and reason phrase, as the CGI `Status` header wants them.
    #[must_use]
    pub fn status(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "400 Bad Request",
            Self::Method(_) => "405 Method Not Allowed",
            Self::TooLarge(_) => "413 Content Too Large",
            Self::Unsupported(_) => "415 Unsupported Media Type",
            Self::Server(_) => "500 Internal Server Error",
        }
    }

    /// The exit code when the program is run by hand.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Server(_) => Exit::Failed,
            _ => Exit::Usage,
        }
    }
}

/// A value from outside, fit for a one-line message: quoted, control characters escaped, cut short.
#[must_use]
pub fn quoted(value: &str) -> String {
    format!("\"{}\"", cut(value.chars().flat_map(char::escape_debug), 60))
}

/// Words from a library, fit for a one-line message: no control characters, and cut short.
#[must_use]
pub fn one_line(words: &str) -> String {
    let plain = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    cut(plain.split_whitespace().collect::<Vec<_>>().join(" ").chars(), 200)
}

fn cut(mut text: impl Iterator<Item = char>, longest: usize) -> String {
    let mut shown: String = text.by_ref().take(longest).collect();
    if text.next().is_some() {
        shown.push('…');
    }
    shown
}

/// 400 for a file that its decoder refuses, with the decoder's words.
pub fn damaged(name: &str, cause: &dyn std::fmt::Display) -> Refusal {
    let cause = one_line(&cause.to_string());
    Refusal::BadRequest(format!("the {name} image is damaged: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_values_stay_on_one_line_and_short() {
        assert_eq!(quoted("a\r\nb\u{1b}"), r#""a\r\nb\u{1b}""#);
        assert!(quoted(&"x".repeat(10_000)).len() < 80);
        assert!(quoted(&"\0".repeat(10_000)).len() < 80);
    }

    #[test]
    fn words_of_a_library_stay_on_one_line_and_short() {
        assert_eq!(one_line("bad\n  byte\u{7f}\0 here "), "bad byte here");
        assert_eq!(one_line(&"y".repeat(500)).chars().count(), 201);
    }
}

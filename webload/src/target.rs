//! Where the requests go: a URL, checked and resolved before the first of them.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
};

use http::{
    Uri,
    uri::{Authority, PathAndQuery},
};
use thiserror::Error;

/// A service's URL with the addresses behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The text as given, for messages.
    pub url: String,
    /// The addresses that its host resolved to, in the resolver's order; at least one.
    pub addresses: Vec<SocketAddr>,
    /// What the `Host` header says.
    pub host: String,
    /// Path and query, as they stand in the request line.
    pub path: Uri,
}

/// Why a text is not a URL that can be asked.
#[derive(Debug, Error)]
pub enum TargetError {
    /// Not a URL.
    #[error("`{url}` is not a URL ({error}); write for example `http://127.0.0.1:8080/`")]
    Malformed {
        /// The text.
        url: String,
        /// What the parser says.
        #[source]
        error: http::uri::InvalidUri,
    },
    /// It lacks scheme or host, or has a user name.
    #[error("`{0}` is not a URL that can be asked; write for example `http://127.0.0.1:8080/`")]
    Form(String),
    /// https, or another scheme.
    #[error("`{url}` has the scheme `{scheme}`; only http is supported")]
    Scheme {
        /// The text.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// The host has no address.
    #[error("`{url}`: the host `{host}` cannot be resolved: {error}")]
    Resolve {
        /// The text.
        url: String,
        /// Its host.
        host: String,
        /// What the resolver says.
        #[source]
        error: io::Error,
    },
}

impl Target {
    /// Checks `url` and resolves its host.
    ///
    /// # Errors
    /// One [`TargetError`] a rule; each quotes the URL.
    pub fn new(url: &str) -> Result<Self, TargetError> {
        let (authority, path) = parts(url)?;
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self {
            url: url.to_owned(),
            addresses: resolve(url, authority.host(), port)?,
            host: authority.to_string(),
            path: Uri::from(path),
        })
    }

    /// Checks `url` without asking anybody for the addresses of its host.
    ///
    /// # Errors
    /// Those of [`Target::new`] but [`TargetError::Resolve`].
    pub fn check(url: &str) -> Result<(), TargetError> {
        parts(url).map(drop)
    }
}

/// Host with port, and path with query.
fn parts(url: &str) -> Result<(Authority, PathAndQuery), TargetError> {
    let form = || TargetError::Form(url.to_owned());
    let uri: Uri =
        url.parse().map_err(|error| TargetError::Malformed { url: url.to_owned(), error })?;
    let scheme = uri.scheme_str().ok_or_else(form)?;
    if scheme != "http" {
        return Err(TargetError::Scheme { url: url.to_owned(), scheme: scheme.to_owned() });
    }
    let authority = uri.authority().ok_or_else(form)?;
    let path = uri.path_and_query().ok_or_else(form)?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(form());
    }
    // `http` reads a port that is none (`:99999`) as if there were no port at all.
    if authority.port_u16().is_none() && authority.as_str().len() > authority.host().len() {
        return Err(form());
    }
    Ok((authority.clone(), path.clone()))
}

/// The addresses of `host` (an IPv6 one in brackets).
fn resolve(url: &str, host: &str, port: u16) -> Result<Vec<SocketAddr>, TargetError> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let fail = |error| TargetError::Resolve { url: url.to_owned(), host: host.to_owned(), error };
    let found: Vec<SocketAddr> = (name, port).to_socket_addrs().map_err(fail)?.collect();
    if found.is_empty() {
        return Err(fail(io::Error::new(io::ErrorKind::NotFound, "it has no address")));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_a_url_apart() {
        let target = Target::new("http://127.0.0.1:8080/cgi-bin/rotate?angle=20").unwrap();
        assert_eq!(target.addresses, ["127.0.0.1:8080".parse().unwrap()]);
        assert_eq!(target.host, "127.0.0.1:8080");
        assert_eq!(target.path.to_string(), "/cgi-bin/rotate?angle=20");
        let target = Target::new("http://[::1]").unwrap();
        assert_eq!(target.addresses, ["[::1]:80".parse().unwrap()]);
        assert_eq!(target.path.to_string(), "/");
    }

    #[test]
    fn refuses_with_the_reason() {
        let error = |url: &str| Target::new(url).unwrap_err();
        assert!(matches!(error("https://127.0.0.1/"), TargetError::Scheme { .. }));
        assert!(error("https://127.0.0.1/").to_string().contains("only http is supported"));
        for url in ["127.0.0.1", "/path", "http://me@127.0.0.1/", "http://127.0.0.1:99999/"] {
            assert!(matches!(error(url), TargetError::Form(_)), "{url}: {:?}", error(url));
        }
        for url in ["", "http://a b/", "http:///x"] {
            assert!(matches!(error(url), TargetError::Malformed { .. }), "{url}: {:?}", error(url));
        }
        // A name that nobody knows is none of the form's business.
        assert!(Target::check("http://no-such-host.invalid/").is_ok());
        assert!(Target::check("https://127.0.0.1/").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(url in "(https?:/{0,2})?[0-9.:@/\\[\\]?#%]{0,20}") {
            let _ = Target::new(&url);
        }
    }
}

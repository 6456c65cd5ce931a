//! Addresses of a URL's host. The resolver waits for name servers as long as it likes and hears no
//! signal, so it is asked in a thread that nobody has to wait for.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use model::duration;
use webload::Target;

use crate::host::Stop;

const LOOK: Duration = Duration::from_millis(20);

/// What `url` stands for, at most `within` from now.
///
/// # Errors
/// What makes no URL, a host without an address, the stop flag, or that it takes too long.
pub(super) fn resolved(url: &str, within: Duration, stop: &Stop) -> Result<Target> {
    let own = url.to_owned();
    by(move || Ok(Target::new(&own)?), url, within, stop)
}

fn by(
    resolve: impl FnOnce() -> Result<Target> + Send + 'static,
    url: &str,
    within: Duration,
    stop: &Stop,
) -> Result<Target> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        // Nobody waits any more where the time is over.
        let _ = tell.send(resolve());
    });
    let since = Instant::now();
    loop {
        match told.recv_timeout(LOOK) {
            Ok(target) => return target,
            Err(RecvTimeoutError::Disconnected) => bail!("{url}: the resolver panicked"),
            Err(RecvTimeoutError::Timeout) => stop.check()?,
        }
        if since.elapsed() >= within {
            let within = duration::format(within);
            bail!("{url}: no name server told the host's address within {within}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_server_that_does_not_answer_is_waited_for_within_limits() {
        let silent = || {
            thread::sleep(Duration::from_secs(30));
            bail!("too late")
        };
        let (since, within) = (Instant::now(), Duration::from_millis(60));
        let error = by(silent, "http://x/", within, &Stop::default()).unwrap_err().to_string();
        assert_eq!(error, "http://x/: no name server told the host's address within 60ms");
        assert!(since.elapsed() < Duration::from_secs(10));
        let target = resolved("http://127.0.0.1:9/a", within * 100, &Stop::default()).unwrap();
        assert_eq!(target.url, "http://127.0.0.1:9/a");
    }
}

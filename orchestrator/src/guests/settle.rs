//! Waiting until a distribution has started what it starts: the rest of its boot would be measured.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::{guest::Guest, host::Stop};

/// How long it may take at the least once the agent answers, and how long the answer may take beyond.
const LEAST: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(10);

/// Ends within so many seconds as its argument says; says nothing without systemd.
const SCRIPT: &str = "command -v systemctl >/dev/null || exit 0; \
                      state=$(timeout \"$0\" systemctl is-system-running --wait); \
                      echo \"${state:-$(systemctl is-system-running)}\"; \
                      systemctl list-units --failed --plain --no-legend | cut -d ' ' -f 1";

/// Waits, at most `limit`; what is left to say where the system did not come up as a whole.
///
/// # Errors
/// The guest's end, or the stop flag.
pub(super) fn wait(guest: &Guest, limit: Duration, stop: &Stop) -> Result<Option<String>> {
    let limit = limit.max(LEAST);
    let seconds = limit.as_secs().to_string();
    let output = guest
        .run(&["sh", "-c", SCRIPT, &seconds], limit + ANSWER, stop.flag())
        .context("waiting for the services of the system on the disk")?;
    Ok(said(&String::from_utf8_lossy(&output.stdout)))
}

/// What the state in the first line and the failed units behind it mean.
fn said(text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let state = lines.next()?;
    let failed: Vec<_> = lines.collect();
    match (state, &failed[..]) {
        ("running", _) | ("degraded", []) => None,
        ("degraded", failed) => Some(format!(
            "the system on the disk came up without {} (`systemctl status` there)",
            failed.join(", ")
        )),
        (state, _) => Some(format!(
            "the system on the disk had not started all its services when it was measured \
             (`systemctl is-system-running`: {state})"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_said() {
        assert_eq!(said(""), None);
        assert_eq!(said("running\n"), None);
        assert!(
            said("degraded\nnginx.service\nfoo.mount\n").unwrap().contains("nginx.service, foo")
        );
        assert!(said("starting\n").unwrap().contains(": starting)"));
    }
}

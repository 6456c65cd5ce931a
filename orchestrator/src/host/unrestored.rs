//! What a guard could not undo when it was dropped, which has nobody to return it to: `main` tells it
//! and sets the exit code.

use std::sync::{Mutex, PoisonError};

static LEFT: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Remembers it; where this thread panics, nobody will ask, and it is said at once.
pub(super) fn note(failure: String) {
    if std::thread::panicking() {
        model::say!("{}", sentence(&failure));
    }
    LEFT.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
}

/// What has been left changed on this host by guards that were dropped.
#[must_use]
pub fn unrestored() -> Vec<String> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// What to tell the user of it.
#[must_use]
pub fn sentence(failure: &str) -> String {
    format!(
        "error: the host is not as it was before: {failure}; `orchestrator restore` tries again"
    )
}

//! Stepping back for others.

use std::{future::poll_fn, task::Poll};

/// Lets whoever is ready go first, and whoever watches the clock look at it.
pub(crate) async fn others_first() {
    let mut waited = false;
    poll_fn(|cx| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

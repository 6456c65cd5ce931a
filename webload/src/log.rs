//! What the clients of a run have done so far.

use crate::{
    account::Account,
    record::{Sample, room_for},
    stream::Feed,
};

/// Shared by all clients.
pub(crate) struct Log<'a> {
    store: Store<'a>,
    /// Requests that began.
    pub(crate) started: u64,
    /// Requests that ended.
    pub(crate) ended: u64,
    /// Those of them that failed.
    pub(crate) failed: u64,
}

/// What becomes of the samples.
pub(crate) enum Store<'a> {
    /// Nobody wants them.
    Dropped,
    /// All of them, in the order in which the requests ended.
    Kept(Vec<Sample>),
    /// Added up, and handed to whoever writes rows meanwhile.
    Counted(Box<Account>, Option<&'a Feed>),
}

impl<'a> Log<'a> {
    /// Of requests that nobody wants to measure.
    pub(crate) fn dropping() -> Self {
        Self::with(Store::Dropped)
    }

    /// With room for `capacity` samples.
    pub(crate) fn keeping(capacity: usize) -> Self {
        Self::with(Store::Kept(room_for(capacity)))
    }

    /// In constant memory.
    pub(crate) fn counting(feed: Option<&'a Feed>) -> Self {
        Self::with(Store::Counted(Box::new(Account::counting()), feed))
    }

    fn with(store: Store<'a>) -> Self {
        Self { store, started: 0, ended: 0, failed: 0 }
    }

    pub(crate) fn begin(&mut self) {
        self.started += 1;
    }

    pub(crate) fn end(&mut self, sample: Sample) {
        self.ended += 1;
        self.failed += u64::from(sample.failure.is_some());
        match &mut self.store {
            Store::Dropped => {}
            Store::Kept(samples) => samples.push(sample),
            Store::Counted(account, feed) => {
                account.add(&sample);
                feed.inspect(|feed| feed.put(sample));
            }
        }
    }

    pub(crate) fn into_store(self) -> Store<'a> {
        self.store
    }
}

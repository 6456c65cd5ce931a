//! What the clients of a run have done so far.

use std::cell::{Cell, RefCell};

use crate::record::{Sample, room_for};

/// Shared by all clients.
#[derive(Default)]
pub(crate) struct Log {
    /// Requests that ended, in that order.
    pub(crate) samples: RefCell<Vec<Sample>>,
    /// Requests that began.
    pub(crate) started: Cell<u64>,
}

impl Log {
    /// With room for `capacity` samples.
    pub(crate) fn with_room(capacity: usize) -> Self {
        Self { samples: RefCell::new(room_for(capacity)), ..Self::default() }
    }

    pub(crate) fn begin(&self) {
        self.started.set(self.started.get() + 1);
    }

    pub(crate) fn end(&self, sample: Sample) {
        self.samples.borrow_mut().push(sample);
    }
}

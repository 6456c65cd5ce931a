//! When requests are given up.
//!
//! Each client has at most one entry, which is looked at when its instant comes: a request that was
//! answered in time costs nothing, and its client's entry moves on to the request that is under way.

use std::{cmp::Reverse, collections::BinaryHeap};

/// The instants at which clients have to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    entries: BinaryHeap<Reverse<(u64, u32)>>,
    /// By client, whether it has an entry.
    entered: Vec<bool>,
}

impl Deadlines {
    pub(crate) fn of(clients: usize) -> Self {
        Self { entries: BinaryHeap::with_capacity(clients), entered: vec![false; clients] }
    }

    /// Makes sure that `client` is looked at, by `instant_ns`; a client's instants never come earlier
    /// from one time to the next.
    pub(crate) fn set(&mut self, client: u32, instant_ns: u64) {
        if !std::mem::replace(&mut self.entered[client as usize], true) {
            self.entries.push(Reverse((instant_ns, client)));
        }
    }

    /// The earliest instant.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.entries.peek().map(|Reverse((instant_ns, _))| *instant_ns)
    }

    /// Takes a client out whose instant has come; it has no entry then.
    pub(crate) fn take(&mut self, now_ns: u64) -> Option<u32> {
        self.next_ns().filter(|instant_ns| *instant_ns <= now_ns)?;
        let Reverse((_, client)) = self.entries.pop()?;
        self.entered[client as usize] = false;
        Some(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_one_entry_and_the_earliest_comes_first() {
        let mut deadlines = Deadlines::of(3);
        for (client, instant) in [(1, 20), (0, 10), (1, 25), (2, 30)] {
            deadlines.set(client, instant);
        }
        assert_eq!(deadlines.next_ns(), Some(10));
        assert_eq!(deadlines.take(9), None);
        assert_eq!(
            (deadlines.take(20), deadlines.take(20), deadlines.take(20)),
            (Some(0), Some(1), None)
        );
        deadlines.set(1, 25);
        assert_eq!(deadlines.take(25), Some(1));
        assert_eq!(deadlines.next_ns(), Some(30));
    }
}

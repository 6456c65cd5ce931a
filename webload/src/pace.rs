//! What a client does that is free.

use std::{collections::VecDeque, io};

use kernel::clock::monotonic_ns;

use crate::{alarm::Alarm, poller::Poller, schedule::Schedule};

/// How the requests of a phase follow each other.
pub(crate) enum Pace {
    /// There are none: each client opens a connection.
    Ahead,
    /// Each client sends so many, without a pause.
    Closed(u64),
    /// All clients together keep to a schedule.
    Open(Box<Open>),
}

/// What a free client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It opens a connection.
    Connect,
    /// It sends a request, due at an instant that has passed, or now.
    Ask(Option<u64>),
    /// Nothing, or nothing yet.
    Nothing,
}

/// The pace of an open loop.
pub(crate) struct Open {
    pub(crate) schedule: Schedule,
    alarm: Alarm,
    /// Who waits for which instant; each took the next one, so they ascend.
    waiting: VecDeque<(u64, u32)>,
}

impl Pace {
    /// An open loop, whose timer `poller` waits for.
    pub(crate) fn open(schedule: Schedule, poller: &Poller) -> io::Result<Self> {
        let alarm = Alarm::new()?;
        poller.add_timer(&alarm)?;
        Ok(Self::Open(Box::new(Open { schedule, alarm, waiting: VecDeque::new() })))
    }

    /// What `client` does that has begun `begun` requests.
    pub(crate) fn next(&mut self, client: u32, begun: u64) -> Next {
        match self {
            Self::Ahead if begun == 0 => Next::Connect,
            Self::Closed(requests) if begun < *requests => Next::Ask(None),
            Self::Ahead | Self::Closed(_) => Next::Nothing,
            Self::Open(open) => open.next(client),
        }
    }

    /// Takes a client whose instant has come, with the instant.
    pub(crate) fn due(&mut self) -> Option<(u64, u32)> {
        let Self::Open(open) = self else { return None };
        open.waiting.front().filter(|(instant_ns, _)| *instant_ns <= monotonic_ns())?;
        open.waiting.pop_front()
    }

    /// Whether somebody waits for an instant.
    pub(crate) fn is_waited_for(&self) -> bool {
        matches!(self, Self::Open(open) if !open.waiting.is_empty())
    }

    /// Sets the timer for the next instant that somebody waits for.
    pub(crate) fn set_alarm(&mut self) -> io::Result<()> {
        match self {
            Self::Open(open) => match open.waiting.front() {
                Some(&(instant_ns, _)) => open.alarm.set(instant_ns),
                None => Ok(()),
            },
            Self::Ahead | Self::Closed(_) => Ok(()),
        }
    }

    /// How many requests are due at `now_ns`; none in a closed loop.
    pub(crate) fn requests_due(&self, now_ns: u64) -> u64 {
        match self {
            Self::Open(open) => open.schedule.due(now_ns),
            Self::Ahead | Self::Closed(_) => 0,
        }
    }
}

impl Open {
    fn next(&mut self, client: u32) -> Next {
        match self.schedule.take() {
            Some(due) if due <= monotonic_ns() => Next::Ask(Some(due)),
            Some(due) => {
                self.waiting.push_back((due, client));
                Next::Nothing
            }
            None => Next::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_loop_ends_with_each_clients_last_request() {
        let mut pace = Pace::Closed(2);
        assert_eq!(
            [0, 1, 2].map(|begun| pace.next(0, begun)),
            [Next::Ask(None), Next::Ask(None), Next::Nothing]
        );
        assert_eq!([0, 1].map(|begun| Pace::Ahead.next(0, begun)), [Next::Connect, Next::Nothing]);
    }

    #[test]
    fn in_an_open_loop_everybody_waits_for_their_instant() {
        let mut poller = Poller::new().unwrap();
        let start = monotonic_ns();
        let schedule = Schedule::new("100/s".parse().unwrap(), start, 3);
        let mut pace = Pace::open(schedule, &poller).unwrap();
        assert_eq!(pace.next(5, 0), Next::Ask(Some(start)));
        assert_eq!((pace.next(6, 0), pace.next(7, 0)), (Next::Nothing, Next::Nothing));
        for (client, ms) in [(6, 10), (7, 20)] {
            assert!(pace.is_waited_for());
            pace.set_alarm().unwrap();
            // Nobody is due before the timer has rung, and then they are.
            while monotonic_ns() < start + ms * 1_000_000 {
                poller.wait(1_000).unwrap();
            }
            assert_eq!(pace.due(), Some((start + ms * 1_000_000, client)));
            assert_eq!(pace.due(), None);
        }
        assert_eq!(pace.next(5, 1), Next::Nothing);
        assert!(!pace.is_waited_for());
    }
}

//! What a thread remembers of its jobs, in memory taken beforehand.

/// A finished job; instants on CLOCK_MONOTONIC in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Number within the task, from 0.
    pub job: u64,
    /// When it began to run.
    pub start_ns: u64,
    /// When it was done.
    pub finish_ns: u64,
    /// CPU time of the thread between the two.
    pub cpu_ns: u64,
}

/// Numbers of jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Finished.
    pub done: u64,
    /// Finished, but after the deadline.
    pub late: u64,
    /// Not run since their release had passed (only where the backlog is dropped).
    pub skipped: u64,
    /// Released, but not finished at the end.
    pub unfinished: u64,
    /// Begun or finished on another CPU than the one that they were bound to.
    pub elsewhere: u64,
}

/// Records of one task.
#[derive(Debug)]
pub(super) struct Recorder {
    pub records: Vec<Record>,
    pub tally: Tally,
}

impl Recorder {
    /// With room for `capacity` records, whose pages are touched.
    pub fn new(capacity: usize) -> Self {
        let blank = Record { job: u64::MAX, start_ns: 0, finish_ns: 0, cpu_ns: 0 };
        let mut records = vec![blank; capacity];
        records.clear();
        Self { records, tally: Tally::default() }
    }

    /// Counts a finished job, and keeps it where there is room; never allocates.
    pub fn add(&mut self, record: Record, late: bool) {
        self.tally.done += 1;
        self.tally.late += u64::from(late);
        if self.records.len() < self.records.capacity() {
            self.records.push(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_grows() {
        let mut recorder = Recorder::new(2);
        let (place, capacity) = (recorder.records.as_ptr(), recorder.records.capacity());
        for job in 0..5 {
            recorder.add(Record { job, start_ns: 1, finish_ns: 2, cpu_ns: 1 }, job == 4);
        }
        assert_eq!((recorder.records.as_ptr(), recorder.records.capacity()), (place, capacity));
        assert_eq!(recorder.tally, Tally { done: 5, late: 1, ..Tally::default() });
    }
}

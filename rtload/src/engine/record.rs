//! What a thread remembers of its jobs, in memory taken beforehand.

use model::hist::Distribution;

use super::feed::Feed;
use crate::{plan::Keep, traffic::Moved};

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

impl Record {
    /// As the cells of a [`JobFeed`].
    #[must_use]
    pub fn cells(self) -> [u64; 4] {
        [self.job, self.start_ns, self.finish_ns, self.cpu_ns]
    }

    /// From the cells of a [`JobFeed`].
    #[must_use]
    pub fn of([job, start_ns, finish_ns, cpu_ns]: [u64; 4]) -> Self {
        Self { job, start_ns, finish_ns, cpu_ns }
    }
}

/// Records on their way to a file.
pub type JobFeed = Feed<4>;

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
    /// Whether the last finished job took too long and ended the run.
    pub stopped: bool,
    /// Finished and counted, but without a row: the writer could not keep up.
    pub lost: u64,
    /// Memory that was moved, where jobs do that.
    pub moved: Moved,
}

/// What constant memory holds of the jobs of a task.
#[derive(Debug, Clone)]
pub struct Histograms {
    /// From scheduled release to finish.
    pub response: Distribution,
    /// CPU time.
    pub cpu: Distribution,
    /// From scheduled release to start.
    pub latency: Distribution,
}

impl Histograms {
    /// For a run of `longest_ns`.
    fn new(longest_ns: u64) -> Self {
        let [response, cpu, latency] = [0; 3].map(|_| Distribution::up_to(longest_ns));
        Self { response, cpu, latency }
    }

    fn add(&mut self, release_ns: u64, record: &Record) {
        self.response.add(record.finish_ns - release_ns);
        self.cpu.add(record.cpu_ns);
        self.latency.add(record.start_ns - release_ns);
    }
}

/// Records of one task.
#[derive(Debug)]
pub(super) struct Recorder<'a> {
    pub records: Vec<Record>,
    pub histograms: Option<Histograms>,
    /// Where records go meanwhile, and the task's index there.
    feed: Option<(&'a JobFeed, usize)>,
    pub tally: Tally,
}

impl<'a> Recorder<'a> {
    /// For `jobs` jobs of a run of at most `longest_ns`; all memory is taken and touched.
    pub fn new(keep: Keep, jobs: u64, longest_ns: u64, feed: Option<(&'a JobFeed, usize)>) -> Self {
        let room = if keep == Keep::Records { usize::try_from(jobs).unwrap_or(0) } else { 0 };
        let blank = Record { job: u64::MAX, start_ns: 0, finish_ns: 0, cpu_ns: 0 };
        let mut records = vec![blank; room];
        records.clear();
        let histograms = (keep == Keep::Histograms).then(|| Histograms::new(longest_ns));
        Self { records, histograms, feed, tally: Tally::default() }
    }

    /// Counts a finished job, and keeps it where there is room; never allocates, never waits.
    pub fn add(&mut self, release_ns: u64, record: Record, late: bool) {
        self.tally.done += 1;
        self.tally.late += u64::from(late);
        if self.records.len() < self.records.capacity() {
            self.records.push(record);
        }
        if let Some(histograms) = &mut self.histograms {
            histograms.add(release_ns, &record);
        }
        if let Some((feed, index)) = self.feed {
            self.tally.lost += u64::from(!feed.put(index, record.cells()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn filled(recorder: &mut Recorder<'_>) {
        for job in 0..5 {
            recorder.add(0, Record { job, start_ns: 1, finish_ns: 2, cpu_ns: 1 }, job == 4);
        }
    }

    #[test]
    fn nothing_grows() {
        let mut recorder = Recorder::new(Keep::Records, 2, 10, None);
        let (place, capacity) = (recorder.records.as_ptr(), recorder.records.capacity());
        filled(&mut recorder);
        assert_eq!((recorder.records.as_ptr(), recorder.records.capacity()), (place, capacity));
        assert_eq!(recorder.tally, Tally { done: 5, late: 1, ..Tally::default() });
    }

    #[test]
    fn what_nobody_takes_out_of_a_full_feed_is_counted_as_lost() {
        let feed = Feed::new([10_000_000_000]);
        let mut recorder = Recorder::new(Keep::Histograms, 0, 1_000_000, Some((&feed, 0)));
        for job in 0..5_000 {
            recorder.add(0, Record { job, start_ns: 1, finish_ns: 2, cpu_ns: 1 }, false);
        }
        let rows = std::iter::from_fn(|| feed.take()).count() as u64;
        assert!(recorder.tally.lost > 0 && rows > 0);
        assert_eq!((recorder.tally.done, rows + recorder.tally.lost), (5_000, 5_000));
    }

    #[test]
    fn histograms_count_every_job_and_keep_none() {
        let mut recorder = Recorder::new(Keep::Histograms, u64::MAX, 1_000_000, None);
        filled(&mut recorder);
        let response = recorder.histograms.unwrap().response.summary().unwrap();
        assert_eq!((response.count, response.p50, recorder.records.len()), (5, 2, 0));
    }
}

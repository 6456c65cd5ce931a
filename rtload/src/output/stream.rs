//! Rows that are written while the jobs run, by a thread that never holds one up.

use std::{
    io::{self, Write},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use kernel::sched;
use model::{
    outfile::OutFile,
    sample::{self, Job},
};

use super::{Labels, files::row};
use crate::{
    Error,
    engine::{Feed, Phase},
    plan::PlannedTask,
};

/// How often the writer looks for records.
const LOOK: Duration = Duration::from_millis(20);

/// A file that gets a row for every job as it finishes.
#[derive(Debug)]
pub struct Stream {
    feed: Arc<Feed>,
    what: String,
    writer: Option<JoinHandle<io::Result<()>>>,
}

impl Stream {
    /// Starts the writer: an ordinary thread of low priority, on another CPU than `pin` where it may
    /// use one.
    ///
    /// # Errors
    /// [`Error::System`] where no thread can be started.
    pub fn start(
        file: OutFile,
        labels: &Labels,
        tasks: &[PlannedTask],
        pin: Option<u32>,
    ) -> Result<Self, Error> {
        let feed = Arc::new(Feed::new(tasks));
        let what = format!("cannot write {}", file.path().display());
        let (labels, tasks, source) = (labels.clone(), tasks.to_vec(), Arc::clone(&feed));
        let writer = thread::Builder::new()
            .name("rtload-writer".to_owned())
            .spawn(move || {
                sched::step_aside(pin);
                file.fill(|out| write(out, &labels, &tasks, &source))
            })
            .map_err(Error::system("cannot start a thread"))?;
        Ok(Self { feed, what, writer: Some(writer) })
    }

    /// Where the threads put their records.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Writes the rest, and puts the file in its place.
    ///
    /// # Errors
    /// [`Error::File`] with the path.
    pub fn finish(mut self) -> Result<(), Error> {
        let written = self.end(Phase::Complete);
        written.map_err(|source| Error::File { what: self.what.clone(), source })
    }

    fn end(&mut self, phase: Phase) -> io::Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        self.feed.end(phase);
        writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _abandoned = self.end(Phase::Abandoned);
        }
    }
}

/// Writes a row for every record until no more come.
fn write(
    out: &mut dyn Write,
    labels: &Labels,
    tasks: &[PlannedTask],
    feed: &Feed,
) -> io::Result<()> {
    let rows = std::iter::from_fn(|| next(labels, tasks, feed));
    sample::write_rows(out, rows).map_err(io::Error::from)?;
    match feed.phase() {
        Phase::Abandoned => Err(io::Error::other("the run failed")),
        Phase::Open | Phase::Complete => Ok(()),
    }
}

fn next(labels: &Labels, tasks: &[PlannedTask], feed: &Feed) -> Option<Job> {
    loop {
        let phase = feed.phase();
        match feed.take() {
            Some((index, record)) => {
                return Some(row(labels, &tasks[index], feed.first_release_ns(), &record));
            }
            None if phase == Phase::Open => thread::sleep(LOOK),
            None => return None,
        }
    }
}

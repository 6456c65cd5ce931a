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
    sample::{self, Columns},
};
use serde::Serialize;

use crate::{
    Error,
    engine::{Feed, Phase},
};

/// How often the writer looks for records.
const LOOK: Duration = Duration::from_millis(20);

/// A file that gets a row for every job as it finishes.
#[derive(Debug)]
pub struct Stream<const N: usize> {
    feed: Arc<Feed<N>>,
    what: String,
    writer: Option<JoinHandle<io::Result<()>>>,
}

impl<const N: usize> Stream<N> {
    /// Starts the writer: an ordinary thread of low priority, on other CPUs than `taken` where it
    /// may use any. `row` makes a row of the first release, the index of a thread, and its record.
    ///
    /// # Errors
    /// [`Error::System`] where no thread can be started.
    pub fn start<T: Serialize + Columns>(
        file: OutFile,
        feed: Feed<N>,
        taken: &[u32],
        row: impl Fn(u64, usize, [u64; N]) -> T + Send + 'static,
    ) -> Result<Self, Error> {
        let feed = Arc::new(feed);
        let what = format!("cannot write {}", file.path().display());
        let source = Arc::clone(&feed);
        let taken = taken.to_vec();
        let writer = thread::Builder::new()
            .name("rtload-writer".to_owned())
            .spawn(move || {
                sched::step_aside(&taken);
                file.fill(|out| write(out, &source, &row))
            })
            .map_err(Error::system("cannot start a thread"))?;
        Ok(Self { feed, what, writer: Some(writer) })
    }

    /// Where the threads put their records.
    #[must_use]
    pub fn feed(&self) -> &Feed<N> {
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

impl<const N: usize> Drop for Stream<N> {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _abandoned = self.end(Phase::Abandoned);
        }
    }
}

/// Writes a row for every record until no more come.
fn write<T: Serialize + Columns, const N: usize>(
    out: &mut dyn Write,
    feed: &Feed<N>,
    row: &impl Fn(u64, usize, [u64; N]) -> T,
) -> io::Result<()> {
    let rows = std::iter::from_fn(|| next(feed))
        .map(|(index, record)| row(feed.first_release_ns(), index, record));
    sample::write_rows(out, rows).map_err(io::Error::from)?;
    match feed.phase() {
        Phase::Abandoned => Err(io::Error::other("the run failed")),
        Phase::Open | Phase::Complete => Ok(()),
    }
}

fn next<const N: usize>(feed: &Feed<N>) -> Option<(usize, [u64; N])> {
    loop {
        let phase = feed.phase();
        match feed.take() {
            None if phase == Phase::Open => thread::sleep(LOOK),
            taken => return taken,
        }
    }
}

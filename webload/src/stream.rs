//! Rows that are written while the requests go on, by a thread that never holds one up.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use model::{outfile::OutFile, sample};

use crate::{error::OutputError, record::Sample};

/// Requests that may wait for the writer, 10 MB of them; the next one finds no room.
const ROOM: usize = 65_536;

/// How often the writer looks for samples.
const LOOK: Duration = Duration::from_millis(20);

/// Where the clients put their samples.
#[derive(Debug)]
pub struct Feed {
    samples: SyncSender<Sample>,
    lost: AtomicU64,
}

impl Feed {
    /// Puts one in, or counts it as lost where the writer is too far behind.
    pub(crate) fn put(&self, sample: Sample) {
        if self.samples.try_send(sample).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A file that gets a row for every request as it ends.
#[derive(Debug)]
pub struct Stream {
    /// None after the end: the writer ends where nobody can put samples in.
    feed: Option<Feed>,
    path: PathBuf,
    whole: Arc<AtomicBool>,
    writer: Option<JoinHandle<io::Result<()>>>,
}

impl Stream {
    /// Starts the writer: an ordinary thread of low priority, on another CPU than `pin` where it may
    /// use one. Where the stream is dropped before [`Stream::finish`], the file stays as it was.
    ///
    /// # Errors
    /// What the system says where no thread can be started.
    pub fn start(file: OutFile, experiment: Option<String>, pin: Option<u32>) -> io::Result<Self> {
        let (samples, incoming) = sync_channel(ROOM);
        let path = file.path().to_owned();
        let whole = Arc::new(AtomicBool::new(false));
        let ended_well = Arc::clone(&whole);
        let writer = thread::Builder::new().name("webload-writer".to_owned()).spawn(move || {
            kernel::sched::step_aside(pin.as_slice());
            file.fill(|out| write(out, &incoming, experiment.as_deref(), &ended_well))
        })?;
        let feed = Some(Feed { samples, lost: AtomicU64::new(0) });
        Ok(Self { feed, path, whole, writer: Some(writer) })
    }

    /// Where the clients put their samples.
    ///
    /// # Panics
    /// Never: there is a feed until the end.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        self.feed.as_ref().expect("only the end takes it")
    }

    /// Writes the rest, and puts the file in its place; returns the rows that were lost.
    ///
    /// # Errors
    /// [`OutputError::Write`].
    pub fn finish(mut self) -> Result<u64, OutputError> {
        self.whole.store(true, Ordering::Release);
        let lost = self.feed().lost.load(Ordering::Relaxed);
        let written = self.end();
        let path = self.path.clone();
        written.map(|()| lost).map_err(|error| OutputError::Write { path, error })
    }

    fn end(&mut self) -> io::Result<()> {
        drop(self.feed.take());
        let Some(writer) = self.writer.take() else { return Ok(()) };
        writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _abandoned = self.end();
        }
    }
}

fn write(
    out: &mut dyn Write,
    incoming: &Receiver<Sample>,
    experiment: Option<&str>,
    whole: &AtomicBool,
) -> io::Result<()> {
    let rows = std::iter::from_fn(|| next(incoming)).map(|sample| sample.row(experiment));
    sample::write_rows(out, rows).map_err(io::Error::from)?;
    if whole.load(Ordering::Acquire) { Ok(()) } else { Err(io::Error::other("the run failed")) }
}

/// The next sample; none where no more come. It sleeps instead of waiting for one: a receiver that
/// waits is woken by the client's thread, which costs that a system call for each request.
fn next(incoming: &Receiver<Sample>) -> Option<Sample> {
    loop {
        match incoming.try_recv() {
            Ok(sample) => return Some(sample),
            Err(TryRecvError::Empty) => thread::sleep(LOOK),
            Err(TryRecvError::Disconnected) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read};

    use nix::sys::stat::Mode;

    use super::*;
    use crate::record::BLANK;

    /// The writer stands still at a pipe that nobody reads; the clients do not.
    #[test]
    fn a_sample_that_finds_no_room_is_lost_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let opened = thread::spawn({
            let path = path.clone();
            move || fs::File::open(path).unwrap()
        });
        let file = OutFile::open(&path).unwrap();
        let mut reader = opened.join().unwrap();
        let stream = Stream::start(file, None, None).unwrap();
        let put = 2 * ROOM as u64;
        (0..put).for_each(|_| stream.feed().put(BLANK));
        let read = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text.lines().count() as u64 - 1
        });
        let lost = stream.finish().unwrap();
        assert!(lost > 0, "{put} found room");
        assert_eq!(read.join().unwrap() + lost, put);
    }

    #[test]
    fn a_run_that_failed_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        fs::write(&path, "of another day").unwrap();
        let stream = Stream::start(OutFile::open(&path).unwrap(), None, None).unwrap();
        stream.feed().put(BLANK);
        drop(stream);
        assert_eq!(fs::read_to_string(&path).unwrap(), "of another day");
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["rows.csv"]);
    }
}

//! The events of all CPUs in the order of their time, read while they are recorded.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
};

use super::{Decoder, Event, Instance, Page};

/// Pages taken from a CPU in one round: what a round holds in memory is bounded by this.
const PAGES: usize = 256;

/// An event that was written by the time of this many nanoseconds ago is surely in its buffer.
const SETTLED_NS: u64 = 1_000_000;

/// What [`Stream::read`] hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Item {
    time_ns: u64,
    cpu: u32,
    /// None where events of this CPU before this instant were lost.
    event: Option<Event>,
}

/// Reads an instance's buffers without waiting, in bounded memory.
#[derive(Debug)]
pub struct Stream {
    decoder: Decoder,
    pipes: Vec<(u32, File)>,
    /// Read, but not yet handed out: an older event of another CPU may still come.
    waiting: Vec<Item>,
    page: Vec<u8>,
}

/// How far a CPU's buffer was read.
enum Reached {
    /// To its end, so that all events before now are known.
    End,
    /// To this time: there is more.
    Until(u64),
}

impl Stream {
    /// Opens the buffers of all CPUs.
    ///
    /// # Errors
    /// Where a pipe cannot be opened, with its path.
    pub fn open(instance: &Instance, decoder: Decoder) -> io::Result<Self> {
        let open = |cpu: u32| {
            let path = instance.root().join(format!("per_cpu/cpu{cpu}/trace_pipe_raw"));
            File::options()
                .read(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(&path)
                .map(|file| (cpu, file))
                .map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                })
        };
        let pipes = instance.cpus()?.into_iter().map(open).collect::<io::Result<_>>()?;
        let page = vec![0; decoder.page_size()];
        Ok(Self { decoder, pipes, waiting: Vec::new(), page })
    }

    /// One round: hands out, in the order of time, the events that are surely complete at `now_ns`
    /// of the instance's clock. `each` gets time, CPU and event, or none where events of that CPU
    /// were lost just before. Returns whether there is more at once.
    ///
    /// # Errors
    /// Where a buffer cannot be read.
    pub fn read(
        &mut self,
        now_ns: u64,
        each: &mut dyn FnMut(u64, u32, Option<Event>),
    ) -> io::Result<bool> {
        let (mut safe_ns, mut more) = (now_ns.saturating_sub(SETTLED_NS), false);
        for at in 0..self.pipes.len() {
            if let Reached::Until(time_ns) = self.fill(at)? {
                safe_ns = safe_ns.min(time_ns);
                more = true;
            }
        }
        self.hand_out(safe_ns, each);
        Ok(more)
    }

    /// The rest, once recording is off.
    ///
    /// # Errors
    /// Where a buffer cannot be read.
    pub fn drain(&mut self, each: &mut dyn FnMut(u64, u32, Option<Event>)) -> io::Result<()> {
        while self.read(u64::MAX, each)? {}
        Ok(())
    }

    fn hand_out(&mut self, until_ns: u64, each: &mut dyn FnMut(u64, u32, Option<Event>)) {
        // Stable: events of one CPU stay in the order in which they were recorded.
        self.waiting.sort_by_key(|item| item.time_ns);
        let ready = self.waiting.partition_point(|item| item.time_ns <= until_ns);
        for item in self.waiting.drain(..ready) {
            each(item.time_ns, item.cpu, item.event);
        }
    }

    fn fill(&mut self, at: usize) -> io::Result<Reached> {
        let (cpu, pipe) = &mut self.pipes[at];
        let mut last_ns = 0;
        for _ in 0..PAGES {
            let length = match pipe.read(&mut self.page) {
                Ok(0) => return Ok(Reached::End),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Reached::End);
                }
                length => length?,
            };
            let bytes = &self.page[..length];
            let Some(page) = Page::parse(bytes, self.decoder.data_offset()) else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the trace buffer of CPU {cpu} gave a page cut off at {length} bytes"),
                ));
            };
            let mut missed = page.missed();
            for record in page.records() {
                last_ns = record.time_ns;
                let mut push = |event| {
                    self.waiting.push(Item { time_ns: record.time_ns, cpu: *cpu, event });
                };
                if std::mem::take(&mut missed) {
                    push(None);
                }
                if let Some(event) = self.decoder.decode(record.data) {
                    push(Some(event));
                }
            }
        }
        Ok(Reached::Until(last_ns))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{
        super::{event::made_up, page::made_up::Builder},
        *,
    };

    /// A stream over pages in ordinary files.
    fn stream(root: &Path, cpus: &[Vec<u8>]) -> Stream {
        made_up::layouts(&root.join("events"));
        for (cpu, bytes) in cpus.iter().enumerate() {
            let folder = root.join(format!("per_cpu/cpu{cpu}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("trace_pipe_raw"), bytes).unwrap();
        }
        let decoder = Decoder::read(&root.join("events")).unwrap();
        Stream::open(&Instance::at(root), decoder).unwrap()
    }

    #[test]
    fn cpus_are_merged_by_time_and_what_is_too_new_waits() {
        let dir = tempfile::tempdir().unwrap();
        let wakeup = |tid| made_up::wakeup(tid);
        let first = Builder::new(1_000_000).event(0, &wakeup(1)).event(9_000_000, &wakeup(3));
        let second = Builder::new(5_000_000).event(0, &wakeup(2)).missed();
        let mut stream = stream(dir.path(), &[first.bytes(), second.bytes()]);
        let mut seen = Vec::new();
        let mut each = |ns: u64, cpu: u32, event: Option<Event>| {
            seen.push((ns / 1_000_000, cpu, event.map(|one| format!("{one:?}"))));
        };
        assert!(!stream.read(7_000_000, &mut each).unwrap());
        stream.drain(&mut each).unwrap();
        let woken = |tid| Some(format!("Wakeup {{ thread: {tid} }}"));
        assert_eq!(seen, [(1, 0, woken(1)), (5, 1, None), (5, 1, woken(2)), (10, 0, woken(3))]);
    }

    #[test]
    fn a_page_that_is_cut_off_names_its_cpu() {
        let dir = tempfile::tempdir().unwrap();
        let mut stream = stream(dir.path(), &[vec![0; 10]]);
        let error = stream.read(0, &mut |_, _, _| ()).unwrap_err().to_string();
        assert!(error.contains("CPU 0"), "{error}");
    }
}

//! Raw samples: one a row, as they stand in the CSV files of a result folder.
//!
//! Columns ending in `_ns` are integers in nanoseconds; instants are CLOCK_MONOTONIC of the machine
//! that took the sample (the guest, for jobs that ran there). An empty cell is a value that is not
//! known. The columns are promised in `docs/formats.md`.

use std::{fs::File, io, path::Path};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use crate::rows::{Columns, SampleError, read_csv};
pub use budget::BudgetRow;
pub use clock::{ClockName, ClockRow, ClockWhat};
pub use softirq::{Softirq, SoftirqName};

mod budget;
mod clock;
mod softirq;

/// A job is *disturbed* where the machine ran no thread for longer than this, in nanoseconds, since
/// the start of the busy period that the job belongs to (`docs/method.md`).
pub const DISTURBED_NS: u64 = 500_000;

/// One job of a periodic task: a row of `jobs.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The experiment that it belongs to; none for a program run on its own.
    pub experiment: Option<String>,
    /// The repetition of the experiment, from 0.
    pub repetition: Option<u32>,
    /// The task: `tau1`, `tau2`, …
    pub task: String,
    /// The job's number within its task, from 0.
    pub job: u64,
    /// The scheduled release, on the absolute schedule.
    pub release_ns: u64,
    /// When the job began to run.
    pub start_ns: u64,
    /// When it was done.
    pub finish_ns: u64,
    /// `finish_ns - release_ns`: counted from the scheduled release, however late the start.
    pub response_ns: u64,
    /// CPU time of the thread between start and finish.
    pub cpu_ns: Option<u64>,
    /// The relative deadline D.
    pub deadline_ns: u64,
    /// 1 where the response time exceeds D, else 0.
    #[serde(with = "flag")]
    pub missed: bool,
    /// Time in which the measured CPU ran no thread, from the start of the busy period that the job
    /// belongs to until its finish; empty where no sentinel watched.
    pub stalled_ns: Option<u64>,
    /// The VM that it ran in; none on the host, or for a program run on its own.
    #[serde(default)]
    pub vm: Option<String>,
    /// The service that it belongs to; none for a program run on its own.
    #[serde(default)]
    pub service: Option<String>,
}

impl Job {
    /// Whether a stall disturbed it, as far as is known: unwatched jobs are not disturbed.
    #[must_use]
    pub fn disturbed(&self) -> bool {
        self.stalled_ns.is_some_and(|stalled| stalled > DISTURBED_NS)
    }
}

/// One request to a service: a row of `requests.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The experiment that it belongs to; none for a program run on its own.
    pub experiment: Option<String>,
    /// The repetition, from 0.
    pub repetition: Option<u32>,
    /// The client, from 0.
    pub client: u32,
    /// The request's number within its client and repetition, from 0.
    pub request: u64,
    /// When it was due: on the schedule in an open loop, `start_ns` in a closed one.
    pub intended_ns: u64,
    /// When the client began to send it (or to connect).
    pub start_ns: u64,
    /// When the first byte of the answer arrived.
    pub first_byte_ns: Option<u64>,
    /// When the last byte of the answer arrived, or the request was given up.
    pub finish_ns: Option<u64>,
    /// `finish_ns - intended_ns`; empty for a request that failed.
    pub response_ns: Option<u64>,
    /// The HTTP status, where an answer came.
    pub status: Option<u16>,
    /// Bytes of the body received.
    pub bytes: u64,
    /// Why the request failed; empty for a good one.
    pub error: Option<String>,
    /// The VM in which it was answered; none on the host, or for a program run on its own.
    #[serde(default)]
    pub vm: Option<String>,
    /// The service that was asked; none for a program run on its own.
    #[serde(default)]
    pub service: Option<String>,
}

/// An interval in which a measured CPU ran no thread: a row of `stalls.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// When it began, on the host's clock.
    pub start_ns: u64,
    /// How long it lasted.
    pub length_ns: u64,
    /// Which CPU; none in files of earlier versions, which have one.
    #[serde(default)]
    pub cpu: Option<u32>,
}

impl Stall {
    /// Whether it may have been on one of these CPUs.
    #[must_use]
    pub fn is_on(&self, cpus: &[u32]) -> bool {
        self.cpu.is_none_or(|cpu| cpus.contains(&cpu))
    }
}

/// An interval in which one of the VM's threads ran: a row of `supply.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supply {
    /// Switched in, on the host's clock.
    pub start_ns: u64,
    /// Switched out.
    pub end_ns: u64,
    /// The thread's name: `vcpu0`, `vcpu1`, …, `main-loop`, or what QEMU calls it.
    pub thread: String,
    /// The CPU on which it ran.
    pub cpu: Option<u32>,
    /// When it became runnable, where it had slept before; empty where it had not.
    pub woken_ns: Option<u64>,
    /// Why it was switched out; empty where the trace ends or events were lost.
    pub ended: Option<Ended>,
    /// The VM that it belongs to; none in files of earlier versions, which have one.
    #[serde(default)]
    pub vm: Option<String>,
}

/// Why a thread was switched out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// It was preempted, or its budget was used up: it would have run on.
    Runnable,
    /// It went to sleep by itself.
    Slept,
}

/// An interval in which a thread that is none of the VM's ran on a measured CPU: a row of
/// `cpu.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occupied {
    /// Switched in, on the host's clock.
    pub start_ns: u64,
    /// Switched out.
    pub end_ns: u64,
    /// The thread's name, as the kernel has it.
    pub thread: String,
    /// Its id.
    pub tid: i32,
    /// The CPU; none in files of earlier versions, which have one.
    #[serde(default)]
    pub cpu: Option<u32>,
}

impl Occupied {
    /// Whether it was on this CPU, as far as either is known.
    #[must_use]
    pub fn is_on(&self, cpu: Option<u32>) -> bool {
        self.cpu.is_none() || cpu.is_none() || self.cpu == cpu
    }
}

/// Writes all rows to a CSV file; `header` is written even where there are no rows.
///
/// # Errors
/// [`SampleError`] with the path.
pub fn write_csv<T: Serialize + Columns>(path: &Path, rows: &[T]) -> Result<(), SampleError> {
    let name = || path.display().to_string();
    let file = File::create(path).map_err(|error| SampleError::File { path: name(), error })?;
    write_rows(file, rows).map_err(|error| SampleError::Row { path: name(), error })
}

/// Writes a header and all rows to `out`.
///
/// # Errors
/// Those of the CSV writer.
pub fn write_rows<T: Serialize + Columns>(
    out: impl io::Write,
    rows: impl IntoIterator<Item = T>,
) -> csv::Result<()> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
    writer.write_record(T::COLUMNS)?;
    for row in rows {
        writer.serialize(row)?;
    }
    writer.flush().map_err(csv::Error::from)
}

/// A CSV file that is written row by row, for more rows than memory should hold.
#[derive(Debug)]
pub struct CsvFile {
    path: String,
    writer: csv::Writer<File>,
}

impl CsvFile {
    /// Makes the file, with the header of rows of kind `T`.
    ///
    /// # Errors
    /// [`SampleError`] with the path.
    pub fn create<T: Columns>(path: &Path) -> Result<Self, SampleError> {
        let name = path.display().to_string();
        let file = match File::create(path) {
            Ok(file) => file,
            Err(error) => return Err(SampleError::File { path: name, error }),
        };
        let writer = csv::WriterBuilder::new().has_headers(false).from_writer(file);
        let mut own = Self { path: name, writer };
        own.writer.write_record(T::COLUMNS).map_err(|error| own.failed(error))?;
        Ok(own)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`SampleError`] with the path.
    pub fn add<T: Serialize + Columns>(&mut self, row: &T) -> Result<(), SampleError> {
        self.writer.serialize(row).map_err(|error| self.failed(error))
    }

    /// Writes out what is still in memory.
    ///
    /// # Errors
    /// [`SampleError`] with the path.
    pub fn finish(mut self) -> Result<(), SampleError> {
        self.writer.flush().map_err(|error| self.failed(error.into()))
    }

    fn failed(&self, error: csv::Error) -> SampleError {
        SampleError::Row { path: self.path.clone(), error }
    }
}

impl Columns for Job {
    const COLUMNS: &'static [&'static str] = &[
        "experiment",
        "repetition",
        "task",
        "job",
        "release_ns",
        "start_ns",
        "finish_ns",
        "response_ns",
        "cpu_ns",
        "deadline_ns",
        "missed",
        "stalled_ns",
        "vm",
        "service",
    ];
}

impl Columns for Request {
    const COLUMNS: &'static [&'static str] = &[
        "experiment",
        "repetition",
        "client",
        "request",
        "intended_ns",
        "start_ns",
        "first_byte_ns",
        "finish_ns",
        "response_ns",
        "status",
        "bytes",
        "error",
        "vm",
        "service",
    ];
}

impl Columns for Stall {
    const COLUMNS: &'static [&'static str] = &["start_ns", "length_ns", "cpu"];
}

impl Columns for Supply {
    const COLUMNS: &'static [&'static str] =
        &["start_ns", "end_ns", "thread", "cpu", "woken_ns", "ended", "vm"];
}

impl Columns for Occupied {
    const COLUMNS: &'static [&'static str] = &["start_ns", "end_ns", "thread", "tid", "cpu"];
}

/// A truth value as 0 or 1, so that a column of them can be summed.
mod flag {
    use super::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    pub fn serialize<S: Serializer>(flag: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(u8::from(*flag))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(serde::de::Error::custom(format!("`missed` is 0 or 1, not {other}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job {
            experiment: None,
            repetition: Some(0),
            task: "tau1".into(),
            job: 3,
            release_ns: 10,
            start_ns: 11,
            finish_ns: 40,
            response_ns: 30,
            cpu_ns: Some(28),
            deadline_ns: 150,
            missed: true,
            stalled_ns: None,
            vm: None,
            service: None,
        }
    }

    #[test]
    fn a_row_has_the_promised_columns_and_reads_back() {
        let mut bytes = Vec::new();
        write_rows(&mut bytes, &[job()]).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            "experiment,repetition,task,job,release_ns,start_ns,finish_ns,response_ns,cpu_ns,\
             deadline_ns,missed,stalled_ns,vm,service\n,0,tau1,3,10,11,40,30,28,150,1,,,\n"
        );
        let rows: Vec<Job> =
            csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect();
        assert_eq!(rows, [job()]);
    }

    #[test]
    fn supply_says_what_is_not_known_with_empty_cells() {
        let rows = [
            Supply {
                start_ns: 1,
                end_ns: 2,
                thread: "vcpu0".into(),
                cpu: Some(1),
                woken_ns: Some(0),
                ended: Some(Ended::Slept),
                vm: None,
            },
            Supply {
                start_ns: 3,
                end_ns: 4,
                thread: "main-loop".into(),
                cpu: None,
                woken_ns: None,
                ended: None,
                vm: None,
            },
        ];
        let mut bytes = Vec::new();
        write_rows(&mut bytes, &rows).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            "start_ns,end_ns,thread,cpu,woken_ns,ended,vm\n1,2,vcpu0,1,0,slept,\n3,4,main-loop,,,,\n"
        );
        let read: Vec<Supply> =
            csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect();
        assert_eq!(read, rows);
    }

    #[test]
    fn an_empty_file_still_has_its_header() {
        let mut bytes = Vec::new();
        write_rows::<Stall>(&mut bytes, []).unwrap();
        assert_eq!(bytes, b"start_ns,length_ns,cpu\n");
    }
}

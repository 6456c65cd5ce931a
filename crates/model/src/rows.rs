//! Reading CSV files of samples: a complaint names file, line, column and value.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use csv::{DeserializeErrorKind, ErrorKind, StringRecord};
use serde::de::DeserializeOwned;
use thiserror::Error;

/// The header of a kind of row, so that an empty file still says what it would hold.
pub trait Columns {
    /// Column names in the order of the fields.
    const COLUMNS: &'static [&'static str];
}

impl<T: Columns> Columns for &T {
    const COLUMNS: &'static [&'static str] = T::COLUMNS;
}

/// What went wrong with a CSV file: always with its path, and the row where there is one.
#[derive(Debug, Error)]
pub enum SampleError {
    /// The file cannot be opened or created.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        error: io::Error,
    },
    /// A cell does not hold what its column is for.
    #[error("{path}, line {line}, column `{column}`: `{value}` {wrong}")]
    Cell {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// The column's title.
        column: String,
        /// What stands there.
        value: String,
        /// What is wrong with it.
        wrong: String,
    },
    /// A line is not a row of such a file.
    #[error("{path}, line {line}: {what}")]
    Line {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A row cannot be read or written; the cause says where.
    #[error("{path}: {error}")]
    Row {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        error: csv::Error,
    },
}

/// Reads all rows of a CSV file with a header.
///
/// # Errors
/// [`SampleError`] with the path and, for a malformed row, its line, column and value.
pub fn read_csv<T: DeserializeOwned + Columns>(path: &Path) -> Result<Vec<T>, SampleError> {
    let name = path.display().to_string();
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return Err(SampleError::File { path: name, error }),
    };
    let whole = ends_with_a_line(&mut file);
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(BufReader::with_capacity(1 << 18, file));
    let failed = |error| SampleError::Row { path: name.clone(), error };
    let header = reader.headers().map_err(failed)?.clone();
    let at = |line, what| SampleError::Line { path: name.clone(), line, what };
    known_header::<T>(&header).map_err(|what| at(1, what))?;
    let (mut rows, mut record, mut line) = (Vec::new(), StringRecord::new(), 1);
    let mut wrong = None;
    while wrong.is_none() && reader.read_record(&mut record).map_err(failed)? {
        line = record.position().map_or(0, csv::Position::line);
        if record.len() != header.len() {
            let what = format!("{} cells where the header has {}", record.len(), header.len());
            wrong = Some(at(line, what));
            continue;
        }
        match record.deserialize(Some(&header)) {
            Ok(row) => rows.push(row),
            Err(error) => wrong = Some(complaint::<T>(&name, line, (&header, &record), error)),
        }
    }
    // What is wrong with the last row of a file without an end is that.
    if !whole && !reader.read_record(&mut record).map_err(failed)? {
        return Err(at(line, CUT.to_owned()));
    }
    wrong.map_or(Ok(rows), Err)
}

const CUT: &str = "the file ends in the middle of this row; a whole file ends with a line break";

/// Whether the file is empty or its last byte ends a line; so is what cannot tell.
fn ends_with_a_line(file: &mut File) -> bool {
    let mut last = [b'\n'];
    let read = file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last));
    let back = file.rewind();
    read.is_err() || back.is_err() || last == [b'\n']
}

/// An unknown header is that of another kind of file.
fn known_header<T: Columns>(header: &StringRecord) -> Result<(), String> {
    if header.iter().any(|title| T::COLUMNS.contains(&title)) {
        return Ok(());
    }
    let found = header.iter().collect::<Vec<_>>().join(",");
    let found = if found.is_empty() {
        "the file is empty".to_owned()
    } else {
        format!("the header is `{found}`")
    };
    Err(format!("{found}; such a file begins with {}", wanted::<T>()))
}

fn wanted<T: Columns>() -> String {
    format!("`{}`", T::COLUMNS.join(","))
}

fn complaint<T: Columns>(
    path: &str,
    line: u64,
    (header, record): (&StringRecord, &StringRecord),
    error: csv::Error,
) -> SampleError {
    let path = path.to_owned();
    let ErrorKind::Deserialize { err, .. } = error.kind() else {
        return SampleError::Row { path, error };
    };
    let wrong = match err.kind() {
        DeserializeErrorKind::ParseInt(_) => "is not a whole number in its range".to_owned(),
        DeserializeErrorKind::Message(said) if said.starts_with("missing field") => {
            let what = format!("{said}: such a file begins with {}", wanted::<T>());
            return SampleError::Line {
                path,
                line: 1,
                what: what.replacen("missing field", "no column", 1),
            };
        }
        other => other.to_string(),
    };
    let cell = err.field().and_then(|at| {
        let at = usize::try_from(at).ok()?;
        Some((header.get(at)?.to_owned(), record.get(at)?.to_owned()))
    });
    match cell {
        Some((column, value)) => SampleError::Cell { path, line, column, value, wrong },
        None => SampleError::Line { path, line, what: wrong },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Job, Stall};

    fn complaint_about<T: DeserializeOwned + Columns + std::fmt::Debug>(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let said = read_csv::<T>(file.path()).unwrap_err().to_string();
        let path = file.path().display().to_string();
        said.strip_prefix(&path).unwrap_or_else(|| panic!("{said}")).to_owned()
    }

    #[test]
    fn a_complaint_names_line_column_and_value() {
        let stalls = complaint_about::<Stall>;
        for (text, said) in [
            (
                "start_ns,length_ns\n1,2\n3,many\n",
                ", line 3, column `length_ns`: `many` is not a whole number in its range",
            ),
            (
                "start_ns,length_ns\n1,-2\n",
                ", line 2, column `length_ns`: `-2` is not a whole number in its range",
            ),
            (
                "start_ns,length_ns\n1,2\n3",
                ", line 3: the file ends in the middle of this row; a whole file ends with a line break",
            ),
            (
                "start_ns,length_ns\n1,2\n3,4",
                ", line 3: the file ends in the middle of this row; a whole file ends with a line break",
            ),
            ("start_ns,length_ns\n1,2,3\n", ", line 2: 3 cells where the header has 2"),
            (
                "a,b\n1,2\n",
                ", line 1: the header is `a,b`; such a file begins with `start_ns,length_ns,cpu`",
            ),
            ("", ", line 1: the file is empty; such a file begins with `start_ns,length_ns,cpu`"),
            (
                "start_ns\n1\n",
                ", line 1: no column `length_ns`: such a file begins with `start_ns,length_ns,cpu`",
            ),
        ] {
            assert_eq!(stalls(text), said, "{text:?}");
        }
        let job = |missed: &str| {
            let header = Job::COLUMNS.join(",");
            complaint_about::<Job>(&format!("{header}\n,0,tau1,3,10,11,40,30,28,150,{missed},,,\n"))
        };
        assert_eq!(job("2"), ", line 2: `missed` is 0 or 1, not 2");
        assert!(job("no").starts_with(", line 2, column `missed`: `no` is not"), "{}", job("no"));
    }

    #[test]
    fn a_file_with_its_header_alone_has_no_rows() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "start_ns,length_ns\n").unwrap();
        assert_eq!(read_csv::<Stall>(file.path()).unwrap(), []);
    }
}

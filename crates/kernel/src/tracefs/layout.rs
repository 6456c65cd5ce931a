//! Where the fields of an event or a page header lie: the kernel's `format` files.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use thiserror::Error;

/// A field's place in bytes from the start of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Where it begins.
    pub offset: usize,
    /// How long it is.
    pub size: usize,
}

/// The text of a `format` file.
#[derive(Debug, Clone)]
pub struct Layout {
    path: String,
    text: String,
}

/// Why a layout is not usable.
#[derive(Debug, Error)]
pub enum LayoutError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        error: io::Error,
    },
    /// A line that is needed is not there, or not as it should be.
    #[error("{path}: there is no `{what}` of the size that this program knows")]
    Unknown {
        /// The file.
        path: String,
        /// The field.
        what: String,
    },
}

impl Layout {
    /// Reads a `format` file, or `events/header_page`.
    ///
    /// # Errors
    /// With the path.
    pub fn read(path: &Path) -> Result<Self, LayoutError> {
        let name = path.display().to_string();
        match read_at_once(path) {
            Ok(text) => Ok(Self { path: name, text }),
            Err(error) => Err(LayoutError::Read { path: name, error }),
        }
    }

    /// The event's number, which its records begin with.
    ///
    /// # Errors
    /// Where there is no `ID` line.
    pub fn id(&self) -> Result<u16, LayoutError> {
        self.text
            .lines()
            .find_map(|line| line.strip_prefix("ID:")?.trim().parse().ok())
            .ok_or_else(|| self.unknown("ID"))
    }

    /// The field of this name, which must be one of `sizes` bytes long.
    ///
    /// # Errors
    /// Where there is none.
    pub fn field(&self, name: &str, sizes: &[usize]) -> Result<Field, LayoutError> {
        self.text
            .lines()
            .find_map(|line| parse_field(line, name))
            .filter(|field| sizes.contains(&field.size))
            .ok_or_else(|| self.unknown(name))
    }

    fn unknown(&self, what: &str) -> LayoutError {
        LayoutError::Unknown { path: self.path.clone(), what: what.to_owned() }
    }
}

/// Some of these files give all they have to the first read and nothing to a second one, so the
/// first must have room for everything.
fn read_at_once(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut buffer = vec![0; 1 << 16];
    let mut file = File::open(path)?;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(text),
            length => text.push_str(&String::from_utf8_lossy(&buffer[..length])),
        }
    }
}

/// `field:pid_t prev_pid; offset:24; size:4; signed:1;`, with tabs between.
fn parse_field(line: &str, name: &str) -> Option<Field> {
    let mut parts = line.trim().strip_prefix("field:")?.split(';').map(str::trim);
    let declared = parts.next()?.rsplit(' ').next()?;
    if declared.split('[').next()? != name {
        return None;
    }
    let mut number = |label: &str| parts.next()?.strip_prefix(label)?.parse().ok();
    Some(Field { offset: number("offset:")?, size: number("size:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(text: &str) -> Layout {
        Layout { path: "format".into(), text: text.to_owned() }
    }

    #[test]
    fn fields_and_the_id_are_found() {
        let format = layout(
            "name: sched_switch\nID: 372\nformat:\n\
             \tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;\n\
             \tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;\n",
        );
        assert_eq!(format.id().unwrap(), 372);
        assert_eq!(format.field("prev_comm", &[16]).unwrap(), Field { offset: 8, size: 16 });
        assert_eq!(format.field("prev_pid", &[4]).unwrap().offset, 24);
    }

    #[test]
    fn a_field_that_is_missing_or_of_another_size_is_named() {
        let format = layout("\tfield:pid_t prev_pid;\toffset:24;\tsize:8;\tsigned:1;\n");
        for name in ["prev_pid", "next_pid"] {
            let error = format.field(name, &[4]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("format"), "{error}");
        }
        assert!(format.id().is_err());
    }
}

//! Answers to standard output, tables to files.

use std::{
    io::{self, Write},
    path::Path,
};

use model::{
    outfile::{self, OutFile},
    print::{self, Reader},
};
use serde::Serialize;

use super::{
    CliError,
    args::{Output, Summary},
};

/// The files that were asked for, open before the work and as they were until its end.
#[derive(Debug)]
pub(super) struct Files {
    pub table: Option<OutFile>,
    pub picture: Option<OutFile>,
}

/// Opens the files asked for, so that a path that cannot be written is said before the work.
pub(super) fn reserve(output: &Output) -> Result<Files, CliError> {
    let files = Files {
        table: open("--csv", output.csv.as_deref())?,
        picture: open("--plot", output.plot.as_deref())?,
    };
    let given = [("--csv", &files.table), ("--plot", &files.picture)];
    let given: Vec<_> =
        given.into_iter().filter_map(|(option, file)| Some((option, file.as_ref()?))).collect();
    outfile::distinct(&given).map_err(CliError::Usage)?;
    Ok(files)
}

/// Opens a file for the end; leaves what is there as it is.
pub(super) fn open(option: &str, path: Option<&Path>) -> Result<Option<OutFile>, CliError> {
    let Some(path) = path else { return Ok(None) };
    let refused = |error: io::Error| {
        CliError::Usage(format!("{option} {}: cannot be written: {error}", path.display()))
    };
    OutFile::open(path).map(Some).map_err(refused)
}

/// Has `write` fill a file and puts it in its place.
fn fill(
    file: OutFile,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), CliError> {
    let path = file.path().to_owned();
    file.fill(write).map_err(|source| CliError::File { path, source })
}

/// The answer, as JSON or as text.
pub(super) fn answer<J: Serialize>(
    output: &Output,
    json: impl FnOnce() -> J,
    text: impl FnOnce() -> String,
) -> Result<(), CliError> {
    print(output.summary, json, text)
}

/// The answer in this form.
pub(super) fn print<J: Serialize>(
    summary: Summary,
    json: impl FnOnce() -> J,
    text: impl FnOnce() -> String,
) -> Result<(), CliError> {
    let text = match summary {
        Summary::Text => text(),
        Summary::Json => {
            let failed = |error: serde_json::Error| CliError::Write(error.to_string());
            serde_json::to_string(&json()).map_err(failed)? + "\n"
        }
    };
    answer_text(&text)
}

/// Text for standard output; a reader that has gone has seen what it wanted.
pub(super) fn answer_text(text: &str) -> Result<(), CliError> {
    match print::answer(text) {
        Ok(Reader::Present | Reader::Gone) => Ok(()),
        Err(error) => Err(CliError::Write(format!("standard output: {error}"))),
    }
}

/// The table, where one is asked for.
pub(super) fn table(
    file: Option<OutFile>,
    write: impl FnOnce(&mut dyn Write) -> csv::Result<()>,
) -> Result<(), CliError> {
    file.map_or(Ok(()), |file| fill(file, |out| write(out).map_err(io::Error::from)))
}

/// The picture, where one is asked for.
pub(super) fn picture<E>(
    file: Option<OutFile>,
    draw: impl FnOnce() -> Result<String, E>,
) -> Result<(), CliError>
where
    CliError: From<E>,
{
    let Some(file) = file else { return Ok(()) };
    let svg = draw()?;
    fill(file, |out| out.write_all(svg.as_bytes()))
}

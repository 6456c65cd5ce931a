//! Answers to standard output, tables to files.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use model::print::{self, Reader};
use serde::Serialize;

use super::{
    CliError,
    args::{Output, Summary},
};

/// Creates the files asked for, so that a path that cannot be written is said before the work.
pub(super) fn reserve(output: &Output) -> Result<Option<File>, CliError> {
    if let Some(path) = &output.plot {
        create(path)?;
    }
    output.csv.as_ref().map(create).transpose()
}

fn create(path: &PathBuf) -> Result<File, CliError> {
    File::create(path).map_err(|source| CliError::File { path: path.clone(), source })
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
    file: Option<File>,
    write: impl FnOnce(File) -> csv::Result<()>,
) -> Result<(), CliError> {
    match file {
        Some(file) => write(file).map_err(|error| CliError::Write(error.to_string())),
        None => Ok(()),
    }
}

/// The picture, where one is asked for.
pub(super) fn picture<E>(
    path: Option<&Path>,
    draw: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), CliError>
where
    CliError: From<E>,
{
    path.map_or(Ok(()), |path| Ok(draw(path)?))
}

//! The experiments of a suite that were chosen.

use std::path::Path;

use model::{Suite, suite};

use super::{CliError, ask::usage};

/// The suite in `file` with the experiments that `only` names, all where it names none; and its text.
pub(super) fn suite(file: &Path, only: &[String]) -> Result<(Suite, String), CliError> {
    let mut suite = suite::read(file)?;
    let text = std::fs::read_to_string(file)
        .map_err(|source| CliError::File { path: file.to_owned(), source })?;
    if let Some(unknown) = only.iter().find(|name| suite.experiment(name).is_none()) {
        let names: Vec<&str> = suite.experiments.iter().map(|one| one.name.as_str()).collect();
        return Err(usage(format!(
            "{}: no experiment `{unknown}`; there are {}",
            file.display(),
            names.join(", ")
        )));
    }
    if !only.is_empty() {
        suite.experiments.retain(|one| only.contains(&one.name));
    }
    Ok((suite, text))
}

//! `orchestrator init`: a commented suite to begin with.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    path::Path,
};

use anyhow::Result;
use model::{Exit, answer};

use crate::error::Refusal;

const SUITE: &str = include_str!("init.toml");

/// Writes the suite into a new file.
///
/// # Errors
/// [`Refusal::Usage`] where the file is there already, or cannot be made.
pub fn write(path: &Path) -> Result<Exit> {
    let refused = |error: std::io::Error| {
        let name = path.display();
        Refusal::Usage(match error.kind() {
            ErrorKind::AlreadyExists => {
                format!(
                    "{name}: there is such a file already, and it is left as it is; name another"
                )
            }
            _ => format!("{name}: cannot be written: {error}"),
        })
    };
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(refused)?;
    file.write_all(SUITE.as_bytes())?;
    answer!(
        "{name}: a suite to begin with; `orchestrator run {name} --dry-run` tells what it does",
        name = path.display()
    )?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_is_one_also_without_its_comment_signs() {
        let suite = model::suite::parse(SUITE, "init.toml").unwrap();
        assert_eq!(suite.experiments.len(), 2);
        // What a user is told to uncomment is right, too.
        let is_key = |line: &&str| line.contains(" = ") || line.starts_with("# [[");
        let all: String = SUITE
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(key) if is_key(&line) && !key.contains('`') => format!("{key}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let suite = model::suite::parse(&all, "init.toml").unwrap();
        assert_eq!(suite.sweeps.len(), 1, "{all}");
        assert_eq!(suite.experiment("neighbours").unwrap().vms.len(), 2);
        assert_eq!(suite.host.measured_cpus, [1]);
    }

    #[test]
    fn a_file_that_is_there_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.toml");
        assert_eq!(write(&path).unwrap(), Exit::Done);
        std::fs::write(&path, "precious").unwrap();
        let error = write(&path).unwrap_err();
        assert_eq!(crate::error::exit_of(&error), Exit::Usage);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}

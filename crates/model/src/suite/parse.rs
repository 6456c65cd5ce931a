//! From text to a checked [`Suite`], or to one error that names file, line and key.

use std::{fs, path::Path};

use serde::de::DeserializeOwned;
use thiserror::Error;

use super::{Suite, sweep, validate};

/// Why a suite is refused; one line, with the file, and the line and key where there are some.
#[derive(Debug, Error)]
pub enum SuiteError {
    /// The file cannot be read.
    #[error("{file}: {error}")]
    Read {
        /// The file.
        file: String,
        /// The cause.
        #[source]
        error: std::io::Error,
    },
    /// It is not TOML, has an unknown key, or a value of the wrong type.
    #[error("{file}:{line}: {}{message}, in the line `{text}`", key.as_ref().map(|key| format!("key `{key}`: ")).unwrap_or_default())]
    Syntax {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The line itself.
        text: String,
        /// The key whose value is wrong, where it can be told.
        key: Option<String>,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// It reads well, but breaks a rule.
    #[error("{file}: {message}")]
    Rule {
        /// The file.
        file: String,
        /// Which experiment and key break which rule.
        message: String,
    },
}

/// Reads and checks a suite file.
///
/// # Errors
/// One [`SuiteError`], the first thing found.
pub fn read(path: &Path) -> Result<Suite, SuiteError> {
    let file = path.display().to_string();
    let text =
        fs::read_to_string(path).map_err(|error| SuiteError::Read { file: file.clone(), error })?;
    parse(&text, &file)
}

/// Parses and checks a suite; `file` is its name in errors.
///
/// # Errors
/// One [`SuiteError`], the first thing found.
pub fn parse(text: &str, file: &str) -> Result<Suite, SuiteError> {
    let mut suite: Suite = toml_of(text, file)?;
    validate::suite(&suite)
        .and_then(|()| sweep::expand(&mut suite))
        .map_err(|message| SuiteError::Rule { file: file.to_owned(), message })?;
    Ok(suite)
}

/// Reads TOML; `file` is its name in errors.
///
/// # Errors
/// [`SuiteError::Syntax`].
pub(crate) fn toml_of<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, SuiteError> {
    toml::from_str(text).map_err(|error| syntax(text, file, &error))
}

fn syntax(text: &str, file: &str, error: &toml::de::Error) -> SuiteError {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let own = text[line_start..].lines().next().unwrap_or_default().trim();
    let key = own
        .split_once('=')
        .map(|(key, _)| key.trim().to_owned())
        .filter(|key| !key.is_empty() && !key.starts_with(['#', '[']));
    SuiteError::Syntax {
        file: file.to_owned(),
        line: text[..start].matches('\n').count() + 1,
        text: own.to_owned(),
        key,
        // The library's own message may go on in further lines.
        message: error.message().replace('\n', ", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: &str = r#"
name = "small"
[[experiment]]
name = "fig4-loaded"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
load = { tasks = ["50ms/120ms", "20ms/80ms"] }
reservation = { budget = "28ms", period = "50ms" }
"#;

    fn error(text: &str) -> String {
        parse(text, "s.toml").unwrap_err().to_string()
    }

    #[test]
    fn a_small_suite_gets_the_documented_defaults() {
        let suite = parse(SMALL, "s.toml").unwrap();
        let experiment = suite.experiment("fig4-loaded").unwrap();
        assert_eq!(experiment.repetitions, 1);
        assert_eq!(experiment.reservation.as_ref().unwrap().mechanism, crate::Mechanism::Deadline);
        assert!((suite.noise.max_stalled - 0.005).abs() < 1e-12);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let suite = parse(SMALL, "s.toml").unwrap();
        let text = toml::to_string(&suite).unwrap();
        assert_eq!(parse(&text, "s.toml").unwrap(), suite);
    }

    #[test]
    fn how_to_simulate_is_read_and_written_back() {
        let text = format!(
            "name = \"s\"\n[simulate]\ncalibrate = \"results/x\"\ntick = \"4ms\"\nseed = 7\n{}",
            SMALL.replace("name = \"small\"", "")
        );
        let suite = parse(&text, "s.toml").unwrap();
        assert_eq!(suite.simulate.seed, 7);
        assert_eq!(suite.simulate.tick, Some(std::time::Duration::from_millis(4)));
        let again = toml::to_string(&suite).unwrap();
        assert_eq!(parse(&again, "s.toml").unwrap(), suite);
        assert!(!toml::to_string(&parse(SMALL, "s.toml").unwrap()).unwrap().contains("simulate"));
        assert!(error(&text.replace("seed", "sead")).contains("sead"));
    }

    #[test]
    fn errors_name_file_line_and_key() {
        let cases = [
            (
                SMALL.replace("name = \"small\"", "name = \"small\"\ncolour = 3"),
                "s.toml:3",
                "colour",
            ),
            (SMALL.replace("\"fig4-loaded\"", "4"), "s.toml:4", "`name`"),
            (SMALL.replace("30ms/", "30/"), "s.toml:6", "no unit"),
            (SMALL.replace("\"28ms\"", "\"-5ms\""), "s.toml:8", "negative"),
            (SMALL.replace("budget", "burst = \"1ms\", budget"), "s.toml", "has no quota"),
            (SMALL.replace("budget", "placement = \"slice\", budget"), "s.toml", "no slice"),
            (SMALL.replace("budget", "placement = \"moon\", budget"), "s.toml:8", "moon"),
            (SMALL.replace("\"28ms\"", "\"58ms\""), "s.toml", "greater than the period"),
            (SMALL.replace("\"guest\"", "\"moon\""), "s.toml:5", "moon"),
            (format!("{SMALL}{}", SMALL.replace("name = \"small\"", "")), "s.toml", "fig4-loaded"),
            (SMALL.replace("30ms/150ms", "300ms/150ms"), "s.toml:6", "greater than the period"),
            (SMALL.replace("fig4-loaded", "../x"), "s.toml", "letters"),
        ];
        for (text, place, what) in cases {
            let error = error(&text);
            assert!(error.contains(place) && error.contains(what), "{place} {what}: {error}");
            assert!(!error.contains('\n'), "one line: {error}");
        }
        let shown = error(&SMALL.replace("30ms/", "30/"));
        assert!(shown.contains("in the line `tasks = [\"30/150ms\", \"50ms/200ms\"]`"), "{shown}");
    }

    proptest! {
        #[test]
        fn never_panics(at in 0..SMALL.len(), with in ".{0,8}") {
            let mut text = SMALL.to_owned();
            text.replace_range(at..=at, &with);
            let _ = parse(&text, "s.toml");
        }
    }
}

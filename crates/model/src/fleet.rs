//! `fleet.json`: which suite was to run on which host, and what became of it.

use serde::{Deserialize, Serialize};

/// The name of the file in a fleet's folder.
pub const FILE: &str = "fleet.json";

/// The version of the fleet folder's layout that this code writes.
pub const SCHEMA_VERSION: u32 = 1;

/// Suites submitted to many hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// Its name, which the cluster's jobs have, too.
    pub name: String,
    /// When it was written, RFC 3339 in UTC.
    pub submitted_utc: String,
    /// The folder on each host in which runs write; a folder for each fleet below it.
    pub scratch: String,
    /// Suite files below the fleet's folder; a job's `suite` counts them from 0.
    pub suites: Vec<String>,
    /// One for each pair of host and suite.
    pub jobs: Vec<Job>,
}

/// One suite on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The cluster's name of the host.
    pub host: String,
    /// Which of the suites; the index in the cluster's job array.
    pub suite: usize,
    /// The suite's own name.
    pub name: String,
    /// The id of the job array; none where it was only written, not submitted.
    pub array: Option<u64>,
    /// What was last known of it.
    #[serde(default)]
    pub state: State,
    /// More about that, for example Slurm's word for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The result folder that came back, below the fleet's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
}

/// What is known of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Written, and not submitted.
    #[default]
    Written,
    /// The cluster has it waiting.
    Waiting,
    /// It runs.
    Running,
    /// It ended with exit code 0 or 4.
    Done,
    /// It ended with another exit code.
    Failed,
    /// The host lacks something: exit code 3.
    Lacking,
    /// It was killed, with its host or alone.
    Killed,
    /// The cluster knows nothing of it, and it left no word.
    Lost,
}

impl State {
    /// Its name in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Lacking => "lacking",
            Self::Killed => "killed",
            Self::Lost => "lost",
        }
    }

    /// Whether it has ended, whatever way.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Written | Self::Waiting | Self::Running)
    }

    /// Whether submitting it again may bring what is missing.
    #[must_use]
    pub fn is_unfinished(self) -> bool {
        matches!(self, Self::Written | Self::Failed | Self::Killed | Self::Lost)
    }
}

/// Parses `fleet.json`.
///
/// # Errors
/// One line: what is wrong, and what would be right.
pub fn parse(text: &str) -> Result<Fleet, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    // The version first: a newer layout need not parse as this one.
    if let Some(found) = value["schema_version"].as_u64().filter(|own| *own > SCHEMA_VERSION.into())
    {
        return Err(format!(
            "key `schema_version` is {found}; this program reads up to {SCHEMA_VERSION}"
        ));
    }
    let fleet: Fleet = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let inside = |path: &str| {
        let parts = std::path::Path::new(path).components();
        parts.into_iter().all(|part| matches!(part, std::path::Component::Normal(_)))
    };
    for job in &fleet.jobs {
        if job.suite >= fleet.suites.len() {
            return Err(format!(
                "job of host `{}`: key `suite` is {}; there are {} suites, counted from 0",
                job.host,
                job.suite,
                fleet.suites.len()
            ));
        }
        if let Some(folder) = job.folder.as_ref().filter(|folder| !inside(folder)) {
            return Err(format!(
                "job of host `{}`: key `folder` is `{folder}`; it is a path below the fleet's folder",
                job.host
            ));
        }
    }
    Ok(fleet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> Fleet {
        let job = Job {
            host: "a".into(),
            suite: 0,
            name: "quick".into(),
            array: Some(7),
            state: State::Done,
            detail: None,
            folder: Some("results/a/0/quick-x".into()),
        };
        Fleet {
            schema_version: SCHEMA_VERSION,
            name: "f".into(),
            submitted_utc: "2026-01-01T00:00:00Z".into(),
            scratch: "/var/tmp".into(),
            suites: vec!["suites/0.toml".into()],
            jobs: vec![job],
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = serde_json::to_string(&fleet()).unwrap();
        assert_eq!(parse(&text).unwrap(), fleet());
        assert!(text.contains("\"state\":\"done\""));
    }

    #[test]
    fn bad_files_are_refused_by_name() {
        let text = serde_json::to_string(&fleet()).unwrap();
        let cases = [
            (text.replace("\"schema_version\":1", "\"schema_version\":9"), "reads up to 1"),
            (text.replace("\"suite\":0", "\"suite\":3"), "there are 1 suites"),
            (text.replace("results/a", "../a"), "below the fleet's folder"),
            (text.replace("\"host\"", "\"hots\""), "hots"),
            ("{".to_owned(), "EOF"),
        ];
        for (text, what) in cases {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(what), "{what}: {error}");
        }
    }
}

//! What makes attempts: the real host with its guests, or a fake that tests tell what to say.

use std::path::Path;

use anyhow::Result;
use model::{
    manifest::{Cleared, Facts},
    suite::Experiment,
};

use crate::host::Listener;

/// Makes attempts at repetitions.
pub trait Bench {
    /// Makes attempt number `attempt`; everything goes into `folder`. The host is as before
    /// afterwards, whatever happened.
    fn attempt(&mut self, experiment: &Experiment, attempt: u32, folder: &Path) -> Attempted;

    /// Has what somebody else changes on the host meanwhile told to `listener`.
    ///
    /// # Errors
    /// Where nothing can be watched.
    fn watch(&mut self, listener: Listener) -> Result<()>;

    /// Who was kept away from the measured CPU until now, and who could not be.
    fn cleared(&self) -> Option<Cleared>;
}

/// What an attempt came to.
#[derive(Debug, Default)]
pub struct Attempted {
    /// Share of the measured time in which the measured CPU ran no thread.
    pub stalled_share: Option<f64>,
    /// For the manifest.
    pub facts: Facts,
    /// Why it failed: the first error.
    pub error: Option<anyhow::Error>,
}

impl Attempted {
    /// The first error is why it failed; those that follow from it, or only came later, are
    /// warnings.
    pub fn fail(&mut self, result: Result<()>) {
        match result {
            Err(error) if self.error.is_some() => {
                self.facts.warnings.push(format!("after that: {error:#}"));
            }
            Err(error) => self.error = Some(error),
            Ok(()) => {}
        }
    }
}

/// The first error of several results; those behind it become warnings.
///
/// # Errors
/// The first of `results`.
pub fn first_error(
    results: impl IntoIterator<Item = Result<()>>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let mut errors = results.into_iter().filter_map(Result::err);
    let first = errors.next();
    warnings.extend(errors.map(|error| format!("after that: {error:#}")));
    first.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn the_first_error_is_the_one_that_is_told() {
        let mut attempted = Attempted::default();
        for result in [Ok(()), Err(anyhow!("QEMU ended")), Ok(()), Err(anyhow!("no host.json"))] {
            attempted.fail(result);
        }
        assert_eq!(attempted.error.unwrap().to_string(), "QEMU ended");
        assert_eq!(attempted.facts.warnings, ["after that: no host.json"]);
        let mut warnings = Vec::new();
        let results = [Ok(()), Err(anyhow!("a")), Err(anyhow!("b"))];
        assert_eq!(first_error(results, &mut warnings).unwrap_err().to_string(), "a");
        assert_eq!(warnings, ["after that: b"]);
        first_error([Ok(())], &mut warnings).unwrap();
    }
}

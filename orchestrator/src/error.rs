//! Which exit code an error leads to.
//!
//! Errors travel as [`anyhow::Error`]; a [`Refusal`] somewhere in the chain says that the exit code
//! is another than 1.

use model::Exit;
use thiserror::Error;

/// An error with an exit code of its own.
#[derive(Debug, Error)]
pub enum Refusal {
    /// What the user gave is wrong; nothing was touched.
    #[error("{0}")]
    Usage(String),
    /// The host lacks a capability or a privilege.
    #[error("{0}")]
    Lacking(String),
    /// SIGINT, SIGTERM or SIGHUP.
    #[error("interrupted")]
    Interrupted,
}

impl Refusal {
    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Lacking(_) => Exit::Lacking,
            Self::Interrupted => Exit::Interrupted,
        }
    }
}

/// The exit code for an error: that of the [`Refusal`] in its chain, else 1.
#[must_use]
pub fn exit_of(error: &anyhow::Error) -> Exit {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Refusal>())
        .map_or(Exit::Failed, Refusal::exit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn a_refusal_decides_from_anywhere_in_the_chain() {
        let error = Err::<(), _>(Refusal::Lacking("no KVM".into())).context("guest").unwrap_err();
        assert_eq!(exit_of(&error), Exit::Lacking);
        assert_eq!(exit_of(&anyhow!("disk full")), Exit::Failed);
    }
}

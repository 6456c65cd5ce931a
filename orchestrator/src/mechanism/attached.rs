//! A mechanism at work.

use anyhow::Result;

use super::timer_server::Controller;

/// What a mechanism keeps while a virtual machine is under it. Dropping it ends what it keeps; the
/// threads are put back by the guard.
#[derive(Debug, Default)]
pub struct Attached {
    /// What is worth knowing: how finely the kernel enforces, what had to be repaired.
    pub facts: Vec<String>,
    pub(super) controller: Option<Controller>,
}

impl Attached {
    /// Fails where what enforces the reservation has ended.
    ///
    /// # Errors
    /// With its last words.
    pub fn check(&mut self) -> Result<()> {
        self.controller.as_mut().map_or(Ok(()), Controller::check)
    }

    /// Whether a process enforces the reservation, which ends with this one.
    #[must_use]
    pub fn needs_us(&self) -> bool {
        self.controller.is_some()
    }

    /// Ends what it keeps. Returns the facts, with what is known only in the end.
    ///
    /// # Errors
    /// Where what enforced the reservation had failed.
    pub fn finish(mut self) -> Result<Vec<String>> {
        if let Some(controller) = self.controller.take() {
            self.facts.push(controller.finish()?.to_string());
        }
        Ok(self.facts)
    }
}

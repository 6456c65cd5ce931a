//! Changing again what a guard has set, from another thread than the guard's.

use kernel::{
    affinity::Tid,
    sched::{Policy, SchedError},
};

use super::Guard;
use crate::host::{
    Actions,
    settings::{Adjusted, Shared},
};

/// Changes the scheduling of threads that a guard has put under a policy. The guard's journal has what
/// undoes it, which stays what it is; its watcher looks for the new policy from then on. Once the guard
/// undoes what it set, nothing is changed any more.
#[derive(Debug, Clone)]
pub struct Adjuster(Shared);

impl Guard {
    /// For what this guard has set.
    #[must_use]
    pub fn adjuster(&self) -> Adjuster {
        Adjuster(self.settings.clone())
    }
}

impl Adjuster {
    /// Gives thread `tid` of `host` another policy than the one that the guard gave it.
    ///
    /// # Errors
    /// What the kernel refuses for another reason than want of room.
    pub fn set_scheduling(
        &self,
        host: &dyn Actions,
        tid: Tid,
        policy: Policy,
    ) -> Result<Adjusted, SchedError> {
        self.0.lock().adjust(host, tid, policy)
    }
}

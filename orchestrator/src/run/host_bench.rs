//! What every attempt of a run needs.

use std::path::PathBuf;

use model::suite::GuestSettings;

use super::{kept::Kept, plan::StopAbove};
use crate::{guests::Guests, host::Stage, service::Apache};

/// The real host and its guests: what every attempt of a run needs.
pub struct HostBench {
    /// The prepared host.
    pub stage: Stage,
    /// How guests are made; none where no experiment has one.
    pub guests: Option<Guests>,
    /// The suite's settings of guests.
    pub guest_settings: GuestSettings,
    /// The web server; none where no experiment has a service.
    pub apache: Option<Apache>,
    /// The guests that are kept from attempt to attempt.
    pub kept: Option<Kept>,
    /// rtload's calibration for the first measured CPU of the host.
    pub calibration: PathBuf,
    /// Whether sentinels watch.
    pub sentinel: bool,
    /// What is missing for want of privileges.
    pub without: Option<String>,
    /// Whether the VMs' threads are traced; none: where that works.
    pub trace: Option<bool>,
    /// Where the first job that takes too long ends its attempt.
    pub stop_above: Option<StopAbove>,
}

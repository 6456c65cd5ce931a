//! Where the bench's programs are in a guest.

use super::seed;

/// Their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The agent, which is also the built-in guest's first process.
    pub agent: String,
    /// The load generator.
    pub rtload: String,
}

impl Programs {
    /// In a built-in guest, or on the drive by which they entered a system on a disk of the user's.
    pub(super) fn of(own_disk: bool) -> Self {
        if own_disk {
            let on_drive = |name: &str| format!("{}/{name}", seed::FOLDER);
            Self { agent: on_drive(seed::AGENT), rtload: on_drive(seed::RTLOAD) }
        } else {
            Self { agent: "/init".to_owned(), rtload: "/bin/rtload".to_owned() }
        }
    }
}

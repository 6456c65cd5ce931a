//! Why the bench's agent never answered in a system that booted from a disk of the user's, as far as
//! the console tells.

use std::{path::Path, time::Duration};

use thiserror::Error;

/// The system on a disk did not let the programs in. It stands in the error chain above what was
/// waited for; the same disk will not let them in the next time either.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NoWayIn(String);

/// What cloud-init says on the console as it begins.
const CLOUD_INIT: &str = "cloud-init";
/// What our part of it says there (`seed`).
const STARTED: &str = "rt-vm-bench: ";
/// What stands where a user may log in.
const LOGIN: &str = "login:";

impl NoWayIn {
    /// Of the image `image`, in which nobody answered within `limit`, or, where it is none, before the
    /// machine ended; by the console's text.
    #[must_use]
    pub fn of(image: &Path, limit: Option<Duration>, console: &str) -> Self {
        let console = console.to_lowercase();
        let when = match limit {
            Some(limit) => format!("within {}", model::duration::format(limit)),
            None => "before the system restarted or powered off".to_owned(),
        };
        let image = image.display();
        let why = if console.contains(STARTED) {
            "cloud-init started the bench's agent in it, and the agent did not come up: it needs the \
             kernel's virtio_console and vfat"
        } else if console.contains(CLOUD_INIT) {
            "cloud-init ran in it and did not start the bench's agent; its data source NoCloud has to \
             be enabled (`datasource_list` in /etc/cloud), and `runcmd` among its modules"
        } else if console.contains(LOGIN) {
            "it came up without cloud-init; install the package cloud-init in the image, or start the \
             VM yourself and measure it as one that runs already (`libvirt`, `qmp`, `pid`)"
        } else if console.trim().is_empty() {
            "its console said nothing; the image has to boot by BIOS on x86-64, with cloud-init, and \
             shows what goes wrong with `console=ttyS0` on its kernel's command line"
        } else {
            "the image has to boot by BIOS on x86-64, with cloud-init; `boot_within` gives a slow one \
             more time"
        };
        Self(format!("{image}: no way in: the bench's agent did not answer {when}: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_tells_how_far_it_came() {
        let said = |console: &str| {
            NoWayIn::of(Path::new("/x.qcow2"), Some(Duration::from_secs(300)), console).to_string()
        };
        let all = [
            ("", "said nothing"),
            ("GRUB loading", "boot by BIOS"),
            ("Debian GNU/Linux 12 host ttyS0\n\nhost login: ", "install the package cloud-init"),
            ("Cloud-init v. 22.4.2 running 'init'\nhost login: ", "data source NoCloud"),
            ("Cloud-init v. 22\nrt-vm-bench: cloud-init starts the agent\n", "virtio_console"),
        ];
        for (console, why) in all {
            let text = said(console);
            assert!(
                text.starts_with(
                    "/x.qcow2: no way in: the bench's agent did not answer within 300s"
                )
            );
            assert!(text.contains(why), "{why}: {text}");
        }
        let ended = NoWayIn::of(Path::new("/x.qcow2"), None, "").to_string();
        assert!(ended.contains("did not answer before the system restarted"), "{ended}");
    }
}

//! A guest with a service that is kept from one repetition to the next, so that the cases of a
//! comparison are measured in turn in one and the same warm guest. While another experiment is
//! measured it is paused: its vCPUs stand still and use no CPU.

use std::{fs, path::Path};

use anyhow::Result;
use model::{
    Mechanism,
    suite::{GuestSettings, Web},
};
use tempfile::TempDir;
use webload::{Target, run::WarmUp};

use super::guests::{Booted, Guests};
use crate::{
    host::{Mark, Stage, Stop},
    mechanism::{self, Request},
    service::{self, Apache, Serving},
};

/// What is logged by and around a guest.
const LOGS: [&str; 3] = ["console.log", "qemu.log", "agent.log"];

/// The guest, its service, and where they are.
pub struct WarmGuest {
    /// The guest.
    pub booted: Booted,
    /// Where clients ask, one a client.
    pub targets: Vec<Target>,
    /// The requests that are no part of any measurement.
    pub warm_up: WarmUp,
    web: Web,
    logs: TempDir,
    running: bool,
    /// Before its threads were placed.
    mark: Mark,
}

impl WarmGuest {
    /// Boots it, places its vCPUs on the measured CPU, starts the service, and warms it up. Where
    /// that fails, its logs are in `folder`.
    ///
    /// # Errors
    /// What did not come up.
    pub fn start(
        stage: &mut Stage,
        guests: &Guests,
        settings: &GuestSettings,
        apache: &Apache,
        web: &Web,
        folder: &Path,
    ) -> Result<Self> {
        let logs = tempfile::Builder::new().prefix("rtvm-logs-").tempdir()?;
        let mark = stage.guard.mark();
        let started = (|| {
            let serving = Serving::new(web, &settings.network)?;
            let contents = service::contents(guests.contents(), apache, web, &settings.network)?;
            let network = serving.network.clone();
            let booted = guests.boot_with(stage, settings, logs.path(), contents, network)?;
            mechanism::attach(stage, Mechanism::None, &booted.vm(), &Request::default())?;
            let (targets, warm_up) = service::start(&booted.guest, &serving, web, &stage.stop)?;
            Ok((booted, targets, warm_up))
        })();
        match started {
            Ok((booted, targets, warm_up)) => {
                Ok(Self { booted, targets, warm_up, web: web.clone(), logs, running: true, mark })
            }
            Err(error) => {
                copy_logs(logs.path(), folder);
                stage.guard.undo_to(mark)?;
                Err(error)
            }
        }
    }

    /// Whether it serves what `web` wants, to as many clients.
    #[must_use]
    pub fn serves(&self, web: &Web) -> bool {
        let service = |web: &Web| (web.program.clone(), web.query.clone(), web.clients, web.port);
        self.booted.guest.is_alive() && service(&self.web) == service(web)
    }

    /// Lets it run, or pauses it.
    ///
    /// # Errors
    /// Where QEMU does not answer.
    pub fn set_running(&mut self, running: bool, stop: &Stop) -> Result<()> {
        if self.running != running {
            let guest = &self.booted.guest;
            if running { guest.resume(stop.flag()) } else { guest.pause(stop.flag()) }?;
            self.running = running;
        }
        Ok(())
    }

    /// Puts the logs as they are now beside a repetition's samples.
    pub fn keep_logs(&self, folder: &Path, stop: &Stop) {
        copy_logs(self.logs.path(), folder);
        // A log that cannot be kept is no reason to lose the measurement.
        let _ = fs::write(
            folder.join("apache-error.log"),
            service::error_log(&self.booted.guest, stop) + "\n",
        );
    }

    /// Ends it.
    ///
    /// # Errors
    /// Where the host is not as it was before it started.
    pub fn end(mut self, stage: &mut Stage) -> Result<()> {
        // One that had ended already is what is wanted.
        let _ = self.set_running(true, &Stop::default());
        let _ = self.booted.guest.shutdown();
        stage.guard.undo_to(self.mark)
    }
}

fn copy_logs(from: &Path, to: &Path) {
    for name in LOGS {
        let _ = fs::copy(from.join(name), to.join(name));
    }
}

//! The guest's first process. Not for use on a host.

use std::process::ExitCode;

use model::Exit;

fn main() -> ExitCode {
    if !nix::unistd::getpid().eq(&nix::unistd::Pid::from_raw(1)) {
        eprintln!(
            "guest-agent is a guest's /init and does nothing on a host; orchestrator packs it"
        );
        return Exit::Usage.into();
    }
    guest_agent::init::run();
    Exit::Failed.into()
}

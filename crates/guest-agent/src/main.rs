//! The guest's first process, or (`guest-agent --service`) a service of a guest with another one.
//! Not for use on a host.

use std::{env, process::ExitCode};

use model::Exit;
use nix::unistd::getpid;

fn main() -> ExitCode {
    if getpid().as_raw() == 1 {
        guest_agent::init::run();
    } else if env::args_os().nth(1).is_some_and(|argument| argument == "--service") {
        guest_agent::init::run_as_service();
    } else {
        eprintln!(
            "guest-agent is a guest's /init and does nothing on a host; orchestrator packs it"
        );
        return Exit::Usage.into();
    }
    Exit::Failed.into()
}

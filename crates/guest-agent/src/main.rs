//! The guest's first process, or (`guest-agent --service`) a service of a guest with another one, or
//! (`guest-agent --entered`) a visitor in a virtual machine of somebody else's. Not for use on a host.

use std::{env, ffi::OsString, path::PathBuf, process::ExitCode};

use model::{Exit, suite::Wild};
use nix::unistd::getpid;

/// What `--log FILE PROGRAM ARGUMENT…` asks for, in a guest.
fn logged() -> Option<(PathBuf, Vec<OsString>)> {
    let mut arguments = env::args_os().skip(1);
    let asked = arguments.next().is_some_and(|argument| argument == "--log");
    let file = arguments.next().filter(|_| asked && guest_agent::wild::is_guest())?;
    Some((file.into(), arguments.collect()))
}

/// What `--wild NAME` asks for, in a guest.
fn wild() -> Option<Wild> {
    let mut arguments = env::args().skip(1);
    let asked = arguments.next().is_some_and(|argument| argument == "--wild");
    let name = arguments.next().filter(|_| asked && guest_agent::wild::is_guest())?;
    Wild::named(&name)
}

/// What `--entered FOLDER [--files]` asks for.
fn entered() -> Option<(PathBuf, bool)> {
    let mut arguments = env::args_os().skip(1);
    let asked = arguments.next().is_some_and(|argument| argument == "--entered");
    let folder = arguments.next().filter(|_| asked)?;
    Some((folder.into(), arguments.next().is_some_and(|argument| argument == "--files")))
}

fn main() -> ExitCode {
    if getpid().as_raw() == 1 {
        guest_agent::init::run();
    } else if env::args_os().nth(1).is_some_and(|argument| argument == "--service") {
        guest_agent::init::run_as_service();
    } else if let Some((folder, by_files)) = entered() {
        match guest_agent::entered::run(&folder, by_files) {
            Ok(()) => return Exit::Done.into(),
            Err(error) => eprintln!("guest-agent: {error}"),
        }
    } else if let Some((file, program)) = logged() {
        eprintln!("{}", guest_agent::logged::become_program(&file, &program));
    } else if let Some(wild) = wild() {
        guest_agent::wild::run(wild);
    } else if env::args_os().nth(1).is_some_and(|argument| argument == "--nothing") {
        // What a wild guest starts ends at once.
        return Exit::Done.into();
    } else {
        eprintln!(
            "guest-agent is a guest's /init and does nothing on a host; orchestrator packs it"
        );
        return Exit::Usage.into();
    }
    Exit::Failed.into()
}

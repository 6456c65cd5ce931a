//! Children that cannot outlive us.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus},
};

use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::{Pid, getppid},
};

use crate::procfs::Proc;

/// Starts `command` in a process group of its own, so that a Ctrl-C on the terminal reaches us
/// alone, and killed by the kernel when the calling *thread* ends.
///
/// Call it from a thread that lives as long as the child should.
///
/// # Errors
/// What `spawn` says, with the program's name.
pub fn spawn_bound(command: &mut Command) -> io::Result<Child> {
    let parent = nix::unistd::getpid();
    command.process_group(0);
    // SAFETY: the closure runs between fork and exec and calls only prctl(2) and getppid(2), which
    // are async-signal-safe and allocate nothing; it captures a copy of an integer.
    unsafe {
        command.pre_exec(move || {
            set_pdeathsig(Signal::SIGKILL)?;
            if getppid() == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        });
    }
    command.spawn().map_err(|error| {
        let program = command.get_program().to_string_lossy();
        io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
    })
}

/// How a child of [`spawn_bound`] ended; none while it runs. What else is in its process group by
/// then is killed.
///
/// # Errors
/// None on Linux in practice.
pub fn ended(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let leader = Pid::from_raw(child.id() as i32);
    // Looked at before it is reaped: until then nobody else's group can have its number.
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Id::Pid(leader), look) {
        Ok(WaitStatus::StillAlive) => Ok(None),
        Ok(_) => kill_group(child).map(Some),
        // It was reaped, and its group killed.
        Err(_) => child.try_wait(),
    }
}

/// Kills a child of [`spawn_bound`] with all of its process group, and returns how it ended.
///
/// # Errors
/// None on Linux in practice.
pub fn kill_group(child: &mut Child) -> io::Result<ExitStatus> {
    let leader = Pid::from_raw(child.id() as i32);
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    if waitid(Id::Pid(leader), look).is_ok() {
        // It fails only where the group is gone already.
        let _ = killpg(leader, Signal::SIGKILL);
    }
    child.wait()
}

/// Has the kernel kill this process when the thread that started it ends.
///
/// # Errors
/// None on Linux in practice.
pub fn die_with_parent() -> io::Result<()> {
    Ok(set_pdeathsig(Signal::SIGKILL)?)
}

/// Whether this process was told to ignore `signal`, as nohup(1) does with SIGHUP.
#[must_use]
pub fn ignores(signal: Signal) -> bool {
    let ignored = Proc::default().status_mask("SigIgn").unwrap_or(0);
    ignored & (1 << (signal as i32 - 1)) != 0
}

/// Names the calling thread for those who look at the host; the kernel keeps 15 bytes.
///
/// # Errors
/// EINVAL where the name holds a zero byte.
pub fn set_name(name: &str) -> io::Result<()> {
    let name = std::ffi::CString::new(name)?;
    Ok(nix::sys::prctl::set_name(&name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_child_ends_with_the_thread_that_started_it() {
        let mut child =
            std::thread::spawn(|| spawn_bound(Command::new("sleep").arg("60")).unwrap())
                .join()
                .unwrap();
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }

    #[test]
    fn ignored_signals_are_known() {
        assert!(ignores(Signal::SIGPIPE), "as Rust's runtime has it");
        assert!(!ignores(Signal::SIGTERM));
    }

    #[test]
    fn a_thread_has_the_name_it_gives_itself() {
        std::thread::spawn(|| {
            set_name("rtvm-test").unwrap();
            let own = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
            assert_eq!(own.trim(), "rtvm-test");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn an_error_names_the_program() {
        let error = spawn_bound(&mut Command::new("/no/such/program")).unwrap_err();
        assert!(error.to_string().contains("/no/such/program"));
    }
}

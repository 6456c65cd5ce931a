//! Becomes another program on a given CPU.

use std::{fs, os::unix::process::CommandExt, path::Path, process::Command};

use anyhow::{Context, Result};
use kernel::{affinity, cpuset::Cpusets, sched};

use crate::host::{Actions, Linux};

/// Moves this process into `group`, pins it to `cpu` and executes `command`; all in SCHED_FIFO with
/// priority `fifo`, where given, so that it gets there whoever hogs that CPU.
///
/// # Errors
/// Where the group or the CPU refuses, or the program cannot be executed; else it does not return.
pub fn run(cpu: u32, group: Option<&Path>, fifo: Option<u8>, command: &[String]) -> Result<()> {
    if let Some(priority) = fifo {
        sched::set(affinity::SELF, sched::Policy::Fifo { priority })?;
    }
    if let Some(group) = group {
        let cpusets = Cpusets::find(&fs::read_to_string("/proc/mounts")?)?;
        for (path, value) in cpusets.hierarchy().attach_process(group, std::process::id() as i32) {
            Linux::default().write(&path, &value)?;
        }
    }
    affinity::set(affinity::SELF, &[cpu]).with_context(|| format!("pinning to CPU {cpu}"))?;
    let (program, arguments) = command.split_first().context("no command")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot execute {program}"))
}

//! The shell scripts that run in a VM of somebody else's, and what they say.

use anyhow::{Result, bail};
use guest_agent::entered::{PREFIX, REPLIES, REQUESTS};

use crate::guest::{Output, Status};

/// Asks for the architecture and the user; changes nothing.
pub(super) const LOOK: &str = "uname -m; id -u";

/// Where temporary files may be. Some of them may be mounted `noexec`.
const PLACES: &str = "/tmp /var/tmp /dev/shm /run";

/// Makes the folder in the first place in which a program may run.
pub(super) fn folder() -> String {
    format!(
        "umask 077; for place in {PLACES}; do \
         folder=$(mktemp -d $place/{PREFIX}XXXXXX 2>/dev/null) || continue; \
         printf '#!/bin/sh\\n' >$folder/try; chmod 700 $folder/try; \
         if $folder/try 2>/dev/null; then \
         rm $folder/try; : >$folder/{REQUESTS}; : >$folder/{REPLIES}; echo $folder; exit 0; fi; \
         rm -rf $folder; done; echo 'programs may run in none of {PLACES}' >&2; exit 1"
    )
}

/// Removes the folder, which the agent may have done.
pub(super) fn remove(folder: &str) -> String {
    format!("rm -rf {folder}")
}

/// The folder that [`folder`] has made. It will be removed with all that is in it, by root: it has to be
/// one of ours.
pub(super) fn made(said: &str) -> Result<String> {
    let path = said.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.-_".contains(c);
    let name = |place| path.strip_prefix(place).and_then(|rest| rest.strip_prefix('/'));
    let mut names = PLACES.split(' ').filter_map(name);
    let ours = names.any(|name| name.starts_with(PREFIX) && !name.contains('/'));
    if ours && path.chars().all(plain) {
        return Ok(path.to_owned());
    }
    bail!("mktemp in the VM made {path:?}")
}

/// What a script printed that ended well.
pub(super) fn succeeded(output: Output) -> Result<String> {
    if output.status != Status::Code(0) {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("a script in the VM ended with {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether the programs can run where [`LOOK`] said this.
pub(super) fn suits(said: &str) -> Result<()> {
    let mut words = said.split_whitespace();
    let (machine, user) = (words.next().unwrap_or("unknown"), words.next().unwrap_or("unknown"));
    if machine != std::env::consts::ARCH {
        bail!(
            "the guest's architecture is {machine}, and the bench's programs are for {}",
            std::env::consts::ARCH
        );
    }
    if user != "0" {
        bail!("programs would run as user {user}, and tasks need root's right to SCHED_FIFO");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn sh(script: &str) -> Output {
        let output = Command::new("sh").args(["-c", script]).output().unwrap();
        let status = Status::Code(output.status.code().unwrap());
        Output { status, stdout: output.stdout, stderr: output.stderr }
    }

    #[test]
    fn the_folder_is_made_and_removed() {
        let path = made(&succeeded(sh(&folder())).unwrap()).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, [REPLIES, REQUESTS]);
        succeeded(sh(&remove(&path))).unwrap();
        assert!(!std::path::Path::new(&path).exists());
        let error = succeeded(sh("echo no >&2; exit 7")).unwrap_err().to_string();
        assert_eq!(error, "a script in the VM ended with exit code 7: no");
    }

    #[test]
    fn only_a_folder_of_ours_is_ever_removed() {
        assert_eq!(made("/tmp/rt-vm-bench.aB3xYz\n").unwrap(), "/tmp/rt-vm-bench.aB3xYz");
        assert!(made("/dev/shm/rt-vm-bench.aB3xYz").is_ok());
        for bad in [
            "",
            "/",
            "/tmp",
            "/tmp/",
            "/tmp/rt-vm-bench.a b",
            "/tmp/rt-vm-bench.a/../..",
            "/home/rt-vm-bench.a",
            "/tmp/rt-vm-bench.a;reboot",
            "/tmp/rt-vm-bench.a\n/etc",
        ] {
            assert!(made(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn another_architecture_or_user_is_refused() {
        assert!(suits("x86_64\n0\n").is_ok() || std::env::consts::ARCH != "x86_64");
        let said = |text: &str| suits(text).unwrap_err().to_string();
        assert!(said("aarch64\n0\n").starts_with("the guest's architecture is aarch64"));
        let own = format!("{}\n1000\n", std::env::consts::ARCH);
        assert!(said(&own).contains("as user 1000"));
        assert!(said("").contains("unknown"));
    }
}

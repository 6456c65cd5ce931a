//! A program that goes on beside the measurement, with what it prints in a file of the guest: passing
//! it on to the host would be work that nobody asked for. Only inside a guest, by
//! `guest-agent --log`.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
};

/// Becomes `program` (with its arguments), under the same process id; returns only why it could not.
#[must_use]
pub fn become_program(log: &Path, program: &[OsString]) -> String {
    let Some((name, arguments)) = program.split_first() else {
        return "no program is named".to_owned();
    };
    let output = File::create(log).and_then(|file| Ok((file.try_clone()?, file)));
    let (stdout, stderr): (Stdio, Stdio) = match output {
        Ok((stdout, stderr)) => (stdout.into(), stderr.into()),
        Err(error) => return format!("{}: {error}", log.display()),
    };
    let mut command = Command::new(name);
    let error: io::Error =
        command.args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(stderr).exec();
    format!("{}: {error}", name.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_started_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        assert!(become_program(&log, &["/no/such/program".into()]).starts_with("/no/such/program"));
        assert_eq!(become_program(&log, &[]), "no program is named");
        let nowhere = folder.path().join("no/folder/log");
        assert!(become_program(&nowhere, &["/bin/true".into()]).contains("no/folder/log"));
    }
}

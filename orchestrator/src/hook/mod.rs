//! `orchestrator hook`: what makes libvirt's domains come with the reservations that
//! `/etc/rt-vm-bench/reservations.toml` has for them: a hook of libvirt, which starts a unit of
//! systemd, which runs `orchestrator reserve --configured` until the domain ends.

mod install;

use std::{env, path::PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use model::{Exit, exit::example, print};

use crate::error::Refusal;

/// What `orchestrator hook` does.
#[derive(Debug, Clone, Subcommand)]
pub enum Hook {
    /// Print the hook, or the unit that it starts
    #[command(after_help = example("orchestrator hook print unit"))]
    Print {
        /// Which file
        #[arg(default_value = "hook")]
        what: What,
        #[command(flatten)]
        program: Program,
    },
    /// Install both; files that are there and are not ours are left as they are
    #[command(after_help = example("orchestrator hook install"))]
    Install {
        #[command(flatten)]
        root: Root,
        #[command(flatten)]
        program: Program,
    },
    /// Remove what `install` made; reservations that are held go on until their domains end
    #[command(after_help = example("orchestrator hook remove"))]
    Remove {
        #[command(flatten)]
        root: Root,
    },
}

/// A file that `print` prints.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum What {
    /// libvirt's hook
    Hook,
    /// systemd's unit
    Unit,
}

/// Where the unit finds the program.
#[derive(Debug, Clone, Args)]
pub struct Program {
    /// The orchestrator that the unit runs [default: this one]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

/// Which system.
#[derive(Debug, Clone, Args)]
pub struct Root {
    /// The root of the system that is meant, for packages
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// The hook.
const HOOK: &str = include_str!("hook.sh");

/// The unit, without the program's path.
const UNIT: &str = include_str!("unit.service");

impl Hook {
    /// Does it.
    ///
    /// # Errors
    /// [`Refusal`] where it is not to be done; what the file system refused.
    pub fn run(&self) -> Result<Exit> {
        match self {
            Self::Print { what: What::Hook, .. } => print::answer(HOOK).map(drop)?,
            Self::Print { what: What::Unit, program } => {
                print::answer(&unit(&program.path()?)?).map(drop)?;
            }
            Self::Install { root, program } => {
                install::install(&root.root, &unit(&program.path()?)?)?;
            }
            Self::Remove { root } => install::remove(&root.root)?,
        }
        Ok(Exit::Done)
    }
}

impl Program {
    fn path(&self) -> Result<PathBuf> {
        match &self.program {
            Some(path) => Ok(path.clone()),
            None => env::current_exe().context("finding the path of this program"),
        }
    }
}

/// The unit that runs this program.
///
/// # Errors
/// [`Refusal::Usage`] for a path that systemd's files cannot have.
fn unit(program: &std::path::Path) -> Result<String, Refusal> {
    let plain = |text: &&str| {
        text.starts_with('/')
            && !text.contains(|c: char| c.is_whitespace() || "%\"'\\$;".contains(c))
    };
    let path = program.to_str().filter(plain).ok_or_else(|| {
        Refusal::Usage(format!(
            "the unit cannot run {}: the path is to be absolute, without white space, quotes and \
             the characters %\\$;",
            program.display()
        ))
    })?;
    Ok(UNIT.replace("@PROGRAM@", path))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

    use super::*;

    /// What the hook does for a domain's event: the arguments of the `systemctl` that it called.
    fn called(domain: &str, event: &str, systemctl: &str) -> (String, Option<i32>) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        for (name, body) in [("systemctl", systemctl), ("logger", "")] {
            let file = folder.path().join(name);
            let text = format!("#!/bin/sh\nfor word; do echo \"$word\"; done >> $LOG\n{body}\n");
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let hook = folder.path().join("hook");
        fs::write(&hook, HOOK).unwrap();
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let status = Command::new("sh")
            .arg(&hook)
            .args([domain, event, "begin", "-"])
            .env("PATH", path)
            .env("LOG", &log)
            .status()
            .unwrap();
        (fs::read_to_string(log).unwrap_or_default().replace('\n', " "), status.code())
    }

    #[test]
    fn the_hook_starts_the_domains_unit_and_never_waits_or_fails() {
        // As `systemd-escape` of systemd itself escapes, so that %I is the name again.
        for (domain, instance) in [
            ("web", "web"),
            ("my vm-1", r"my\x20vm\x2d1"),
            ("a$b", r"a\x24b"),
            (".hidden", r"\x2ehidden"),
            ("-x", r"\x2dx"),
            ("größe", r"gr\xc3\xb6\xc3\x9fe"),
        ] {
            let unit = format!("rt-vm-bench-reserve@{instance}.service");
            let (said, code) = called(domain, "started", "");
            assert_eq!((said, code), (format!("restart --no-block -- {unit} "), Some(0)));
        }
        for event in ["prepare", "start", "stopped", "release", "reconnect", "migrate"] {
            assert_eq!(called("web", event, ""), (String::new(), Some(0)), "{event}");
        }
        let (said, code) = called("web", "started", "exit 1");
        assert!(said.contains("no unit was started") && code == Some(0), "{said} {code:?}");
    }

    #[test]
    fn the_unit_runs_the_program_on_the_domain_of_its_instance() {
        let text = unit(Path::new("/opt/bin/orchestrator")).unwrap();
        let start = "ExecStart=:/opt/bin/orchestrator reserve --configured --domain=%I\n";
        assert!(text.contains(start) && !text.contains('@'), "{text}");
        for wrong in ["orchestrator", "/a b/orchestrator", "/a%b/orchestrator"] {
            let error = unit(Path::new(wrong)).unwrap_err();
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }
}

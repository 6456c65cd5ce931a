//! SSH with a key as a way in: the host's `ssh` runs scripts, brings files on its standard input, and
//! its standard streams carry the protocol of the bench's agent.

use std::{
    fs::{self, File},
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use kernel::process::{kill_group, spawn_bound};
use model::suite::Ssh;

use super::{SCRIPT_LIMIT, Way};
use crate::{
    error::Refusal,
    guest::{Closed, Explain, Output, Status},
    host::{Stop, output_given, quoted},
};

/// How long a connection may take to come about, in seconds.
const CONNECT_SECONDS: u32 = 10;
/// How long a file may take.
const FILE_LIMIT: Duration = Duration::from_secs(120);

/// ssh's exit code where it is ssh that failed, and not what it ran.
const FAILED: i32 = 255;

/// Nobody is asked anything, an unknown server is refused, a dead one is noticed, and nothing of the
/// host is forwarded.
const OPTIONS: [&str; 8] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "PreferredAuthentications=publickey",
    "ServerAliveInterval=10",
    "ServerAliveCountMax=15",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ControlPath=none",
];

/// A login, and the connection on which the agent speaks.
#[derive(Debug)]
pub(super) struct Login {
    ssh: Ssh,
    /// The client.
    program: PathBuf,
    /// With what it complains of.
    agent: Mutex<Option<(Child, PathBuf)>>,
}

impl Login {
    pub fn new(ssh: Ssh) -> Self {
        Self::by("ssh".into(), ssh)
    }

    /// By another client than the first `ssh` in the PATH.
    pub fn by(program: PathBuf, ssh: Ssh) -> Self {
        Self { ssh, program, agent: Mutex::default() }
    }

    /// ssh, which runs `script` as root.
    fn command(&self, script: &str) -> Command {
        let Ssh { host, port, user, key, known_hosts } = &self.ssh;
        let mut command = Command::new(&self.program);
        command.args(["-T", "-a", "-x", "-l", user, "-p", &port.to_string()]);
        for option in OPTIONS {
            command.args(["-o", option]);
        }
        command.args(["-o", &format!("ConnectTimeout={CONNECT_SECONDS}")]);
        if let Some(key) = key {
            command.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(key);
        }
        if let Some(file) = known_hosts {
            // Quoted for ssh's own parser, which takes several files.
            let file = format!("UserKnownHostsFile=\"{}\"", file.display());
            command.args(["-o", &file, "-o", "GlobalKnownHostsFile=none"]);
        }
        let sudo = if user == "root" { "" } else { "sudo -n " };
        command.args(["--", host, &format!("{sudo}sh -c {}", quoted(script))]);
        command
    }

    fn give(&self, script: &str, input: &[u8], limit: Duration, stop: &Stop) -> Result<Output> {
        let output = output_given(&mut self.command(script), input, limit, stop);
        let output = output.map_err(|error| self.not_started(error))?;
        let code = output.status.code().unwrap_or(FAILED);
        if code == FAILED {
            bail!("{}: {}", self.ssh, explained(&String::from_utf8_lossy(&output.stderr)));
        }
        let (stdout, stderr) = (output.stdout, output.stderr);
        Ok(Output { status: Status::Code(code), stdout, stderr })
    }

    fn not_started(&self, error: anyhow::Error) -> anyhow::Error {
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::NotFound) => Refusal::Lacking(
                "key `ssh`: ssh is not installed; install openssh-client".to_owned(),
            )
            .into(),
            _ => error.context(self.ssh.to_string()),
        }
    }
}

impl Explain for Login {
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let agent = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        match agent.as_ref().filter(|_| error.is::<Closed>()) {
            Some((_, log)) => {
                let said = fs::read_to_string(log).unwrap_or_default();
                error.context(format!("{}: {}", self.ssh, explained(&said)))
            }
            None => error,
        }
    }
}

impl Way for Login {
    fn run(&self, script: &str, stop: &Stop) -> Result<Output> {
        self.give(script, b"", SCRIPT_LIMIT, stop)
    }

    fn write(&self, path: &str, content: &[u8], stop: &Stop) -> Result<()> {
        let output = self.give(&format!("cat >{path}"), content, FILE_LIMIT, stop)?;
        super::script::succeeded(output).map(drop).with_context(|| path.to_owned())
    }

    fn connect(&self, folder: &str, logs: &Path, _stop: &Stop) -> Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let path = logs.join("ssh.log");
        let log = File::create(&path).with_context(|| path.display().to_string())?;
        let theirs = OwnedFd::from(theirs);
        let agent = crate::guest::Programs::below(folder).agent;
        let mut command = self.command(&format!("exec {agent} --entered {folder}"));
        command.stdin(theirs.try_clone()?).stdout(theirs).stderr(log);
        let child = spawn_bound(&mut command).map_err(|error| self.not_started(error.into()))?;
        *self.agent.lock().unwrap_or_else(PoisonError::into_inner) = Some((child, path));
        Ok(ours)
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        let agent = self.agent.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((mut child, _)) = agent.take() {
            let _ = kill_group(&mut child);
        }
    }
}

/// ssh's words, with what to do.
fn explained(said: &str) -> String {
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("ssh failed");
    let remedy =
        if said.contains("Host key verification failed") || said.contains("host key is known") {
            "its server is not among those that are known; connect once with `ssh` and compare the \
         fingerprint, or give `known_hosts`"
        } else if said.contains("Permission denied") {
            "the server does not take the key; give `key`, and put its public part into \
         ~/.ssh/authorized_keys there"
        } else {
            return last.to_owned();
        };
    format!("{last}; {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(user: &str) -> Login {
        Login::new(Ssh {
            host: "shop".into(),
            port: 2222,
            user: user.into(),
            key: Some("/keys/id".into()),
            known_hosts: Some("/keys/known hosts".into()),
        })
    }

    fn line(user: &str) -> String {
        let command = login(user).command("uname -m; id -u");
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn nobody_is_asked_and_an_unknown_server_is_refused() {
        let root = line("root");
        for part in [
            "-l root -p 2222",
            "-o BatchMode=yes",
            "-o StrictHostKeyChecking=yes",
            "-o IdentitiesOnly=yes -i /keys/id",
            "-o UserKnownHostsFile=\"/keys/known hosts\" -o GlobalKnownHostsFile=none",
            "-- shop sh -c 'uname -m; id -u'",
        ] {
            assert!(root.contains(part), "{part} in {root}");
        }
        assert!(line("me").ends_with("-- shop sudo -n sh -c 'uname -m; id -u'"));
    }

    #[test]
    fn what_ssh_says_is_told_with_what_to_do() {
        let known = "No ED25519 host key is known for shop and you have requested strict checking.\r\n\
                     Host key verification failed.\r\n";
        assert!(explained(known).contains("give `known_hosts`"));
        let denied = explained("root@shop: Permission denied (publickey).\n");
        assert!(
            denied.starts_with("root@shop: Permission denied") && denied.contains("give `key`")
        );
        let refused = "ssh: connect to host shop port 22: Connection refused";
        assert_eq!(explained(&format!("{refused}\n\n")), refused);
        assert_eq!(explained(""), "ssh failed");
    }
}

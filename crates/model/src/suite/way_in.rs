//! How programs get into a virtual machine that runs already.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::Found;

/// The way by which programs enter, and results come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WayIn {
    /// QEMU's guest agent: behind this socket of QEMU's, or, where there is none, libvirt's channel.
    GuestAgent(Option<PathBuf>),
    /// SSH with a key.
    Ssh(Ssh),
}

impl WayIn {
    /// What it is called in results.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::GuestAgent(_) => "guest agent",
            Self::Ssh(_) => "ssh",
        }
    }

    /// Of the keys `agent` and `ssh` of a VM that `found` finds. `needed`: something is to run in it.
    ///
    /// # Errors
    /// Keys that do not go together, or a value that cannot be, in one sentence.
    pub(super) fn of(
        found: Option<&Found>,
        agent: Option<PathBuf>,
        ssh: Option<Ssh>,
        needed: bool,
    ) -> Result<Option<Self>, String> {
        let key = if agent.is_some() { "agent" } else { "ssh" };
        let way = match (agent, ssh) {
            (Some(_), Some(_)) => {
                return Err("keys `agent` and `ssh`: programs enter one way, give one".to_owned());
            }
            (None, None) => {
                let domain = needed && matches!(found, Some(Found::Libvirt(_)));
                return Ok(domain.then_some(Self::GuestAgent(None)));
            }
            (Some(socket), None) => Self::GuestAgent(Some(socket)),
            (None, Some(ssh)) => Self::Ssh(ssh),
        };
        match (&way, found) {
            (_, None) => Err(format!(
                "key `{key}` is for a VM that runs already (`libvirt`, `qmp`, `pid`); leave it out"
            )),
            (Self::GuestAgent(_), Some(Found::Libvirt(_))) => {
                Err("keys `libvirt` and `agent`: libvirt holds the domain's channel to the guest \
                     agent, and is asked; leave `agent` out"
                    .to_owned())
            }
            (Self::GuestAgent(Some(socket)), _) if socket.as_os_str().is_empty() => {
                Err("key `agent` is empty; give the socket of QEMU's `org.qemu.guest_agent.0`"
                    .to_owned())
            }
            _ if !needed => Err(format!(
                "key `{key}`: nothing is to run in this VM, whose service is asked by URL; leave the \
                 key out"
            )),
            _ => Ok(Some(way)),
        }
    }

    /// The keys that [`WayIn::of`] would read it from.
    pub(super) fn keys(self) -> (Option<PathBuf>, Option<Ssh>) {
        match self {
            Self::GuestAgent(socket) => (socket, None),
            Self::Ssh(ssh) => (None, Some(ssh)),
        }
    }

    /// Makes its files absolute: a relative path is relative to `folder`.
    pub(super) fn resolve(&mut self, folder: &Path) {
        let files = match self {
            Self::GuestAgent(socket) => [socket.as_mut(), None],
            Self::Ssh(ssh) => [ssh.key.as_mut(), ssh.known_hosts.as_mut()],
        };
        for file in files.into_iter().flatten() {
            let below = folder.join(&*file);
            *file = std::path::absolute(&below).unwrap_or(below);
        }
    }
}

/// A login by SSH with a key. Nobody is asked for a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "SshTable", into = "SshTable")]
pub struct Ssh {
    /// Name or address.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// Root, or a user who may use `sudo` without a password.
    pub user: String,
    /// The private key; those that ssh finds by itself where absent.
    pub key: Option<PathBuf>,
    /// The file with the server's key; ssh's own where absent. A server that is in none is refused.
    pub known_hosts: Option<PathBuf>,
}

impl Ssh {
    const PORT: u16 = 22;
    const USER: &'static str = "root";
}

impl fmt::Display for Ssh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.host)?;
        if self.port == Self::PORT { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// As it is written: `"user@host:port"`, or a table.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub(super) enum SshTable {
    /// `host`, `user@host` or `user@host:port`.
    Text(String),
    /// All that can be said.
    Table(SshKeys),
}

/// `{ host = "192.168.122.10", user = "root", key = "id_ed25519" }`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct SshKeys {
    /// Name or address.
    host: String,
    /// The server's port; 22 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    /// Root, which is assumed, or a user who may use sudo without a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// The private key, relative to this file; those that ssh finds by itself where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
    /// The file with the server's key, relative to this file; ssh's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    known_hosts: Option<PathBuf>,
}

impl TryFrom<SshTable> for Ssh {
    type Error = String;

    fn try_from(table: SshTable) -> Result<Self, String> {
        let keys = match table {
            SshTable::Table(keys) => keys,
            SshTable::Text(text) => simple(&text)?,
        };
        let user = keys.user.unwrap_or_else(|| Self::USER.to_owned());
        for (key, word) in [("host", &keys.host), ("user", &user)] {
            // A word with a dash at its beginning would be an option of ssh's.
            let bad = word.is_empty() || word.starts_with('-');
            if bad || word.contains(|c: char| c.is_whitespace() || c == '@' || c.is_control()) {
                return Err(format!(
                    "key `ssh`: the {key} is {word:?}; give `ssh = \"root@192.168.122.10\"` or \
                     `ssh = {{ host = \"192.168.122.10\", user = \"root\", key = \"id_ed25519\" }}`"
                ));
            }
        }
        let port = keys.port.unwrap_or(Self::PORT);
        if port == 0 {
            return Err("key `ssh`: the port is 0; ports are 1 to 65535".to_owned());
        }
        let SshKeys { host, key, known_hosts, .. } = keys;
        Ok(Self { host, port, user, key, known_hosts })
    }
}

/// `user@host:port`, of which user and port may be absent.
fn simple(text: &str) -> Result<SshKeys, String> {
    let (user, rest) = match text.rsplit_once('@') {
        Some((user, rest)) => (Some(user.to_owned()), rest),
        None => (None, text),
    };
    let (host, port) = match rest.split_once(':') {
        None => (rest, None),
        Some((host, port)) => {
            let port = port.parse().map_err(|error| {
                format!(
                    "key `ssh`: the port is {port:?} ({error}); give `user@host:port`, or a table for \
                     an address with colons"
                )
            })?;
            (host, Some(port))
        }
    };
    Ok(SshKeys { host: host.to_owned(), port, user, key: None, known_hosts: None })
}

impl From<Ssh> for SshTable {
    fn from(own: Ssh) -> Self {
        let Ssh { host, port, user, key, known_hosts } = own;
        Self::Table(SshKeys {
            host,
            port: Some(port).filter(|port| *port != Ssh::PORT),
            user: Some(user).filter(|user| user != Ssh::USER),
            key,
            known_hosts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::{Vm, parse, read};

    fn suite(keys: &str, service: &str) -> String {
        format!(
            "name = \"s\"\n[[experiment]]\nname = \"e\"\nduration = \"9s\"\n[[experiment.vm]]\n\
             name = \"shop\"\n{keys}\nvcpus = [{{}}]\nservice = [{service}]\n"
        )
    }

    const TASKS: &str = "{ tasks = [\"1ms/9ms\"] }";
    const BY_URL: &str = "{ web = { url = \"http://127.0.0.1:8080/\" } }";

    fn vm(keys: &str, service: &str) -> Vm {
        let suite = parse(&suite(keys, service), "s.toml").unwrap();
        let text = toml::to_string(&suite).unwrap();
        assert_eq!(parse(&text, "s.toml").unwrap(), suite, "{text}");
        suite.experiments[0].vms[0].clone()
    }

    fn ssh(host: &str, port: u16, user: &str, key: Option<&str>) -> Option<WayIn> {
        let (host, user) = (host.to_owned(), user.to_owned());
        Some(WayIn::Ssh(Ssh { host, port, user, key: key.map(Into::into), known_hosts: None }))
    }

    #[test]
    fn a_domain_is_entered_by_its_agent_unless_ssh_is_named() {
        assert_eq!(vm("libvirt = \"d\"", TASKS).way_in, Some(WayIn::GuestAgent(None)));
        assert_eq!(
            vm("libvirt = \"d\"", "{ probe = \"clock\" }").way_in.unwrap().name(),
            "guest agent"
        );
        assert_eq!(vm("libvirt = \"d\"", BY_URL).way_in, None);
        let both = format!("{TASKS}, {BY_URL}");
        assert!(vm("libvirt = \"d\"", &both).way_in.is_some());
        let socket = Some(WayIn::GuestAgent(Some("/run/a".into())));
        assert_eq!(vm("pid = 7\nagent = \"/run/a\"", TASKS).way_in, socket);
        let of = |keys: &str| vm(&format!("libvirt = \"d\"\nssh = {keys}"), TASKS).way_in;
        assert_eq!(of("\"web\""), ssh("web", 22, "root", None));
        assert_eq!(of("\"me@web:2222\""), ssh("web", 2222, "me", None));
        assert_eq!(of("{ host = \"::1\", key = \"k\" }"), ssh("::1", 22, "root", Some("k")));
        assert_eq!(of("{ host = \"web\", port = 7, user = \"me\" }"), ssh("web", 7, "me", None));
    }

    #[test]
    fn ways_in_that_cannot_be_are_told() {
        for (keys, service, what) in [
            ("pid = 7", TASKS, "key `agent`"),
            ("qmp = \"s\"", "{ probe = \"clock\" }", "key `ssh`"),
            ("pid = 7\nagent = \"a\"\nssh = \"b\"", TASKS, "keys `agent` and `ssh`"),
            ("libvirt = \"d\"\nagent = \"a\"", TASKS, "keys `libvirt` and `agent`"),
            ("pid = 7\nagent = \"\"", TASKS, "key `agent` is empty"),
            ("pid = 7\nagent = \"a\"", BY_URL, "nothing is to run in this VM"),
            ("ssh = \"a\"", TASKS, "for a VM that runs already"),
            ("disk = \"d\"\nagent = \"a\"", TASKS, "for a VM that runs already"),
            ("pid = 7\nssh = \"\"", TASKS, "the host is \"\""),
            ("pid = 7\nssh = \"-oProxyCommand=x\"", TASKS, "the host is"),
            ("pid = 7\nssh = \"-l@a\"", TASKS, "the user is"),
            ("pid = 7\nssh = \"a:b\"", TASKS, "the port is \"b\""),
            ("pid = 7\nssh = \"a:0\"", TASKS, "ports are 1"),
            ("pid = 7\nssh = { host = \"a\", password = \"b\" }", TASKS, "ssh"),
            (
                "pid = 7\nssh = \"a\"",
                "{ wild = \"spin\" }, { tasks = [\"1ms/9ms\"] }",
                "somebody else's",
            ),
            ("pid = 7\nssh = \"a\"", "{ web = { command = [\"p\"], listen = 1 } }", "by URL"),
        ] {
            let said = parse(&suite(keys, service), "s.toml").unwrap_err().to_string();
            assert!(said.contains(what), "{keys}: {what}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }

    #[test]
    fn files_are_relative_to_the_suites_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.toml");
        let keys = "pid = 7\nssh = { host = \"a\", key = \"k\", known_hosts = \"/h\" }";
        std::fs::write(&file, suite(keys, TASKS)).unwrap();
        let way = read(&file).unwrap().experiments[0].vms[0].way_in.clone();
        let Some(WayIn::Ssh(own)) = way else { panic!("{way:?}") };
        assert_eq!(own.key, Some(folder.path().join("k")));
        assert_eq!(own.known_hosts, Some("/h".into()));
    }
}

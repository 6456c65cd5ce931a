//! Which Apache this host has, and the configuration it is run with.

use std::{env, path::PathBuf};

use crate::error::Refusal;

/// Names of the program: Debian's and its kin's, then everybody else's.
const PROGRAMS: [&str; 2] = ["apache2", "httpd"];

/// Folders outside of `$PATH` where system programs are.
const FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Where distributions keep the modules.
const MODULES: [&str; 4] = [
    "/usr/lib/apache2/modules",
    "/usr/lib64/httpd/modules",
    "/usr/lib/httpd/modules",
    "/usr/lib64/apache2",
];

/// The modules that the service needs, some of which may be built in. Scripts by processes of
/// their own and one process a client, as with the Apache of the paper's days.
const NEEDED: [&str; 6] = ["mpm_prefork", "unixd", "authz_core", "alias", "env", "cgi"];

/// An Apache 2 of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apache {
    /// The program.
    pub program: PathBuf,
    /// The files of those needed modules that are not built in, in load order.
    pub modules: Vec<(String, PathBuf)>,
}

/// Finds it.
///
/// # Errors
/// [`Refusal::Lacking`] with what to install.
pub fn find() -> Result<Apache, Refusal> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(FOLDERS.map(PathBuf::from)).collect::<Vec<_>>();
    search(&folders, &MODULES.map(PathBuf::from))
}

/// Finds the program in one of `folders` and its modules in one of `modules`.
fn search(folders: &[PathBuf], modules: &[PathBuf]) -> Result<Apache, Refusal> {
    let lacking = || {
        Refusal::Lacking(
            "Apache 2 with its prefork and CGI modules is not installed: install apache2-bin \
             (Debian, Ubuntu; starts no service) or httpd (others)"
                .to_owned(),
        )
    };
    let program = PROGRAMS
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| path.is_file())
        .ok_or_else(lacking)?;
    let folder =
        modules.iter().find(|folder| folder.join("mod_cgi.so").is_file()).ok_or_else(lacking)?;
    let modules = NEEDED
        .iter()
        .map(|name| ((*name).to_owned(), folder.join(format!("mod_{name}.so"))))
        .filter(|(_, path)| path.is_file())
        .collect();
    Ok(Apache { program, modules })
}

/// Who and where a server is.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// Folder with `cgi-bin/service`, for everything that the server writes.
    pub root: &'a str,
    /// What it listens on: `127.0.0.1:8080`.
    pub listen: &'a str,
    /// The user it serves as when it was started by root.
    pub user: Option<(&'a str, &'a str)>,
    /// The error log.
    pub log: &'a str,
    /// Clients at the same time: so many processes wait from the start, so that none has to be
    /// forked in the middle of a measurement.
    pub clients: u32,
}

impl Apache {
    /// The whole `httpd.conf`.
    #[must_use]
    pub fn configuration(&self, site: &Site) -> String {
        let Site { root, listen, user, log, clients } = site;
        let mut text = String::new();
        let mut line = |words: &[&str]| {
            text += &words.join(" ");
            text.push('\n');
        };
        line(&["ServerRoot", &quoted(root)]);
        line(&["DefaultRuntimeDir", &quoted(root)]);
        line(&["PidFile", &quoted(&format!("{root}/pid"))]);
        line(&["ServerName localhost"]);
        line(&["Listen", listen]);
        line(&["ErrorLog", &quoted(log)]);
        for (name, path) in &self.modules {
            line(&["LoadModule", &format!("{name}_module"), &quoted(&path.display().to_string())]);
        }
        if let Some((user, group)) = user {
            line(&["User", user]);
            line(&["Group", group]);
        }
        // Some to spare for connections that are still being closed.
        let processes = (clients + 4).to_string();
        for directive in ["ServerLimit", "MaxRequestWorkers", "StartServers", "MaxSpareServers"] {
            line(&[directive, &processes]);
        }
        line(&["MinSpareServers 1"]);
        line(&["MaxConnectionsPerChild 0"]);
        // A loaded guest may take minutes for an answer; only the client gives up.
        line(&["TimeOut 3600"]);
        line(&["KeepAliveTimeOut 3600"]);
        line(&["MaxKeepAliveRequests 0"]);
        line(&["ScriptAlias /cgi-bin/", &quoted(&format!("{root}/cgi-bin/"))]);
        // Else Apache drops the script's Content-Length, by which a cut answer is told.
        line(&["SetEnv ap_trust_cgilike_cl yes"]);
        text
    }
}

/// A path in a configuration.
fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apache_is_found_with_the_modules_that_are_not_built_in() {
        let root = tempfile::tempdir().unwrap();
        let programs = [root.path().join("sbin")];
        let modules = [root.path().join("modules")];
        let nothing = search(&programs, &modules).unwrap_err();
        assert!(nothing.to_string().contains("install apache2-bin"), "{nothing}");
        for file in [programs[0].join("httpd"), modules[0].join("mod_alias.so")] {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        assert!(search(&programs, &modules).is_err(), "no CGI module");
        std::fs::write(modules[0].join("mod_cgi.so"), "").unwrap();
        let found = search(&programs, &modules).unwrap();
        assert_eq!(found.program, programs[0].join("httpd"));
        let names: Vec<_> = found.modules.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["alias", "cgi"]);
    }

    #[test]
    fn the_configuration() {
        let apache = Apache {
            program: "/usr/sbin/apache2".into(),
            modules: vec![("cgi".into(), "/m/mod_cgi.so".into())],
        };
        let site = Site {
            root: "/tmp/x",
            listen: "127.0.0.1:8080",
            user: Some(("nobody", "nogroup")),
            log: "/results/a b/error.log",
            clients: 10,
        };
        insta::assert_snapshot!(apache.configuration(&site), @r#"
        ServerRoot "/tmp/x"
        DefaultRuntimeDir "/tmp/x"
        PidFile "/tmp/x/pid"
        ServerName localhost
        Listen 127.0.0.1:8080
        ErrorLog "/results/a b/error.log"
        LoadModule cgi_module "/m/mod_cgi.so"
        User nobody
        Group nogroup
        ServerLimit 14
        MaxRequestWorkers 14
        StartServers 14
        MaxSpareServers 14
        MinSpareServers 1
        MaxConnectionsPerChild 0
        TimeOut 3600
        KeepAliveTimeOut 3600
        MaxKeepAliveRequests 0
        ScriptAlias /cgi-bin/ "/tmp/x/cgi-bin/"
        SetEnv ap_trust_cgilike_cl yes
        "#);
    }
}

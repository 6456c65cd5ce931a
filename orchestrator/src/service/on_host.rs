//! The service on the measured CPU of the host.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use anyhow::{Context, Result};
use model::suite::Web;
use nix::unistd::{Gid, Group, Uid, User};
use tempfile::TempDir;
use webload::{Target, run::WarmUp};

use super::{Apache, apache::Site, cgi_program, free, ready, target};
use crate::host::{Background, Stage};

/// A running Apache; ended when dropped.
pub struct HostService {
    server: Background,
    /// Where clients ask.
    pub targets: Vec<Target>,
    /// The requests that are no part of the measurement.
    pub warm_up: WarmUp,
    /// Its configuration and programs.
    _folder: TempDir,
}

impl HostService {
    /// Starts Apache, its logs in `logs`, and waits until it has answered.
    ///
    /// # Errors
    /// Where it does not come up, with the end of its log.
    pub fn start(stage: &Stage, apache: &Apache, web: &Web, logs: &Path) -> Result<Self> {
        let port = match web.port {
            Some(port) => port,
            None => free(1)?[0],
        };
        let authority = format!("127.0.0.1:{port}");
        let folder = site_folder(&cgi_program(web)?)?;
        let error_log = logs.canonicalize()?.join("apache-error.log");
        let root = folder.path().display().to_string();
        let user = nix::unistd::geteuid().is_root().then(unprivileged).flatten();
        let site = Site {
            root: &root,
            listen: &authority,
            user: user.as_ref().map(|(user, group)| (user.as_str(), group.as_str())),
            log: &error_log.display().to_string(),
            clients: web.clients,
        };
        let configuration = folder.path().join("httpd.conf");
        fs::write(&configuration, apache.configuration(&site))?;
        let arguments =
            ["-D".as_ref(), "FOREGROUND".as_ref(), "-f".as_ref(), configuration.as_os_str()];
        let mut command: Command = stage.on_measured(&apache.program, arguments)?;
        let mut server =
            Background::start(&stage.guard, "Apache", &mut command, &logs.join("apache.log"))?;
        let targets = vec![target(&authority, web)?];
        let warm_up = ready(&targets, web, &stage.stop, || server.check())
            .with_context(|| last_line(&error_log).unwrap_or_else(|| "Apache".to_owned()))?;
        Ok(Self { server, targets, warm_up, _folder: folder })
    }

    /// Fails once it has ended by itself.
    ///
    /// # Errors
    /// With how, and the end of its log.
    pub fn check(&mut self) -> Result<()> {
        self.server.check()
    }

    /// Ends it.
    ///
    /// # Errors
    /// Where it had ended by itself.
    pub fn stop(self) -> Result<()> {
        self.server.stop()
    }
}

/// A folder that the server can reach after it has dropped its privileges, with the CGI program:
/// the program's own place may be in somebody's home.
fn site_folder(program: &Path) -> Result<TempDir> {
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755));
    let folder = tempfile::Builder::new().prefix("rtvm-web-").tempdir()?;
    let scripts = folder.path().join("cgi-bin");
    fs::create_dir(&scripts)?;
    let script = scripts.join("service");
    fs::copy(program, &script).with_context(|| program.display().to_string())?;
    [folder.path(), &scripts, &script].into_iter().try_for_each(open)?;
    Ok(folder)
}

/// A user and group without privileges.
fn unprivileged() -> Option<(String, String)> {
    let user = User::from_name("nobody").ok().flatten()?;
    debug_assert_ne!(user.uid, Uid::from_raw(0));
    let group = Group::from_gid(Gid::from_raw(user.gid.as_raw())).ok().flatten()?;
    Some((user.name, group.name))
}

fn last_line(log: &Path) -> Option<String> {
    Some(fs::read_to_string(log).ok()?.lines().last()?.to_owned())
}

//! The service that is asked on the host: started on a measured CPU, or running wherever it is.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use anyhow::{Context, Result};
use model::suite::{Own, Server, Web};
use nix::unistd::{Gid, Group, Uid, User};
use tempfile::TempDir;
use webload::{Target, run::WarmUp};

use super::{Apache, apache::Site, cgi_program, free, own::program_of, ready::ready, targets};
use crate::host::{Background, Stage};

/// A service that answers; what was started for it is ended when dropped.
pub struct HostService {
    /// None where it is somebody else's.
    server: Option<Started>,
    /// Where clients ask.
    pub targets: Vec<Target>,
    /// The requests that are no part of the measurement.
    pub warm_up: WarmUp,
}

/// What was started.
enum Started {
    /// With its configuration and programs.
    Apache(Background, TempDir),
    Own(Background),
}

impl HostService {
    /// Starts what answers on `cpu`, its logs in `logs`, and waits until it has answered.
    ///
    /// # Errors
    /// Where it does not come up, with the end of its log.
    pub fn start(
        stage: &Stage,
        cpu: u32,
        apache: Option<&Apache>,
        web: &Web,
        logs: &Path,
    ) -> Result<Self> {
        let (mut server, authority, log) = match &web.server {
            Server::Cgi { program, .. } => {
                let apache = apache.context("the plan has no Apache")?;
                let log = logs.canonicalize()?.join("apache-error.log");
                let (server, authority) =
                    start_apache((stage, cpu), apache, web, program.as_deref(), logs, &log)?;
                (Some(server), authority, Some(log))
            }
            Server::Command(own) => {
                let log = logs.join("service.log");
                let server = Started::Own(start_own((stage, cpu), own, &log)?);
                (Some(server), format!("127.0.0.1:{}", own.listen), Some(log))
            }
            Server::Url { .. } => (None, String::new(), None),
        };
        let targets = targets(&[authority], &web.server, &stage.stop)?;
        let alive = || server.as_mut().map_or(Ok(()), |server| server.process().check());
        let said =
            || log.as_deref().and_then(last_line).unwrap_or_else(|| "the service".to_owned());
        let warm_up = ready(&targets, web, &stage.stop, alive).with_context(said)?;
        Ok(Self { server, targets, warm_up })
    }

    /// Fails once it has ended by itself.
    ///
    /// # Errors
    /// With how, and the end of its log.
    pub fn check(&mut self) -> Result<()> {
        self.server.as_mut().map_or(Ok(()), |server| server.process().check())
    }

    /// Ends what was started.
    ///
    /// # Errors
    /// Where it had ended by itself.
    pub fn stop(self) -> Result<()> {
        match self.server {
            None => Ok(()),
            Some(Started::Apache(server, _folder)) => server.stop(),
            Some(Started::Own(server)) => server.end(),
        }
    }
}

impl Started {
    fn process(&mut self) -> &mut Background {
        match self {
            Self::Apache(server, _) | Self::Own(server) => server,
        }
    }
}

fn start_own((stage, cpu): (&Stage, u32), own: &Own, log: &Path) -> Result<Background> {
    let program = program_of(own, false)?;
    let mut command: Command = stage.on_measured(cpu, &program, &own.command[1..])?;
    let name = format!("`{}`", own.command[0]);
    Background::start(&stage.guard, &name, &mut command, log)
}

/// Apache, and where it listens.
fn start_apache(
    (stage, cpu): (&Stage, u32),
    apache: &Apache,
    web: &Web,
    program: Option<&Path>,
    logs: &Path,
    error_log: &Path,
) -> Result<(Started, String)> {
    let port = match web.port {
        Some(port) => port,
        None => free(1)?[0],
    };
    let authority = format!("127.0.0.1:{port}");
    let folder = site_folder(&cgi_program(program)?)?;
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
    let mut command: Command = stage.on_measured(cpu, &apache.program, arguments)?;
    let server = Background::start(&stage.guard, "Apache", &mut command, &logs.join("apache.log"))?;
    Ok((Started::Apache(server, folder), authority))
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

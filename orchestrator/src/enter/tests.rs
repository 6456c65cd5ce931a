//! Programs that enter by QEMU's own guest agent, and by a login, this host in place of a VM.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Child, Command},
    time::Instant,
};

use model::suite::Ssh;

use super::*;
use crate::guest::Status;

/// QEMU's guest agent itself, on a socket of this host in place of a VM's port.
struct QemuGa(Child);

impl QemuGa {
    /// None, and said so, where it is not installed.
    fn serve(test: &str, folder: &Path) -> Option<Self> {
        let mut command = Command::new("qemu-ga");
        command.args(["-m", "unix-listen", "-p"]).arg(folder.join("socket"));
        command.arg("-t").arg(folder).arg("-f").arg(folder.join("pid"));
        let path = std::env::var("PATH").unwrap_or_default();
        let child = command.env("PATH", format!("{path}:/usr/sbin:/sbin")).spawn();
        let Ok(child) = child else {
            eprintln!("SKIPPED: {test}: qemu-ga is not installed");
            return None;
        };
        let begun = Instant::now();
        while !folder.join("socket").exists() {
            assert!(begun.elapsed() < Duration::from_secs(10), "it does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        Some(Self(child))
    }
}

impl Drop for QemuGa {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The agent as it is built beside this test, and a stand-in for rtload.
fn files(test: &str) -> Option<Files> {
    let own = std::env::current_exe().unwrap();
    let agent = own.parent().and_then(Path::parent).unwrap().join("guest-agent");
    let Ok(agent) = fs::read(&agent) else {
        eprintln!("SKIPPED: {test}: {} is not built", agent.display());
        return None;
    };
    Some(Files { agent, rtload: b"#!/bin/sh\necho \"$@\"; sleep 0.1\n".to_vec() })
}

/// Whoever enters by `way` works there, and leaves nothing.
fn visits(way: &Arc<dyn Way>, files: &Files) {
    let (logs, stop) = (tempfile::tempdir().unwrap(), Stop::default());
    let enter = || Entered::by(Arc::clone(way), files, logs.path(), &stop).unwrap();
    let own = enter();
    let folder = own.programs.folder.clone();
    assert!(Path::new(&folder).is_dir());
    let command = [own.programs.rtload.as_str(), "run", "--out"];
    let output = own.run(&command, Duration::from_secs(20), stop.flag()).unwrap();
    assert_eq!((output.status, &*output.stdout), (Status::Code(0), &b"run --out\n"[..]));
    let content: Vec<u8> = (0..700_001_u32).map(|n| (n * 7 % 251) as u8).collect();
    let file = own.programs.file("rows.csv");
    own.put(&file, 0o644, &content, stop.flag()).unwrap();
    assert!(own.read(&file, stop.flag()).unwrap() == content);
    // One clock, read twice: the same within what is said.
    let clock = own.clock_offset(stop.flag()).unwrap();
    assert!(clock.offset_ns.unsigned_abs() <= clock.uncertainty_ns, "{clock:?}");
    own.leave().unwrap();
    assert!(!Path::new(&folder).exists());

    let own = enter();
    let folder = own.programs.folder.clone();
    let sleep = own.start(&["sleep", "600"], &[], stop.flag()).unwrap().pid;
    drop(own);
    assert!(!Path::new(&folder).exists(), "a visitor that is dropped leaves as well");
    let begun = Instant::now();
    while fs::read_to_string(format!("/proc/{sleep}/comm")).is_ok_and(|name| name == "sleep\n") {
        assert!(begun.elapsed() < Duration::from_secs(10), "what it started goes on");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_programs_enter_by_qemus_own_agent_and_leave_nothing() {
    const TEST: &str = "the_programs_enter_by_qemus_own_agent_and_leave_nothing";
    let folder = tempfile::tempdir().unwrap();
    let Some(_agent) = QemuGa::serve(TEST, folder.path()) else { return };
    let Some(files) = files(TEST) else { return };
    let stop = Stop::default();
    let way = GuestAgent::at(&folder.path().join("socket"), &stop).unwrap();
    visits(&(Arc::new(way) as Arc<dyn Way>), &files);
}

#[test]
fn the_programs_enter_by_a_login_and_leave_nothing() {
    let Some(files) = files("the_programs_enter_by_a_login_and_leave_nothing") else { return };
    let folder = tempfile::tempdir().unwrap();
    // Runs here what it is to run there.
    let client = folder.path().join("ssh");
    let text = "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nexec sh -c \"$3\"\n";
    fs::write(&client, text).unwrap();
    fs::set_permissions(&client, fs::Permissions::from_mode(0o755)).unwrap();
    let (host, user) = ("shop".to_owned(), "root".to_owned());
    let ssh = Ssh { host, port: 22, user, key: None, known_hosts: None };
    visits(&(Arc::new(Login::by(client, ssh)) as Arc<dyn Way>), &files);
}

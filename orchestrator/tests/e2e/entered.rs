//! Virtual machines that somebody else started, entered by QEMU's guest agent (Debian's) and by SSH
//! (dropbear): tasks and a probe run in them, nothing is left, and every way in that is none is refused
//! before anything is touched.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::AtomicBool,
    thread::sleep,
    time::{Duration, Instant},
};

use model::{
    manifest::Status,
    sample::{ClockRow, ClockWhat, Job, read_csv},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use orchestrator::guest::{Guest, Network, Qemu, Running};

use crate::{
    guest::{Bench, bench},
    own_service::{manifest, ports, run, started},
    support::{HostState, sibling, stderr},
};

const LIMIT: Duration = Duration::from_secs(20);

/// What scripts take of a system.
const TOOLS: [&str; 9] = ["mktemp", "chmod", "rm", "id", "ls", "gzip", "wc", "dropbear", "qemu-ga"];

/// Starts QEMU's guest agent on its port; what is behind it are its options.
const AGENT: &str = "for port in /sys/class/virtio-ports/*; do \
                     [ \"$(cat $port/name)\" = org.qemu.guest_agent.0 ] || continue; \
                     exec qemu-ga -m virtio-serial -p /dev/${port##*/} -t /run -f /run/qemu-ga.pid \
                     \"$@\"; done";

/// Somebody's QEMU with both ways in, and what belongs to them.
struct Theirs {
    guest: Guest,
    folder: tempfile::TempDir,
    port: u16,
    _bench: Bench,
}

/// This host's QEMU, which gives its guests a channel to a guest agent.
fn with_channel(qemu: &Qemu, folder: &Path) -> Qemu {
    let (program, socket) = (folder.join("qemu"), folder.join("qga"));
    let text = format!(
        "#!/bin/sh\nexec '{}' \"$@\" -chardev socket,id=qga,path={},server=on,wait=off \
         -device virtserialport,chardev=qga,name=org.qemu.guest_agent.0\n",
        qemu.program.display(),
        socket.display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Qemu { program, ..qemu.clone() }
}

fn tool(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}

fn theirs(test: &str) -> Option<Theirs> {
    let skip = |why: &str| {
        eprintln!("SKIPPED: {test}: {why}");
        None
    };
    if !nix::unistd::geteuid().is_root() {
        return skip("it needs root");
    }
    for name in ["guest-agent-static", "rtload-static"] {
        if !sibling("rtload").with_file_name(name).is_file() {
            return skip(&format!("there is no {name}; scripts/static.sh makes it"));
        }
    }
    for name in TOOLS.into_iter().chain(["ssh", "ssh-keygen", "ssh-keyscan"]) {
        if tool(name).is_none() {
            return skip(&format!("{name} is not installed"));
        }
    }
    let mut bench = bench(test)?;
    let folder = tempfile::tempdir().unwrap();
    // QEMU is a user of its own.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    bench.qemu = with_channel(&bench.qemu, folder.path());
    let port = ports(1)[0];
    bench.spec.network = Network::User { forwards: vec![(port, 22)] };
    for name in TOOLS {
        bench.spec.contents = bench.spec.contents.clone().with_program(&tool(name).unwrap());
    }
    bench.spec.contents.texts.insert("/etc/dropbear/README".into(), String::new());
    let guest = bench.launch(&AtomicBool::new(false)).unwrap();
    let own = Theirs { guest, folder, port, _bench: bench };
    own.serve_ssh();
    Some(own)
}

impl Theirs {
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Starts the guest agent with these options.
    fn serve_agent(&self, options: &[&str]) -> Running<'_> {
        let command = [&["sh", "-c", AGENT, "sh"], options].concat();
        self.guest.start(&command, &[], &AtomicBool::new(false)).unwrap()
    }

    /// Starts dropbear, which takes the key `id`; its own is in `known`.
    fn serve_ssh(&self) {
        let stop = AtomicBool::new(false);
        for name in ["id", "other"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", &self.path(name)]);
            assert!(keygen.status().unwrap().success());
        }
        let public = fs::read(self.path("id.pub")).unwrap();
        self.guest.put("/root/.ssh/authorized_keys", 0o600, &public, &stop).unwrap();
        self.guest.start(&["dropbear", "-R", "-F", "-s"], &[], &stop).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            let mut scan = Command::new("ssh-keyscan");
            scan.args(["-t", "ed25519", "-p", &self.port.to_string(), "127.0.0.1"]);
            let known = scan.output().unwrap().stdout;
            if !known.is_empty() {
                return fs::write(self.path("known"), known).unwrap();
            }
            sleep(Duration::from_millis(100));
        }
        panic!("dropbear does not answer");
    }

    fn by_agent(&self) -> String {
        let qmp = self.guest.qmp_socket();
        format!("qmp = \"{}\"\nagent = \"{}\"", qmp.display(), self.path("qga"))
    }

    fn by_ssh(&self, port: u16, key: &str, known: &str) -> String {
        format!(
            "pid = {}\nssh = {{ host = \"127.0.0.1\", port = {port}, key = \"{}\", \
             known_hosts = \"{}\" }}",
            self.guest.pid(),
            self.path(key),
            self.path(known)
        )
    }

    /// What of ours is in it: files, and processes beside its own agent.
    fn ours(&self) -> String {
        let look = "ls -d /tmp/rt-vm-bench.* 2>/dev/null; for own in /proc/[0-9]*; do \
                    [ $own = /proc/1 ] || cat $own/comm; done";
        let output = self.guest.run(&["sh", "-c", look], LIMIT, &AtomicBool::new(false)).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let is_ours = |line: &&str| {
            line.starts_with("/tmp/") || line.contains("rtload") || line.contains("guest-agent")
        };
        text.lines().filter(is_ours).collect::<Vec<_>>().join(" ")
    }
}

const HEAD: &str = "name = \"entered\"\n[host]\nkeep_awake = true\n[noise]\nretries = 0\n";
const TASKS: &str = "{ tasks = [\"10ms/100ms\", \"20ms/200ms\"] }";

fn experiment(name: &str, vm: &str, vcpu: &str, service: &str, length: &str) -> String {
    format!(
        "[[experiment]]\nname = \"{name}\"\nduration = \"{length}\"\n[[experiment.vm]]\n\
         name = \"shop\"\n{vm}\nvcpus = [{{ {vcpu} }}]\nservice = [{service}]\n"
    )
}

// It needs the static programs, which take two minutes to build.
#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn programs_enter_a_vm_that_runs_already_and_leave_nothing() {
    const TEST: &str = "programs_enter_a_vm_that_runs_already_and_leave_nothing";
    let Some(own) = theirs(TEST) else { return };
    let _agent = own.serve_agent(&[]);
    let before = HostState::now();
    let reserved = "budget = \"28ms\", period = \"50ms\"";
    let suite = HEAD.to_owned()
        + &experiment("agent", &own.by_agent(), reserved, TASKS, "2s")
        + &experiment(
            "ssh",
            &own.by_ssh(own.port, "id", "known"),
            "",
            "{ probe = \"clock\" }",
            "1s",
        );
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &suite, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    before.is_back();
    assert_eq!(own.ours(), "", "something was left in the VM");
    let (results, manifest) = manifest(&output);
    for record in &manifest.repetitions {
        let facts = &record.facts;
        eprintln!(
            "{}: offset known to {:?} ns, drift {:?}, {:?}",
            record.experiment,
            facts.guest_clock_uncertainty_ns,
            facts.guest_clock_drift,
            facts.warnings
        );
        assert_eq!(record.status, Status::Done, "{record:?}");
        assert_eq!(facts.kernel.as_ref(), Some(&own.guest.hello.kernel));
        assert!(facts.guest_clock_uncertainty_ns.is_some(), "{record:?}");
        assert!(facts.vcpu_share.is_some_and(|share| share > 0.05), "{record:?}");
    }
    let ways: Vec<_> = manifest.repetitions.iter().map(|own| own.facts.way_in.as_deref()).collect();
    assert_eq!(ways, [Some("guest agent"), Some("ssh")]);
    let jobs: Vec<Job> = read_csv(&results.join("agent/rep-000/jobs.csv")).unwrap();
    let of = |task: &str| jobs.iter().filter(|job| job.task == task).count();
    assert!((16..=21).contains(&of("tau1")) && (8..=11).contains(&of("tau2")), "{}", jobs.len());
    assert!(jobs.iter().all(|job| job.vm.as_deref() == Some("shop")));
    let rows: Vec<ClockRow> = read_csv(&results.join("ssh/rep-000/clock.csv")).unwrap();
    assert!(rows.iter().any(|row| row.what == ClockWhat::Offset), "{}", rows.len());
    let table = Command::new(sibling("reports")).arg("table").arg(&results).output().unwrap();
    assert!(table.status.success(), "{}", stderr(&table));
    refused(&own.by_agent().replace("/qga\"", "/no-socket\""), "nobody listens there");
    refused(&own.by_ssh(ports(1)[0], "id", "known"), "Connection refused");
}

/// It is told in one line, before anything is touched.
fn refused(vm: &str, why: &str) {
    let suite = HEAD.to_owned() + &experiment("e", vm, "", TASKS, "3s");
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &suite, &[]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{why}: {said}");
    let last = said.lines().next_back().unwrap();
    assert!(last.contains("no way in by") && last.contains(why), "{why}: {said}");
    assert!(last.contains("experiment `e`: vm `shop`"), "{said}");
    assert!(!folder.path().join("results").exists(), "{said}");
    assert!(!folder.path().join("state").exists(), "{said}");
}

#[test]
#[ignore = "part of the campaign `make torture`"]
fn every_way_in_that_is_none_is_told_before_anything_is_touched() {
    const TEST: &str = "every_way_in_that_is_none_is_told_before_anything_is_touched";
    let Some(own) = theirs(TEST) else { return };
    let agent = own.serve_agent(&[]);
    fs::write(own.path("nobody"), "").unwrap();
    refused(&own.by_ssh(own.port, "other", "known"), "does not take the key");
    refused(&own.by_ssh(own.port, "id", "nobody"), "give `known_hosts`");
    let stop = AtomicBool::new(false);
    agent.signal(15, LIMIT, &stop).unwrap();
    own.guest.wait(&agent, LIMIT, &stop, |_, _| ()).unwrap();
    refused(&own.by_agent(), "the guest agent does not answer");
    let _blocked = own.serve_agent(&["-b", "guest-exec,guest-file-open"]);
    refused(&own.by_agent(), "refuses `guest-exec`, `guest-file-open`; allow it there");
    assert_eq!(own.ours(), "");
}

#[test]
#[ignore = "part of the campaign `make torture`"]
fn an_interrupted_or_killed_run_leaves_nothing_in_the_vm() {
    const TEST: &str = "an_interrupted_or_killed_run_leaves_nothing_in_the_vm";
    let Some(own) = theirs(TEST) else { return };
    let _agent = own.serve_agent(&[]);
    let ways = [own.by_agent(), own.by_ssh(own.port, "id", "known")];
    for (signal, within) in [(Signal::SIGINT, 20), (Signal::SIGKILL, 240)] {
        for way in &ways {
            let folder = tempfile::tempdir().unwrap();
            let suite = HEAD.to_owned() + &experiment("e", way, "", TASKS, "60s");
            let child = started(folder.path(), &suite, &[]);
            wait_for(60, || own.ours().contains("rtload"));
            sleep(Duration::from_secs(2));
            kill(Pid::from_raw(child.id() as i32), signal).unwrap();
            let output = child.wait_with_output().unwrap();
            let code = (signal == Signal::SIGINT).then_some(130);
            assert_eq!(output.status.code(), code, "{}", stderr(&output));
            wait_for(within, || own.ours().is_empty());
            let mut restore = crate::support::orchestrator(&folder.path().join("state"));
            assert!(restore.arg("restore").output().unwrap().status.success());
        }
    }
}

fn wait_for(seconds: u64, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(seconds), "not within {seconds} s");
        sleep(Duration::from_millis(200));
    }
}

//! Faults of a run's surroundings, each once: what the user is told, what of the measurement is kept,
//! and that the host is as before.

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use kernel::procfs::Proc;
use model::{Manifest, manifest::Status};
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    mount::{MntFlags, MsFlags, mount, umount2},
    pty::openpty,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    run::{Place, built, manifest, place, short},
    support::{HostState, orchestrator, sibling, stderr, turn},
};

fn two_short(duration: &str) -> String {
    short(duration, "repetitions = 2")
}

/// A small disk.
struct Disk(PathBuf);

impl Disk {
    fn of(at: &Path, kib: u32) -> Self {
        fs::create_dir(at).unwrap();
        let options = format!("size={kib}k");
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(&*options)).unwrap();
        Self(at.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn run(place: &Place, out: &Path) -> Command {
    let mut command = orchestrator(&place.state());
    command.arg("run").arg(&place.suite).arg("--out").arg(out);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The result folder in `out`, once there is one.
fn folder(out: &Path) -> Option<PathBuf> {
    let shown = |path: &PathBuf| !path.file_name().unwrap().to_string_lossy().starts_with('.');
    fs::read_dir(out).ok()?.map(|entry| entry.unwrap().path()).find(shown)
}

/// Waits until `there` says something.
fn wait_for<T>(what: &str, there: impl Fn() -> Option<T>) -> T {
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = there() {
            return found;
        }
        assert!(Instant::now() < give_up, "{what} never came");
        sleep(Duration::from_millis(10));
    }
}

/// On a disk of so many KiB: it ends by itself, says that the disk is full, and nothing that is
/// there is half a file.
fn on_a_full_disk(kib: u32) -> Output {
    let place = place(&two_short("1s"));
    let disk = Disk::of(&place.dir.path().join("small"), kib);
    let output = run(&place, &disk.0).output().unwrap();
    let said = stderr(&output);
    eprintln!("{kib} KiB: {:?}: {}", output.status.code(), said.trim());
    if output.status.success() {
        return output;
    }
    assert!(said.contains("No space left on device"), "{kib} KiB: {said}");
    assert!(matches!(output.status.code(), Some(1 | 2)), "{kib} KiB: {said}");
    let Some(manifest) = folder(&disk.0).and_then(|one| fs::read(one.join("manifest.json")).ok())
    else {
        return output;
    };
    let manifest: Manifest = serde_json::from_slice(&manifest).expect("the manifest is whole");
    for done in manifest.repetitions.iter().filter(|one| one.status == Status::Done) {
        let path = results::folder::place_of(&folder(&disk.0).unwrap(), done);
        for name in ["jobs.csv", "host.json", "record.json"] {
            assert!(path.join(name).exists(), "{kib} KiB: {}", path.display());
        }
    }
    output
}

// Every other fault of a run is met every time.
#[test]
#[ignore = "part of the campaign `make torture`"]
fn a_full_disk_is_told_and_leaves_nothing_by_half() {
    const TEST: &str = "a_full_disk_is_told_and_leaves_nothing_by_half";
    let Some(_turn) = turn(TEST) else { return };
    built();
    for kib in [8, 28, 48] {
        assert!(!on_a_full_disk(kib).status.success(), "{kib} KiB are enough");
    }
}

/// Every page more, until it fits: the disk is full at every write once.
#[test]
#[ignore = "part of the campaign `make torture`"]
fn a_disk_full_at_every_write() {
    const TEST: &str = "a_disk_full_at_every_write";
    let Some(_turn) = turn(TEST) else { return };
    built();
    let before = HostState::now();
    let mut kib = 4;
    while !on_a_full_disk(kib).status.success() {
        before.is_back();
        kib += 4;
        assert!(kib < 4096, "it never fits");
    }
}

#[test]
fn a_full_disk_below_the_state_folder_is_told_before_anything_is_changed() {
    const TEST: &str = "a_full_disk_below_the_state_folder_is_told_before_anything_is_changed";
    let Some(_turn) = turn(TEST) else { return };
    built();
    let place = place(&two_short("1s"));
    let disk = Disk::of(&place.state(), 4);
    fs::set_permissions(&disk.0, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let _filled = fs::write(disk.0.join("fill"), [0; 8192]);
    let before = HostState::now();
    let output = run(&place, &place.dir.path().join("out")).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    before.is_back();
}

#[test]
fn an_output_folder_that_is_removed_is_told_and_the_host_is_as_before() {
    const TEST: &str = "an_output_folder_that_is_removed_is_told_and_the_host_is_as_before";
    let Some(_turn) = turn(TEST) else { return };
    built();
    let place = place(&two_short("3s"));
    let out = place.dir.path().join("out");
    let before = HostState::now();
    let child = run(&place, &out).spawn().unwrap();
    let begun = wait_for("the first attempt", || {
        let partial = folder(&out)?.join("short/.rep-000.partial");
        partial.join("rtload.json").exists().then_some(partial)
    });
    // A file that the run makes meanwhile lets the removal fail.
    wait_for("the removal", || fs::remove_dir_all(&out).ok());
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("No such file or directory"), "{said}");
    assert!(said.contains(&begun.parent().unwrap().display().to_string()), "{said}");
    before.is_back();
}

const WEB: &str = r#"
name = "web"
[host]
keep_awake = true
[noise]
retries = 0
[[experiment]]
name = "served"
where = "host"
web = { clients = 2, requests = 40, timeout = "2s", query = "angle=20&width=1000&height=1000&format=ppm&reply=summary" }
repetitions = 2
"#;

/// What becomes of a run whose Apache gets this signal in the first repetition.
fn apache_gets(test: &str, signal: Signal) -> Option<(Output, Manifest)> {
    let _turn = turn(test)?;
    if orchestrator::service::find().is_err() {
        eprintln!("SKIPPED: {test}: Apache is not installed");
        return None;
    }
    built();
    sibling("cgi-rotate");
    let place = place(WEB);
    let out = place.dir.path().join("out");
    let before = HostState::now();
    let child = run(&place, &out).spawn().unwrap();
    let proc = Proc::default();
    let group = wait_for("Apache", || {
        let served = folder(&out)?.join("served/.rep-000.partial/sentinel.log");
        let children = proc.text(&format!("{0}/task/{0}/children", child.id())).ok()?;
        let pids = children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok());
        let named = |pid: &i32| proc.name(*pid).is_ok_and(|name| name.starts_with("apache"));
        let requests = || proc.processes().unwrap_or_default();
        let serves = requests()
            .iter()
            .any(|pid| proc.name(*pid).is_ok_and(|name| name.starts_with("service")));
        pids.filter(|_| served.exists() && serves).find(named)
    });
    sleep(Duration::from_millis(1500));
    nix::sys::signal::killpg(Pid::from_raw(group), signal).unwrap();
    let output = child.wait_with_output().unwrap();
    before.is_back();
    let manifest = manifest(&folder(&out).unwrap());
    Some((output, manifest))
}

// `own_service::` kills a program in the middle every time.
#[test]
#[ignore = "part of the campaign `make torture`"]
fn an_apache_that_is_killed_is_a_failed_repetition_and_the_next_one_runs() {
    let test = "an_apache_that_is_killed_is_a_failed_repetition_and_the_next_one_runs";
    let Some((output, manifest)) = apache_gets(test, Signal::SIGKILL) else { return };
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let status: Vec<_> = manifest.repetitions.iter().map(|one| one.status).collect();
    assert_eq!(status, [Status::Failed, Status::Done]);
    let error = manifest.repetitions[0].error.as_ref().unwrap();
    assert!(error.contains("Apache ended early") && error.contains("signal: 9"), "{error}");
}

#[test]
#[ignore = "part of the campaign `make torture`"]
fn an_apache_that_hangs_is_a_failed_repetition_that_counts_the_time_outs() {
    let test = "an_apache_that_hangs_is_a_failed_repetition_that_counts_the_time_outs";
    let Some((output, manifest)) = apache_gets(test, Signal::SIGSTOP) else { return };
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let status: Vec<_> = manifest.repetitions.iter().map(|one| one.status).collect();
    assert_eq!(status, [Status::Failed, Status::Done]);
    let error = manifest.repetitions[0].error.as_ref().unwrap();
    assert!(error.contains("requests failed") && error.contains("timeout"), "{error}");
}

/// A process that stands for a virtual machine.
struct Busy(Child);

impl Busy {
    fn start() -> Self {
        let mut command = Command::new("setsid");
        Self(command.args(["sh", "-c", "while :; do :; done"]).spawn().unwrap())
    }

    fn reserve(&self, state: &Path, more: &[&str]) -> Command {
        let mut command = orchestrator(state);
        command.args(["reserve", "--tid", &self.0.id().to_string()]);
        command.args(["--reservation", "5ms/50ms"]).args(more).stdin(Stdio::null());
        command
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_reader_who_has_seen_enough_ends_a_reservation_in_order() {
    const TEST: &str = "a_reader_who_has_seen_enough_ends_a_reservation_in_order";
    let Some(_turn) = turn(TEST) else { return };
    let (state, busy) = (tempfile::tempdir().unwrap(), Busy::start());
    let before = HostState::now();
    let mut held = busy.reserve(state.path(), &["--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    // As `| head -1` does.
    let mut line = [0; 1];
    std::io::Read::read_exact(&mut held.stdout.take().unwrap(), &mut line).unwrap();
    assert!(held.wait().unwrap().success());
    before.is_back();
}

#[test]
fn a_terminal_that_closes_ends_a_reservation_in_order() {
    const TEST: &str = "a_terminal_that_closes_ends_a_reservation_in_order";
    let Some(_turn) = turn(TEST) else { return };
    let (state, busy) = (tempfile::tempdir().unwrap(), Busy::start());
    let before = HostState::now();
    let terminal = openpty(None, None).unwrap();
    // Or the reservation itself would keep the terminal open.
    for end in [&terminal.master, &terminal.slave] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    }
    let end = || Stdio::from(terminal.slave.try_clone().unwrap());
    let reserve = busy.reserve(state.path(), &["--watch"]);
    let mut command = Command::new("setsid");
    command.arg("--ctty").arg("--wait").arg(reserve.get_program()).args(reserve.get_args());
    command.env("RTVM_STATE_DIR", state.path());
    let mut held = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    drop(command);
    drop(terminal.slave);
    let tid = busy.0.id() as i32;
    wait_for("the reservation", || {
        let policy = kernel::sched::get(tid).ok()?.policy.to_string();
        policy.starts_with("SCHED_DEADLINE").then_some(())
    });
    // It has the reservation, and has yet to see that.
    sleep(Duration::from_secs(1));
    // The kernel sends SIGHUP, and every write to the terminal fails from now on.
    drop(terminal.master);
    let status = held.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{status:?}");
    before.is_back();
}

#[test]
fn a_partition_that_somebody_removes_is_told_and_the_rest_is_undone() {
    const TEST: &str = "a_partition_that_somebody_removes_is_told_and_the_rest_is_undone";
    let Some(_turn) = turn(TEST) else { return };
    let (state, busy) = (tempfile::tempdir().unwrap(), Busy::start());
    let before = HostState::now();
    let messages = state.path().join("messages");
    let mut command = busy.reserve(&state.path().join("state"), &["--placement", "partition"]);
    let log = File::create(&messages).unwrap();
    assert!(log.as_raw_fd() > 2);
    let mut held = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let says = |text: &str| {
        fs::read_to_string(&messages).ok().filter(|said| said.contains(text)).map(drop)
    };
    wait_for("the reservation", || says("held until Ctrl-C"));
    let mounts = Proc::default().text("mounts").unwrap();
    let cpusets = kernel::cpuset::Cpusets::find(&mounts).unwrap();
    let (hierarchy, tid) = (cpusets.hierarchy(), busy.0.id() as i32);
    let [cpu] = kernel::affinity::get(tid).unwrap()[..] else { panic!("one CPU") };
    let group = cpusets.measured(cpu);
    kernel::sched::change(tid, kernel::sched::Policy::Other { nice: 0 }).unwrap();
    let (path, value) = hierarchy.attach_thread(&hierarchy.root, tid);
    fs::write(path, value).unwrap();
    fs::remove_dir(&group).unwrap();
    wait_for("the warning", || says(&format!("thread {tid} is in group")));
    wait_for("the warning", || says("is gone, where"));
    kill(Pid::from_raw(held.id() as i32), Signal::SIGINT).unwrap();
    let status = held.wait().unwrap();
    assert!(status.success(), "{}", fs::read_to_string(&messages).unwrap());
    before.is_back();
}

/// So many repetitions in one run, without a growth of memory, descriptors, children or files.
#[test]
#[ignore = "part of the campaign `make torture`"]
fn two_hundred_repetitions_leave_no_more_than_ten() {
    const TEST: &str = "two_hundred_repetitions_leave_no_more_than_ten";
    let Some(_turn) = turn(TEST) else { return };
    built();
    let text = short("100ms", "repetitions = 200");
    let place = place(&text);
    let out = place.dir.path().join("out");
    let temporary = place.dir.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut child =
        run(&place, &out).env("TMPDIR", &temporary).stdout(Stdio::null()).spawn().unwrap();
    let count = |path: String| fs::read_dir(path).map_or(0, Iterator::count);
    let used = |number: u32| {
        wait_for_long(&out, number);
        let status = Proc::default().text(&format!("{}/status", child.id())).unwrap();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: u64 = rss.split_whitespace().next().unwrap().parse().unwrap();
        let descriptors = count(format!("/proc/{}/fd", child.id()));
        (kib, descriptors, count(temporary.display().to_string()))
    };
    let (early, late) = (used(10), used(195));
    eprintln!("KiB, descriptors, temporary files: {early:?} after 10, {late:?} after 195");
    assert!(child.wait().unwrap().success());
    assert!(late.0 < early.0 + 4096, "memory grew: {early:?}, {late:?}");
    assert!(late.1 <= early.1 + 2, "descriptors grew: {early:?}, {late:?}");
    assert!(late.2 <= early.2 + 2, "files were left: {early:?}, {late:?}");
    assert_eq!(count(temporary.display().to_string()), 0);
}

fn wait_for_long(out: &Path, number: u32) {
    let give_up = Instant::now() + Duration::from_secs(1800);
    let there =
        || folder(out).is_some_and(|one| one.join(format!("short/rep-{number:03}")).exists());
    while !there() {
        assert!(Instant::now() < give_up, "repetition {number} never came");
        sleep(Duration::from_millis(50));
    }
}

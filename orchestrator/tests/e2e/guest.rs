//! Real guests, under TCG, and a spinning one under KVM.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use crate::support::{Turn, alone, sibling};
use kernel::procfs::Proc;
use model::{Exit, suite::AcceleratorChoice};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use orchestrator::{
    error::exit_of,
    guest::{
        Accelerator, Contents, Guest, GuestSpec, Launch, Network, Plain, Qemu, Qmp, Status, Stream,
        choose, default_cache, ensure_kernel, find_qemu, spin,
    },
};

const LIMIT: Duration = Duration::from_secs(20);

pub struct Bench {
    pub qemu: Qemu,
    pub spec: GuestSpec,
    logs: tempfile::TempDir,
    _turn: Turn,
}

/// What guests are made of; none (and said so) where this machine has no QEMU or no kernel.
pub fn bench(test: &str) -> Option<Bench> {
    let turn = alone();
    let made = (|| {
        let cache = default_cache()?;
        Ok::<_, anyhow::Error>((find_qemu()?, ensure_kernel(&cache)?, cache))
    })();
    let (qemu, kernel, cache) = match made {
        Ok(made) => made,
        Err(error) => {
            eprintln!("SKIPPED: {test}: {error:#}");
            return None;
        }
    };
    let logs = tempfile::tempdir().unwrap();
    let contents = ["/bin/sh", "/bin/uname", "/bin/sleep", "/bin/cat", "/bin/head"]
        .into_iter()
        .fold(Contents::default(), |contents, program| contents.with_program(program.as_ref()));
    let spec = GuestSpec {
        name: "test".into(),
        contents,
        logs: logs.path().to_owned(),
        kernel,
        cache,
        agent: Some(sibling("guest-agent")),
        ..GuestSpec::default()
    };
    Some(Bench { qemu, spec, logs, _turn: turn })
}

impl Bench {
    pub fn launch(&self, stop: &AtomicBool) -> anyhow::Result<Guest> {
        let tcg = Accelerator::Tcg;
        Guest::launch(&Plain, &self.qemu, &self.spec, tcg, tcg.boot_limit(), stop)
    }

    pub fn launch_within(&self, limit: Duration) -> anyhow::Result<Guest> {
        let (tcg, stop) = (Accelerator::Tcg, AtomicBool::new(false));
        Guest::launch(&Plain, &self.qemu, &self.spec, tcg, limit, &stop)
    }

    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.logs.path().join(name)).unwrap()
    }
}

pub fn exists(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn shell(guest: &Guest, script: &str) -> (Status, String, String) {
    let stop = AtomicBool::new(false);
    let output = guest.run(&["sh", "-c", script], LIMIT, &stop).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status, text(output.stdout), text(output.stderr))
}

#[test]
fn a_guest_boots_works_and_ends() {
    let Some(mut bench) = bench("a_guest_boots_works_and_ends") else { return };
    bench.spec.network = Network::User { forwards: vec![] };
    let guest = bench.launch(&AtomicBool::new(false)).unwrap();
    eprintln!("boot: {:?}", guest.boot);
    assert_eq!(guest.hello.kernel, bench.spec.kernel.release);
    assert_eq!(guest.hello.cpus, 1);
    assert_eq!(guest.hello.warnings, [] as [&str; 0]);
    assert_eq!(guest.hello.network.as_deref(), Some("eth0"));

    commands(&guest);
    files(&guest, bench.logs.path());
    clock(&guest);
    threads(&guest);

    let pid = guest.pid();
    guest.shutdown().unwrap();
    assert!(!exists(pid));
    assert!(bench.log("console.log").contains("Power down"));
    assert!(bench.log("agent.log").contains("Hello"));
}

fn commands(guest: &Guest) {
    let stop = AtomicBool::new(false);
    let output = guest.run(&["uname", "-r"], LIMIT, &stop).unwrap();
    assert_eq!(output.stdout, format!("{}\n", guest.hello.kernel).into_bytes());
    assert_eq!(output.status, Status::Code(0));
    let (status, out, err) = shell(guest, "echo out; echo err >&2; exit 3");
    assert_eq!((status, out.as_str(), err.as_str()), (Status::Code(3), "out\n", "err\n"));
    let settings = "cat /proc/sys/kernel/sched_rt_runtime_us /sys/fs/cgroup/cgroup.procs";
    assert!(shell(guest, settings).1.starts_with("-1\n1\n"));
    assert!(shell(guest, "cat /proc/net/route").1.contains("eth0"));

    let missing = guest.run(&["no-such-program"], LIMIT, &stop).unwrap_err();
    assert!(missing.to_string().contains("no-such-program"), "{missing:#}");
    let begin = Instant::now();
    let late = guest.run(&["sleep", "60"], Duration::from_millis(300), &stop).unwrap_err();
    assert!(late.to_string().contains("did not come within"), "{late:#}");
    assert!(begin.elapsed() < Duration::from_secs(5));
    // It was killed, too.
    let running = "for f in /proc/[0-9]*/comm; do cat $f; done";
    assert!(!shell(guest, running).1.contains("sleep"));
    output_comes_while_the_command_runs(guest);
}

fn output_comes_while_the_command_runs(guest: &Guest) {
    let stop = AtomicBool::new(false);
    let argv = ["sh", "-c", "echo $GREETING; sleep 60"];
    let running = guest.start(&argv, &[("GREETING", "hello")], &stop).unwrap();
    let mut heard = Vec::new();
    let output = guest.wait(&running, LIMIT, &stop, |stream, bytes| {
        assert_eq!(stream, Stream::Stdout);
        heard.extend_from_slice(bytes);
        running.signal(15, LIMIT, &AtomicBool::new(false)).unwrap();
    });
    assert_eq!(output.unwrap().status, Status::Signal(15));
    assert_eq!(heard, b"hello\n");
}

fn files(guest: &Guest, folder: &Path) {
    let stop = AtomicBool::new(false);
    let content: Vec<u8> = (0..700_001_u32).map(|n| (n * 7 % 251) as u8).collect();
    guest.put("/tmp/deep/file", 0o640, &content, &stop).unwrap();
    let copy = folder.join("copy");
    guest.get("/tmp/deep/file", &copy, &stop).unwrap();
    assert!(std::fs::read(copy).unwrap() == content);
    assert_eq!(guest.read("/proc/sys/kernel/hostname", &stop).unwrap(), b"guest\n");
    let missing = guest.read("/no/such/file", &stop).unwrap_err();
    assert!(missing.to_string().contains("/no/such/file"), "{missing:#}");
}

fn clock(guest: &Guest) {
    let stop = AtomicBool::new(false);
    let busy = guest.start(&["sh", "-c", "while :; do :; done"], &[], &stop).unwrap();
    let first = guest.clock_offset(&stop).unwrap();
    sleep(Duration::from_millis(200));
    let second = guest.clock_offset(&stop).unwrap();
    busy.signal(9, LIMIT, &stop).unwrap();
    eprintln!("clock: {first:?}, later {second:?}");
    // The guest's clock began when QEMU did, or a little later.
    let guest_now = first.at_ns.cast_signed() + first.offset_ns;
    assert!((0..600_000_000_000).contains(&guest_now), "{guest_now}");
    assert!(first.uncertainty_ns < 50_000_000, "{first:?}");
    let moved = (second.offset_ns - first.offset_ns).unsigned_abs();
    assert!(moved <= first.uncertainty_ns + second.uncertainty_ns + 2_000_000, "{moved}");
}

fn threads(guest: &Guest) {
    let (proc, vcpus) = (Proc::default(), guest.vcpu_threads());
    assert_eq!(vcpus.len(), 1);
    assert_eq!(proc.name(vcpus[0]).unwrap(), "CPU 0/TCG");
    let others = guest.other_threads().unwrap();
    assert!(others.contains(&guest.pid()) && !others.contains(&vcpus[0]), "{others:?}");
    let stop = AtomicBool::new(false);
    let mut public = Qmp::connect(&guest.qmp_socket(), LIMIT, &stop).unwrap();
    assert_eq!(public.vcpu_threads(&stop).unwrap(), vcpus);
    assert_eq!(public.status(&stop).unwrap(), "running");
}

#[test]
fn a_killed_guest_is_an_error_at_once() {
    let Some(bench) = bench("a_killed_guest_is_an_error_at_once") else { return };
    let stop = AtomicBool::new(false);
    let guest = bench.launch(&stop).unwrap();
    let pid = guest.pid();
    let killer = thread::spawn(move || {
        sleep(Duration::from_millis(300));
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        Instant::now()
    });
    let error = guest.run(&["sleep", "60"], Duration::from_secs(60), &stop).unwrap_err();
    let killed = killer.join().unwrap();
    assert!(killed.elapsed() < Duration::from_secs(2), "noticed only after {:?}", killed.elapsed());
    let text = format!("{error:#}");
    assert!(text.contains("ended with signal 9"), "{text}");
    assert!(!guest.is_alive());
    let after = guest.read("/proc/uptime", &stop).unwrap_err();
    assert!(format!("{after:#}").contains("closed its control channel"), "{after:#}");
    guest.shutdown().unwrap_err();
    assert!(!exists(pid));
}

#[test]
fn a_guest_without_an_agent_says_why_and_leaves_nothing() {
    let Some(mut bench) = bench("a_guest_without_an_agent_says_why_and_leaves_nothing") else {
        return;
    };
    // Ends at once, which an /init must not.
    bench.spec.agent = Some("/bin/true".into());
    let begin = Instant::now();
    let error = bench.launch(&AtomicBool::new(false)).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("did not boot under tcg") && text.contains("Kernel panic"), "{text}");
    assert!(begin.elapsed() < Duration::from_secs(30), "waited for the time-out");
}

#[test]
fn a_signal_ends_the_wait_and_the_guest() {
    let Some(bench) = bench("a_signal_ends_the_wait_and_the_guest") else { return };
    let stop = AtomicBool::new(false);
    let error = thread::scope(|scope| {
        scope.spawn(|| {
            sleep(Duration::from_millis(300));
            stop.store(true, Ordering::Relaxed);
        });
        bench.launch(&stop).unwrap_err()
    });
    assert_eq!(exit_of(&error), Exit::Interrupted, "{error:#}");
    assert!(!our_qemu_runs("rtvm-test"));
}

/// Whether a child of this process runs a guest of that name.
fn our_qemu_runs(name: &str) -> bool {
    let own = std::process::id();
    let children = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.ok()?.path();
        let status = std::fs::read_to_string(path.join("status")).ok()?;
        status.contains(&format!("PPid:\t{own}\n")).then_some(path)
    });
    children
        .filter_map(|path| std::fs::read(path.join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(name))
}

#[test]
fn the_accelerator_is_chosen_by_booting_and_remembered() {
    let Some(mut bench) = bench("the_accelerator_is_chosen_by_booting_and_remembered") else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    bench.spec.cache = cache.path().to_owned();
    let stop = AtomicBool::new(false);
    let pick = |choice, host: &dyn Launch| choose(choice, host, &bench.qemu, &bench.spec, &stop);
    let auto = pick(AcceleratorChoice::Auto, &Plain).unwrap();
    eprintln!("auto: {auto:?}");
    // Nothing may be launched this time.
    let again = pick(AcceleratorChoice::Auto, &Never);
    assert_eq!(again.unwrap(), auto);
    match (pick(AcceleratorChoice::Kvm, &Never), auto.accelerator) {
        (Ok(chosen), Accelerator::Kvm) => assert_eq!(chosen.accelerator, Accelerator::Kvm),
        (Err(error), Accelerator::Tcg) => assert_eq!(exit_of(&error), Exit::Lacking),
        (other, _) => panic!("{other:?} after {auto:?}"),
    }
    assert_eq!(pick(AcceleratorChoice::Tcg, &Never).unwrap().accelerator, Accelerator::Tcg);
}

/// This host's QEMU, which crashes where KVM is asked for.
fn crashing(qemu: &Qemu, folder: &Path) -> Qemu {
    let program = folder.join("qemu");
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *'-accel kvm'*) echo 'Assertion failed' >&2; kill -ABRT $$;; \
         esac\nexec '{}' \"$@\"\n",
        qemu.program.display()
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    Qemu { program, ..qemu.clone() }
}

#[test]
fn the_probe_remembers_a_crash_of_qemu_and_nothing_that_is_not_kvms_fault() {
    const TEST: &str = "the_probe_remembers_a_crash_of_qemu_and_nothing_that_is_not_kvms_fault";
    let Some(mut bench) = bench(TEST) else { return };
    if let Err(error) = std::fs::File::options().read(true).write(true).open("/dev/kvm") {
        eprintln!("SKIPPED: {TEST}: /dev/kvm: {error}");
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    bench.spec.cache = cache.path().to_owned();
    let stop = AtomicBool::new(false);
    let auto = AcceleratorChoice::Auto;

    let missing = Qemu { program: cache.path().join("no-qemu"), ..bench.qemu.clone() };
    let error = choose(auto, &Plain, &missing, &bench.spec, &stop).unwrap_err();
    assert!(format!("{error:#}").contains("no-qemu"), "{error:#}");

    let script = cache.path().join("not-a-program");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    let contents = bench.spec.contents.clone().with_program(&script);
    let broken = GuestSpec { contents, ..bench.spec.clone() };
    let error = choose(auto, &Never, &bench.qemu, &broken, &stop).unwrap_err();
    assert!(format!("{error:#}").contains("not-a-program"), "{error:#}");

    let qemu = crashing(&bench.qemu, cache.path());
    let chosen = choose(auto, &Plain, &qemu, &bench.spec, &stop).unwrap();
    assert_eq!(chosen.accelerator, Accelerator::Tcg);
    assert!(chosen.reason.contains("QEMU crashed with signal 6; see "), "{}", chosen.reason);
    assert!(!chosen.reason.contains("Assertion"), "{}", chosen.reason);
    assert!(chosen.advice().unwrap().contains("make kvm"));
    let log = std::fs::read_to_string(chosen.reason.split_once("see ").unwrap().1).unwrap();
    assert!(log.contains("Assertion failed"), "{log}");
    assert_eq!(choose(auto, &Never, &qemu, &bench.spec, &stop).unwrap(), chosen);
}

struct Never;

impl Launch for Never {
    fn spawn(&self, command: &mut Command) -> std::io::Result<std::process::Child> {
        panic!("launched {command:?}, though the outcome is remembered");
    }
}

#[test]
fn a_boot_sector_spins_under_kvm() {
    let Some(bench) = bench("a_boot_sector_spins_under_kvm") else { return };
    if let Err(error) = std::fs::File::options().read(true).write(true).open("/dev/kvm") {
        eprintln!("SKIPPED: a_boot_sector_spins_under_kvm: /dev/kvm: {error}");
        return;
    }
    let guest = spin(&Plain, &bench.qemu, bench.logs.path(), &AtomicBool::new(false)).unwrap();
    let (proc, vcpu, pid) = (Proc::default(), guest.vcpu_thread(), guest.pid());
    assert_eq!(proc.name(vcpu).unwrap(), "CPU 0/KVM");
    sleep(Duration::from_millis(500));
    let before = proc.thread_times(vcpu).unwrap().cpu_ns;
    let begin = Instant::now();
    sleep(Duration::from_millis(500));
    let used = proc.thread_times(vcpu).unwrap().cpu_ns - before;
    let share = used as f64 / begin.elapsed().as_nanos() as f64;
    eprintln!("share of the spinning vCPU: {share:.3}");
    assert!(share > 0.5, "{share}");
    drop(guest);
    assert!(!exists(pid));
}

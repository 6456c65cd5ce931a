//! The bench away from this repository: the Debian package and the tarball of static programs, in a
//! folder, in a clean root, and in a Debian lab host with libvirt, where reservations come with the
//! domains.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{
    libvirt::{Case, cases},
    support::{alone, orchestrator, sibling, stderr, stdout, turn},
};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e").join(name)
}

/// The folder of the programs that were built with this one.
fn built() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_orchestrator")).parent().unwrap()
}

/// The package, made of the programs beside this one. A build of the tests has all of them.
fn package(into: &Path) -> PathBuf {
    sibling("reports");
    let mut make = Command::new("sh");
    make.arg(repository().join("scripts/deb.sh")).arg(into).arg(built());
    let output = make.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    PathBuf::from(stdout(&output).trim())
}

/// Runs a program of an installation with nothing of this process's environment.
fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command
}

fn said(output: &Output) -> String {
    format!("{}\n{}", stdout(output), stderr(output))
}

/// The small form of the package, without an archive: the programs laid out as in it are used from
/// there, and every script of the package is one that a shell can read.
#[test]
fn the_staged_programs_find_each_other_and_their_pages() {
    let _turn = alone();
    sibling("reports");
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("usr");
    let mut stage = Command::new("sh");
    stage.arg(repository().join("scripts/stage.sh")).arg(built()).arg(&prefix);
    let staged = stage.output().unwrap();
    assert!(staged.status.success(), "{}", said(&staged));
    let crates = fs::read_to_string(prefix.join("share/doc/rt-vm-bench/crates.txt")).unwrap();
    assert!(crates.lines().any(|line| line.starts_with("clap v")), "{crates}");
    let mut used = bare(Path::new("/bin/bash"));
    used.arg(script("installed.sh")).arg(&prefix).arg("unchecked");
    let used = used.output().unwrap();
    assert!(stdout(&used).contains("case installed | programs 6"), "{}", said(&used));

    // The control scripts of a Debian package have no extension.
    let is_script = |path: &Path| {
        let control = path.parent().is_some_and(|own| own.ends_with("debian"))
            && !path.ends_with("copyright");
        control || path.extension().is_some_and(|own| own == "sh")
    };
    for folder in ["packaging/debian", "fleet", "scripts", "orchestrator/src/hook"] {
        let entries = fs::read_dir(repository().join(folder)).unwrap();
        let files = entries.map(|own| own.unwrap().path()).filter(|path| is_script(path));
        let files: Vec<PathBuf> = files.collect();
        assert!(!files.is_empty(), "{folder}");
        for file in files {
            let read = Command::new("sh").arg("-n").arg(&file).output().unwrap();
            assert!(read.status.success(), "{}: {}", file.display(), said(&read));
        }
    }
}

/// A guest that runs tasks: for it `orchestrator` needs `rtload` and `guest-agent`.
const SUITE: &str = r#"
name = "taken-home"
[host]
sentinel = false
trace = false
[guest]
accelerator = "tcg"
[noise]
retries = 0
[[experiment]]
name = "in-guest"
where = "guest"
tasks = ["3ms/30ms"]
duration = "1s"
"#;

/// Unpacked into a folder, the programs find each other there; what is missing is an
/// error that names every place; each file is as the list of checksums has it.
#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn an_unpacked_package_works_wherever_it_is() {
    const TEST: &str = "an_unpacked_package_works_wherever_it_is";
    let Some(_turn) = turn(TEST) else { return };
    let dir = tempfile::tempdir().unwrap();
    let package = package(dir.path());
    let root = dir.path().join("elsewhere");
    let unpack =
        Command::new("dpkg-deb").arg("-x").args([&package, &root]).status().unwrap().success();
    let control =
        Command::new("dpkg-deb").arg("-e").args([&package, &dir.path().join("control")]).status();
    assert!(unpack && control.unwrap().success());
    let sums = Command::new("md5sum")
        .args(["--check", "--quiet"])
        .arg(dir.path().join("control/md5sums"))
        .current_dir(&root)
        .output()
        .unwrap();
    assert!(sums.status.success(), "{}", said(&sums));
    // The shell's libraries are this host's, which has those that the package depends on.
    let used =
        bare(Path::new("/bin/bash")).arg(script("installed.sh")).arg(root.join("usr")).output();
    let used = used.unwrap();
    assert!(stdout(&used).contains("case installed | programs 6"), "{}", said(&used));

    let (suite, out) = (dir.path().join("suite.toml"), dir.path().join("results"));
    fs::write(&suite, SUITE).unwrap();
    let home = std::env::var_os("HOME").unwrap_or_default();
    let run = || {
        let mut run = bare(&root.join("usr/bin/orchestrator"));
        run.arg("run").arg(&suite).arg("--out").arg(&out);
        run.env("HOME", &home).env("RTVM_STATE_DIR", dir.path().join("state")).output().unwrap()
    };
    let measured = run();
    assert_eq!(measured.status.code(), Some(0), "{}", said(&measured));
    let folder = PathBuf::from(stdout(&measured).trim());
    assert!(folder.join("in-guest/rep-000/jobs.csv").is_file(), "{}", said(&measured));

    fs::remove_file(root.join("usr/libexec/rt-vm-bench/guest-agent")).unwrap();
    let refused = run();
    let text = said(&refused);
    for place in
        ["`guest-agent`", "elsewhere/usr/bin", "elsewhere/usr/libexec/rt-vm-bench", "/usr/bin"]
    {
        assert!(text.contains(place), "{place}: {text}");
    }
    assert_eq!(refused.status.code(), Some(3), "{text}");
}

/// A program without shared libraries runs where there is nothing else, and `make dist` takes no
/// other.
#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn static_programs_need_no_other_file() {
    const TEST: &str = "static_programs_need_no_other_file";
    let Some(_turn) = turn(TEST) else { return };
    let check = |program: &Path| {
        let script = repository().join("scripts/is-static.sh");
        Command::new("sh").arg(script).arg(program).output().unwrap()
    };
    let built = sibling("cgi-rotate-static");
    if !built.is_file() {
        let made = Command::new("sh")
            .arg(repository().join("scripts/static.sh"))
            .arg("cgi-rotate")
            .output()
            .unwrap();
        assert!(built.is_file(), "{}", said(&made));
    }
    let shared = check(&sibling("cgi-rotate"));
    assert_eq!(shared.status.code(), Some(1), "{}", said(&shared));
    assert!(
        stderr(&shared).contains("cgi-rotate needs a loader or shared libraries"),
        "{}",
        said(&shared)
    );
    assert_eq!(check(Path::new("/no/such/program")).status.code(), Some(1));
    assert!(check(&built).status.success());
    let root = tempfile::tempdir().unwrap();
    fs::copy(&built, root.path().join("program")).unwrap();
    let alone = Command::new("chroot")
        .arg(root.path())
        .args([
            "/program", "--angle", "20", "--width", "64", "--height", "48", "--reply", "summary",
        ])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap();
    assert!(alone.status.success() && !alone.stdout.is_empty(), "{}", said(&alone));
}

/// What a script in a lab host with Debian says; none, and said so, where there can be none.
fn in_lab(
    test: &str,
    disk: Option<&Path>,
    with: &[PathBuf],
    command: &[&str],
) -> Option<(String, BTreeMap<String, Case>)> {
    let state = tempfile::tempdir().unwrap();
    let mut lab = orchestrator(state.path());
    lab.args(["lab", "--root", "debian"]);
    if let Some(disk) = disk {
        lab.arg("--disk").arg(disk);
    }
    for path in with {
        lab.arg("--with").arg(path);
    }
    let output = lab.arg("--").args(command).output().unwrap();
    if output.status.code() == Some(3) {
        eprintln!("SKIPPED: {test}: {}", stderr(&output));
        return None;
    }
    let all = said(&output);
    assert!(output.status.success(), "{all}");
    eprintln!("{all}");
    Some((all, cases(&stdout(&output))))
}

/// Fails with everything that was said where a case is not as it should be.
fn is(cases: &BTreeMap<String, Case>, all: &str, name: &str, expected: &[(&str, &str)]) {
    let case = cases.get(name).unwrap_or_else(|| panic!("no case {name} in {all}"));
    for (key, value) in expected {
        assert_eq!(case.get(*key).map(String::as_str), Some(*value), "{name}: {key}: {all}");
    }
}

/// (10 ms, 50 ms), as `chrt` shows it.
const RESERVED: (&str, &str) = ("policy", "10000000/50000000");

#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn the_package_is_installed_used_and_purged_in_a_clean_root() {
    const TEST: &str = "the_package_is_installed_used_and_purged_in_a_clean_root";
    let Some(_turn) = turn(TEST) else { return };
    let dir = tempfile::tempdir().unwrap();
    let package = package(dir.path());
    let mut clean = Command::new("sh");
    let output = clean.arg(script("clean-root.sh")).arg(&package).output().unwrap();
    // mmdebstrap sends what its hooks print to its standard error.
    let all = said(&output);
    let cases = cases(&all);
    assert!(output.status.success(), "{all}");
    is(&cases, &all, "installed", &[("programs", "6")]);
    is(&cases, &all, "removed", &[("kept", "1"), ("left", "0")]);
}

#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn a_domain_keeps_its_reservation_whatever_restarts() {
    const TEST: &str = "a_domain_keeps_its_reservation_whatever_restarts";
    let Some(_turn) = turn(TEST) else { return };
    let dir = tempfile::tempdir().unwrap();
    let with = [package(dir.path()), script("domains.sh"), script("configured.sh")];
    let Some((all, cases)) = in_lab(TEST, None, &with, &["sh", "configured.sh", "all"]) else {
        return;
    };
    let is = |name: &str, expected: &[(&str, &str)]| is(&cases, &all, name, expected);
    is("package", &[("exit", "0"), ("state", "installed")]);
    is("hook", &[("exit", "0"), ("mode", "755")]);
    is("started", &[RESERVED]);
    let share: f64 = cases["started"]["share"].parse().unwrap();
    assert!((0.17..0.23).contains(&share), "{all}");
    for n in 1..=10 {
        is(&format!("restart-{n}"), &[RESERVED]);
    }
    is("reset", &[RESERVED]);
    is("libvirtd-restarted", &[("state", "same")]);
    let by_vcpu = [("second", "5000000/50000000"), ("first", "SCHED_OTHER"), ("free", RESERVED.1)];
    is("by-vcpu", &by_vcpu);
    is("other", &[("policy", "SCHED_OTHER"), ("unit", "success"), ("said", "1")]);
    is("killed", &[("meanwhile", "SCHED_OTHER"), RESERVED]);
    is("ended", &[("unit", "inactive"), ("left", "nothing_to_restore")]);
    is("purged", &[("policy", "SCHED_OTHER"), ("domain", "running"), ("hooks", "0")]);
}

#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn a_reservation_is_back_after_the_host_was_rebooted() {
    const TEST: &str = "a_reservation_is_back_after_the_host_was_rebooted";
    let Some(_turn) = turn(TEST) else { return };
    let dir = tempfile::tempdir().unwrap();
    let with = [package(dir.path()), script("domains.sh"), script("configured.sh")];
    let disk = dir.path().join("disk");
    let boot = |what| in_lab(TEST, Some(&disk), &with, &["sh", "configured.sh", what]);
    let Some((all, cases)) = boot("reboot") else { return };
    is(&cases, &all, "started", &[RESERVED]);
    let (all, cases) = boot("after").unwrap();
    is(&cases, &all, "autostarted", &[RESERVED, ("unit", "active")]);
}

/// The tarball of `make dist`, in a Debian whose own copies of the programs are out of the way.
#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn the_tarball_of_static_programs_works_without_a_toolchain() {
    const TEST: &str = "the_tarball_of_static_programs_works_without_a_toolchain";
    let Some(_turn) = turn(TEST) else { return };
    let made = Command::new("sh").arg(repository().join("scripts/dist.sh")).output().unwrap();
    assert!(made.status.success(), "{}", said(&made));
    let tarball = repository().join(stdout(&made).trim());
    let dir = tempfile::tempdir().unwrap();
    let suite = dir.path().join("suite.toml");
    fs::write(&suite, SUITE.replace("\"tcg\"", "\"kvm\"")).unwrap();
    let with = [tarball, script("installed.sh"), suite];
    let command = "set -e; PATH=/usr/sbin:/usr/bin:/sbin:/bin; mkdir /opt/bench; \
                   tar -C /opt/bench --strip-components=1 -xf rt-vm-bench-*.tar.gz; \
                   bash installed.sh /opt/bench; \
                   folder=$(/opt/bench/bin/orchestrator run suite.toml --out $OUT); \
                   echo \"case guest | jobs $(wc -l < $folder/in-guest/rep-000/jobs.csv)\"";
    let Some((all, cases)) = in_lab(TEST, None, &with, &["sh", "-c", command]) else { return };
    is(&cases, &all, "installed", &[("programs", "6")]);
    let jobs: u32 = cases["guest"]["jobs"].parse().unwrap();
    assert!(jobs > 20, "{all}");
}

//! Slurm with `proctrack/cgroup` and `task/cgroup`, and this project's Prolog, Epilog and
//! HealthCheckProgram, in a Debian lab host with cgroup v2: one boot, several cases
//! (`slurm-cgroup.sh`).

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    cluster::lacks,
    package::{in_lab, is},
    support::{stdout, turn},
};

const PACKAGES: [&str; 6] =
    ["libmunge2", "munge", "slurm-client", "slurm-wlm-basic-plugins", "slurmctld", "slurmd"];

/// Of these the libraries come along.
const PROGRAMS: [&str; 5] = [
    "/usr/sbin/slurmd-wlm",
    "/usr/sbin/slurmctld-wlm",
    "/usr/sbin/munged",
    "/usr/bin/sinfo",
    "/usr/lib/x86_64-linux-gnu/slurm-wlm/cgroup_v2.so",
];

const SHORT: &str = r#"
name = "short"
[noise]
retries = 0
[[experiment]]
name = "alone"
where = "host"
tasks = ["3ms/15ms"]
duration = "1s"
[[experiment]]
name = "reserved"
where = "guest"
tasks = ["5ms/50ms"]
duration = "2s"
reservation = { budget = "20ms", period = "50ms" }
"#;

const LONG: &str = r#"
name = "long"
[noise]
retries = 0
[[experiment]]
name = "alone"
where = "host"
tasks = ["3ms/15ms"]
duration = "1s"
repetitions = 60
"#;

/// This host's own Slurm as an archive, with the libraries that a small Debian has not.
fn archive(place: &Path) {
    let lines = |command: &mut Command| stdout(&command.output().unwrap());
    let mut files: BTreeSet<String> = BTreeSet::new();
    for package in PACKAGES {
        let listed = lines(Command::new("dpkg").args(["-L", package]));
        let wanted = |path: &&str| !path.starts_with("/usr/share/") && Path::new(path).is_file();
        files.extend(listed.lines().filter(wanted).map(str::to_owned));
    }
    for program in PROGRAMS {
        let libraries = lines(Command::new("ldd").arg(program));
        let path = |line: &str| Some(line.split_once("=> ")?.1.split(' ').next()?.to_owned());
        // The lab's own C library goes with its own loader.
        let own = |path: &String| !["/libc.so", "/libm.so"].iter().any(|name| path.contains(name));
        files.extend(libraries.lines().filter_map(path).filter(own));
    }
    let list = place.with_extension("list");
    fs::write(&list, files.into_iter().collect::<Vec<_>>().join("\n")).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--create", "--dereference", "--no-recursion", "--file"]).arg(place);
    assert!(tar.arg("--files-from").arg(&list).status().unwrap().success());
}

#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn slurms_own_cgroups_and_the_benchs_do_not_fight() {
    const TEST: &str = "slurms_own_cgroups_and_the_benchs_do_not_fight";
    let Some(_turn) = turn(TEST) else { return };
    if let Some(lacks) = lacks() {
        return eprintln!("SKIPPED: {TEST}: {lacks}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    archive(&path("slurm.tar"));
    fs::write(path("short.toml"), SHORT).unwrap();
    fs::write(path("long.toml"), LONG).unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut with: Vec<PathBuf> =
        vec![here.join("tests/e2e/slurm-cgroup.sh"), here.join("../fleet")];
    with.extend(["slurm.tar", "short.toml", "long.toml"].map(path));
    let command = ["sh", "slurm-cgroup.sh", "slurm.tar"];
    let Some((all, cases)) = in_lab(TEST, None, &with, &command) else { return };
    is(&cases, &all, "cgroup", &[("state", "done"), ("left", "")]);
    is(&cases, &all, "cancelled", &[("state", "killed"), ("left", "")]);
    is(&cases, &all, "killed", &[("state", "killed"), ("left", "")]);
    assert!(cases["cgroup"]["jobs"].parse::<u32>().unwrap() > 80, "{all}");
    assert!(cases["unhealthy"]["state"].contains("drain"), "{all}");
}

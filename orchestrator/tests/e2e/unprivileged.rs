//! What works without root, tried as a user who is nobody.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Output},
};

use model::manifest::Status;

use crate::{
    run::manifest,
    support::{sibling, stderr, stdout, turn},
};

const NOBODY: u32 = 65534;

const SUITE: &str = r#"
name = "plain"
[guest]
accelerator = "tcg"
[noise]
retries = 0
[[experiment]]
name = "guest"
where = "guest"
tasks = ["3ms/150ms"]
duration = "1s"
[[experiment]]
name = "host"
where = "host"
tasks = ["3ms/15ms"]
duration = "1s"
"#;

/// Copies of the programs and of the guest's kernel where nobody may use them, and a home.
struct Plain(tempfile::TempDir);

impl Plain {
    fn new() -> Self {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let place = Self(dir);
        let bin = place.path("bin");
        fs::create_dir(&bin).unwrap();
        for name in ["orchestrator", "rtload", "guest-agent", "rtplan", "reports", "webload"] {
            fs::copy(sibling(name), bin.join(name)).unwrap();
        }
        fs::copy(sibling("cgi-rotate"), bin.join("cgi-rotate")).unwrap();
        fs::write(place.path("suite.toml"), SUITE).unwrap();
        let cache = place.path("cache");
        fs::create_dir(&cache).unwrap();
        let own = orchestrator::guest::default_cache().unwrap();
        let copied = Command::new("cp").arg("-a").arg(own.join("kernel")).arg(&cache).status();
        assert!(copied.unwrap().success());
        for part in ["", "cache", "cache/kernel"] {
            fs::set_permissions(place.path(part), fs::Permissions::from_mode(0o755)).unwrap();
            chown(place.path(part), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        fs::create_dir_all(place.path("cache/rt-vm-bench")).unwrap();
        fs::rename(place.path("cache/kernel"), place.path("cache/rt-vm-bench/kernel")).unwrap();
        chown(place.path("cache/rt-vm-bench"), Some(NOBODY), Some(NOBODY)).unwrap();
        place
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.path("bin").join(program));
        command.args(arguments).current_dir(self.0.path()).uid(NOBODY).gid(NOBODY);
        command.env("HOME", self.0.path()).env("XDG_CACHE_HOME", self.path("cache"));
        command.env("TMPDIR", "/tmp").env_remove("XDG_RUNTIME_DIR").env_remove("RTVM_STATE_DIR");
        command.output().unwrap()
    }
}

#[test]
fn a_guest_without_a_reservation_needs_no_root_and_the_rest_says_what_does() {
    const TEST: &str = "a_guest_without_a_reservation_needs_no_root_and_the_rest_says_what_does";
    let Some(_turn) = turn(TEST) else { return };
    if orchestrator::guest::find_qemu().is_err() {
        eprintln!("SKIPPED: {TEST}: QEMU is not installed");
        return;
    }
    let plain = Plain::new();
    let refused = plain.run("orchestrator", &["run", "suite.toml"]);
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    let said = stderr(&refused);
    assert!(said.contains("experiment `host`: its tasks run in SCHED_FIFO"), "{said}");
    assert!(said.contains("--only guest"), "{said}");
    assert!(!plain.path("results").exists());

    let run = plain.run("orchestrator", &["run", "suite.toml", "--only", "guest"]);
    assert!(run.status.success(), "{}", stderr(&run));
    let folder = plain.0.path().join(stdout(&run).trim());
    let manifest = manifest(&folder);
    assert_eq!(manifest.repetitions[0].status, Status::Done);
    let warnings = &manifest.repetitions[0].facts.warnings;
    assert!(warnings.iter().any(|one| one.contains("without privileges")), "{warnings:?}");
    let rendered = plain.run("reports", &["render", &folder.display().to_string()]);
    assert!(rendered.status.success(), "{}", stderr(&rendered));
    let _state = fs::remove_dir_all(Path::new("/tmp").join(format!("rt-vm-bench-{NOBODY}")));
}

#[test]
fn what_touches_nothing_works_for_everybody() {
    const TEST: &str = "what_touches_nothing_works_for_everybody";
    let Some(_turn) = turn(TEST) else { return };
    let plain = Plain::new();
    let works: [(&str, &[&str]); 4] = [
        ("rtplan", &["budget", "--task", "30ms/150ms", "--period", "50ms"]),
        ("rtload", &["calibrate", "--for", "100ms", "--save", "calibration.json"]),
        (
            "rtload",
            &[
                "run",
                "--task",
                "3ms/15ms",
                "--policy",
                "other",
                "--duration",
                "300ms",
                "--check",
                "off",
                "--calibration",
                "calibration.json",
            ],
        ),
        ("orchestrator", &["run", "suite.toml", "--dry-run"]),
    ];
    for (program, arguments) in works {
        let output = plain.run(program, arguments);
        assert!(output.status.success(), "{program} {arguments:?}: {}", stderr(&output));
    }
    let needs_root: [(&str, &[&str]); 2] = [
        ("orchestrator", &["reserve", "--tid", "1", "--reservation", "5ms/50ms"]),
        (
            "rtload",
            &[
                "run",
                "--task",
                "3ms/15ms",
                "--policy",
                "fifo",
                "--duration",
                "300ms",
                "--check",
                "off",
                "--calibration",
                "calibration.json",
            ],
        ),
    ];
    for (program, arguments) in needs_root {
        let output = plain.run(program, arguments);
        assert_eq!(output.status.code(), Some(3), "{program}: {}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains("root") || said.contains("CAP_SYS_NICE"), "{program}: {said}");
    }
}

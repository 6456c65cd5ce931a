//! `make suite` by an ordinary user, made for the test: asked once, sudo for what needs it, and the
//! results are the user's.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::run::short;
use crate::support::{sibling, stderr, stdout, turn};

/// Everything is built already; only the static program is not.
const CARGO: &str = "#!/bin/sh\n[ \"$1\" != rustc ]\n";

/// A user who may use sudo, and a work tree of the user's own. Both go with it.
struct User {
    name: String,
    sudoers: PathBuf,
    home: PathBuf,
    uid: u32,
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", stderr(&output));
}

impl User {
    fn new() -> Self {
        let name = format!("rtvm-test-{}", std::process::id());
        let home = PathBuf::from("/home").join(&name);
        done(Command::new("useradd").args(["--create-home", "--shell", "/bin/sh", &name]));
        let sudoers = Path::new("/etc/sudoers.d").join(&name);
        let uid = fs::metadata(&home).unwrap().uid();
        let user = Self { sudoers, home, uid, name };
        fs::write(&user.sudoers, format!("{} ALL=(ALL) NOPASSWD: ALL\n", user.name)).unwrap();
        fs::set_permissions(&user.sudoers, fs::Permissions::from_mode(0o440)).unwrap();
        user.make_tree();
        user
    }

    fn tree(&self) -> PathBuf {
        self.home.join("bench")
    }

    fn make_tree(&self) {
        let (tree, bin) = (self.tree(), self.tree().join("target/release"));
        fs::create_dir_all(&bin).unwrap();
        for name in ["orchestrator", "rtload", "guest-agent", "rtplan", "reports", "cgi-rotate"] {
            fs::copy(sibling(name), bin.join(name)).unwrap();
        }
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
        done(Command::new("cp").arg("-a").arg(own).arg(&tree));
        fs::write(tree.join("tiny.toml"), short("1s", "")).unwrap();
        let cargo = self.home.join(".cargo/bin/cargo");
        fs::create_dir_all(cargo.parent().unwrap()).unwrap();
        fs::write(&cargo, CARGO).unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        done(Command::new("chown").arg("-R").arg(format!("{0}:{0}", self.name)).arg(&self.home));
    }

    /// Runs a shell's line in the tree as this user, who answers once.
    fn types(&self, line: &str, answer: &str) -> Output {
        let mut command = Command::new("runuser");
        command.args(["-u", &self.name, "--", "env", "-i"]);
        command.arg(format!("HOME={}", self.home.display()));
        command.arg(format!("PATH={}/.cargo/bin:/usr/bin:/bin:/usr/sbin", self.home.display()));
        command.args(["sh", "-c", line]).current_dir(self.tree());
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        let _refused_early = writeln!(child.stdin.take().unwrap(), "{answer}");
        child.wait_with_output().unwrap()
    }

    /// Every file of the result folder that the scripts name is the user's.
    fn owns_results(&self, output: &Output) {
        let said = stdout(output);
        assert!(output.status.success(), "{said}{}", stderr(output));
        let folder = said.lines().find_map(|line| line.strip_prefix("Results: ")).unwrap();
        let folder = self.tree().join(folder.trim());
        let mut strange = Command::new("find");
        strange.arg(self.tree()).args(["!", "-user", &self.name]);
        assert_eq!(stdout(&strange.output().unwrap()), "", "not the user's");
        assert!(folder.join("report/index.html").exists() && self.uid != 0);
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.sudoers);
        let _ = Command::new("userdel").arg("--remove").arg(&self.name).output();
    }
}

#[test]
fn make_suite_asks_an_ordinary_user_once_and_goes_on_with_sudo() {
    const TEST: &str = "make_suite_asks_an_ordinary_user_once_and_goes_on_with_sudo";
    let Some(_turn) = turn(TEST) else { return };
    if Command::new("sudo").arg("--version").output().is_err() {
        eprintln!("SKIPPED: {TEST}: sudo is not installed");
        return;
    }
    // A user who may do everything, on somebody's own machine, were it left behind by a kill.
    if std::env::var("CI").as_deref() != Ok("true") {
        eprintln!("SKIPPED: {TEST}: it makes a user with sudo; CI=true makes it run");
        return;
    }
    let user = User::new();
    let refused = user.types("scripts/suite.sh tiny.toml", "n");
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("not run: Running the experiments needs root"));
    assert!(!user.tree().join("results").exists(), "nothing was begun");

    let once = user.types("scripts/suite.sh tiny.toml", "y");
    user.owns_results(&once);
    assert_eq!(stderr(&once).matches("[y/N]").count(), 1, "{}", stderr(&once));
    // With all of it under sudo, cargo is the user's and is found.
    let sudo = user.types("sudo scripts/suite.sh tiny.toml", "");
    user.owns_results(&sudo);
    assert!(!stderr(&sudo).contains("[y/N]"), "{}", stderr(&sudo));
}

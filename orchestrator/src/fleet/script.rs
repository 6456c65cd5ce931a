//! The job script: one for all hosts, an array with one task for each suite.

use std::{fmt::Write, path::Path};

use crate::host::quoted;

/// What a script is made of.
#[derive(Debug, Clone)]
pub struct Script<'a> {
    /// The fleet's name.
    pub name: &'a str,
    /// The fleet's folder, absolute, which every host sees.
    pub folder: &'a Path,
    /// Where a host keeps a run's results while it measures.
    pub scratch: &'a str,
    /// The program, as the hosts have it.
    pub program: &'a Path,
    /// The hosts.
    pub hosts: &'a [String],
    /// Names of the suites, in the order of the array.
    pub suites: &'a [String],
    /// Further options of sbatch.
    pub options: &'a [String],
}

const BODY: &str = include_str!("job.sh");

impl Script<'_> {
    /// Its text.
    #[must_use]
    pub fn text(&self) -> String {
        let folder = self.folder.display().to_string();
        let file = format!("{folder}/job.sh");
        let scratch = self.scratch.trim_end_matches('/');
        let mut text = "#!/bin/sh\n".to_owned();
        let mut line = |own: String| writeln!(text, "{own}").unwrap_or_default();
        line("# Written by `orchestrator submit`. By hand:".to_owned());
        line(format!("#   for host in {}; do", self.hosts.join(" ")));
        line(format!("#       sbatch --nodelist=$host {}", quoted(&file)));
        line("#   done".to_owned());
        line(format!("#SBATCH --job-name={}", self.name));
        line(format!("#SBATCH --array=0-{}", self.suites.len() - 1));
        line("#SBATCH --nodes=1".to_owned());
        line("#SBATCH --ntasks=1".to_owned());
        line("#SBATCH --exclusive".to_owned());
        line("#SBATCH --requeue".to_owned());
        line("#SBATCH --open-mode=append".to_owned());
        line(format!(
            "#SBATCH --output={}",
            quoted_option(&format!("{folder}/log/slurm-%A_%a.log"))
        ));
        self.options.iter().for_each(|own| line(format!("#SBATCH {}", option(own))));
        for (index, suite) in self.suites.iter().enumerate() {
            line(format!("# {index}: {suite}"));
        }
        line(String::new());
        line(format!("fleet={}", quoted(&folder)));
        line(format!("scratch={}", quoted(&format!("{scratch}/{}", self.name))));
        line(format!("orchestrator={}", quoted(&self.program.display().to_string())));
        text + BODY
    }
}

/// An option of sbatch with its value, where it has one, as one word.
fn option(text: &str) -> String {
    match text.split_once('=') {
        Some((name, value)) => format!("{name}={}", quoted_option(value)),
        None => text.to_owned(),
    }
}

/// One word for sbatch's reading of `#SBATCH` lines, in which only double quotes join; a text that
/// has them stays as its author wrote it.
fn quoted_option(text: &str) -> String {
    let splits = text.contains([' ', '\t', '\'', '#']) && !text.contains('"');
    if splits { format!("\"{text}\"") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn script(folder: &Path, program: &Path, scratch: &Path) -> String {
        Script {
            name: "f",
            folder,
            scratch: scratch.to_str().unwrap(),
            program,
            hosts: &["n1".to_owned(), "n2".to_owned()],
            suites: &["quick".to_owned(), "quick-kvm".to_owned()],
            options: &["--partition=lab".to_owned(), "--comment=two words".to_owned()],
        }
        .text()
    }

    #[test]
    fn its_head_says_what_is_run_and_how_to_submit_it_by_hand() {
        let text =
            script(Path::new("/shared/it's"), Path::new("/opt/orchestrator"), Path::new("/s"));
        insta::assert_snapshot!(text.split("\n# Runs").next().unwrap(), @r##"
        #!/bin/sh
        # Written by `orchestrator submit`. By hand:
        #   for host in n1 n2; do
        #       sbatch --nodelist=$host '/shared/it'\''s/job.sh'
        #   done
        #SBATCH --job-name=f
        #SBATCH --array=0-1
        #SBATCH --nodes=1
        #SBATCH --ntasks=1
        #SBATCH --exclusive
        #SBATCH --requeue
        #SBATCH --open-mode=append
        #SBATCH --output="/shared/it's/log/slurm-%A_%a.log"
        #SBATCH --partition=lab
        #SBATCH --comment="two words"
        # 0: quick
        # 1: quick-kvm

        fleet='/shared/it'\''s'
        scratch=/s/f
        orchestrator=/opt/orchestrator
        "##);
    }

    /// A fleet's folder on this host, and a program in place of the bench.
    struct Stand {
        dir: tempfile::TempDir,
    }

    impl Stand {
        fn new(program: &str) -> Self {
            use std::os::unix::fs::PermissionsExt;
            let dir = tempfile::tempdir().unwrap();
            let own = Self { dir };
            for name in ["fleet/suites", "fleet/state", "fleet/log", "scratch"] {
                std::fs::create_dir_all(own.path(name)).unwrap();
            }
            std::fs::write(own.path("fleet/suites/1.toml"), "name = \"quick\"").unwrap();
            let text =
                format!("#!/bin/sh\necho \"$@\" >> '{}'\n{program}", own.path("asked").display());
            std::fs::write(own.path("program"), text).unwrap();
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(own.path("program"), mode).unwrap();
            own
        }

        fn path(&self, below: &str) -> std::path::PathBuf {
            self.dir.path().join(below)
        }

        fn command(&self) -> Command {
            let text = script(&self.path("fleet"), &self.path("program"), &self.path("scratch"));
            std::fs::write(self.path("job.sh"), text).unwrap();
            let mut command = Command::new("sh");
            command.arg(self.path("job.sh")).env("SLURMD_NODENAME", "n1");
            command.env("SLURM_ARRAY_TASK_ID", "1").env("SLURM_ARRAY_JOB_ID", "7");
            command.env("SLURM_JOB_ID", "8").stdout(Stdio::null()).stderr(Stdio::null());
            command
        }

        fn read(&self, below: &str) -> String {
            std::fs::read_to_string(self.path(below)).unwrap_or_default()
        }

        fn events(&self) -> Vec<String> {
            let text = self.read("fleet/state/n1-1");
            text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
        }
    }

    const MAKES_A_FOLDER: &str = r#"
case $1 in run) ;; *) exit 0 ;; esac
while [ $# -gt 0 ]; do
    case $1 in --out) folder=$2/quick-x; mkdir -p "$folder"; echo x > "$folder/suite.toml" ;; esac
    case $1 in --resume) echo resumed >> "$2/again" ;; esac
    shift
done
"#;

    #[test]
    fn what_a_run_measured_comes_back_and_leaves_the_host() {
        let stand = Stand::new(&format!("{MAKES_A_FOLDER}\nexit 4\n"));
        assert_eq!(stand.command().status().unwrap().code(), Some(4));
        assert_eq!(stand.events(), ["7 started", "7 ended 4", "7 delivered"]);
        assert_eq!(stand.read("fleet/results/n1/1/quick-x/suite.toml"), "x\n");
        assert!(!stand.path("scratch/f/n1/1").exists());
        let asked = stand.read("asked");
        let words: Vec<&str> = asked.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(words, ["restore", "run", "restore"], "before and afterwards");
    }

    #[test]
    fn a_run_that_is_killed_is_gone_on_with_at_most_twice() {
        let stand = Stand::new(&format!("{MAKES_A_FOLDER}\nkill -9 $$\n"));
        assert_eq!(stand.command().status().unwrap().code(), Some(137));
        let asked = stand.read("asked");
        let runs: Vec<&str> = asked.lines().filter(|line| line.starts_with("run")).collect();
        assert_eq!(runs.len(), 3, "{asked}");
        assert!(runs[1].contains("--resume") && runs[2].contains("--after-reboot"), "{asked}");
        assert_eq!(stand.events(), ["7 started", "7 ended 137", "7 delivered"]);
        assert!(stand.path("scratch/f/n1/1/quick-x").exists(), "kept, to go on with");
        // The next job on this host goes on.
        let _code = stand.command().status().unwrap();
        assert!(stand.read("asked").lines().filter(|line| line.contains("--out")).count() == 1);
    }

    #[test]
    fn exit_code_3_is_not_tried_again() {
        let stand = Stand::new("case $1 in run) exit 3 ;; esac\n");
        assert_eq!(stand.command().status().unwrap().code(), Some(3));
        assert_eq!(stand.events(), ["7 started", "7 ended 3", "7 delivered"]);
        // A cluster that requeues it gets no second run, and no exit code to requeue by.
        assert_eq!(stand.command().status().unwrap().code(), Some(0));
        let asked = stand.read("asked");
        assert_eq!(asked.lines().filter(|line| line.starts_with("run")).count(), 1, "{asked}");
    }

    #[test]
    fn a_signal_ends_the_run_and_what_it_measured_comes_back() {
        let waits = "trap 'exit 130' TERM\ntouch \"$folder/waits\"\nwhile :; do sleep 0.05; done\n";
        let stand = Stand::new(&format!("{MAKES_A_FOLDER}\n{waits}"));
        let mut child = stand.command().spawn().unwrap();
        while !stand.path("scratch/f/n1/1/quick-x/waits").exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let id = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert_eq!(stand.events(), ["7 started", "7 ended 130", "7 delivered"]);
        assert_eq!(stand.read("fleet/results/n1/1/quick-x/suite.toml"), "x\n");
    }

    #[test]
    fn a_signal_while_the_host_is_restored_starts_no_suite() {
        let stand = Stand::new("[ \"$1\" != restore ] || kill -TERM $PPID\n");
        assert_eq!(stand.command().status().unwrap().code(), Some(130));
        assert_eq!(stand.read("asked"), "restore\nrestore\n");
        assert_eq!(stand.events(), ["7 started", "7 ended 130", "7 delivered"]);
        // The same where a run that was killed would be gone on with.
        let second = "[ \"$1\" != run ] || kill -9 $$\n\
                      [ \"$(grep -c restore \"${0%/*}/asked\")\" != 2 ] || kill -TERM $PPID\n";
        let stand = Stand::new(second);
        assert_eq!(stand.command().status().unwrap().code(), Some(130));
        let asked = stand.read("asked");
        assert_eq!(asked.lines().filter(|line| line.starts_with("run")).count(), 1, "{asked}");
    }

    #[test]
    fn a_scratch_folder_that_others_can_prepare_is_refused() {
        use std::os::unix::fs::{PermissionsExt, chown, symlink};
        let refused = |stand: &Stand, why: &str| {
            assert_eq!(stand.command().status().unwrap().code(), Some(3), "{why}");
            let log = stand.read("fleet/log/n1-1.log");
            assert!(log.contains(why) && log.contains("--scratch"), "{log}");
            assert_eq!(stand.read("asked"), "");
            assert_eq!(stand.events(), ["7 ended 3"]);
        };
        let stand = Stand::new("exit 0\n");
        let scratch = stand.path("scratch");
        std::fs::set_permissions(&scratch, std::fs::Permissions::from_mode(0o1777)).unwrap();
        refused(&stand, "can be written by all users");

        let stand = Stand::new("exit 0\n");
        std::fs::remove_dir(stand.path("scratch")).unwrap();
        symlink(stand.path("fleet"), stand.path("scratch")).unwrap();
        refused(&stand, "is not a folder of user");
        assert!(!stand.path("fleet/f").exists());

        let stand = Stand::new("exit 0\n");
        std::fs::remove_dir(stand.path("scratch")).unwrap();
        assert_eq!(stand.command().status().unwrap().code(), Some(0));
        let made = std::fs::metadata(stand.path("scratch")).unwrap();
        assert_eq!(made.permissions().mode() & 0o777, 0o700);
        if nix::unistd::geteuid().is_root() {
            let stand = Stand::new("exit 0\n");
            chown(stand.path("scratch"), Some(65534), None).unwrap();
            refused(&stand, "is not a folder of user");
        }
    }

    #[test]
    fn a_host_that_does_not_see_the_fleets_folder_lacks_it() {
        let stand = Stand::new("exit 0\n");
        std::fs::remove_file(stand.path("fleet/suites/1.toml")).unwrap();
        assert_eq!(stand.command().status().unwrap().code(), Some(3));
        assert_eq!(stand.read("asked"), "");
    }

    #[test]
    fn what_stayed_on_the_host_is_delivered_later() {
        let stand = Stand::new("exit 0\n");
        std::fs::create_dir_all(stand.path("scratch/f/n1/1/quick-x")).unwrap();
        std::fs::write(stand.path("scratch/f/n1/1/quick-x/suite.toml"), "late").unwrap();
        let mut command = stand.command();
        command.args(["deliver", "1"]).env_remove("SLURM_ARRAY_TASK_ID");
        assert_eq!(command.status().unwrap().code(), Some(0));
        assert_eq!(stand.read("fleet/results/n1/1/quick-x/suite.toml"), "late");
        assert!(stand.path("scratch/f/n1/1/quick-x").exists(), "kept, to go on with");
        // Of a suite that is done nothing has to stay; a job that has begun since is left alone.
        for (state, stays) in [("t 7 ended 4\nt 8 started\n", true), ("t 7 ended 4\n", false)] {
            std::fs::write(stand.path("fleet/state/n1-1"), state).unwrap();
            assert_eq!(command.status().unwrap().code(), Some(0));
            assert_eq!(stand.path("scratch/f/n1/1").exists(), stays, "{state}");
        }
    }

    /// What the health check tells `scontrol` of a host whose `orchestrator check` does `check`.
    fn drained(check: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let asked = format!("#!/bin/sh\necho \"$@\" >> '{}'\n", dir.path().join("asked").display());
        let check = format!("#!/bin/sh\n{check}\n");
        for (name, text) in [("scontrol", asked), ("orchestrator", check)] {
            std::fs::write(dir.path().join(name), text).unwrap();
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(dir.path().join(name), mode).unwrap();
        }
        let own = include_str!("../../../fleet/healthcheck.sh");
        let path = format!("\nPATH={}:", dir.path().display());
        let script = dir.path().join("healthcheck.sh");
        std::fs::write(&script, own.replace("\nPATH=", &path)).unwrap();
        let status = Command::new("sh").arg(script).env("SLURMD_NODENAME", "n1").status().unwrap();
        assert!(status.success());
        std::fs::read_to_string(dir.path().join("asked")).unwrap_or_default()
    }

    #[test]
    fn the_health_check_drains_a_host_that_lacks_something_or_the_program() {
        assert_eq!(drained("exit 0"), "");
        let table = "cat <<'END'; exit 3\n\
                     CPUs     ok       2\n\
                     QEMU     MISSING  not there\n         -> install it\n\
                     tracefs  MISSING  not mounted\n\
                     This host cannot run the suites: see the lines marked MISSING.\nEND";
        assert_eq!(
            drained(table),
            "update nodename=n1 state=drain reason=orchestrator check: exit code 3: \
             QEMU: not there;tracefs: not mounted\n"
        );
        let failed = drained("echo 'error: oops' >&2; exit 1");
        assert!(failed.contains("exit code 1: error: oops"), "{failed}");
        let absent = drained("echo 'orchestrator: not found' >&2; exit 127");
        assert!(absent.contains("exit code 127: orchestrator: not found"), "{absent}");
    }
}

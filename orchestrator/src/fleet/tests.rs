//! Submitting and looking at jobs with a Slurm that is a fake.

use std::{fs, path::PathBuf};

use clap::Parser;
use model::{Exit, fleet::State};
use tempfile::TempDir;

use super::{
    folder::Folder,
    slurm::{Slurm, fake::Fake},
    status, submit,
};
use crate::error::exit_of;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: submit::Options,
}

#[derive(Parser)]
struct Fetch {
    #[command(flatten)]
    options: status::Fetch,
}

const SUITE: &str = r#"
name = "small"
[[experiment]]
name = "a"
where = "host"
tasks = ["3ms/150ms"]
"#;

struct Stand {
    dir: TempDir,
    fake: Fake,
}

impl Stand {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("s.toml"), SUITE).unwrap();
        let nodes = "n1|idle|none\nn2|allocated|none\nn3|down*|Not responding\n";
        let answers = [("sinfo", (0, nodes)), ("sbatch", (0, "7")), ("squeue", (0, ""))];
        Self { dir, fake: Fake { answers: answers.into(), ..Fake::default() } }
    }

    fn submit(&self, arguments: &[&str]) -> anyhow::Result<Exit> {
        let own = self.dir.path();
        let (suite, out) = (own.join("s.toml"), own.join("out"));
        let mut all = vec!["submit".to_owned(), suite.display().to_string()];
        all.extend(["--out".to_owned(), out.display().to_string()]);
        all.extend(arguments.iter().map(|own| (*own).to_owned()));
        submit::submit(&Command::try_parse_from(all)?.options, &Slurm::new(&self.fake))
    }

    fn fleet(&self) -> Option<PathBuf> {
        let entries = fs::read_dir(self.dir.path().join("out")).ok()?;
        Some(entries.map(|own| own.unwrap().path()).next().unwrap())
    }
}

#[test]
fn each_host_gets_an_array() {
    let stand = Stand::new();
    let arguments =
        ["--hosts", "n1,n3", "--matrix", "host.quiet=true,false", "--", "--partition=lab"];
    assert_eq!(stand.submit(&arguments).unwrap(), Exit::Done);
    let folder = Folder::open(&stand.fleet().unwrap()).unwrap();
    let jobs: Vec<(&str, &str, Option<u64>)> = folder
        .fleet
        .jobs
        .iter()
        .map(|own| (own.host.as_str(), own.name.as_str(), own.array))
        .collect();
    let seven = Some(7);
    assert_eq!(
        jobs,
        [
            ("n1", "small-true", seven),
            ("n1", "small-false", seven),
            ("n3", "small-true", seven),
            ("n3", "small-false", seven)
        ]
    );
    let asked = stand.fake.asked.borrow();
    assert!(
        asked[1].starts_with("sbatch --parsable --nodelist=n1") && asked[2].contains("n3"),
        "{asked:?}"
    );
    let script = fs::read_to_string(folder.script()).unwrap();
    assert!(
        script.contains("#SBATCH --array=0-1\n") && script.contains("#SBATCH --partition=lab\n")
    );
    assert!(folder.path.join("suites/1.toml").exists());
}

#[test]
fn what_is_wrong_is_told_before_anything_is_written() {
    let cases: [(&[&str], &str); 9] = [
        (&["--hosts", "n9"], "`n9` is not in the cluster, which has n1, n2, n3"),
        (&["--hosts", "n1,n1"], "`n1` is there twice"),
        (&["--nodes", "3"], "2 usable hosts of 3"),
        (&["--nodes", "0"], "at least 1"),
        (&[], "--hosts or --nodes is missing"),
        (
            &["--nodes", "1", "--matrix", "experiment.b.duration=1s"],
            "no suite has the key `experiment.b.duration`",
        ),
        (&["--nodes", "1", "--matrix", "guest.colour=red"], "unknown field"),
        (&["--nodes", "1", "--", "lab"], "has the form --name"),
        (&["--nodes", "1", "--scratch", "tmp"], "not an absolute path"),
    ];
    for (arguments, what) in cases {
        let stand = Stand::new();
        let error = stand.submit(arguments).unwrap_err();
        assert!(error.to_string().contains(what), "{what}: {error}");
        assert_eq!(exit_of(&error), Exit::Usage, "{what}");
        assert_eq!(stand.fleet(), None, "{what}");
    }
    let stand = Stand::new();
    let same = stand.dir.path().join("s.toml").display().to_string();
    let error = stand.submit(&[&same, "--nodes", "1"]).unwrap_err();
    assert!(error.to_string().contains("two suites named `small`"), "{error}");
}

#[test]
fn without_slurm_it_is_exit_code_3_and_print_works_all_the_same() {
    let mut stand = Stand::new();
    stand.fake.answers.clear();
    assert_eq!(exit_of(&stand.submit(&["--hosts", "n1"]).unwrap_err()), Exit::Lacking);
    assert_eq!(stand.fleet(), None);
    assert_eq!(stand.submit(&["--hosts", "n1", "--print"]).unwrap(), Exit::Done);
    let mut folder = Folder::open(&stand.fleet().unwrap()).unwrap();
    // Nothing was submitted, so Slurm is not asked.
    status::refresh(&mut folder, &Slurm::new(&stand.fake)).unwrap();
    assert_eq!(folder.fleet.jobs[0].state, State::Written);
}

#[test]
fn without_slurm_hosts_are_checked_as_far_as_can_be() {
    for (hosts, what) in [
        ("n1,n1", "`n1` is there twice"),
        ("n1; reboot", "`n1; reboot` is not the name of one host"),
        ("../n1", "not the name of one host"),
        ("n[1-3]", "not the name of one host"),
        ("n1,", "`` is not the name of one host"),
    ] {
        let mut stand = Stand::new();
        stand.fake.answers.clear();
        let error = stand.submit(&["--hosts", hosts, "--print"]).unwrap_err();
        assert!(error.to_string().contains(what), "{what}: {error}");
        assert_eq!((exit_of(&error), stand.fleet()), (Exit::Usage, None), "{what}");
    }
}

#[test]
fn where_a_later_host_is_refused_it_is_told_how_to_submit_the_rest() {
    let mut stand = Stand::new();
    stand.fake.refused = Some("--nodelist=n2");
    let error = stand.submit(&["--hosts", "n1,n2"]).unwrap_err();
    let path = stand.fleet().unwrap().display().to_string();
    let said = format!("{error:#}");
    assert!(said.contains("1 of 2 hosts") && said.contains("refused"), "{said}");
    assert!(said.contains(&format!("submit --resume {path}`")), "{said}");
    assert_eq!(exit_of(&error), Exit::Failed);
    let mut first = Stand::new();
    first.fake.refused = Some("--nodelist=n1");
    let error = first.submit(&["--hosts", "n1,n2"]).unwrap_err();
    assert!(!format!("{error:#}").contains("--resume"), "{error:#}");
}

#[test]
fn a_host_that_gives_nothing_back_is_asked_once() {
    let mut stand = Stand::new();
    stand.submit(&["--hosts", "n1,n2", "--matrix", "host.quiet=true,false"]).unwrap();
    let path = stand.fleet().unwrap();
    for job in ["n1-0", "n1-1", "n2-0", "n2-1"] {
        fs::write(path.join("state").join(job), "t 7 started\nt 7 ended 0\n").unwrap();
    }
    stand.fake.answers.insert("srun", (0, ""));
    stand.fake.refused = Some("--nodelist=n1");
    let command = Fetch::try_parse_from(["fetch", path.to_str().unwrap()]).unwrap();
    assert_eq!(status::fetch(&command.options, &Slurm::new(&stand.fake)).unwrap(), Exit::Failed);
    let asked = stand.fake.asked.borrow();
    let of = |host: &str| {
        let node = format!("--nodelist={host} ");
        asked.iter().filter(|own| own.starts_with("srun") && own.contains(&node)).count()
    };
    assert_eq!((of("n1"), of("n2")), (1, 2), "{asked:?}");
}

#[test]
fn only_what_is_not_done_is_submitted_again_to_its_own_host() {
    let mut stand = Stand::new();
    stand.submit(&["--hosts", "n1,n2", "--matrix", "host.quiet=true,false"]).unwrap();
    let path = stand.fleet().unwrap();
    fs::write(path.join("state/n1-0"), "t 7 started\nt 7 ended 0\n").unwrap();
    fs::write(path.join("state/n1-1"), "t 7 started\n").unwrap();
    fs::write(path.join("state/n2-0"), "t 7 started\nt 7 ended 3\n").unwrap();
    fs::write(path.join("state/n2-1"), "t 7 started\nt 7 ended 137\n").unwrap();
    stand.fake.answers.insert("squeue", (0, "7|1|CANCELLED|None\n"));
    stand.fake.answers.insert("sbatch", (0, "8"));
    let command = Command::try_parse_from(["submit", "--resume", path.to_str().unwrap()]).unwrap();
    submit::submit(&command.options, &Slurm::new(&stand.fake)).unwrap();
    let asked = stand.fake.asked.borrow();
    let sent: Vec<&String> = asked.iter().filter(|own| own.contains("--array=")).collect();
    assert_eq!(sent.len(), 2, "{asked:?}");
    assert!(sent[0].contains("n1 --array=1 ") && sent[1].contains("n2 --array=1 "), "{sent:?}");
    let folder = Folder::open(&path).unwrap();
    let states: Vec<(State, Option<u64>)> =
        folder.fleet.jobs.iter().map(|own| (own.state, own.array)).collect();
    let waits = (State::Waiting, Some(8));
    assert_eq!(states, [(State::Done, Some(7)), waits, (State::Lacking, Some(7)), waits]);
}

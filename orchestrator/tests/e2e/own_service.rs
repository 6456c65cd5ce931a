//! Services of the user's own: by URL, and a program that listens on a port of its own, on the host
//! and in a guest; programs that end, and what is refused before anything is touched.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use model::{
    Manifest,
    manifest::Status,
    sample::{Request, read_csv},
};

use crate::support::{HostState, example, orchestrator, sibling, stderr, stdout, turn};

/// Loopback ports that are free now.
pub fn ports(count: usize) -> Vec<u16> {
    orchestrator::service::free(count).unwrap()
}

/// `examples/answer.rs`; killed when dropped.
struct Answering(Child);

impl Answering {
    fn at(port: u16) -> Self {
        Self(Command::new(example("answer")).arg(port.to_string()).spawn().unwrap())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a suite in `folder`.
pub fn run(folder: &Path, suite: &str, more: &[&str]) -> Output {
    started(folder, suite, more).wait_with_output().unwrap()
}

/// The same, while it goes on.
pub fn started(folder: &Path, suite: &str, more: &[&str]) -> Child {
    let file = folder.join("suite.toml");
    fs::write(&file, suite).unwrap();
    let mut command = orchestrator(&folder.join("state"));
    command.arg("run").arg(&file).arg("--out").arg(folder.join("results")).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The result folder that was printed, and its manifest.
pub fn manifest(output: &Output) -> (PathBuf, Manifest) {
    let folder = PathBuf::from(stdout(output).trim());
    let text = fs::read(folder.join("manifest.json"))
        .unwrap_or_else(|error| panic!("{error}: {}", stderr(output)));
    (folder, serde_json::from_slice(&text).unwrap())
}

/// The requests of an experiment's first attempt.
pub fn requests(folder: &Path, experiment: &str) -> Vec<Request> {
    read_csv(&folder.join(experiment).join("rep-000/requests.csv")).unwrap()
}

const HEAD: &str = "name = \"own\"\n[host]\nkeep_awake = true\ntrace = false\n[guest]\n\
                    accelerator = \"tcg\"\n[noise]\nretries = 0\n";

fn experiment(name: &str, place: &str, keys: &str) -> String {
    format!(
        "[[experiment]]\nname = \"{name}\"\nwhere = \"{place}\"\n\
         web = {{ {keys}, clients = 3, requests = 5 }}\n"
    )
}

#[test]
fn services_of_ones_own_are_measured_and_their_end_is_the_reason() {
    const TEST: &str = "services_of_ones_own_are_measured_and_their_end_is_the_reason";
    let Some(_turn) = turn(TEST) else { return };
    if orchestrator::guest::find_qemu().is_err() {
        eprintln!("SKIPPED: {TEST}: QEMU is not installed");
        return;
    }
    ["rtload", "guest-agent"].into_iter().for_each(|name| drop(sibling(name)));
    let (answer, ports) = (example("answer"), ports(3));
    let _running = Answering::at(ports[0]);
    let url = format!("url = \"http://127.0.0.1:{}/a?b=c\", ready = \"/health\"", ports[0]);
    let own = |port: u16, path: &str| {
        let answer = answer.display();
        format!(
            "command = [\"{answer}\", \"{port}\"], listen = {port}, path = \"{path}\", \
             ready = \"/health\""
        )
    };
    let suite = [
        HEAD.to_owned(),
        experiment("by-url", "host", &url),
        experiment("on-host", "host", &own(ports[1], "/a")),
        experiment("ends-on-host", "host", &own(ports[2], "/end")),
        experiment("in-guest", "guest", &own(9000, "/longer/than/that")),
        experiment("ends-in-guest", "guest", &own(9000, "/end")),
    ]
    .concat();
    let folder = tempfile::tempdir().unwrap();
    let before = HostState::now();
    let output = run(folder.path(), &suite, &[]);
    before.is_back();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(TcpListener::bind(("127.0.0.1", ports[1])).is_ok(), "its program goes on");
    let (results, manifest) = manifest(&output);
    let of = |name: &str| manifest.repetitions.iter().find(|one| one.experiment == name).unwrap();
    for (name, bytes) in [("by-url", 6), ("on-host", 2), ("in-guest", 17)] {
        let record = of(name);
        assert_eq!(record.status, Status::Done, "{record:?}");
        let rows = requests(&results, name);
        assert_eq!(rows.len(), 15, "{name}");
        let good = |row: &Request| row.error.is_none() && row.bytes == bytes;
        assert!(rows.iter().all(good), "{name}: {:?}", rows[0]);
        let web = record.facts.web.as_ref().unwrap();
        // What has to be answered before the measurement, then one request of each client.
        assert_eq!((web.warm_up_requests, web.warm_up_failures), (4, 0), "{name}");
        let log = results.join(name).join("rep-000/service.log");
        assert_eq!(log.exists(), name != "by-url", "{name}");
    }
    for (name, why) in
        [("ends-on-host", "exit status: 7"), ("ends-in-guest", "has ended in the guest")]
    {
        let record = of(name);
        let error = record.error.as_deref().unwrap_or_default();
        assert!(record.status == Status::Failed && error.contains(why), "{record:?}");
    }
}

#[test]
fn services_that_make_no_sense_are_refused_before_anything_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (script, nobody) = (script.display(), ports(1)[0]);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = listener.local_addr().unwrap().port();
    let (answer, quick) = (example("answer"), "ready_within = \"100ms\"");
    let answer = answer.display();
    for (place, keys, wanted) in [
        ("host", "url = \"https://127.0.0.1/\"".to_owned(), "only http is supported"),
        ("host", "url = \"127.0.0.1:80\"".to_owned(), "`web.url`"),
        ("host", "url = \"http://127.0.0.1/\", ready = \"health\"".to_owned(), "`web.ready`"),
        ("host", "url = \"http://127.0.0.1/\", program = \"/bin/sh\"".to_owned(), "`web.program`"),
        ("guest", "url = \"http://127.0.0.1/\"".to_owned(), "nothing answers in a guest"),
        ("host", "url = \"http://127.0.0.1/\", colour = 1".to_owned(), "colour"),
        ("host", "command = [\"/no/such/server\"], listen = 1".to_owned(), "/no/such/server"),
        ("guest", format!("command = [\"{script}\"], listen = 9000"), "no interpreter"),
        ("host", format!("command = [\"{answer}\"], listen = {taken}"), "`web.listen`: port"),
        ("guest", format!("command = [\"{answer}\"], listen = 1, port = {taken}"), "`web.port`"),
        (
            "host",
            format!("url = \"http://127.0.0.1:{nobody}/x\", {quick}"),
            "/x gave no good answer within 100ms: refused; start the service, or correct `web.url`",
        ),
    ] {
        let output = run(folder.path(), &(HEAD.to_owned() + &experiment("e", place, &keys)), &[]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{keys}: {said}");
        assert!(said.contains(wanted), "{keys}: {said}");
        assert!(!folder.path().join("state").exists(), "{keys}: a journal was begun");
        assert!(!folder.path().join("results").exists(), "{keys}: a folder was made");
    }
    // A rehearsal asks nobody.
    let url = format!("url = \"http://127.0.0.1:{nobody}/x\"");
    let suite = HEAD.to_owned() + &experiment("e", "host", &url);
    let output = run(folder.path(), &suite, &["--dry-run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains(&format!("to http://127.0.0.1:{nobody}/x")));
    // The example of the documentation, on a host that has its program.
    if Command::new("python3").arg("--version").output().is_ok_and(|own| own.status.success()) {
        let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/own-service.toml");
        let suite = fs::read_to_string(suite).unwrap();
        let output = run(folder.path(), &suite, &["--dry-run"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let said = stdout(&output);
        assert!(said.contains("(domain `shop`, which runs already)"), "{said}");
    }
}

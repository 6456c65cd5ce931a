//! `reports merge`: outliers, spreads, claims and differences over hosts, and what it refuses.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use model::{
    fleet::{self, Fleet, Job, State},
    sample,
};
use tempfile::TempDir;

use crate::made_up::MadeUp;

const HOSTS: usize = 10;

fn reports(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_reports")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

/// A host's response times are `factor` times those of the paper, give or take half a per cent from
/// host to host and a tenth from repetition to repetition.
fn host(name: &str, seed: u64, factor: f64) -> MadeUp {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut folder = MadeUp::as_in_the_paper();
    folder.add("fig1", |task, n| [30.2, if n.is_multiple_of(3) { 80.6 } else { 50.4 }][task]);
    folder.manifest.host.name = Some(name.to_owned());
    folder.save();
    let own = factor * (1.0 + 0.01 * (random.f64() - 0.5));
    for record in folder.manifest.repetitions.clone() {
        let place = folder.path().join(&record.experiment);
        let file = place.join(format!("rep-{:03}", record.attempt)).join("jobs.csv");
        let mut rows: Vec<sample::Job> = sample::read_csv(&file).unwrap();
        let times = own * (1.0 + 0.002 * (random.f64() - 0.5));
        for row in &mut rows {
            row.response_ns = (row.response_ns as f64 * times) as u64;
            row.finish_ns = row.release_ns + row.response_ns;
        }
        sample::write_csv(&file, &rows).unwrap();
    }
    folder
}

fn fleet() -> Vec<MadeUp> {
    (0..HOSTS).map(|at| host(&format!("n{at}"), at as u64, 1.0)).collect()
}

fn merge(folders: &[MadeUp], more: &[&str]) -> (i32, String, String) {
    let mut args = vec!["merge"];
    args.extend(folders.iter().map(|own| own.path().to_str().unwrap()));
    args.extend(more);
    reports(&args)
}

/// The rows of `cells.csv` of one host and experiment that are marked.
fn marked(csv: &str) -> Vec<String> {
    let rows = csv.lines().skip(1).filter(|line| line.ends_with(",1"));
    rows.map(|line| line.split(',').take(4).collect::<Vec<_>>().join(",")).collect()
}

#[test]
fn hosts_that_are_alike_have_no_outlier_and_a_slow_one_is_marked() {
    let mut folders = fleet();
    let (code, out, err) = merge(&folders, &["--format", "csv"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(marked(&out), Vec::<String>::new());
    folders[3] = host("n3", 3, 1.1);
    let (_, out, _) = merge(&folders, &["--format", "csv"]);
    let found = marked(&out);
    assert!(!found.is_empty() && found.iter().all(|row| row.starts_with("n3,")), "{found:?}");
    assert!(found.contains(&"n3,made-up,fig1,tau1".to_owned()), "{found:?}");
    let (_, text, _) = merge(&folders, &[]);
    let line = text.lines().find(|line| line.starts_with("fig1") && line.contains("tau1")).unwrap();
    assert!(line.ends_with("n3"), "{line}");
    let row = text.lines().find(|line| line.starts_with("n3 ")).unwrap();
    assert!(row.contains("fig1 tau1 ▲"), "{row}");
}

#[test]
fn most_of_the_variance_lies_between_hosts_that_differ() {
    let folders = fleet();
    let (_, text, _) = merge(&folders, &[]);
    let line = text.lines().find(|line| line.starts_with("fig1") && line.contains("tau1")).unwrap();
    let share: f64 = line.split_whitespace().rev().nth(1).and_then(|own| own.parse().ok()).unwrap();
    assert!(share > 80.0, "half a per cent between hosts, a tenth within: {line}");
    let unrepeated = text.lines().find(|line| line.starts_with("fig2")).unwrap();
    assert!(unrepeated.contains('–'), "one repetition tells of no spread: {unrepeated}");
}

#[test]
fn claims_and_differences_are_told_per_host() {
    let mut folders = fleet();
    folders[7].manifest.host.kernel = "6.18.0-rt".to_owned();
    folders[7].save();
    // There the reservation does not isolate.
    folders[7].reshape("fig4-loaded", |task, n| [90.0, 180.0 + 5.0 * (n % 7) as f64][task]);
    let (_, text, _) = merge(&folders, &[]);
    let row = text.lines().find(|line| line.starts_with("n7 ")).unwrap();
    assert!(row.contains("host.kernel: 6.18.0-rt"), "{row}");
    let fact = text.lines().find(|line| line.starts_with("host.kernel")).unwrap();
    assert!(fact.contains("6.18.0-rt (n7)") && fact.contains(" 9 "), "{fact}");
    let claim =
        text.lines().find(|line| line.ends_with(" n7") && line.starts_with("fig4-loaded-tau1"));
    assert!(claim.is_some_and(|line| line.contains(" 9 ") && line.contains(" 1 ")), "{text}");
    assert!(!text.contains("housekeeping_cpus"), "what is the same everywhere is not told");
}

/// A fleet's folder with the results of these hosts, and jobs of which nothing came back.
fn fleet_folder(folders: &[MadeUp], lost: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let job = |host: &str, state, folder| Job {
        host: host.to_owned(),
        suite: 0,
        name: "made-up".to_owned(),
        array: Some(1),
        state,
        detail: None,
        folder,
    };
    let mut jobs = Vec::new();
    for own in folders {
        let name = own.manifest.host.name.clone().unwrap();
        let place = format!("results/{name}");
        fs::create_dir_all(dir.path().join("results")).unwrap();
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(own.path()).arg(dir.path().join(&place));
        assert!(copy.status().unwrap().success());
        jobs.push(job(&name, State::Done, Some(place)));
    }
    jobs.extend(lost.iter().map(|name| {
        let mut own = job(name, State::Killed, None);
        own.detail = Some("NODE_FAIL".to_owned());
        own
    }));
    let fleet = Fleet {
        schema_version: fleet::SCHEMA_VERSION,
        name: "f".to_owned(),
        submitted_utc: "2026-11-26T00:00:00Z".to_owned(),
        scratch: "/var/tmp".to_owned(),
        suites: vec!["suites/0.toml".to_owned()],
        jobs,
    };
    let text = serde_json::to_string(&fleet).unwrap();
    fs::write(dir.path().join(fleet::FILE), text).unwrap();
    dir
}

#[test]
fn a_job_whose_folder_never_came_back_is_a_row_that_says_so() {
    let dir = fleet_folder(&fleet(), &["n99"]);
    let path = dir.path().to_str().unwrap();
    let (code, text, err) = reports(&["merge", path]);
    assert_eq!((code, err.as_str()), (0, ""));
    let row = text.lines().find(|line| line.starts_with("n99")).unwrap();
    assert!(row.contains("made-up never came back (killed: NODE_FAIL)"), "{row}");
    let (_, csv, _) = reports(&["merge", path, "--format", "csv"]);
    let row = csv.lines().find(|line| line.starts_with("n99")).unwrap();
    assert_eq!(row, "n99,,,,made-up never came back (killed: NODE_FAIL),,,,,,");
}

#[test]
fn the_page_has_every_host_and_claim_and_asks_for_nothing() {
    let mut folders = fleet();
    folders[3] = host("n3", 3, 1.1);
    folders[3].manifest.host.kernel = "6.18.0-rt".to_owned();
    folders[3].save();
    let dir = fleet_folder(&folders, &["n99"]);
    let out = dir.path().join("report");
    let (code, said, err) =
        reports(&["merge", dir.path().to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(Path::new(said.trim()), out.join("index.html"));
    let page = fs::read_to_string(out.join("index.html")).unwrap();
    assert!(page.contains("Nothing came back from 1 host: n99."), "{}", &page[..9000]);
    assert!(page.contains("1 host stands out: n3."));
    assert!(page.contains("▲") && !page.contains("http"));
    for file in ["cells.csv", "claims.csv", "differences.csv"] {
        assert!(fs::read_to_string(out.join(file)).unwrap().lines().count() > 1, "{file}");
    }
}

fn refused(args: &[&str], said: &[&str]) {
    let (code, out, err) = reports(args);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(said.iter().all(|one| err.contains(one)), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn bad_folders_are_refused_in_one_line() {
    let folders = [host("a", 1, 1.0), host("b", 2, 1.0)];
    let dirs: Vec<&str> = folders.iter().map(|own| own.path().to_str().unwrap()).collect();
    refused(&["merge", dirs[0], "/no/such/folder"], &["/no/such/folder", "manifest.json"]);
    let empty = tempfile::tempdir().unwrap();
    refused(&["merge", dirs[0], empty.path().to_str().unwrap()], &["manifest.json"]);
    // The same folder twice, and another result of the same host.
    refused(&["merge", dirs[0], dirs[0]], &["host `a` has `fig1`", "too"]);
    let again = host("a", 3, 1.0);
    let again = again.path().to_str().unwrap();
    refused(&["merge", dirs[0], dirs[1], again], &[again, dirs[0], "reports history"]);
    // The name of a suite for other work.
    let mut other = host("c", 4, 1.0);
    let tasks = ["1ms/5ms".parse().unwrap()].into_iter().collect();
    other.manifest.suite.experiments[0].services[0].kind = model::suite::ServiceKind::Tasks(tasks);
    other.save();
    refused(&["merge", dirs[0], other.path().to_str().unwrap()], &["`fig1`", "tasks"]);
    // A newer layout.
    let mut newer = host("d", 5, 1.0);
    newer.manifest.schema_version = 99;
    newer.save();
    refused(&["merge", dirs[0], newer.path().to_str().unwrap()], &["schema_version", "99"]);
    // A fleet's file that is none.
    fs::write(empty.path().join(fleet::FILE), "{}").unwrap();
    refused(&["merge", empty.path().to_str().unwrap()], &["fleet.json", "schema_version"]);
}

#[test]
fn folders_of_two_layouts_are_merged_and_it_is_told() {
    let mut folders = fleet();
    folders[2].manifest.schema_version = 0;
    folders[2].save();
    let (code, text, _) = merge(&folders, &[]);
    assert_eq!(code, 0);
    let row = text.lines().find(|line| line.starts_with("layout version")).unwrap();
    assert!(row.contains("0 (n2)"), "{row}");
}

/// The table of `docs/fleet.md`: time and memory by the number of folders. One simulated folder is
/// made, and the others are it with another name and slower or faster jobs.
///
/// `FLEET_FOLDERS=1000 cargo test --release --workspace --test it -- --ignored merge::scale`
#[test]
#[ignore = "a campaign: 10, 100 and 1,000 folders"]
fn scale() {
    let most: usize = std::env::var("FLEET_FOLDERS").map_or(1000, |own| own.parse().unwrap());
    let base = tempfile::tempdir().unwrap();
    let first = crate::simulated::folder(base.path());
    for folders in [10, 100, 1000].into_iter().filter(|own| *own <= most) {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<PathBuf> = (0..folders).map(|at| copy(&first, dir.path(), at)).collect();
        let out = dir.path().join("report");
        let started = std::time::Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_reports"))
            .arg("merge")
            .args(&all)
            .arg("--out")
            .arg(&out)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // VmHWM grows only; the last one read is within one poll of the most.
        let mut most_kib = 0;
        while child.try_wait().unwrap().is_none() {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
            let peak = status.unwrap_or_default();
            let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let peak = peak.and_then(|own| own.trim().split(' ').next()?.parse::<u64>().ok());
            most_kib = most_kib.max(peak.unwrap_or(0));
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let seconds = started.elapsed().as_secs_f64();
        let page = fs::metadata(out.join("index.html")).unwrap().len() / 1024;
        eprintln!("{folders} folders: {seconds:.1} s, {} MiB, page {page} KiB", most_kib / 1024);
        assert!(most_kib < 1 << 20, "1 GiB: {most_kib} KiB");
    }
}

fn copy(first: &Path, dir: &Path, at: usize) -> PathBuf {
    let own = dir.join(format!("host{at}"));
    assert!(Command::new("cp").arg("-a").arg(first).arg(&own).status().unwrap().success());
    let file = own.join("manifest.json");
    let mut manifest: model::Manifest =
        serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    manifest.host.name = Some(format!("host{at}"));
    fs::write(&file, serde_json::to_string(&manifest).unwrap()).unwrap();
    let mut random = fastrand::Rng::with_seed(at as u64);
    let factor = 1.0 + 0.01 * random.f64();
    for record in &manifest.repetitions {
        let file = results::folder::place_of(&own, record).join("jobs.csv");
        let mut rows: Vec<sample::Job> = sample::read_csv(&file).unwrap();
        for row in &mut rows {
            row.response_ns = (row.response_ns as f64 * factor) as u64;
            row.finish_ns = row.release_ns + row.response_ns;
        }
        sample::write_csv(&file, &rows).unwrap();
    }
    own
}

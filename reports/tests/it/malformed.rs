//! Result folders that are not as they should be: one clear error each, or a report that says so.

use std::{fs, path::Path, process::Command};

use model::{
    manifest::RepetitionRecord,
    sample::{self, Columns, Job},
};

use crate::made_up::{self, MadeUp};

fn reports(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_reports")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

fn dir(folder: &MadeUp) -> &str {
    folder.path().to_str().unwrap()
}

const JOBS: &str = "fig1/rep-000/jobs.csv";

fn edit(folder: &MadeUp, file: &str, edit: impl Fn(String) -> String) {
    let path = folder.path().join(file);
    fs::write(&path, edit(fs::read_to_string(&path).unwrap())).unwrap();
}

/// The one line on standard error with which every command ends; nothing was written.
fn refused(folder: &MadeUp) -> String {
    let mut said = String::new();
    for command in ["render", "table", "claims"] {
        let (code, out, err) = reports(&[command, dir(folder)]);
        assert_eq!((code, out.as_str(), err.lines().count()), (2, "", 1), "{command}: {err}");
        said = err;
    }
    assert!(!folder.path().join("report").exists(), "nothing was written");
    said.replace(dir(folder), "DIR")
}

#[test]
fn what_is_wrong_is_named_with_file_line_and_column() {
    let broken = |file: &str, how: &dyn Fn(String) -> String| {
        let folder = MadeUp::as_in_the_paper();
        edit(&folder, file, how);
        refused(&folder)
    };
    let row = |text: String, line: usize, from: &str, to: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines[line - 1] = lines[line - 1].replacen(from, to, 1);
        lines.join("\n") + "\n"
    };
    let mut said = String::new();
    said += &broken(JOBS, &|text| row(text, 3, ",1,5150000000,", ",1,soon,"));
    said += &broken(JOBS, &|text| text[..text.len() * 2 / 3].to_owned());
    said += &broken(JOBS, &|text| text.replacen("response_ns", "response", 1));
    said += &broken(JOBS, &|_| "start,end\n1,2\n".to_owned());
    said += &broken(JOBS, &|_| String::new());
    said += &broken("manifest.json", &|text| text[..40].to_owned());
    said += &broken("manifest.json", &|text| text.replace("\"schema_version\": 2,", ""));
    said += &broken("manifest.json", &|text| {
        text.replace("\"schema_version\": 2,", "\"schema_version\": 7,")
    });
    insta::assert_snapshot!(said, @"
    reports: DIR/fig1/rep-000/jobs.csv, line 3, column `release_ns`: `soon` is not a whole number in its range
    reports: DIR/fig1/rep-000/jobs.csv, line 235: the file ends in the middle of this row; a whole file ends with a line break
    reports: DIR/fig1/rep-000/jobs.csv, line 1: no column `response_ns`: such a file begins with `experiment,repetition,task,job,release_ns,start_ns,finish_ns,response_ns,cpu_ns,deadline_ns,missed,stalled_ns,vm,service`
    reports: DIR/fig1/rep-000/jobs.csv, line 1: the header is `start,end`; such a file begins with `experiment,repetition,task,job,release_ns,start_ns,finish_ns,response_ns,cpu_ns,deadline_ns,missed,stalled_ns,vm,service`
    reports: DIR/fig1/rep-000/jobs.csv, line 1: the file is empty; such a file begins with `experiment,repetition,task,job,release_ns,start_ns,finish_ns,response_ns,cpu_ns,deadline_ns,missed,stalled_ns,vm,service`
    reports: DIR/manifest.json: EOF while parsing an object at line 4 column 2
    reports: DIR/manifest.json: missing field `schema_version` at line 327 column 1
    reports: DIR/manifest.json: key `schema_version` is 7; this program reads up to 2
    ");
}

#[test]
fn a_folder_of_an_earlier_version_is_read() {
    let folder = MadeUp::as_in_the_paper();
    edit(&folder, "manifest.json", |text| {
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        for later in ["cleared", "analyses"] {
            value.as_object_mut().unwrap().remove(later);
        }
        for record in value["repetitions"].as_array_mut().unwrap() {
            record.as_object_mut().unwrap().remove("facts");
        }
        value.to_string()
    });
    renders(&folder);
}

/// Every command says something, and nothing of it is no number.
fn renders(folder: &MadeUp) {
    for command in ["table", "claims", "render"] {
        let (code, out, err) = reports(&[command, dir(folder)]);
        assert!([0, 4].contains(&code), "{command}: {code} {err}");
        assert!(!out.contains("NaN") && !out.contains("inf"), "{command}: {out}");
    }
    let (code, out, err) = reports(&["compare", dir(folder), dir(folder), "--tolerance", "0%"]);
    assert_eq!(code, 0, "the same is within any tolerance: {out}{err}");
    let page = fs::read_to_string(folder.path().join("report/index.html")).unwrap();
    assert!(!page.contains("NaN") && !page.contains(">inf"));
}

fn with_rows(rows: &[Job]) -> MadeUp {
    let mut folder = MadeUp::empty(made_up::SUITE);
    let record: &RepetitionRecord = folder.add("fig1", |_, _| 30.0);
    assert!(record.counts);
    sample::write_csv(&folder.path().join(JOBS), rows).unwrap();
    folder
}

fn rows(folder: &Path) -> Vec<Job> {
    sample::read_csv(&folder.join(JOBS)).unwrap()
}

#[test]
fn no_sample_one_sample_and_all_equal_are_reported_on() {
    let jobs = rows(MadeUp::as_in_the_paper().path());
    renders(&with_rows(&[]));
    assert_eq!(Job::COLUMNS.len(), 14);
    renders(&with_rows(&jobs[..1]));
    let mut equal = jobs;
    for job in &mut equal {
        (job.response_ns, job.finish_ns) = (30_000_000, job.release_ns + 30_000_000);
        (job.stalled_ns, job.missed, job.cpu_ns) = (Some(0), false, Some(30_000_000));
    }
    renders(&with_rows(&equal));
    let mut instant = equal;
    instant.iter_mut().for_each(|job| (job.response_ns, job.finish_ns) = (0, job.release_ns));
    renders(&with_rows(&instant));
}

/// Whether a folder can be read is an answer or an error, whatever stands in `file`.
fn read_whatever_stands_in(file: &str) {
    let mut folder = MadeUp::empty(made_up::SUITE);
    folder.add("fig1", |_, _| 30.0);
    let path = folder.path().join(file);
    let good = fs::read(&path).unwrap();
    let short: Vec<u8> =
        good.split_inclusive(|&byte| byte == b'\n').take(4).flatten().copied().collect();
    mutate::inputs(&[good, short], |bytes| {
        fs::write(&path, bytes).unwrap();
        let Ok(found) = results::Folder::open(folder.path()) else { return };
        for experiment in &found.manifest.suite.experiments {
            for workload in experiment.workloads() {
                let _answer = found.samples(workload);
            }
        }
    });
}

#[test]
fn mutated_manifests_are_read_or_refused() {
    read_whatever_stands_in("manifest.json");
}

#[test]
fn mutated_samples_are_read_or_refused() {
    read_whatever_stands_in(JOBS);
}

//! The example in `docs/formats.md`: as it stands there, it reads a result folder and makes figure 3.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::made_up::MadeUp;

/// The first block of Python in the page.
fn example() -> String {
    let page = fs::read_to_string("../docs/formats.md").unwrap();
    let (_, from) = page.split_once("```python\n").expect("the page has an example");
    from.split_once("```").unwrap().0.to_owned()
}

fn run(folder: &Path, packages: Option<&Path>) -> Option<Output> {
    let script = folder.join("figure3.py");
    fs::write(&script, example()).unwrap();
    let mut python = Command::new("python3");
    python.arg(&script).arg(folder).current_dir(folder).env_remove("PYTHONPATH");
    if let Some(packages) = packages {
        python.env("PYTHONPATH", packages);
    }
    match python.output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: python: python3: {error}");
            None
        }
    }
}

#[test]
fn the_example_prints_what_reports_prints() {
    let folder = MadeUp::as_in_the_paper();
    let Some(output) = run(folder.path(), None) else { return };
    let printed = String::from_utf8(output.stdout).unwrap();
    let table = Command::new(env!("CARGO_BIN_EXE_reports"))
        .args([Path::new("table"), folder.path(), Path::new("--format"), Path::new("csv")])
        .output()
        .unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    let header: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    let mut seen = 0;
    for line in printed.lines() {
        let [task, jobs, p50, p99, max] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{line}: {}", String::from_utf8_lossy(&output.stderr))
        };
        let row = rows.iter().find(|row| row[0] == "fig3" && row[1] == task).unwrap();
        let cell = |name: &str| row[header.iter().position(|own| *own == name).unwrap()];
        assert_eq!(jobs, cell("jobs"));
        for (name, ms) in [("p50_ns", p50), ("p99_ns", p99), ("max_ns", max)] {
            let ns: f64 = cell(name).parse().unwrap();
            let ms: f64 = ms.parse().unwrap();
            assert!((ms - ns / 1e6).abs() < 0.001, "{task} {name}: {ms} against {ns}");
        }
        seen += 1;
    }
    assert_eq!(seen, 2, "{printed}");
}

#[test]
fn the_example_draws_figure_3() {
    const TEST: &str = "the_example_draws_figure_3";
    let packages: PathBuf = fs::canonicalize("..").unwrap().join("target/tools/python");
    if !packages.join("matplotlib").exists() {
        eprintln!("SKIPPED: {TEST}: no matplotlib (scripts/setup.sh test installs it)");
        return;
    }
    let folder = MadeUp::as_in_the_paper();
    let Some(output) = run(folder.path(), Some(&packages)) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let svg = fs::read_to_string(folder.path().join("fig3.svg")).unwrap();
    assert!(svg.contains("<svg") && svg.len() > 10_000, "{} bytes", svg.len());
}

//! Figures and tables for LaTeX compile as they are, in a document that loads what they name.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use reports::{Results, render};

use crate::made_up::MadeUp;

/// Compiles a document with the `.tex` files of a report, each as it is; says nothing where it works
/// and tables are no wider than the page's text.
fn compile(report: &Path) -> Option<String> {
    let mut names: Vec<String> = fs::read_dir(report)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".tex"))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    let work = tempfile::tempdir().unwrap();
    let inputs: String = names
        .iter()
        .map(|name| {
            format!(
                "\\begin{{figure}}\\input{{{}}}\\end{{figure}}\\clearpage\n",
                report.join(name).display()
            )
        })
        .collect();
    let document = format!(
        "\\documentclass{{article}}\n\\usepackage{{booktabs,textcomp,pgfplots}}\n\
         \\pgfplotsset{{compat=1.16}}\n\\begin{{document}}\n{inputs}\\end{{document}}\n"
    );
    fs::write(work.path().join("all.tex"), document).unwrap();
    let run = Command::new("pdflatex")
        .args(["-halt-on-error", "-interaction=nonstopmode", "all.tex"])
        .current_dir(work.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let made = run.status.success() && work.path().join("all.pdf").exists();
    // What LaTeX says of a file stands between its name and the page's number; it breaks its lines at
    // 79 characters.
    let in_one = said.replace('\n', "");
    let of_table = in_one.split("table1.tex").nth(1).and_then(|rest| rest.split('[').next());
    let too_wide = of_table.is_some_and(|words| words.contains("Overfull"));
    (!made || too_wide).then_some(said)
}

fn has_latex(test: &str) -> bool {
    let found = Command::new("pdflatex").arg("--version").stdout(Stdio::null()).status();
    if found.is_err() {
        eprintln!("SKIPPED: {test}: pdflatex is not installed (scripts/setup.sh test installs it)");
    }
    found.is_ok()
}

#[test]
fn figures_and_tables_compile() {
    if !has_latex("figures_and_tables_compile") {
        return;
    }
    let service = MadeUp::service([(0.2, 0.3), (0.3, 0.4), (3.0, 4.0), (0.5, 0.6)]);
    for folder in [MadeUp::as_in_the_paper(), service] {
        let rendered = render::render(&Results::read(folder.path()).unwrap()).unwrap();
        let report = rendered.index.parent().unwrap();
        if let Some(said) = compile(report) {
            panic!("{said}");
        }
    }
}

#[test]
fn a_file_that_does_not_compile_is_seen() {
    if !has_latex("a_file_that_does_not_compile_is_seen") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("fig.tex"), "\\begin{tikzpicture}\\axis{%").unwrap();
    assert!(compile(folder.path()).is_some());
    fs::remove_file(folder.path().join("fig.tex")).unwrap();
    let wide = "\\begin{tabular}{l}\\rule{400pt}{1pt}\\end{tabular}";
    fs::write(folder.path().join("table1.tex"), wide).unwrap();
    assert!(compile(folder.path()).is_some_and(|said| said.contains("Overfull")));
}

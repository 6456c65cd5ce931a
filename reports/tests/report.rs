//! From a result folder to everything that a reader sees.

mod made_up;

use std::{fs, process::Command};

use made_up::MadeUp;

fn reports(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_reports")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

#[test]
fn a_whole_report_is_rendered() {
    let folder = MadeUp::as_in_the_paper();
    let dir = folder.path().to_str().unwrap();
    let (code, out, err) = reports(&["render", dir]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.trim_end().ends_with("report/index.html"), "{out}");
    let report = folder.path().join("report");
    let page = fs::read_to_string(report.join("index.html")).unwrap();
    for name in ["fig1", "fig2", "fig3", "fig3-time", "fig4"] {
        assert!(report.join(format!("{name}.svg")).exists(), "{name}.svg");
        assert!(report.join(format!("{name}.png")).exists(), "{name}.png");
        assert!(page.contains(&format!("id=\"{name}\"")), "{name} on the page");
    }
    if let Some(keep) = std::env::var_os("KEEP_REPORT") {
        fs::create_dir_all(&keep).unwrap();
        for entry in fs::read_dir(&report).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), std::path::Path::new(&keep).join(entry.file_name())).unwrap();
        }
    }
}

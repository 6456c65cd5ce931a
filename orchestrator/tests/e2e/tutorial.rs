//! `docs/tutorial.md` as a newcomer types it: its commands are taken from its text, run in one shell
//! in an empty folder, and say what the text says that they say.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{sibling, stderr, stdout, turn};

/// A fenced block of the page: its language, and what stands in it.
struct Block<'a> {
    language: &'a str,
    text: &'a str,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut parts = page.split("\n```");
    parts.next();
    let mut found = Vec::new();
    while let (Some(block), Some(_prose)) = (parts.next(), parts.next()) {
        let (language, text) = block.split_once('\n').unwrap();
        found.push(Block { language, text });
    }
    found
}

/// The page's commands as one script. The first block builds the programs, which is done by now.
fn script(page: &str, programs: &Path) -> String {
    let blocks = blocks(page);
    let mut commands = blocks.iter().filter(|block| block.language == "sh").map(|block| block.text);
    let build = commands.next().unwrap();
    assert!(build.starts_with("make build"), "the page begins with the build: {build}");
    // Wherever it fails, what it started in the background ends with it.
    let path = format!(
        "set -eux\ntrap 'kill $(jobs -p) 2>/dev/null && wait || true' EXIT\nPATH={}:$PATH",
        programs.display()
    );
    [path].into_iter().chain(commands.map(str::to_owned)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_tutorial_does_what_it_says() {
    const TEST: &str = "the_tutorial_does_what_it_says";
    let Some(_turn) = turn(TEST) else { return };
    if let Err(why) = orchestrator::trace::available(&orchestrator::host::Roots::default()) {
        eprintln!("SKIPPED: {TEST}: {why}");
        return;
    }
    let programs: PathBuf = sibling("orchestrator").parent().unwrap().to_owned();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tutorial.md");
    let page = fs::read_to_string(page).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("commands");
    fs::write(&file, script(&page, &programs)).unwrap();
    let output = Command::new("bash")
        .arg(&file)
        .current_dir(folder.path())
        .env("RTVM_STATE_DIR", folder.path().join("state"))
        .output()
        .unwrap();
    let said = stdout(&output) + &stderr(&output);
    assert!(output.status.success(), "{said}");
    // What the page shows of each answer: its first column is words, which do not change.
    for block in blocks(&page).iter().filter(|block| block.language == "text") {
        for line in block.text.lines() {
            let words = line.split(|c: char| c.is_ascii_digit()).next().unwrap().trim_end();
            assert!(said.contains(words), "the page shows `{line}`, not seen in:\n{said}");
        }
    }
    assert!(folder.path().join("proof/report/index.html").is_file());
}

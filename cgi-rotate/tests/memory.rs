//! Peak memory: at most the two pictures and 8 MiB.

mod common;

use std::fs::File;
use std::path::Path;
use std::process::Command;

use nix::sys::resource::{UsageWho, getrusage};

fn run(folder: &Path, query: &str, method: &str, length: u64) {
    let status = Command::new(common::PROGRAM)
        .env_clear()
        .env("REQUEST_METHOD", method)
        .env("QUERY_STRING", query)
        .env("CONTENT_LENGTH", length.to_string())
        .stdin(File::open(folder.join("body")).unwrap())
        .stdout(File::create(folder.join("reply")).unwrap())
        .status()
        .unwrap();
    assert!(status.success());
}

/// The built-in picture as a file of this format.
fn body(folder: &Path, format: &str) -> u64 {
    let output = Command::new(common::PROGRAM)
        .env_clear()
        .args(["--angle=0", "--format", format, "--output"])
        .arg(folder.join("body"))
        .status();
    assert!(output.unwrap().success());
    folder.join("body").metadata().unwrap().len()
}

/// One test alone in its process: the children's peak is only known as the highest of them all.
#[test]
fn peak_memory_is_the_two_pictures_and_little_more() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let most = (2000 * 2000 + 2564 * 2564) * 3 + (8 << 20);
    for format in ["ppm", "png", "jpeg"] {
        let length = body(folder, format);
        run(folder, &format!("angle=20&format={format}"), "GET", 0);
        run(folder, &format!("angle=20&format={format}"), "POST", length);
        let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() * 1024;
        println!("up to {format}: {peak} of {most} bytes");
        assert!(peak > 1 << 20 && peak <= most, "{format}: {peak} of {most} bytes");
    }
}

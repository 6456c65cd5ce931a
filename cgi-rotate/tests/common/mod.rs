//! What several integration tests need: the program as a CGI script, and its reply taken apart.
#![expect(dead_code, reason = "each test uses its own part of this")]

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::process::{Command, Output, Stdio};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_cgi-rotate");

/// A reply with lower-case header names.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// Takes a CGI or HTTP response apart.
    pub fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no end of headers: {}", bytes.escape_ascii()));
        let head = std::str::from_utf8(&bytes[..end]).expect("headers are text");
        let mut lines = head.split("\r\n");
        let first = lines.next().expect("a status");
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").expect("name: value");
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Self {
            status: status.expect("a status code"),
            headers: headers.collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    /// Asserts that the length and the checksum in the headers are those of the body.
    pub fn assert_whole(&self) {
        assert_eq!(self.headers["content-length"], self.body.len().to_string());
        let checksum = format!("{:08x}", crc32fast::hash(&self.body));
        assert_eq!(self.headers["x-content-crc32"], checksum);
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text").trim_end()
    }
}

/// Runs the program with these meta-variables only, and `body` on its standard input.
pub fn run_cgi(variables: &[(&str, &str)], body: &[u8]) -> Output {
    let mut child = Command::new(PROGRAM)
        .env_clear()
        .env("GATEWAY_INTERFACE", "CGI/1.1")
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A refused request may leave its body unread.
    let _ = child.stdin.take().expect("piped").write_all(body);
    child.wait_with_output().expect("the program ends")
}

/// A reply of the program to these meta-variables; it must have ended well.
pub fn cgi(variables: &[(&str, &str)], body: &[u8]) -> Answer {
    let output = run_cgi(variables, body);
    assert!(output.status.success(), "{:?}", output);
    Answer::parse(&output.stdout)
}

pub fn get(query: &str) -> Answer {
    cgi(&[("REQUEST_METHOD", "GET"), ("QUERY_STRING", query)], b"")
}

/// Whether `program` can be started; says that `test` is skipped where it cannot.
pub fn has(test: &str, program: &str, argument: &str) -> bool {
    let quiet = || File::create("/dev/null").expect("/dev/null");
    let started =
        Command::new(program).arg(argument).stdout(quiet()).stderr(quiet()).status().is_ok();
    if !started {
        eprintln!("SKIPPED: {test}: {program} is not installed");
    }
    started
}

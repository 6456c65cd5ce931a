//! 10,000 malformed requests: no crash, no time-out, no 500, memory bounded.

mod common;
#[path = "common/replay.rs"]
mod replay;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io::Write};

use common::Answer;
use proptest::prelude::*;
use proptest::sample::Index;
use replay::Request;

/// Far above what a request within the limits takes, even where the machine stalls.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Most memory of the whole test, in KiB: itself, and requests of at most 10 MB.
const MOST_KIB: u64 = 96 << 10;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn seeds() -> Vec<Vec<u8>> {
    let mut paths: Vec<_> =
        fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 20, "the seed corpus is there");
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// One way to spoil a request.
#[derive(Debug, Clone)]
enum Spoil {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Cut(Index),
    Graft(Index, Index),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    let at = any::<Index>;
    let scraps = prop::sample::select(vec![
        "&",
        "=",
        "%",
        "%00",
        "%ff",
        "+",
        "angle=",
        "width=",
        "-1",
        "0",
        "65535",
        "65536",
        "1e308",
        "nan",
        "4294967296",
        "../",
        "image=",
        "reply=summary",
        "\n",
        "\n\n",
        "P6",
        "IHDR",
        "é",
    ]);
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Spoil::Flip(at, byte)),
        2 => (at(), scraps).prop_map(|(at, text)| Spoil::Insert(at, text.into())),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(at, bytes)| Spoil::Insert(at, bytes)),
        2 => (at(), 1usize..40).prop_map(|(at, count)| Spoil::Remove(at, count)),
        1 => (at(), 1usize..200).prop_map(|(at, count)| Spoil::Repeat(at, count)),
        1 => at().prop_map(Spoil::Cut),
        1 => (at(), at()).prop_map(|(seed, at)| Spoil::Graft(seed, at)),
    ]
}

/// A fifth of the spoiling happens in the first lines, which are short beside the bodies.
fn spoiled(seeds: &[Vec<u8>], seed: Index, spoils: &[(bool, Spoil)]) -> Vec<u8> {
    let mut blob = seeds[seed.index(seeds.len())].clone();
    for (early, spoil) in spoils {
        let reach = if *early { blob.len().min(120) } else { blob.len() };
        let place = |at: &Index| at.index(reach + 1);
        match spoil {
            Spoil::Flip(at, mask) => {
                let at = place(at);
                if let Some(byte) = blob.get_mut(at) {
                    *byte ^= mask;
                }
            }
            Spoil::Insert(at, bytes) => {
                let at = place(at);
                blob.splice(at..at, bytes.iter().copied());
            }
            Spoil::Remove(at, count) => {
                let at = place(at);
                let end = (at + count).min(blob.len());
                blob.drain(at..end);
            }
            Spoil::Repeat(at, count) => {
                let at = place(at);
                let piece = blob[at..(at + count).min(blob.len())].to_vec();
                blob.splice(at..at, piece);
            }
            Spoil::Cut(at) => blob.truncate(place(at)),
            Spoil::Graft(other, at) => {
                let other = &seeds[other.index(seeds.len())];
                let at = place(at);
                blob.truncate(at);
                blob.extend_from_slice(&other[at.min(other.len())..]);
            }
        }
    }
    blob
}

fn requests() -> impl Strategy<Value = (Index, Vec<(bool, Spoil)>)> {
    (any::<Index>(), prop::collection::vec((prop::bool::weighted(0.2), spoil()), 1..6))
}

fn check_library(blob: &[u8]) -> &'static str {
    let since = Instant::now();
    let reply = Request::parse(blob, &corpus()).reply();
    replay::check(reply.status, &reply.body);
    assert!(since.elapsed() < TIMEOUT, "took {:?}", since.elapsed());
    assert!(peak_kib() < MOST_KIB, "{} KiB", peak_kib());
    &reply.status[..3]
}

/// Peak memory of this process alone; getrusage's begins with that of whoever started it.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn check_program(blob: &[u8]) {
    let request = Request::parse(blob, &corpus());
    let mut child = Command::new(common::PROGRAM)
        .env_clear()
        .envs(request.variables)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Refused requests may leave their body unread.
    let _ = child.stdin.take().unwrap().write_all(&request.body);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    let answer = Answer::parse(&output.stdout);
    let is_head = answer.body.is_empty() && answer.headers["content-length"] != "0";
    if !is_head {
        replay::check(&answer.status.to_string(), &answer.body);
    }
}

#[test]
fn the_seeds_themselves_are_served_or_refused_as_they_are_named() {
    for entry in fs::read_dir(corpus()).unwrap() {
        let path = entry.unwrap().path();
        let reply = Request::parse(&fs::read(&path).unwrap(), &corpus()).reply();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(name[..3], reply.status[..3], "{name}: {:?}", reply.body.escape_ascii());
    }
}

#[test]
fn ten_thousand_malformed_requests() {
    let seeds = seeds();
    let config = ProptestConfig { cases: 10_000, failure_persistence: None, ..Default::default() };
    let seen = RefCell::new(BTreeMap::new());
    proptest!(config, |((seed, spoils) in requests())| {
        let status = check_library(&spoiled(&seeds, seed, &spoils));
        *seen.borrow_mut().entry(status).or_insert(0) += 1;
    });
    println!("{:?}", seen.borrow());
    assert_eq!(seen.borrow().len(), 5, "every kind of reply was met: {:?}", seen.borrow());
}

#[test]
fn three_hundred_of_them_against_the_program() {
    let seeds = seeds();
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() };
    proptest!(config, |((seed, spoils) in requests())| {
        check_program(&spoiled(&seeds, seed, &spoils));
    });
}

//! Any bytes as one request: no crash, a known status, one line for a refusal.
//!
//! `cargo +nightly fuzz run request corpus` in the folder `cgi-rotate` starts from the seeds.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/common/replay.rs"]
mod replay;

fuzz_target!(|blob: &[u8]| {
    let reply = replay::Request::parse(blob, Path::new("corpus")).reply();
    replay::check(reply.status, &reply.body);
});

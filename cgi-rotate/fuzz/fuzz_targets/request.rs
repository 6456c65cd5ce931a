//! Any bytes as one request: no crash, a known status, one line for a refusal.
//!
//! `cargo +nightly fuzz run request corpus` in the folder `cgi-rotate` starts from the seeds.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/common/replay.rs"]
mod replay;

fuzz_target!(
    init: {
        // A decoder's panic is caught and answered with 400, so it must not end the run as the
        // usual hook would; one that nobody catches still does.
        std::panic::set_hook(Box::new(|what| eprintln!("{what}")));
    },
    |blob: &[u8]| {
        let reply = replay::Request::parse(blob, Path::new("corpus")).reply();
        replay::check(reply.status, &reply.body);
    }
);

//! Suites that somebody spoiled: refused with one line, or read as what they say.

use std::{fs, path::Path};

#[test]
fn mutated_suites_are_read_or_refused_in_one_line() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let files = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let mut seeds: Vec<Vec<u8>> = files.collect();
    seeds.sort();
    mutate::inputs(&seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        match super::parse(&text, "s.toml") {
            Ok(suite) => assert!(suite.experiments.len() < 100_000),
            Err(error) => {
                let said = error.to_string();
                assert!(!said.trim().is_empty() && said.len() < 4000, "{said}");
                assert!(said.starts_with("s.toml"), "{said}");
            }
        }
    });
}

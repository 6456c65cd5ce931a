//! Files that somebody spoiled: refused with one line, or read as what they say.

use std::{fs, path::Path};

#[test]
fn mutated_files_are_read_or_refused_in_one_line() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rt-app");
    let files = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let mut seeds: Vec<Vec<u8>> = files.collect();
    seeds.sort();
    assert!(seeds.len() >= 10, "{} files", seeds.len());
    mutate::inputs(&seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        match super::read::parse("f.json", &text) {
            Ok(workload) => {
                assert!((1..=256).contains(&workload.threads.len()));
                for thread in &workload.threads {
                    assert!(thread.phases.iter().all(|phase| !phase.events.is_empty()));
                }
            }
            Err(said) => {
                assert!(said.starts_with("f.json:") && said.len() < 4000, "{said}");
                assert!(!said.contains('\n'), "{said}");
            }
        }
    });
}

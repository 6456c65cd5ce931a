//! Folders of layout 1: experiments in the short form, rows without VM and service.

use std::fs;

use reports::Results;
use serde_json::Value;

use crate::made_up::{self, MadeUp};

/// As a version before layout 2 wrote it.
fn of_layout_1(folder: &MadeUp, suite: &str) {
    let path = folder.path().join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let suite: Value = toml::from_str(suite).unwrap();
    manifest["schema_version"] = 1.into();
    for (own, old) in manifest["suite"]["experiment"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .zip(suite["experiment"].as_array().unwrap())
    {
        let mut old = old.clone();
        old["duration"] = own["duration"].clone();
        *own = old;
    }
    fs::write(&path, manifest.to_string()).unwrap();
    for record in &folder.manifest.repetitions {
        let place = results::folder::place_of(folder.path(), record);
        for name in ["jobs.csv", "requests.csv"] {
            let Ok(text) = fs::read_to_string(place.join(name)) else { continue };
            let cut = |line: &str| {
                let line = line.strip_suffix(",vm,service").or(line.strip_suffix(",,")).unwrap();
                line.to_owned() + "\n"
            };
            fs::write(place.join(name), text.lines().map(cut).collect::<String>()).unwrap();
        }
    }
}

#[test]
fn folders_of_layout_1_are_read_as_ever() {
    for (suite, folder) in [
        (made_up::SUITE, MadeUp::as_in_the_paper()),
        (made_up::SERVICE, MadeUp::service([(0.2, 0.3), (0.3, 0.4), (3.0, 4.0), (0.5, 0.6)])),
    ] {
        let told = || {
            let results = Results::read(folder.path()).unwrap();
            let claims = reports::claims::all(&results);
            let lengths: Vec<usize> =
                results.cases.iter().flat_map(|case| &case.series).map(|own| own.len()).collect();
            assert!(lengths.iter().all(|own| *own > 0));
            (reports::claims::json(&results, &claims), lengths)
        };
        let now = told();
        of_layout_1(&folder, suite);
        assert_eq!(told(), now);
    }
}

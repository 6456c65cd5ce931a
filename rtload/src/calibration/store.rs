//! Calibrations in files.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use model::outfile::OutFile;

use super::Calibration;
use crate::Error;

/// Where the calibration of `cpu` is kept: `$XDG_CACHE_HOME/rtload/` or `~/.cache/rtload/`; none
/// where there is no home.
#[must_use]
pub fn cache_path(cpu: u32) -> Option<PathBuf> {
    let folder =
        |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    Some(cache.join("rtload").join(format!("calibration-cpu{cpu}.json")))
}

/// Reads a calibration.
///
/// # Errors
/// [`Error::Usage`] with the path where it is missing, malformed or makes no sense.
pub fn load(path: &Path) -> Result<Calibration, Error> {
    let fail = |why: &dyn std::fmt::Display| {
        Error::Usage(format!("calibration file {}: {why}", path.display()))
    };
    let text = fs::read_to_string(path).map_err(|error| fail(&error))?;
    let calibration: Calibration = serde_json::from_str(&text).map_err(|error| fail(&error))?;
    if calibration.is_sound() {
        Ok(calibration)
    } else {
        Err(fail(
            &"not a calibration of this version; make one with `rtload calibrate --save FILE`",
        ))
    }
}

/// Writes a calibration; missing folders are made.
///
/// # Errors
/// [`Error::File`] with the path.
pub fn save(path: &Path, calibration: &Calibration) -> Result<(), Error> {
    let open = || {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        OutFile::open(path)
    };
    save_to(open().map_err(|source| failed(path, source))?, calibration)
}

/// Writes a calibration to a file that is open already.
///
/// # Errors
/// [`Error::File`] with the path.
pub fn save_to(file: OutFile, calibration: &Calibration) -> Result<(), Error> {
    let path = file.path().to_owned();
    file.fill(|file| {
        serde_json::to_writer_pretty(&mut *file, calibration)?;
        file.write_all(b"\n")
    })
    .map_err(|source| failed(&path, source))
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::File { what: format!("cannot store the calibration in {}", path.display()), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::example;

    #[test]
    fn what_is_stored_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/calibration.json");
        save(&path, &example()).unwrap();
        assert_eq!(load(&path).unwrap(), example());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_bad_file_is_a_usage_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.json");
        for text in ["", "{}", "{\"ns_per_iteration\": \"fast\"}"] {
            fs::write(&path, text).unwrap();
            let error = load(&path).unwrap_err();
            assert!(matches!(error, Error::Usage(_)));
            assert!(error.to_string().contains("c.json"), "{error}");
        }
        let mut zero = example();
        zero.ns_per_iteration = 0.0;
        save(&path, &zero).unwrap();
        assert!(matches!(load(&path), Err(Error::Usage(_))));
    }
}

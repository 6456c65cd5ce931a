//! Where a picture's bytes come from: a request's body, or a file below the images folder.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use crate::limits::Limits;
use crate::picture::{PADDING, reserve};
use crate::refusal::{Refusal, quoted};

/// Exactly `length` bytes, with room for [`PADDING`] after them.
///
/// # Errors
/// 413 above the limit, 400 where fewer bytes come or reading fails.
pub fn read(from: impl Read, length: u64, limits: &Limits) -> Result<Vec<u8>, Refusal> {
    limits.admit_bytes(length)?;
    let mut bytes = reserve(length as usize + PADDING)?;
    let got = from.take(length).read_to_end(&mut bytes).map_err(|e| {
        Refusal::BadRequest(format!("the image of {length} bytes cannot be read: {e}"))
    })?;
    if got as u64 != length {
        return Err(Refusal::BadRequest(format!(
            "the image is cut short: {length} bytes were announced, {got} came"
        )));
    }
    Ok(bytes)
}

/// The file `name` below `folder`.
///
/// # Errors
/// 400 for a name that leaves the folder or names no file in it, 413 above the limit, 500 where
/// the folder itself or a file in it cannot be read.
pub fn below(folder: &Path, name: &str, limits: &Limits) -> Result<Vec<u8>, Refusal> {
    let path = resolve(folder, name)?;
    let failed = |e: std::io::Error| {
        Refusal::Server(format!("the server cannot read the image {}: {e}", quoted(name)))
    };
    let file = File::open(&path).map_err(failed)?;
    let facts = file.metadata().map_err(failed)?;
    read(file, facts.len(), limits)
}

fn resolve(folder: &Path, name: &str) -> Result<PathBuf, Refusal> {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || name.contains(['\0', '\\']) || !plain {
        return Err(Refusal::BadRequest(format!(
            "image is {}; it must be test or a relative path without ..",
            quoted(name)
        )));
    }
    let root = folder.canonicalize().map_err(|e| {
        Refusal::Server(format!("the server's folder of images cannot be opened: {e}"))
    })?;
    // A link may lead out of the folder, and a pipe would never end: both are no image. The cause
    // is kept from strangers, who would learn from it what exists outside.
    root.join(name)
        .canonicalize()
        .ok()
        .filter(|path| path.starts_with(&root) && path.is_file())
        .ok_or_else(|| {
            Refusal::BadRequest(format!("image is {}; there is no such image here", quoted(name)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn refused(folder: &Path, name: &str) -> Refusal {
        below(folder, name, &Limits::default()).unwrap_err()
    }

    #[test]
    fn only_files_below_the_folder_are_read() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("images");
        std::fs::create_dir_all(folder.join("sub")).unwrap();
        std::fs::write(outer.path().join("secret"), "secret").unwrap();
        std::fs::write(folder.join("sub/a"), "picture").unwrap();
        symlink("../secret", folder.join("out")).unwrap();
        symlink("sub/a", folder.join("in")).unwrap();
        let standard = Limits::default();
        assert_eq!(below(&folder, "sub/a", &standard).unwrap(), b"picture");
        assert_eq!(below(&folder, "in", &standard).unwrap(), b"picture");
        for name in [
            "",
            "/etc/passwd",
            "..",
            "../secret",
            "sub/../../secret",
            "./sub/a",
            "out",
            "sub",
            "none",
            "sub\\a",
            "a\0b",
            "sub/a/",
        ] {
            assert!(matches!(refused(&folder, name), Refusal::BadRequest(_)), "{name:?}");
        }
        assert!(matches!(refused(&folder.join("gone"), "a"), Refusal::Server(_)));
        let small = Limits { body: 3, ..standard };
        assert!(matches!(below(&folder, "in", &small), Err(Refusal::TooLarge(_))));
    }

    #[test]
    fn a_short_body_is_told_from_a_whole_one() {
        let standard = Limits::default();
        assert_eq!(read(&b"abcdef"[..], 4, &standard).unwrap(), b"abcd");
        insta::assert_snapshot!(read(&b"abc"[..], 4, &standard).unwrap_err(), @"the image is cut short: 4 bytes were announced, 3 came");
    }
}

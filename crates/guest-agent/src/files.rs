//! Files to and from the host.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use crate::{message::Reply, protocol::MAX_PAYLOAD};

/// Writes `content` to `path`, or adds it; folders are made as needed.
///
/// # Errors
/// What the file system says.
pub fn put(path: &Path, mode: u32, append: bool, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file =
        OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(path)?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(mode & 0o7777))
}

/// Sends the file at `path` in parts; the last is marked, and may be empty.
///
/// # Errors
/// What the file system says; parts may have been sent before.
pub fn get(path: &Path, mut send: impl FnMut(Reply, &[u8])) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; MAX_PAYLOAD];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => send(Reply::File { last: false }, &buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    send(Reply::File { last: true }, &[]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_back_as_it_was_put() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/file");
        let content: Vec<u8> = (0..MAX_PAYLOAD * 2 + 5).map(|n| n as u8).collect();
        let (first, rest) = content.split_at(MAX_PAYLOAD);
        put(&path, 0o755, false, b"old and longer than nothing").unwrap();
        put(&path, 0o755, false, first).unwrap();
        put(&path, 0o755, true, rest).unwrap();
        let (mut got, mut parts) = (Vec::new(), Vec::new());
        get(&path, |reply, bytes| {
            got.extend_from_slice(bytes);
            parts.push(reply);
        })
        .unwrap();
        assert!(got == content);
        assert_eq!(parts.iter().filter(|part| **part == Reply::File { last: true }).count(), 1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o755);
        assert!(get(&folder.path().join("none"), |_, _| ()).is_err());
    }
}

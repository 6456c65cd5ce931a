//! Files that a program writes at its end.
//!
//! They are opened at its start, so that a path that cannot be written is found before any work, and
//! nothing is truncated until there is something to put in its place: a regular file is written
//! beside its place and renamed. What is no regular file (a FIFO, a device), what has another owner
//! or another name is written through the handle that was opened first.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, ErrorKind, IsTerminal, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

/// A file to be written once.
#[derive(Debug)]
pub struct OutFile {
    path: PathBuf,
    file: File,
    identity: Identity,
    /// Where the contents wait, and what they then replace; none where they are written through.
    beside: Option<(PathBuf, PathBuf)>,
}

/// What a path stands for, to see whether two stand for the same.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Identity {
    /// Device and inode.
    Inode(u64, u64),
    /// It does not exist yet.
    New(PathBuf),
    /// A character device: writing twice overwrites nothing.
    Device,
}

impl Identity {
    fn of(found: &fs::Metadata) -> Self {
        if found.file_type().is_char_device() {
            return Self::Device;
        }
        Self::Inode(found.dev(), found.ino())
    }

    fn clashes(&self, other: &Self) -> bool {
        *self != Self::Device && self == other
    }
}

impl OutFile {
    /// Opens `path` for writing; leaves what is there as it is. A FIFO waits for its reader: open it
    /// while signals still end the process.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(found) if found.is_file() => Self::replacing(path, &found),
            Ok(_) => Self::through(path, OpenOptions::new().write(true)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if fs::symlink_metadata(path).is_ok() {
                    // A link to a file that does not exist yet.
                    return Self::through(path, OpenOptions::new().write(true).create(true));
                }
                let target = in_its_folder(path)?;
                let identity = Identity::New(target.clone());
                Self::aside(path, target, identity)
            }
            Err(error) => Err(error),
        }
    }

    /// A regular file: a link to it stays a link.
    fn replacing(path: &Path, found: &fs::Metadata) -> io::Result<Self> {
        // Whoever may not write it may not replace it.
        let existing = Self::through(path, OpenOptions::new().write(true))?;
        // A link of /proc to an open file that has been removed leads nowhere.
        let Ok(target) = fs::canonicalize(path) else { return Ok(existing) };
        let Ok(own) = Self::aside(path, target, existing.identity.clone()) else {
            return Ok(existing);
        };
        if found.nlink() != 1 || own.file.metadata()?.uid() != found.uid() {
            return Ok(existing);
        }
        own.file.set_permissions(found.permissions())?;
        Ok(own)
    }

    fn aside(path: &Path, target: PathBuf, identity: Identity) -> io::Result<Self> {
        let name = target.file_name().ok_or(ErrorKind::IsADirectory)?.to_string_lossy();
        let aside = target.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        let file = File::create(&aside)?;
        Ok(Self { path: path.to_owned(), file, identity, beside: Some((aside, target)) })
    }

    fn through(path: &Path, options: &mut OpenOptions) -> io::Result<Self> {
        let file = options.open(path)?;
        let identity = Identity::of(&file.metadata()?);
        Ok(Self { path: path.to_owned(), file, identity, beside: None })
    }

    /// The path as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has `write` write the contents, and puts the file in its place.
    ///
    /// # Errors
    /// Those of `write` and of the file system; a file that was there stays as it was, where it is
    /// not written through.
    pub fn fill<E: From<io::Error>>(
        self,
        write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut filling = self.begin()?;
        write(&mut filling)?;
        Ok(filling.finish()?)
    }

    /// Begins to write the contents, for whoever writes them piece by piece.
    ///
    /// # Errors
    /// What the file system says.
    pub fn begin(self) -> io::Result<Filling> {
        if self.beside.is_none() && self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        let buffered = BufWriter::new(self.file.try_clone()?);
        Ok(Filling { buffered, out: self })
    }
}

/// A file that is being written. Dropped before [`Filling::finish`] it leaves what was there as it
/// was, where it is not written through.
#[derive(Debug)]
pub struct Filling {
    buffered: BufWriter<File>,
    out: OutFile,
}

impl Filling {
    /// Puts the file in its place.
    ///
    /// # Errors
    /// What the file system says.
    pub fn finish(mut self) -> io::Result<()> {
        self.buffered.flush()?;
        if let Some((aside, target)) = &self.out.beside {
            fs::rename(aside, target)?;
            self.out.beside = None;
        }
        Ok(())
    }
}

impl Write for Filling {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffered.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.buffered.flush()
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if let Some((aside, _)) = &self.beside {
            let _gone_already = fs::remove_file(aside);
        }
    }
}

/// `path` with its folder's real name, so that two ways to write it compare equal.
fn in_its_folder(path: &Path) -> io::Result<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let name = path.file_name().ok_or(ErrorKind::IsADirectory)?;
    Ok(fs::canonicalize(folder.unwrap_or(Path::new(".")))?.join(name))
}

/// Refuses options that name the same file, or the one behind standard output or error, where the
/// second to write would overwrite the first. Options are given by name, as `--out`.
///
/// # Errors
/// One line with both names and the path.
pub fn distinct(outputs: &[(&str, &OutFile)]) -> Result<(), String> {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let streams = [
        ("standard output", stdout.is_terminal(), stdout.as_fd()),
        ("standard error", stderr.is_terminal(), stderr.as_fd()),
    ];
    for (at, (option, output)) in outputs.iter().enumerate() {
        let path = output.path.display();
        if let Some((other, _)) =
            outputs[..at].iter().find(|(_, other)| output.identity.clashes(&other.identity))
        {
            return Err(format!(
                "{option} {path}: {other} is the same file, and one would overwrite the other; \
                 name another file"
            ));
        }
        for (stream, _, fd) in streams.iter().filter(|(_, terminal, _)| !terminal) {
            if behind(*fd).is_some_and(|identity| output.identity.clashes(&identity)) {
                return Err(format!(
                    "{option} {path}: this is {stream}, where other text goes; name another file"
                ));
            }
        }
    }
    Ok(())
}

/// What an open descriptor stands for; none where it cannot be told.
fn behind(fd: BorrowedFd<'_>) -> Option<Identity> {
    let file = File::from(fd.try_clone_to_owned().ok()?);
    Some(Identity::of(&file.metadata().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn put(out: OutFile, text: &str) {
        out.fill(|file| file.write_all(text.as_bytes())).unwrap();
    }

    fn entries(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.csv");
        fs::write(&path, "precious").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        drop(OutFile::open(&path).unwrap());
        let failed = OutFile::open(&path).unwrap().fill(|file| {
            file.write_all(b"half")?;
            Err(io::Error::from(ErrorKind::StorageFull))
        });
        assert!(failed.is_err());
        assert_eq!(
            (fs::read_to_string(&path).unwrap().as_str(), entries(folder.path())),
            ("precious", 1)
        );
        put(OutFile::open(&path).unwrap(), "new");
        assert_eq!(
            (fs::read_to_string(&path).unwrap().as_str(), entries(folder.path())),
            ("new", 1)
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn links_stay_links_and_other_names_stay_names() {
        let folder = tempfile::tempdir().unwrap();
        let [target, link, twin, dangling, new] =
            ["target", "link", "twin", "dangling", "new"].map(|name| folder.path().join(name));
        fs::write(&target, "old, and longer").unwrap();
        symlink(&target, &link).unwrap();
        put(OutFile::open(&link).unwrap(), "one");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        fs::hard_link(&target, &twin).unwrap();
        put(OutFile::open(&twin).unwrap(), "2");
        assert_eq!(fs::read_to_string(&target).unwrap(), "2");
        symlink(&new, &dangling).unwrap();
        put(OutFile::open(&dangling).unwrap(), "three");
        assert_eq!(fs::read_to_string(&new).unwrap(), "three");
    }

    #[test]
    fn devices_stay_devices() {
        put(OutFile::open(Path::new("/dev/null")).unwrap(), "x");
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }

    #[test]
    fn the_same_file_twice_is_refused_whatever_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| OutFile::open(&folder.path().join(name)).unwrap();
        let (new, other) = (open("x"), open("y"));
        let again = open(&format!("../{}/x", folder.path().file_name().unwrap().to_str().unwrap()));
        assert!(distinct(&[("--out", &new), ("--save", &other)]).is_ok());
        let text = distinct(&[("--out", &new), ("--hist-log", &again)]).unwrap_err();
        assert!(text.contains("--hist-log") && text.contains("--out"), "{text}");
        let null = || OutFile::open(Path::new("/dev/null")).unwrap();
        assert!(distinct(&[("--out", &null()), ("--hist-log", &null())]).is_ok());
    }
}

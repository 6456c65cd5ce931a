//! The guest's file system: a cpio archive that the kernel unpacks into memory.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hasher},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Context;
use cpio::newc::{Builder, ModeFileType};
use guest_agent::boot::MODULE_LIST;

use super::{libraries, modules::Module, strip::strip};

/// Archives of other contents that are kept in the cache.
const KEPT: usize = 8;

/// What a guest's file system holds beside the agent and the modules. Paths in the guest are
/// absolute.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Programs (or shared objects that programs load): path in the guest → file on the host. Their
    /// libraries come along.
    pub programs: BTreeMap<PathBuf, PathBuf>,
    /// Other files of the host: path in the guest → file on the host.
    pub files: BTreeMap<PathBuf, PathBuf>,
    /// Files made here: path in the guest → what they hold.
    pub texts: BTreeMap<PathBuf, String>,
}

impl Contents {
    /// Puts a program of the host into the guest's `/bin`, under the same name.
    #[must_use]
    pub fn with_program(mut self, host: &Path) -> Self {
        let name = host.file_name().unwrap_or(host.as_os_str());
        self.programs.insert(Path::new("/bin").join(name), host.to_owned());
        self
    }
}

enum Node {
    Folder,
    File { mode: u32, content: Vec<u8> },
    Console,
}

/// Builds the archive, or finds it in `cache`: its name is made from its contents.
///
/// # Errors
/// A file cannot be read, a library is missing, or the cache cannot be written.
pub fn build(
    cache: &Path,
    agent: &Path,
    modules: &[Module],
    contents: &Contents,
) -> anyhow::Result<PathBuf> {
    let nodes = nodes(agent, modules, contents).context("the guest's initramfs")?;
    let archive = archive(&nodes)?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&archive);
    let folder = cache.join("initramfs");
    let path = folder.join(format!("{:016x}-{}.cpio", hasher.finish(), archive.len()));
    if fs::metadata(&path).is_ok_and(|found| found.len() == archive.len() as u64) {
        // Marks it as used, for the pruning below.
        let _ = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        return Ok(path);
    }
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let mut aside = tempfile::NamedTempFile::new_in(&folder)?;
    aside.write_all(&archive)?;
    aside.persist(&path).with_context(|| path.display().to_string())?;
    prune(&folder);
    Ok(path)
}

/// All that the archive holds, by path in the guest.
fn nodes(
    agent: &Path,
    modules: &[Module],
    contents: &Contents,
) -> anyhow::Result<BTreeMap<PathBuf, Node>> {
    let mut hosts = contents.programs.clone();
    hosts.insert("/init".into(), agent.to_owned());
    let mut libraries = BTreeMap::new();
    for program in hosts.values() {
        libraries::closure(program, &mut libraries)?;
    }
    let mut nodes = BTreeMap::from([("/dev/console".into(), Node::Console)]);
    for (path, host) in hosts.into_iter().chain(libraries) {
        nodes.insert(path, read(&host, strip).with_context(|| host.display().to_string())?);
    }
    for (path, host) in &contents.files {
        let whole = |content| content;
        nodes.insert(path.clone(), read(host, whole).with_context(|| host.display().to_string())?);
    }
    let mut list = String::new();
    for module in modules {
        let path = format!("/lib/modules/{}.ko", module.name);
        list += &format!("{path}\n");
        nodes.insert(path.into(), Node::File { mode: 0o644, content: module.content.clone() });
    }
    let texts = contents.texts.iter().map(|(path, text)| (path.clone(), text.clone()));
    for (path, text) in texts.chain([(MODULE_LIST.into(), list)]).chain(accounts(contents)) {
        nodes.insert(path, Node::File { mode: 0o644, content: text.into_bytes() });
    }
    for folder in ["/proc", "/sys", "/dev", "/tmp", "/run", "/root", "/var"] {
        nodes.insert(folder.into(), Node::Folder);
    }
    add_parents(&mut nodes);
    Ok(nodes)
}

/// The user database without which some servers do not start.
fn accounts(contents: &Contents) -> impl Iterator<Item = (PathBuf, String)> {
    [
        (
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        ),
        ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ]
    .map(|(path, text)| (PathBuf::from(path), text.to_owned()))
    .into_iter()
    .filter(|(path, _)| !contents.texts.contains_key(path) && !contents.files.contains_key(path))
}

fn read(host: &Path, change: impl Fn(Vec<u8>) -> Vec<u8>) -> io::Result<Node> {
    let mode = fs::metadata(host)?.permissions().mode() & 0o777;
    Ok(Node::File { mode, content: change(fs::read(host)?) })
}

/// The kernel makes no folders on its own.
fn add_parents(nodes: &mut BTreeMap<PathBuf, Node>) {
    let parents: Vec<PathBuf> = nodes
        .keys()
        .flat_map(|path| path.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>())
        .filter(|path| path.parent().is_some())
        .collect();
    for parent in parents {
        nodes.entry(parent).or_insert(Node::Folder);
    }
}

/// The nodes as "newc" cpio; folders come before what is in them, by the order of their paths.
fn archive(nodes: &BTreeMap<PathBuf, Node>) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    for (number, (path, node)) in (1..).zip(nodes) {
        let name = path.to_str().with_context(|| format!("{}: not UTF-8", path.display()))?;
        let entry = Builder::new(name.trim_start_matches('/')).ino(number);
        let (entry, content): (Builder, &[u8]) = match node {
            Node::Folder => {
                (entry.mode(0o755).set_mode_file_type(ModeFileType::Directory).nlink(2), &[])
            }
            Node::File { mode, content } => {
                (entry.mode(*mode).set_mode_file_type(ModeFileType::Regular), content)
            }
            Node::Console => (
                entry
                    .mode(0o600)
                    .set_mode_file_type(ModeFileType::Char)
                    .rdev_major(5)
                    .rdev_minor(1),
                &[],
            ),
        };
        let size = u32::try_from(content.len()).with_context(|| format!("{name}: above 4 GiB"))?;
        let mut writer = entry.write(&mut out, size);
        writer.write_all(content)?;
        writer.finish()?;
    }
    cpio::newc::trailer(&mut out)?;
    Ok(out)
}

/// Removes all but the archives that were used last; what cannot be removed stays.
fn prune(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut archives: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        })
        .filter(|(_, path)| path.extension().is_some_and(|extension| extension == "cpio"))
        .collect();
    archives.sort();
    for (_, path) in archives.iter().rev().skip(KEPT) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> Contents {
        let texts = BTreeMap::from([("/etc/deep/er/file".into(), "hello\n".to_owned())]);
        Contents { texts, ..Contents::default() }.with_program(&std::env::current_exe().unwrap())
    }

    fn names(archive: &Path) -> Vec<String> {
        let mut names = Vec::new();
        let mut input = io::Cursor::new(fs::read(archive).unwrap());
        loop {
            let reader = cpio::newc::Reader::new(input).unwrap();
            if reader.entry().is_trailer() {
                return names;
            }
            names.push(reader.entry().name().to_owned());
            input = reader.finish().unwrap();
        }
    }

    #[test]
    fn holds_what_the_guest_needs_folders_first() {
        let cache = tempfile::tempdir().unwrap();
        let own = std::env::current_exe().unwrap();
        let modules = [Module { name: "virtio".into(), content: b"ELF".to_vec() }];
        let path = build(cache.path(), &own, &modules, &contents()).unwrap();
        let names = names(&path);
        let place = |name: &str| {
            names.iter().position(|found| found == name).unwrap_or_else(|| panic!("no {name}"))
        };
        for name in ["init", "dev/console", "proc", "modules.list", "lib/modules/virtio.ko"] {
            place(name);
        }
        assert!(
            place("etc") < place("etc/deep") && place("etc/deep/er") < place("etc/deep/er/file")
        );
        place(&format!("bin/{}", own.file_name().unwrap().to_str().unwrap()));
        assert!(names.iter().any(|name| name.ends_with("libc.so.6")));
    }

    #[test]
    fn the_same_contents_are_built_once() {
        let cache = tempfile::tempdir().unwrap();
        let own = std::env::current_exe().unwrap();
        let first = build(cache.path(), &own, &[], &contents()).unwrap();
        assert_eq!(build(cache.path(), &own, &[], &contents()).unwrap(), first);
        let other = build(cache.path(), &own, &[], &Contents::default()).unwrap();
        assert_ne!(other, first);
    }

    #[test]
    fn old_archives_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..KEPT + 3 {
            fs::write(folder.path().join(format!("{number}.cpio")), "x").unwrap();
        }
        prune(folder.path());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), KEPT);
    }

    #[test]
    fn a_missing_program_is_named() {
        let cache = tempfile::tempdir().unwrap();
        let contents = Contents::default().with_program(Path::new("/no/such/program"));
        let own = std::env::current_exe().unwrap();
        let error = build(cache.path(), &own, &[], &contents).unwrap_err();
        assert!(format!("{error:#}").contains("/no/such/program"));
    }
}

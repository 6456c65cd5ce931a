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
use guest_agent::boot::{MODULE_LIST, SETTINGS};

use super::{libraries, modules::Module, strip::strip};

/// Archives that are kept in the cache: those used last, up to this many bytes.
const KEPT_BYTES: u64 = 1 << 30;

/// The settings under which a guest's tasks are measured. RT throttling is off: it would take 5 % of
/// the CPU from FIFO tasks that ask for all of it, and nothing in a guest needs a safety net.
const GUEST_SETTINGS: &str = "/proc/sys/kernel/sched_rt_runtime_us -1\n\
                              /proc/sys/kernel/hostname guest\n";

/// What a guest's file system holds beside the agent and the modules. Paths in the guest are
/// absolute.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Programs (or shared objects that programs load): path in the guest → file on the host. Their
    /// libraries come along.
    pub programs: BTreeMap<PathBuf, PathBuf>,
    /// Other files of the host: path in the guest → file on the host.
    pub files: BTreeMap<PathBuf, PathBuf>,
    /// Programs whose libraries are there already: path in the guest → file on the host.
    pub bare_programs: BTreeMap<PathBuf, PathBuf>,
    /// Files made here: path in the guest → what they hold.
    pub texts: BTreeMap<PathBuf, String>,
    /// Symbolic links: path in the guest → what it points to. What is put below a link to a folder
    /// goes into that folder.
    pub links: BTreeMap<PathBuf, PathBuf>,
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
    Link(PathBuf),
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
    let bare = contents.bare_programs.iter().map(|(path, host)| (path.clone(), host.clone()));
    for (path, host) in hosts.into_iter().chain(libraries).chain(bare) {
        nodes.insert(path, read(&host, strip).with_context(|| host.display().to_string())?);
    }
    for (path, host) in &contents.files {
        let whole = |content| content;
        nodes.insert(path.clone(), read(host, whole).with_context(|| host.display().to_string())?);
    }
    let mut list = String::new();
    for module in modules {
        let path = format!("/modules/{}.ko", module.name);
        list += &format!("{path}\n");
        nodes.insert(path.into(), Node::File { mode: 0o644, content: module.content.clone() });
    }
    let texts = contents.texts.iter().map(|(path, text)| (path.clone(), text.clone()));
    for (path, text) in texts.chain([(MODULE_LIST.into(), list)]).chain(defaults(contents)) {
        nodes.insert(path, Node::File { mode: 0o644, content: text.into_bytes() });
    }
    for folder in ["/proc", "/sys", "/dev", "/tmp", "/run", "/root", "/var"] {
        nodes.insert(folder.into(), Node::Folder);
    }
    let mut nodes = settle(nodes, &contents.links);
    link_libraries(&mut nodes);
    add_parents(&mut nodes);
    Ok(nodes)
}

/// Puts what stands below a link into the folder that it points to, and adds the links.
fn settle(
    nodes: BTreeMap<PathBuf, Node>,
    links: &BTreeMap<PathBuf, PathBuf>,
) -> BTreeMap<PathBuf, Node> {
    let place = |path: PathBuf| {
        let found =
            links.iter().find_map(|(link, to)| Some(to.join(path.strip_prefix(link).ok()?)));
        found.unwrap_or(path)
    };
    let settled = nodes.into_iter().map(|(path, node)| (place(path), node));
    settled.chain(links.iter().map(|(link, to)| (link.clone(), Node::Link(to.clone())))).collect()
}

/// A guest without `ld.so.cache` finds libraries only on the loader's built-in path: those from
/// folders that the host's configuration lists are linked beside the C library.
fn link_libraries(nodes: &mut BTreeMap<PathBuf, Node>) {
    let is_library = |path: &Path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.contains(".so."))
    };
    let c_library = nodes.keys().find(|path| path.ends_with("libc.so.6"));
    let Some(standard) = c_library.and_then(|path| path.parent()).map(Path::to_owned) else {
        return;
    };
    let elsewhere: Vec<_> = nodes
        .keys()
        .filter(|path| is_library(path) && path.parent() != Some(&standard))
        .filter_map(|path| Some((standard.join(path.file_name()?), path.clone())))
        .collect();
    for (link, library) in elsewhere {
        nodes.entry(link).or_insert(Node::Link(library));
    }
}

/// What every guest has unless `contents` has it otherwise: its settings, and the user database
/// without which some servers do not start.
fn defaults(contents: &Contents) -> impl Iterator<Item = (PathBuf, String)> {
    [
        (
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        ),
        ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
        (SETTINGS, GUEST_SETTINGS),
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
            Node::Link(to) => (
                entry.mode(0o777).set_mode_file_type(ModeFileType::Symlink),
                to.as_os_str().as_encoded_bytes(),
            ),
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
            let facts = entry.metadata().ok()?;
            Some((facts.modified().ok()?, facts.len(), entry.path()))
        })
        .filter(|(_, _, path)| path.extension().is_some_and(|extension| extension == "cpio"))
        .collect();
    archives.sort();
    let mut kept = 0;
    for (_, bytes, path) in archives.iter().rev() {
        kept += bytes;
        if kept > KEPT_BYTES && kept != *bytes {
            let _ = fs::remove_file(path);
        }
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
        let modules =
            [Module { name: "virtio".into(), path: "x".into(), content: b"ELF".to_vec() }];
        let path = build(cache.path(), &own, &modules, &contents()).unwrap();
        let names = names(&path);
        let place = |name: &str| {
            names.iter().position(|found| found == name).unwrap_or_else(|| panic!("no {name}"))
        };
        for name in ["init", "dev/console", "proc", "modules.list", "modules/virtio.ko"] {
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
        for number in 0..5 {
            let file = fs::File::create(folder.path().join(format!("{number}.cpio"))).unwrap();
            // Sparse: no disk space is used.
            file.set_len(KEPT_BYTES * 2 / 5).unwrap();
        }
        prune(folder.path());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        let large = folder.path().join("large.cpio");
        fs::File::create(&large).unwrap().set_len(2 * KEPT_BYTES).unwrap();
        prune(folder.path());
        assert!(large.exists(), "the archive that is about to be used stays, whatever its size");
    }

    #[test]
    fn what_stands_below_a_link_goes_where_the_link_points_to() {
        let file = || Node::File { mode: 0o644, content: Vec::new() };
        let nodes = BTreeMap::from([
            (PathBuf::from("/lib/x/libc.so.6"), file()),
            (PathBuf::from("/usr/lib/x/libm.so.6"), file()),
            (PathBuf::from("/opt/libodd.so.1"), file()),
        ]);
        let mut settled = settle(nodes, &BTreeMap::from([("/lib".into(), "/usr/lib".into())]));
        link_libraries(&mut settled);
        let text: Vec<_> = settled
            .iter()
            .map(|(path, node)| match node {
                Node::Link(to) => format!("{} -> {}", path.display(), to.display()),
                _ => path.display().to_string(),
            })
            .collect();
        assert_eq!(
            text,
            [
                "/lib -> /usr/lib",
                "/opt/libodd.so.1",
                "/usr/lib/x/libc.so.6",
                "/usr/lib/x/libm.so.6",
                "/usr/lib/x/libodd.so.1 -> /opt/libodd.so.1",
            ]
        );
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

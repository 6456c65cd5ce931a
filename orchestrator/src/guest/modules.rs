//! The kernel modules that a guest needs, with those that they need, in the order in which they
//! load.
//!
//! The dependencies are read from the modules themselves (`depends=` in `.modinfo`), since a
//! package that was only unpacked has no `modules.dep`.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use goblin::elf::Elf;

use crate::error::Refusal;

/// A module as the guest loads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// With underscores.
    pub name: String,
    /// Where it was found.
    pub path: PathBuf,
    /// The ELF file, not compressed.
    pub content: Vec<u8>,
}

/// The modules `wanted` below `folder` (`/lib/modules/RELEASE`) and all that they need, each after
/// those that it needs. What is built into the kernel is left out.
pub fn collect(folder: &Path, wanted: &[&str]) -> anyhow::Result<Vec<Module>> {
    let mut collection = Collection {
        files: index(folder)?,
        built_in: built_in(folder),
        seen: HashSet::new(),
        order: Vec::new(),
    };
    for name in wanted {
        collection.add(name).with_context(|| format!("kernel modules in {}", folder.display()))?;
    }
    Ok(collection.order)
}

struct Collection {
    files: HashMap<String, PathBuf>,
    built_in: HashSet<String>,
    seen: HashSet<String>,
    order: Vec<Module>,
}

impl Collection {
    fn add(&mut self, name: &str) -> anyhow::Result<()> {
        let name = name.replace('-', "_");
        if self.built_in.contains(&name) || !self.seen.insert(name.clone()) {
            return Ok(());
        }
        let path = self.files.get(&name).cloned().ok_or_else(|| {
            Refusal::Lacking(format!("the guest's kernel has no module `{name}`"))
        })?;
        let content = read(&path).with_context(|| path.display().to_string())?;
        for needed in depends(&content).with_context(|| path.display().to_string())? {
            self.add(&needed)?;
        }
        self.order.push(Module { name, path, content });
        Ok(())
    }
}

/// A module's name: its file's name without `.ko` and what follows, with underscores.
fn name_of(file: &str) -> Option<String> {
    let (stem, _compression) = file.rsplit_once(".ko")?;
    Some(stem.replace('-', "_"))
}

/// Name → file, for every module in the tree.
fn index(folder: &Path) -> anyhow::Result<HashMap<String, PathBuf>> {
    let mut files = HashMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let entry = entry?;
            // Not followed: `build` and `source` link to whole kernel trees.
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if let Some(name) = entry.file_name().to_str().and_then(name_of) {
                files.insert(name, entry.path());
            }
        }
    }
    Ok(files)
}

fn built_in(folder: &Path) -> HashSet<String> {
    let list = fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
    list.lines().filter_map(|line| name_of(Path::new(line).file_name()?.to_str()?)).collect()
}

/// The file's contents, decompressed by what its name says.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut file = BufReader::new(File::open(path)?);
    let mut content = Vec::new();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => lzma_rs::xz_decompress(&mut file, &mut content)
            .map_err(|error| anyhow!("xz: {error:?}"))?,
        Some("zst") => {
            ruzstd::decoding::StreamingDecoder::new(file)?.read_to_end(&mut content)?;
        }
        Some("gz") => {
            flate2::bufread::GzDecoder::new(file).read_to_end(&mut content)?;
        }
        _ => {
            file.read_to_end(&mut content)?;
        }
    }
    Ok(content)
}

/// The names after `depends=` in the section `.modinfo`.
fn depends(module: &[u8]) -> anyhow::Result<Vec<String>> {
    let elf = Elf::parse(module)?;
    let info = elf
        .section_headers
        .iter()
        .find(|section| elf.shdr_strtab.get_at(section.sh_name) == Some(".modinfo"))
        .and_then(|section| module.get(section.file_range()?))
        .ok_or_else(|| anyhow!("no section .modinfo: not a kernel module"))?;
    let names = info.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"depends="));
    let names = std::str::from_utf8(names.unwrap_or_default())?;
    Ok(names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_kernel_uses() {
        assert_eq!(name_of("virtio-rng.ko"), Some("virtio_rng".into()));
        assert_eq!(name_of("virtio_net.ko.xz"), Some("virtio_net".into()));
        assert_eq!(name_of("modules.order"), None);
    }

    #[test]
    fn what_is_built_in_needs_no_file_and_what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("modules.builtin"), "kernel/drivers/virtio/virtio-pci.ko\n")
            .unwrap();
        assert_eq!(collect(folder.path(), &["virtio_pci"]).unwrap(), []);
        let error = collect(folder.path(), &["virtio_net"]).unwrap_err();
        assert_eq!(crate::error::exit_of(&error), model::Exit::Lacking);
        assert!(format!("{error:#}").contains("`virtio_net`"));
    }

    #[test]
    fn compressed_modules_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("m.ko");
        fs::write(&plain, b"content of a module".repeat(1000)).unwrap();
        for (program, extension) in [("xz", "xz"), ("zstd", "zst"), ("gzip", "gz")] {
            let packed = folder.path().join(format!("m.ko.{extension}"));
            let out = std::process::Command::new(program)
                .args(["-c", plain.to_str().unwrap()])
                .stdout(File::create(&packed).unwrap())
                .status();
            match out {
                Ok(status) if status.success() => {
                    assert_eq!(read(&packed).unwrap(), fs::read(&plain).unwrap(), "{extension}");
                }
                _ => eprintln!("SKIPPED: compressed_modules_are_read: {program} is not installed"),
            }
        }
    }

    #[test]
    fn what_is_no_module_is_refused() {
        assert!(depends(b"not an ELF file").is_err());
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(depends(&own).unwrap_err().to_string().contains(".modinfo"));
    }
}

//! The guest's kernel: the distribution's cloud kernel, downloaded and unpacked into a cache, never
//! installed; elsewhere the running kernel's image and modules.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use model::suite::KernelChoice;

use super::{packages::Packages, vmlinux};
use crate::error::Refusal;

/// The folder of the cache and the package that always depends on the current kernel.
fn package(choice: &KernelChoice) -> Option<(&'static str, &'static str)> {
    match choice {
        KernelChoice::Cloud => Some(("kernel", "linux-image-cloud-amd64")),
        KernelChoice::Rt => Some(("kernel-rt", "linux-image-rt-amd64")),
        KernelChoice::Backports => Some(("kernel-backports", "linux-image-cloud-amd64")),
        KernelChoice::File(_) => None,
    }
}

/// A kernel to boot and its modules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelImage {
    /// What QEMU boots.
    pub image: PathBuf,
    /// The kernel as the distribution packs it.
    pub packed: PathBuf,
    /// The folder `lib/modules/RELEASE`.
    pub modules: PathBuf,
    /// As `uname -r` prints it.
    pub release: String,
}

/// `$XDG_CACHE_HOME/rt-vm-bench`, or `~/.cache/rt-vm-bench`.
///
/// # Errors
/// Neither variable is set.
pub fn default_cache() -> anyhow::Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set: there is no place for a cache")?;
    Ok(base.join("rt-vm-bench"))
}

/// The guest's kernel, from the cache; else downloaded into it; else the one that runs here.
///
/// # Errors
/// None can be had: [`Refusal::Lacking`] with what to install.
pub fn ensure(cache: &Path) -> anyhow::Result<KernelImage> {
    ensure_kind(cache, &KernelChoice::Cloud)
}

/// The chosen kernel. Like [`ensure`]; only [`KernelChoice::Cloud`] may be the one that runs here.
///
/// # Errors
/// Those of [`ensure`]; [`Refusal::Usage`] for a file that is no kernel with modules.
pub fn ensure_kind(cache: &Path, choice: &KernelChoice) -> anyhow::Result<KernelImage> {
    let mut kernel = match choice {
        KernelChoice::File(path) => in_file(path)?,
        choice => in_cache(cache, choice)?,
    };
    if let Some(image) = vmlinux::unpacked(&kernel.image, &cache.join("vmlinux")) {
        kernel.image = image;
    }
    Ok(kernel)
}

/// The kernel as the distribution packs it.
fn in_cache(cache: &Path, choice: &KernelChoice) -> anyhow::Result<KernelImage> {
    let (name, meta) = package(choice).context("a kernel's file is in no package")?;
    let folder = cache.join(name);
    if let Some(image) = newest(&folder) {
        return Ok(image);
    }
    let packages = match choice {
        KernelChoice::Backports => Some(Packages::backports(cache)?),
        _ => Packages::find(),
    };
    if let Some(packages) = packages {
        let package = packages.dependency(meta, "linux-image-")?;
        packages.unpack(&[&package], &folder).context("fetching the guest's kernel")?;
        return newest(&folder).with_context(|| format!("package {package} has no kernel image"));
    }
    let own = running(Path::new("/")).filter(|_| *choice == KernelChoice::Cloud);
    own.ok_or_else(|| {
        Refusal::Lacking(
            "there is no kernel for guests: this host has no apt-get to fetch one with, and the \
             running kernel's /boot/vmlinuz-$(uname -r) and /lib/modules/$(uname -r) are not \
             readable; install the package of the distribution's kernel (for example kernel-core)"
                .to_owned(),
        )
        .into()
    })
}

/// Refuses a file that is no kernel with modules, before anything else is done.
///
/// # Errors
/// [`Refusal::Usage`].
pub fn check_file(choice: &KernelChoice) -> anyhow::Result<()> {
    match choice {
        KernelChoice::File(path) => in_file(path).map(drop),
        _ => Ok(()),
    }
}

/// The kernel in a file `vmlinuz-RELEASE`.
fn in_file(path: &Path) -> anyhow::Result<KernelImage> {
    let wrong = |text: String| Refusal::Usage(format!("kernel {}: {text}", path.display()));
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let release = name.strip_prefix("vmlinuz-").ok_or_else(|| {
        wrong("give `cloud`, `rt`, `backports` or a file named vmlinuz-RELEASE".to_owned())
    })?;
    if let Err(error) = fs::File::open(path) {
        bail!(wrong(error.to_string()));
    }
    let root = path.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    of_release(root, release).ok_or_else(|| {
        let modules = root.join("lib/modules").join(release);
        wrong(format!("its modules are not in {}", modules.display())).into()
    })
}

/// The files of a cache, at `cache` in a lab host, from which [`ensure`] takes `kernel` there: the
/// kernel, packed and unpacked, and those modules that guests load.
///
/// # Errors
/// The kernel lacks one of the modules.
pub fn files(kernel: &KernelImage, cache: &Path) -> anyhow::Result<Vec<(PathBuf, PathBuf)>> {
    let folder = cache.join("kernel").join(format!("linux-image-{}", kernel.release));
    let modules = folder.join("lib/modules").join(&kernel.release);
    let mut files =
        vec![(folder.join(format!("boot/vmlinuz-{}", kernel.release)), kernel.packed.clone())];
    if let Some(name) = kernel.image.file_name().filter(|_| kernel.image != kernel.packed) {
        files.push((cache.join("vmlinux").join(name), kernel.image.clone()));
    }
    let guests = ["virtio_pci", "virtio_console", "virtio_net"];
    for module in super::modules::collect(&kernel.modules, &guests)? {
        let name = module.path.file_name().unwrap_or_default().to_owned();
        files.push((modules.join(name), module.path));
    }
    let built_in = "modules.builtin";
    if kernel.modules.join(built_in).is_file() {
        files.push((modules.join(built_in), kernel.modules.join(built_in)));
    }
    Ok(files)
}

/// The kernel of the highest version among those unpacked in `folder`.
fn newest(folder: &Path) -> Option<KernelImage> {
    let mut packages: Vec<_> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."))
        })
        .collect();
    packages.sort_by_key(|path| numbers(&path.to_string_lossy()));
    packages.iter().rev().find_map(|package| in_package(package))
}

/// The numbers in a name, for comparing versions.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// The kernel in an unpacked package.
fn in_package(root: &Path) -> Option<KernelImage> {
    let release = fs::read_dir(root.join("boot")).ok()?.find_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        Some(name.strip_prefix("vmlinuz-")?.to_owned())
    })?;
    of_release(root, &release)
}

/// The running kernel, where its files are below `root`.
fn running(root: &Path) -> Option<KernelImage> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    of_release(root, release.trim())
}

fn of_release(root: &Path, release: &str) -> Option<KernelImage> {
    // Some distributions keep the image beside the modules.
    let modules = ["lib/modules", "usr/lib/modules"]
        .map(|folder| root.join(folder).join(release))
        .into_iter()
        .find(|folder| folder.is_dir())?;
    let image = [root.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")]
        .into_iter()
        .find(|image| fs::File::open(image).is_ok())?;
    Some(KernelImage { packed: image.clone(), image, modules, release: release.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(folder: &Path, name: &str, release: &str) {
        let root = folder.join(name);
        fs::create_dir_all(root.join("boot")).unwrap();
        fs::create_dir_all(root.join("lib/modules").join(release)).unwrap();
        fs::write(root.join(format!("boot/vmlinuz-{release}")), "image").unwrap();
    }

    #[test]
    fn the_newest_kernel_in_the_cache_is_taken() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("kernel");
        package(&folder, "linux-image-6.1.0-9_6.1.27-1", "6.1.0-9-cloud");
        package(&folder, "linux-image-6.1.0-56_6.1.192-2", "6.1.0-56-cloud");
        package(&folder, ".new-abc", "7.0.0-cloud");
        fs::create_dir_all(folder.join("linux-image-7.0.0-broken")).unwrap();
        let image = ensure(cache.path()).unwrap();
        assert_eq!(image.release, "6.1.0-56-cloud");
        assert!(image.image.is_file() && image.modules.is_dir());
    }

    #[test]
    fn a_kernel_file_brings_the_modules_beside_it() {
        let root = tempfile::tempdir().unwrap();
        package(root.path(), "own", "6.6.1-own");
        let file = root.path().join("own/boot/vmlinuz-6.6.1-own");
        let choice = KernelChoice::File(file);
        let image = ensure_kind(&root.path().join("cache"), &choice).unwrap();
        assert_eq!(image.release, "6.6.1-own");
        assert_eq!(image.modules, root.path().join("own/lib/modules/6.6.1-own"));
        fs::remove_dir_all(&image.modules).unwrap();
        let error = ensure_kind(&root.path().join("cache"), &choice).unwrap_err();
        assert!(format!("{error:#}").contains("lib/modules/6.6.1-own"), "{error:#}");
        assert!(check_file(&choice).is_err() && check_file(&KernelChoice::Rt).is_ok());
    }
}

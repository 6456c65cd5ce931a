//! The guest's kernel: the distribution's cloud kernel, downloaded and unpacked into a cache, never
//! installed; elsewhere the running kernel's image and modules.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use super::vmlinux;
use crate::{error::Refusal, host::program};

/// The package that always depends on the current cloud kernel.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// A kernel to boot and its modules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelImage {
    /// What QEMU boots.
    pub image: PathBuf,
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
    let mut kernel = packed(&cache.join("kernel"))?;
    if let Some(image) = vmlinux::unpacked(&kernel.image, &cache.join("vmlinux")) {
        kernel.image = image;
    }
    Ok(kernel)
}

/// The kernel as the distribution packs it.
fn packed(folder: &Path) -> anyhow::Result<KernelImage> {
    if let Some(image) = newest(folder) {
        return Ok(image);
    }
    if let Some(apt) = Apt::find() {
        apt.unpack(folder).context("fetching the guest's kernel")?;
        if let Some(image) = newest(folder) {
            return Ok(image);
        }
        bail!("package {META_PACKAGE} brought no kernel image");
    }
    running(Path::new("/")).ok_or_else(|| {
        Refusal::Lacking(
            "there is no kernel for guests: this host has no apt-get to fetch one with, and the \
             running kernel's /boot/vmlinuz-$(uname -r) and /lib/modules/$(uname -r) are not \
             readable; install the package of the distribution's kernel (for example kernel-core)"
                .to_owned(),
        )
        .into()
    })
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
    Some(KernelImage { image, modules, release: release.to_owned() })
}

/// The programs with which a package is fetched and unpacked.
struct Apt {
    get: PathBuf,
    cache: PathBuf,
    dpkg_deb: PathBuf,
}

impl Apt {
    fn find() -> Option<Self> {
        Some(Self {
            get: program("apt-get").ok()?,
            cache: program("apt-cache").ok()?,
            dpkg_deb: program("dpkg-deb").ok()?,
        })
    }

    /// Downloads the kernel's package and unpacks it into a folder of `folder`.
    fn unpack(&self, folder: &Path) -> anyhow::Result<()> {
        let package = self.kernel_package()?;
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let aside = tempfile::Builder::new().prefix(".new-").tempdir_in(folder)?;
        eprintln!("downloading {package} (unpacked into a cache, not installed)");
        run(Command::new(&self.get).args(["download", &package]).current_dir(&aside))?;
        let file = fs::read_dir(&aside)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .with_context(|| format!("apt-get download {package} left no file"))?;
        let unpacked = aside.path().join("unpacked");
        run(Command::new(&self.dpkg_deb).arg("-x").arg(&file).arg(&unpacked))?;
        let name = file.file_stem().unwrap_or(package.as_ref());
        fs::rename(&unpacked, folder.join(name)).context("moving the unpacked kernel into place")
    }

    /// The package behind [`META_PACKAGE`].
    fn kernel_package(&self) -> anyhow::Result<String> {
        let mut command = Command::new(&self.cache);
        command.args(["depends", "--important", META_PACKAGE]).env("LC_ALL", "C");
        let text = run(&mut command).unwrap_or_default();
        dependency(&text).ok_or_else(|| {
            Refusal::Lacking(format!(
                "the package lists do not know {META_PACKAGE}; run `apt-get update` as root"
            ))
            .into()
        })
    }
}

/// The first kernel image among the dependencies that `apt-cache depends` lists.
fn dependency(listing: &str) -> Option<String> {
    listing
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with("linux-image-"))
        .map(str::to_owned)
}

/// Runs a command; its output, or an error with its messages.
fn run(command: &mut Command) -> anyhow::Result<String> {
    let name = format!("{command:?}");
    let output = command.output().with_context(|| name.clone())?;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        bail!("{name}: {}: {}", output.status, messages.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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
    fn the_meta_packages_dependency_is_found() {
        let listing = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(dependency(listing), Some("linux-image-6.1.0-56-cloud-amd64".into()));
        assert_eq!(dependency(""), None);
    }
}

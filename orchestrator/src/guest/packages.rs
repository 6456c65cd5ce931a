//! The distribution's packages, downloaded and unpacked into a cache, never installed.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::{error::Refusal, host::program};

/// The programs with which packages are found, fetched and unpacked, and whose package lists they
/// use.
pub(super) struct Packages {
    get: PathBuf,
    cache: PathBuf,
    dpkg_deb: PathBuf,
    /// Options for both `apt-get` and `apt-cache`; none: the host's own package lists.
    lists: Vec<OsString>,
}

/// A repository of the distribution, as this host's configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// Its address.
    pub uri: String,
    /// The release that is installed here, for example `bookworm`.
    pub release: String,
}

impl Mirror {
    /// The one from which this host's own release comes.
    ///
    /// # Errors
    /// [`Refusal::Lacking`] where this is no Debian-like host, or its configuration names none.
    pub fn of_this_host() -> anyhow::Result<Self> {
        let get = program("apt-get").map_err(|_none| {
            Refusal::Lacking("this host has no apt-get to fetch packages with".to_owned())
        })?;
        let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let release = text
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
            .map(|name| name.trim_matches('"').to_owned())
            .unwrap_or_default();
        let targets = run(Command::new(get).args([
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ]))?;
        let uri = of_release(&targets, &release).ok_or_else(|| {
            Refusal::Lacking(format!(
                "the package sources of this host name no repository of its release `{release}`"
            ))
        })?;
        Ok(Self { uri, release })
    }
}

/// The address of the main repository of `release` in the list of `apt-get indextargets`.
fn of_release(targets: &str, release: &str) -> Option<String> {
    targets.lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        (words.get(1..) == Some(&[release, "main"])).then(|| words[0].to_owned())
    })
}

impl Packages {
    /// Those that the host's own package lists name; none where this is no Debian-like host.
    pub fn find() -> Option<Self> {
        Some(Self {
            get: program("apt-get").ok()?,
            cache: program("apt-cache").ok()?,
            dpkg_deb: program("dpkg-deb").ok()?,
            lists: Vec::new(),
        })
    }

    /// Those of the release's backports, from package lists in `cache`: the host's own package
    /// sources are not touched.
    ///
    /// # Errors
    /// [`Refusal::Lacking`] where this is no Debian-like host; else what apt-get says.
    pub fn backports(cache: &Path) -> anyhow::Result<Self> {
        let mirror = Mirror::of_this_host()?;
        let sources = [format!("{}-backports", mirror.release)];
        Self::from_lists(&cache.join("apt"), &mirror.uri, &sources, Vec::new())
    }

    /// Those of another release and its backports, for a root of its own: nothing counts as
    /// installed.
    ///
    /// # Errors
    /// As for [`Self::backports`].
    pub fn of_release(cache: &Path, release: &str) -> anyhow::Result<Self> {
        let mirror = Mirror::of_this_host()?;
        let folder = cache.join(format!("apt-{release}"));
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let installed = folder.join("status");
        fs::write(&installed, "").with_context(|| installed.display().to_string())?;
        let sources = [release.to_owned(), format!("{release}-backports")];
        let nothing = option("Dir::State::status", &installed);
        Self::from_lists(&folder, &mirror.uri, &sources, nothing.into())
    }

    /// Those that package lists in `folder` name, brought up to date from `uri`.
    fn from_lists(
        folder: &Path,
        uri: &str,
        releases: &[String],
        more: Vec<OsString>,
    ) -> anyhow::Result<Self> {
        for part in ["lists/partial", "archives/partial"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        }
        let sources = folder.join("sources.list");
        let lines: Vec<_> =
            releases.iter().map(|release| format!("deb {uri} {release} main\n")).collect();
        fs::write(&sources, lines.concat())?;
        let mut lists: Vec<_> = [
            ("Dir::Etc::sourcelist", sources.as_path()),
            ("Dir::Etc::sourceparts", Path::new("/dev/null")),
            ("Dir::State::lists", &folder.join("lists")),
            ("Dir::Cache", folder),
            // The user `_apt` has no way into a cache in somebody's home.
            ("APT::Sandbox::User", Path::new("root")),
        ]
        .into_iter()
        .flat_map(|(key, value)| option(key, value))
        .collect();
        lists.extend(more);
        let packages =
            Self { lists, ..Self::find().context("apt-cache or dpkg-deb is not installed")? };
        run(Command::new(&packages.get).args(&packages.lists).args(["update", "-qq"]))
            .with_context(|| format!("reading the package lists of {}", releases.join(" and ")))?;
        Ok(packages)
    }

    /// The package that begins with `prefix` and on which the package `meta` depends.
    ///
    /// # Errors
    /// [`Refusal::Lacking`] where the lists do not know it.
    pub fn dependency(&self, meta: &str, prefix: &str) -> anyhow::Result<String> {
        let mut command = Command::new(&self.cache);
        command.args(&self.lists).args(["depends", "--important", meta]).env("LC_ALL", "C");
        let text = run(&mut command).unwrap_or_default();
        dependency(&text, prefix).ok_or_else(|| {
            Refusal::Lacking(format!(
                "the package lists do not know {meta}; run `apt-get update` as root"
            ))
            .into()
        })
    }

    /// Downloads packages and unpacks them, all into one new folder of `folder`, which is named
    /// after the first.
    ///
    /// # Errors
    /// What apt-get or dpkg-deb says.
    pub fn unpack(&self, packages: &[&str], folder: &Path) -> anyhow::Result<PathBuf> {
        self.unpack_what(folder, packages, |get, _aside| {
            get.arg("download").args(packages);
        })
    }

    /// The same with everything that they depend on, from `release`.
    ///
    /// # Errors
    /// Those of [`Self::unpack`].
    pub fn unpack_root(
        &self,
        packages: &[&str],
        release: &str,
        folder: &Path,
    ) -> anyhow::Result<PathBuf> {
        self.unpack_what(folder, packages, |get, aside| {
            get.args(option("Dir::Cache::archives", aside));
            get.args(["--yes", "-qq", "--no-install-recommends", "--download-only"]);
            get.args(["--target-release", release, "install"]).args(packages);
        })
    }

    /// Unpacks what apt-get, as `wanted` completes its command line, puts into a folder.
    fn unpack_what(
        &self,
        folder: &Path,
        packages: &[&str],
        wanted: impl FnOnce(&mut Command, &Path),
    ) -> anyhow::Result<PathBuf> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let aside = tempfile::Builder::new().prefix(".new-").tempdir_in(folder)?;
        fs::create_dir(aside.path().join("partial"))?;
        let names = packages.join(", ");
        model::say!("downloading {names} (unpacked into a cache, not installed)");
        let mut download = Command::new(&self.get);
        wanted(download.args(&self.lists).current_dir(&aside), aside.path());
        run(&mut download)?;
        let unpacked = aside.path().join("unpacked");
        let mut files: Vec<_> = fs::read_dir(&aside)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .collect();
        files.sort();
        for file in &files {
            run(Command::new(&self.dpkg_deb).arg("-x").arg(file).arg(&unpacked))?;
        }
        let of_first = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.split('_').next() == packages.first().copied()
        };
        let first = files.iter().find(of_first);
        let first = first.with_context(|| format!("apt-get download {names} left no file"))?;
        let place = folder.join(first.file_stem().unwrap_or_default());
        fs::rename(&unpacked, &place).context("moving what was unpacked into place")?;
        Ok(place)
    }
}

/// An option of `apt-get` and `apt-cache`.
fn option(key: &str, value: &Path) -> [OsString; 2] {
    let mut option = OsString::from(format!("{key}="));
    option.push(value);
    [OsString::from("-o"), option]
}

/// Downloads packages of a release's backports, with everything that they depend on, and unpacks
/// them into a new folder of `folder`: programs and libraries for a root of their own.
///
/// # Errors
/// Those of [`Packages::of_release`] and [`Packages::unpack_root`].
pub(crate) fn fetch_root(
    cache: &Path,
    release: &str,
    packages: &[&str],
    folder: &Path,
) -> anyhow::Result<PathBuf> {
    let backports = format!("{release}-backports");
    Packages::of_release(cache, release)?.unpack_root(packages, &backports, folder)
}

/// The first package beginning with `prefix` among the dependencies that `apt-cache depends` lists.
fn dependency(listing: &str, prefix: &str) -> Option<String> {
    listing
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with(prefix))
        .map(str::to_owned)
}

/// Runs a command; its output, or an error with its messages.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| name.clone())?;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}: {}", output.status, messages.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meta_packages_dependency_is_found() {
        let listing = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        let found = dependency(listing, "linux-image-");
        assert_eq!(found, Some("linux-image-6.1.0-56-cloud-amd64".into()));
        assert_eq!(dependency("", "linux-image-"), None);
    }

    #[test]
    fn the_mirror_is_that_of_the_release_itself() {
        let targets = "http://a/debian/ bookworm-updates main\nhttp://b/debian/ bookworm contrib\n\
                       http://b/debian/ bookworm main\n";
        assert_eq!(of_release(targets, "bookworm"), Some("http://b/debian/".into()));
        assert_eq!(of_release(targets, "trixie"), None);
    }
}

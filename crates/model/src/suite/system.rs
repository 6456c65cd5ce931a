//! What a VM boots that is booted for the measurement: the bench's own kernel and programs, or a disk
//! of the user's.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::Suite;
use crate::duration;

/// What is booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum System {
    /// The bench's own guest, with this kernel.
    BuiltIn(KernelChoice),
    /// A disk of the user's, which brings its kernel.
    Disk(Disk),
}

/// A disk image of the user's, which is read and never written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The file; what a suite's file has as a relative path is relative to that file.
    pub image: PathBuf,
    /// How long it may take from the start until the bench's agent answers in it.
    pub boot_within: Duration,
}

impl Disk {
    /// [`Disk::boot_within`] where the suite does not say: four times what an emulated distribution
    /// took.
    pub const BOOT_WITHIN: Duration = Duration::from_secs(600);
    const BOOT_LIMITS: std::ops::RangeInclusive<Duration> =
        Duration::from_secs(1)..=Duration::from_secs(3600);
}

/// Which kernel a built-in guest, or a lab host, boots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(from = "String", into = "String")]
pub enum KernelChoice {
    /// The distribution's kernel for virtual machines.
    #[default]
    Cloud,
    /// The distribution's kernel with PREEMPT_RT.
    Rt,
    /// The newer kernel for virtual machines in the distribution's backports.
    Backports,
    /// A file `vmlinuz-RELEASE`, with `../lib/modules/RELEASE` beside its folder.
    File(PathBuf),
}

impl From<String> for KernelChoice {
    fn from(text: String) -> Self {
        match text.as_str() {
            "cloud" => Self::Cloud,
            "rt" => Self::Rt,
            "backports" => Self::Backports,
            _ => Self::File(text.into()),
        }
    }
}

impl FromStr for KernelChoice {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.to_owned().into())
    }
}

impl From<KernelChoice> for String {
    fn from(own: KernelChoice) -> Self {
        match own {
            KernelChoice::Cloud => "cloud".to_owned(),
            KernelChoice::Rt => "rt".to_owned(),
            KernelChoice::Backports => "backports".to_owned(),
            KernelChoice::File(path) => path.to_string_lossy().into_owned(),
        }
    }
}

impl Default for System {
    fn default() -> Self {
        Self::BuiltIn(KernelChoice::default())
    }
}

impl System {
    /// Of the keys `disk`, `kernel` and `boot_within` of a VM.
    ///
    /// # Errors
    /// Keys that do not go together, or a value that cannot be, in one sentence.
    pub(super) fn of(
        disk: Option<PathBuf>,
        kernel: Option<KernelChoice>,
        boot_within: Option<Duration>,
    ) -> Result<Self, String> {
        let Some(image) = disk else {
            if boot_within.is_some() {
                return Err("key `boot_within` is for a VM with a `disk`; leave it out".to_owned());
            }
            let empty =
                matches!(&kernel, Some(KernelChoice::File(path)) if path.as_os_str().is_empty());
            if empty {
                return Err(
                    "key `kernel` is empty; give `cloud`, `rt`, `backports` or a file named \
                            vmlinuz-RELEASE"
                        .to_owned(),
                );
            }
            return Ok(Self::BuiltIn(kernel.unwrap_or_default()));
        };
        if kernel.is_some() {
            return Err(
                "keys `disk` and `kernel`: a disk boots the kernel that is on it; leave one \
                        of the keys out"
                    .to_owned(),
            );
        }
        if image.as_os_str().is_empty() {
            return Err("key `disk` is empty; give a disk image, for example \
                        `disk = \"debian-12.qcow2\"`"
                .to_owned());
        }
        let boot_within = boot_within.unwrap_or(Disk::BOOT_WITHIN);
        if !Disk::BOOT_LIMITS.contains(&boot_within) {
            return Err(format!(
                "key `boot_within` is {}; it is from {} to {}",
                duration::format(boot_within),
                duration::format(*Disk::BOOT_LIMITS.start()),
                duration::format(*Disk::BOOT_LIMITS.end())
            ));
        }
        Ok(Self::Disk(Disk { image, boot_within }))
    }

    /// The keys that [`System::of`] would read it from, where they are not what is assumed.
    pub(super) fn keys(self) -> (Option<PathBuf>, Option<KernelChoice>, Option<Duration>) {
        match self {
            Self::BuiltIn(KernelChoice::Cloud) => (None, None, None),
            Self::BuiltIn(kernel) => (None, Some(kernel), None),
            Self::Disk(Disk { image, boot_within }) => {
                let within = Some(boot_within).filter(|own| *own != Disk::BOOT_WITHIN);
                (Some(image), None, within)
            }
        }
    }

    /// The disk of the user's, if it is one.
    #[must_use]
    pub fn disk(&self) -> Option<&Disk> {
        match self {
            Self::BuiltIn(_) => None,
            Self::Disk(disk) => Some(disk),
        }
    }

    /// The file of the user's that it is made of, with its key.
    #[must_use]
    pub fn file(&self) -> Option<(&'static str, &Path)> {
        match self {
            Self::BuiltIn(KernelChoice::File(path)) => Some(("kernel", path)),
            Self::BuiltIn(_) => None,
            Self::Disk(disk) => Some(("disk", &disk.image)),
        }
    }

    fn file_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::BuiltIn(KernelChoice::File(path)) => Some(path),
            Self::BuiltIn(_) => None,
            Self::Disk(disk) => Some(&mut disk.image),
        }
    }
}

/// Makes the files of every VM absolute: a relative path is relative to `folder`, in which the
/// suite's file is.
pub(super) fn resolve(suite: &mut Suite, folder: &Path) {
    let vms = suite.experiments.iter_mut().flat_map(|one| &mut one.vms);
    for vm in vms {
        if let Some(way) = &mut vm.way_in {
            way.resolve(folder);
        }
        let Some(file) = vm.system.file_mut() else { continue };
        let below = folder.join(&*file);
        *file = std::path::absolute(&below).unwrap_or(below);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::{parse, read};

    const SHORT: &str = r#"
name = "s"
[[experiment]]
name = "e"
where = "guest"
disk = "images/debian.qcow2"
boot_within = "2min"
tasks = ["30ms/150ms"]
reservation = { budget = "28ms", period = "50ms" }
"#;

    const GENERAL: &str = r#"
name = "s"
[[experiment]]
name = "e"
[[experiment.vm]]
name = "vm"
disk = "images/debian.qcow2"
boot_within = "2min"
vcpus = [{ budget = "28ms", period = "50ms" }]
service = [{ tasks = ["30ms/150ms"] }]
"#;

    fn system(text: &str) -> System {
        parse(text, "s.toml").unwrap().experiments[0].vms[0].system.clone()
    }

    #[test]
    fn a_disk_is_read_in_both_forms_and_written_back() {
        let suite = parse(SHORT, "s.toml").unwrap();
        assert_eq!(parse(GENERAL, "s.toml").unwrap(), suite);
        let disk =
            Disk { image: "images/debian.qcow2".into(), boot_within: Duration::from_secs(120) };
        assert_eq!(suite.experiments[0].vms[0].system, System::Disk(disk));
        let text = toml::to_string(&suite).unwrap();
        assert_eq!(parse(&text, "s.toml").unwrap(), suite);
        let usual = SHORT.replace("boot_within = \"2min\"\n", "");
        assert_eq!(system(&usual).disk().unwrap().boot_within, Disk::BOOT_WITHIN);
        assert!(!toml::to_string(&parse(&usual, "s").unwrap()).unwrap().contains("boot_within"));
    }

    #[test]
    fn a_kernel_is_a_name_or_a_file() {
        let kernel = |text: &str| {
            let keys = format!("kernel = \"{text}\"");
            let own = GENERAL.replace("boot_within = \"2min\"\n", "");
            let own = own.replace("disk = \"images/debian.qcow2\"", &keys);
            let suite = parse(&own, "s.toml").unwrap();
            let written = toml::to_string(&suite).unwrap();
            assert_eq!(parse(&written, "s.toml").unwrap(), suite);
            (suite.experiments[0].vms[0].system.clone(), written.contains("kernel"))
        };
        assert_eq!(kernel("rt"), (System::BuiltIn(KernelChoice::Rt), true));
        assert_eq!(kernel("cloud"), (System::default(), false));
        let file = KernelChoice::File("boot/vmlinuz-6.6.1".into());
        assert_eq!(kernel("boot/vmlinuz-6.6.1"), (System::BuiltIn(file), true));
    }

    #[test]
    fn files_are_relative_to_the_suites_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.toml");
        std::fs::write(&file, SHORT).unwrap();
        let read = |path: &Path| read(path).unwrap().experiments[0].vms[0].system.clone();
        let image = read(&file).disk().unwrap().image.clone();
        assert_eq!(image, folder.path().join("images/debian.qcow2"));
        std::fs::write(&file, SHORT.replace("images/", "/var/images/")).unwrap();
        let image = read(&file).disk().unwrap().image.clone();
        assert_eq!(image, Path::new("/var/images/debian.qcow2"));
    }

    #[test]
    fn keys_that_do_not_go_together_are_refused_in_one_sentence() {
        let disk = "disk = \"images/debian.qcow2\"";
        let within = "boot_within = \"2min\"";
        let cases = [
            (SHORT.replace(disk, ""), "`boot_within` is for a VM with a `disk`"),
            (SHORT.replace(within, "kernel = \"rt\""), "keys `disk` and `kernel`"),
            (GENERAL.replace(within, "kernel = \"rt\""), "vm `vm`: keys `disk` and `kernel`"),
            (SHORT.replace("images/debian.qcow2", ""), "key `disk` is empty"),
            (SHORT.replace("2min", "0s"), "`boot_within` is 0"),
            (SHORT.replace("2min", "2h"), "it is from 1s to 3600s"),
            (SHORT.replace(disk, "kernel = \"\"").replace(within, ""), "key `kernel` is empty"),
            (SHORT.replace(disk, "disc = \"a\""), "disc"),
            (GENERAL.replace(disk, "disc = \"a\""), "disc"),
            (SHORT.replace("\"guest\"", "\"host\""), "reservation"),
            (
                SHORT.replace("\"guest\"", "\"host\"").replace("reservation", "# "),
                "key `disk` is for a VM",
            ),
            (SHORT.replace("where = \"guest\"", ""), "belongs to `where"),
            (
                GENERAL.replace(within, "libvirt = \"shop\""),
                "keys `libvirt` and `disk`: a VM that runs already keeps what it has",
            ),
            (
                GENERAL.replace(
                    "{ tasks = [\"30ms/150ms\"] }",
                    "{ tasks = [\"1ms/9ms\"] }, { web = {} }",
                ),
                "web services in a VM with a `disk`",
            ),
        ];
        for (text, what) in cases {
            let error = parse(&text, "s.toml").unwrap_err().to_string();
            assert!(error.starts_with("s.toml") && error.contains(what), "{what}: {error}");
            assert!(!error.contains('\n'), "one line: {error}");
        }
    }
}

//! The drive by which the programs enter a system on a disk of the user's: a small FAT file system
//! that cloud-init takes for its source of data (NoCloud, by the label CIDATA). Its user data mount
//! that very drive and start the agent, which is on it.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hasher},
    io::{self, Cursor, Seek, Write},
    path::Path,
};

use anyhow::{Context, Result};
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

use super::strip::strip;

/// By what the drive is found in the guest, whatever its device is called there.
pub(super) const SERIAL: &str = "rt-vm-bench";

/// Where it is mounted in the guest.
pub(super) const FOLDER: &str = "/run/rt-vm-bench";

/// The agent on the drive.
pub(super) const AGENT: &str = "guest-agent";
/// The load generator on the drive.
pub(super) const RTLOAD: &str = "rtload";

/// As cloud-init looks for it; padded to what the file system has.
const LABEL: [u8; 11] = *b"CIDATA     ";

/// Room for the file system's tables, the texts, and what clusters leave unused.
const SPARE: usize = 2 << 20;

/// What cloud-init does. The agent is a service of its own, so that nothing of cloud-init's holds it
/// up or ends it; real-time throttling is off, as in the built-in guest. Keys for a login are not made
/// anew: nobody logs in, and an emulated processor takes long.
fn user_data() -> String {
    format!(
        r#"#cloud-config
ssh_deletekeys: false
ssh_genkeytypes: [ed25519]
runcmd:
  - |
    echo "rt-vm-bench: cloud-init starts the agent" >/dev/console
    for module in virtio_console vfat nls_cp437 nls_ascii nls_iso8859_1; do
      modprobe $module 2>/dev/null
    done
    device=
    for block in /sys/block/*; do
      [ "$(cat "$block/serial" 2>/dev/null)" = {SERIAL} ] && device=/dev/${{block##*/}}
    done
    options=ro,exec,fmask=0022
    [ ! -e /sys/fs/selinux/enforce ] || options=$options,context=system_u:object_r:bin_t:s0
    mkdir -p {FOLDER}
    if ! mount -t vfat -o "$options" "$device" {FOLDER}; then
      echo "rt-vm-bench: the drive with the agent cannot be mounted" >/dev/console
      exit 1
    fi
    echo -1 >/proc/sys/kernel/sched_rt_runtime_us
    if command -v systemd-run >/dev/null; then
      systemd-run --no-block --quiet --unit=rt-vm-bench {FOLDER}/{AGENT} --service
    else
      setsid {FOLDER}/{AGENT} --service </dev/null >/dev/console 2>&1 &
    fi
"#
    )
}

/// Makes the drive with the static programs `agent` and `rtload`: a file without a name, which ends with
/// whoever has it open.
///
/// # Errors
/// A program cannot be read, or there is no room for the file.
pub fn make(agent: &Path, rtload: &Path) -> Result<File> {
    let read = |path: &Path| fs::read(path).map(strip).with_context(|| path.display().to_string());
    let mut files = vec![
        (AGENT, read(agent)?),
        (RTLOAD, read(rtload)?),
        ("user-data", user_data().into_bytes()),
    ];
    let mut hasher = DefaultHasher::new();
    files.iter().for_each(|(_, content)| hasher.write(content));
    // Another instance than any that the image may have been before, so that cloud-init acts.
    let instance = format!("instance-id: rt-vm-bench-{:016x}\n", hasher.finish());
    files.push(("meta-data", instance.into_bytes()));
    image(&files).context("making the drive for cloud-init")
}

/// A FAT file system with these files.
fn image(files: &[(&str, Vec<u8>)]) -> io::Result<File> {
    let bytes: usize = files.iter().map(|(_, content)| content.len()).sum();
    let mut disk = Cursor::new(vec![0; (bytes + SPARE).next_multiple_of(1 << 20)]);
    fatfs::format_volume(&mut disk, FormatVolumeOptions::new().volume_label(LABEL))?;
    disk.rewind()?;
    {
        let system = FileSystem::new(&mut disk, FsOptions::new())?;
        let root = system.root_dir();
        for (name, content) in files {
            let mut file = root.create_file(name)?;
            file.truncate()?;
            file.write_all(content)?;
        }
    }
    let mut file = tempfile::tempfile()?;
    file.write_all(disk.get_ref())?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn made(agent: &[u8]) -> FileSystem<File> {
        let folder = tempfile::tempdir().unwrap();
        let (own, rtload) = (folder.path().join("a"), folder.path().join("r"));
        fs::write(&own, agent).unwrap();
        fs::write(&rtload, vec![2; 5 << 20]).unwrap();
        FileSystem::new(make(&own, &rtload).unwrap(), FsOptions::new()).unwrap()
    }

    fn read(system: &FileSystem<File>, name: &str) -> Vec<u8> {
        let mut content = Vec::new();
        system.root_dir().open_file(name).unwrap().read_to_end(&mut content).unwrap();
        content
    }

    #[test]
    fn the_drive_holds_what_cloud_init_looks_for_and_the_programs() {
        let system = made(&vec![1; 3 << 20]);
        let label = system.read_volume_label_from_root_dir().unwrap();
        assert_eq!(label.as_deref(), Some("CIDATA"));
        let read = |name| read(&system, name);
        assert_eq!((read(AGENT).len(), read(RTLOAD).len()), (3 << 20, 5 << 20));
        let user_data = String::from_utf8(read("user-data")).unwrap();
        assert!(user_data.starts_with("#cloud-config\n"), "{user_data}");
        let start = format!("{FOLDER}/{AGENT} --service");
        assert!(user_data.contains(&start) && user_data.contains(SERIAL), "{user_data}");
        let meta_data = String::from_utf8(read("meta-data")).unwrap();
        assert!(meta_data.starts_with("instance-id: rt-vm-bench-"), "{meta_data}");
    }

    #[test]
    fn what_cloud_init_runs_is_a_shell_script() {
        let user_data = user_data();
        let (_, script) = user_data.split_once("  - |\n").unwrap();
        let script: String = script.lines().map(|line| line[4..].to_owned() + "\n").collect();
        let checked =
            std::process::Command::new("sh").args(["-n", "-c", &script]).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }

    #[test]
    fn other_programs_are_another_instance() {
        let instance = |agent: &[u8]| read(&made(agent), "meta-data");
        assert_eq!(instance(b"old"), instance(b"old"));
        assert_ne!(instance(b"old"), instance(b"new"));
    }
}

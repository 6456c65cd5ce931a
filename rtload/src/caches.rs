//! The caches of a CPU, as the kernel describes them.

use std::{collections::BTreeMap, fs, path::Path};

use crate::bytes::Bytes;

/// The sizes of the caches of `cpu` that hold data, by level.
#[must_use]
pub fn data(sys: &Path, cpu: u32) -> BTreeMap<u32, Bytes> {
    let folder = sys.join(format!("devices/system/cpu/cpu{cpu}/cache"));
    let read = |index: u32, name: &str| -> Option<String> {
        let path = folder.join(format!("index{index}")).join(name);
        Some(fs::read_to_string(path).ok()?.trim().to_owned())
    };
    let cache = |index: u32| -> Option<(u32, Bytes)> {
        if read(index, "type").is_some_and(|kind| kind == "Instruction") {
            return None;
        }
        let level = read(index, "level")?.parse().ok()?;
        // The kernel writes 32768K for 32 MiB.
        let size = read(index, "size")?;
        Some((level, format!("{}KiB", size.strip_suffix('K')?).parse().ok()?))
    };
    (0..8).filter_map(cache).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_of_data_are_found_by_level() {
        let sys = tempfile::tempdir().unwrap();
        let caches = [
            (0, 1, "32K", "Data"),
            (1, 1, "64K", "Instruction"),
            (2, 3, "32768K", "Unified"),
            (3, 2, "512K", "Unified"),
        ];
        for (index, level, size, kind) in caches {
            let folder = sys.path().join(format!("devices/system/cpu/cpu1/cache/index{index}"));
            fs::create_dir_all(&folder).unwrap();
            for (name, value) in
                [("level", level.to_string()), ("size", size.into()), ("type", kind.into())]
            {
                fs::write(folder.join(name), format!("{value}\n")).unwrap();
            }
        }
        let found = data(sys.path(), 1);
        let kib: Vec<_> = found.into_iter().map(|(level, size)| (level, size.0 >> 10)).collect();
        assert_eq!(kib, [(1, 32), (2, 512), (3, 32_768)]);
        assert!(data(sys.path(), 0).is_empty());
    }
}

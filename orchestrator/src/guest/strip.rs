//! Programs without what is not loaded: debug information is most of a file that is built here, and
//! an emulated guest unpacks every byte of it.

use std::ops::Range;

use goblin::elf::{Elf, header, program_header::PT_LOAD};

/// Where the ELF header of a 64-bit file says that there are sections: `e_shoff`, and `e_shentsize`
/// to `e_shstrndx`.
const SECTIONS: [Range<usize>; 2] = [0x28..0x30, 0x3a..0x40];

/// Cuts off what stands behind the last loaded byte of a 64-bit program or shared object: sections
/// that only linkers and debuggers read. Anything else stays as it is.
pub fn strip(mut content: Vec<u8>) -> Vec<u8> {
    if let Some(end) = end_of_loaded(&content) {
        content.truncate(end);
        for field in SECTIONS {
            content[field].fill(0);
        }
    }
    content
}

/// The end of the last segment or program header in the file.
fn end_of_loaded(content: &[u8]) -> Option<usize> {
    let elf = Elf::parse(content).ok()?;
    if !elf.is_64 || !matches!(elf.header.e_type, header::ET_EXEC | header::ET_DYN) {
        return None;
    }
    let segments = elf.program_headers.iter();
    let loaded = segments.clone().filter(|segment| segment.p_type == PT_LOAD).count();
    let end = segments.map(|segment| segment.p_offset.checked_add(segment.p_filesz)).max()??;
    let headers =
        elf.header.e_phoff + u64::from(elf.header.e_phnum) * u64::from(elf.header.e_phentsize);
    let end = usize::try_from(end.max(headers)).ok()?;
    (loaded > 0 && end <= content.len()).then_some(end)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, process::Command};

    use super::*;

    #[test]
    fn a_stripped_program_is_smaller_and_runs() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let stripped = strip(own.clone());
        // By how much depends on what it was built with; symbols it has always.
        assert!(stripped.len() < own.len(), "{} of {}", stripped.len(), own.len());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        fs::write(&path, stripped).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Command::new(&path).arg("--help").output().unwrap().status.success());
    }

    #[test]
    fn what_is_no_program_stays() {
        for content in [b"#!/bin/sh\n".to_vec(), Vec::new(), vec![0x7f, b'E', b'L', b'F']] {
            assert_eq!(strip(content.clone()), content);
        }
    }
}

//! The kernel without its wrapping.
//!
//! A `vmlinuz` unpacks itself when it boots, which an emulator does slowly. Unpacked once on the
//! host, the ELF file inside starts by QEMU's PVH entry, without firmware detours: some 0.3 s less
//! from QEMU's start to /init under TCG. Layout of the wrapping: the kernel's
//! Documentation/arch/x86/boot.rst.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use goblin::elf::Elf;

/// `XEN_ELFNOTE_PHYS32_ENTRY`: the address at which QEMU enters.
const PVH_ENTRY: u32 = 18;

/// A chunk of the LZ4 legacy format, unpacked.
const LZ4_CHUNK: usize = 8 << 20;

/// The ELF file inside `vmlinuz`, kept in `folder`; none if it cannot be had: then `vmlinuz` boots
/// as it is.
pub(super) fn unpacked(vmlinuz: &Path, folder: &Path) -> Option<PathBuf> {
    let name = vmlinuz.file_name()?.to_str()?;
    let length = fs::metadata(vmlinuz).ok()?.len();
    let path = folder.join(format!("{name}-{length}.elf"));
    if path.is_file() {
        return Some(path);
    }
    let kernel = extract(&fs::read(vmlinuz).ok()?)?;
    fs::create_dir_all(folder).ok()?;
    let mut aside = tempfile::NamedTempFile::new_in(folder).ok()?;
    aside.write_all(&kernel).ok()?;
    aside.persist(&path).ok()?;
    Some(path)
}

/// The ELF file in a bzImage, if its compression is known and it can be entered by PVH.
fn extract(image: &[u8]) -> Option<Vec<u8>> {
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let setup_sectors = match image[0x1f1] {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = (setup_sectors + 1) * 512 + word(image, 0x248)?;
    let payload = image.get(start..start.checked_add(word(image, 0x24c)?)?)?;
    let kernel = decompress(payload)?;
    enters_by_pvh(&kernel).then_some(kernel)
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(word.try_into().expect("four bytes")) as usize)
}

/// By the payload's first bytes; behind the compressed data stand four bytes more, the length.
fn decompress(payload: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match payload.get(..4)? {
        [0x1f, 0x8b, ..] => {
            flate2::bufread::GzDecoder::new(payload).read_to_end(&mut out).ok()?;
        }
        [0x28, 0xb5, 0x2f, 0xfd] => {
            let mut decoder = ruzstd::decoding::StreamingDecoder::new(payload).ok()?;
            decoder.read_to_end(&mut out).ok()?;
        }
        [0x02, 0x21, 0x4c, 0x18] => lz4_legacy(&payload[4..], &mut out)?,
        _ => return None,
    }
    Some(out)
}

/// Chunks, each after its length.
fn lz4_legacy(mut input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    while let Some(length) = word(input, 0) {
        // The last word is no length of a chunk, but that of the whole.
        let Some(chunk) = input.get(4..4 + length) else { break };
        out.extend(lz4_flex::block::decompress(chunk, LZ4_CHUNK).ok()?);
        input = &input[4 + length..];
    }
    Some(())
}

fn enters_by_pvh(kernel: &[u8]) -> bool {
    let Ok(elf) = Elf::parse(kernel) else { return false };
    elf.iter_note_headers(kernel)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .any(|note| note.name == "Xen" && note.n_type == PVH_ENTRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 2 * 512];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    #[test]
    fn lz4_as_the_kernel_packs_it() {
        let content = b"a kernel, more or less ".repeat(100);
        let mut payload = vec![0x02, 0x21, 0x4c, 0x18];
        for half in content.chunks(1200) {
            let chunk = lz4_flex::block::compress(half);
            payload.extend_from_slice(&(chunk.len() as u32).to_le_bytes());
            payload.extend_from_slice(&chunk);
        }
        payload.extend_from_slice(&(content.len() as u32).to_le_bytes());
        assert_eq!(decompress(&payload).unwrap(), content);
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        assert_eq!(extract(b"short"), None);
        assert_eq!(extract(&wrapped(b"no known compression")), None);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"not an ELF file").unwrap();
        let image = wrapped(&packed.finish().unwrap());
        assert_eq!(extract(&image), None, "no PVH entry");
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(unpacked(Path::new("/no/such/vmlinuz"), folder.path()), None);
    }
}

//! As much of the qcow2 format as tells whether an image can be booted: what its header asks for, and
//! its first sector. Everything else is QEMU's. (A library for the whole of the format brings an
//! asynchronous runtime along.) Format: docs/interop/qcow2.txt in QEMU's sources.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
};

pub(super) const MAGIC: [u8; 4] = *b"QFI\xfb";
pub(super) const SECTOR: usize = 512;

/// The header's length from version 3 on, with the kind of compression.
const HEADER: usize = 112;

/// Bits of `incompatible_features`.
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const KNOWN: u64 = (1 << 5) - 1;

/// Where the first entry of a table of an image points to; the other bits of the entry are flags.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
/// In an entry of the second level: the cluster reads as zeros.
const ZEROS: u64 = 1;

/// What is needed of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The disk's size in bytes.
    pub size: u64,
    cluster_bits: u32,
    first_level: u64,
    zstd: bool,
}

impl Header {
    /// Of an image.
    ///
    /// # Errors
    /// What makes it none that is booted here, in a phrase that follows the file's name.
    pub fn of(file: &File) -> Result<Self, String> {
        let mut bytes = [0; HEADER];
        let read = read_up_to(file, &mut bytes, 0).map_err(|error| error.to_string())?;
        Self::parse(&bytes[..read])
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let word = |at: usize| {
            let part = bytes.get(at..at + 4).and_then(|part| part.try_into().ok());
            part.map(u32::from_be_bytes).ok_or_else(|| "the qcow2 header is cut off".to_owned())
        };
        let long =
            |at: usize| Ok::<_, String>(u64::from(word(at)?) << 32 | u64::from(word(at + 4)?));
        let version = word(4)?;
        if !(2..=3).contains(&version) {
            return Err(format!("qcow2 version {version} is not known; versions 2 and 3 are"));
        }
        let own = Self {
            cluster_bits: word(20)?,
            size: long(24)?,
            first_level: long(40)?,
            zstd: version > 2 && word(100)? > 104 && bytes.get(104) == Some(&1),
        };
        if !(9..=21).contains(&own.cluster_bits) {
            return Err(format!(
                "the qcow2 header is damaged: clusters of 2^{} bytes",
                own.cluster_bits
            ));
        }
        if long(8)? != 0 {
            return Err(
                "it has a backing file, and an image must not name other files of this host; \
                        make one image of the two: `qemu-img convert -O qcow2 IMAGE NEW`"
                    .to_owned(),
            );
        }
        if word(32)? != 0 {
            return Err("it is encrypted, and nobody could enter the key; give a copy without \
                        encryption"
                .to_owned());
        }
        let features = if version > 2 { long(72)? } else { 0 };
        if features & CORRUPT != 0 {
            return Err("it is marked as damaged; `qemu-img check -r all` may repair it".to_owned());
        }
        if features & EXTERNAL_DATA != 0 {
            return Err(
                "its data are in another file, and an image must not name other files of this \
                        host; `qemu-img convert -O qcow2 IMAGE NEW` makes one file"
                    .to_owned(),
            );
        }
        match features & !KNOWN {
            0 => Ok(own),
            unknown => {
                Err(format!("it uses features of qcow2 that are not known here ({unknown:#x})"))
            }
        }
    }

    /// The disk's first sector; zeros where nothing was written there.
    ///
    /// # Errors
    /// The file system's, or tables and data that cannot be.
    pub fn first_sector(&self, file: &File) -> io::Result<[u8; SECTOR]> {
        let mut sector = [0; SECTOR];
        let second_level = entry(file, self.first_level)? & OFFSET;
        if second_level == 0 {
            return Ok(sector);
        }
        let cluster = entry(file, second_level)?;
        if cluster & COMPRESSED != 0 {
            self.decompress(file, cluster, &mut sector)?;
        } else if cluster & ZEROS == 0 && cluster & OFFSET != 0 {
            file.read_exact_at(&mut sector, cluster & OFFSET)?;
        }
        Ok(sector)
    }

    /// Reads the beginning of a compressed cluster.
    fn decompress(&self, file: &File, cluster: u64, sector: &mut [u8; SECTOR]) -> io::Result<()> {
        let bits = 62 - (self.cluster_bits - 8);
        let offset = cluster & ((1 << bits) - 1);
        let sectors = (cluster & (COMPRESSED - 1)) >> bits;
        // At most two clusters, by the number of bits.
        let length = (sectors as usize + 1) * SECTOR - (offset as usize & (SECTOR - 1));
        let mut packed = vec![0; length];
        let read = read_up_to(file, &mut packed, offset)?;
        let packed = &packed[..read];
        if self.zstd {
            let mut plain =
                ruzstd::decoding::StreamingDecoder::new(packed).map_err(io::Error::other)?;
            plain.read_exact(sector)
        } else {
            flate2::read::DeflateDecoder::new(packed).read_exact(sector)
        }
    }
}

/// The first entry of the table at `offset`.
fn entry(file: &File, offset: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(u64::from_be_bytes(bytes))
}

/// Reads what there is; how much that was.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use super::*;

    const CLUSTER: usize = 1 << 9;

    /// An image of 1 MiB whose first cluster begins with `sector`: header, tables of both levels and
    /// data in a cluster each.
    pub fn image(sector: &[u8; SECTOR]) -> Vec<u8> {
        let mut bytes = vec![0; 3 * CLUSTER];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &MAGIC);
        put(4, &3_u32.to_be_bytes());
        put(20, &9_u32.to_be_bytes());
        put(24, &(1_u64 << 20).to_be_bytes());
        put(36, &1_u32.to_be_bytes());
        put(40, &(CLUSTER as u64).to_be_bytes());
        put(100, &112_u32.to_be_bytes());
        put(CLUSTER, &((2 * CLUSTER as u64) | (1 << 63)).to_be_bytes());
        put(2 * CLUSTER, &((3 * CLUSTER as u64) | (1 << 63)).to_be_bytes());
        bytes.extend_from_slice(sector);
        bytes.resize(4 * CLUSTER, 0);
        bytes
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn sector() -> [u8; SECTOR] {
        std::array::from_fn(|at| (at * 7) as u8)
    }

    fn first_sector(bytes: &[u8]) -> io::Result<[u8; SECTOR]> {
        let file = file(bytes);
        Header::of(&file).unwrap().first_sector(&file)
    }

    #[test]
    fn the_first_sector_is_found() {
        let bytes = image(&sector());
        assert_eq!(Header::of(&file(&bytes)).unwrap().size, 1 << 20);
        assert_eq!(first_sector(&bytes).unwrap(), sector());
        for table in [CLUSTER, 2 * CLUSTER] {
            let mut nothing = bytes.clone();
            nothing[table..table + 8].fill(0);
            assert_eq!(first_sector(&nothing).unwrap(), [0; SECTOR], "{table}");
        }
        let mut zeros = bytes.clone();
        zeros[2 * CLUSTER + 7] |= ZEROS as u8;
        assert_eq!(first_sector(&zeros).unwrap(), [0; SECTOR]);
        assert!(first_sector(&bytes[..2 * CLUSTER]).is_err(), "the table is cut off");
    }

    #[test]
    fn a_compressed_first_cluster_is_read() {
        let mut deflate =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut cluster = sector().to_vec();
        cluster.resize(CLUSTER, 3);
        deflate.write_all(&cluster).unwrap();
        let packed = deflate.finish().unwrap();
        let mut bytes = image(&[0; SECTOR]);
        let offset = 3 * CLUSTER + 40;
        bytes.truncate(offset);
        bytes.extend_from_slice(&packed);
        let sectors = (offset % SECTOR + packed.len() - 1) / SECTOR;
        let entry = COMPRESSED | (sectors as u64) << (62 - 1) | offset as u64;
        bytes[2 * CLUSTER..2 * CLUSTER + 8].copy_from_slice(&entry.to_be_bytes());
        assert_eq!(first_sector(&bytes).unwrap(), sector());
    }

    #[test]
    fn what_cannot_be_booted_says_why_and_what_to_do() {
        let with = |at: usize, value: &[u8]| {
            let mut bytes = image(&sector());
            bytes[at..at + value.len()].copy_from_slice(value);
            Header::of(&file(&bytes)).unwrap_err()
        };
        assert!(with(4, &[0, 0, 0, 9]).contains("version 9"));
        assert!(with(8, &[0, 0, 0, 0, 0, 0, 1, 0]).contains("`qemu-img convert"));
        assert!(with(20, &[0, 0, 0, 60]).contains("2^60"));
        assert!(with(32, &[0, 0, 0, 2]).contains("encrypted"));
        assert!(with(79, &[2]).contains("qemu-img check"));
        assert!(with(79, &[4]).contains("another file"));
        assert!(with(72, &[1]).contains("not known here"));
        assert!(Header::of(&file(&image(&sector())[..30])).unwrap_err().contains("cut off"));
    }

    #[test]
    fn mutated_images_are_read_or_refused() {
        let file = file(&[]);
        mutate::inputs(&[image(&sector())], |bytes| {
            file.set_len(0).unwrap();
            file.write_all_at(bytes, 0).unwrap();
            if let Ok(header) = Header::of(&file) {
                let _ = header.first_sector(&file);
            }
        });
    }
}

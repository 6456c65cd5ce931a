//! How a camera was held: the orientation of Exif 2.32, section 4.6.4.

use image::metadata::Orientation as Exif;

use crate::picture::{PADDING, Picture, zeroed};
use crate::quarter;
use crate::refusal::Refusal;

/// What has to be done to see a picture upright: a turn, then perhaps a mirror image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Orientation {
    /// Quarter turns clockwise, 0 to 3.
    quarters: u8,
    /// Left becomes right after that.
    mirrored: bool,
}

impl Orientation {
    /// The orientation in an Exif block; upright where there is none, or one that cannot be read.
    #[must_use]
    pub fn of_exif(exif: Option<&[u8]>) -> Self {
        let (quarters, mirrored) = match exif.and_then(Exif::from_exif_chunk) {
            None | Some(Exif::NoTransforms) => (0, false),
            Some(Exif::Rotate90) => (1, false),
            Some(Exif::Rotate180) => (2, false),
            Some(Exif::Rotate270) => (3, false),
            Some(Exif::FlipHorizontal) => (0, true),
            Some(Exif::Rotate90FlipH) => (1, true),
            Some(Exif::FlipVertical) => (2, true),
            Some(Exif::Rotate270FlipH) => (3, true),
        };
        Self { quarters, mirrored }
    }

    /// Width and height when it is seen upright.
    #[must_use]
    pub fn size(self, width: usize, height: usize) -> (usize, usize) {
        if self.quarters % 2 == 1 { (height, width) } else { (width, height) }
    }

    /// Bytes that [`apply`](Self::apply) takes beside the picture.
    #[must_use]
    pub fn held(self, width: usize, height: usize) -> u64 {
        if self.quarters == 0 { 0 } else { (width * height * 3) as u64 }
    }

    /// The picture upright.
    ///
    /// # Errors
    /// 413 where there is no memory for it.
    pub fn apply(self, picture: Picture) -> Result<Picture, Refusal> {
        if self == Self::default() {
            return Ok(picture);
        }
        let (width, height) = self.size(picture.width(), picture.height());
        let mut pixels = if self.quarters == 0 {
            picture.into_pixels()
        } else {
            let mut turned = zeroed(width * height * 3 + PADDING)?;
            quarter::turn(&picture, self.quarters, &mut turned[..width * height * 3]);
            turned
        };
        if self.mirrored {
            for row in pixels[..width * height * 3].chunks_exact_mut(width * 3) {
                row.as_chunks_mut::<3>().0.reverse();
            }
        }
        Picture::new(width, height, 0, pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A little-endian Exif block with nothing but an orientation.
    fn exif(value: u8) -> Vec<u8> {
        let mut block = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        block.extend([value, 0, 0, 0, 0, 0, 0, 0]);
        block
    }

    #[test]
    fn each_of_the_eight_brings_the_same_scene_upright() {
        // The scene, two rows of three: A B C / D E F. Stored as a camera held that way stores it
        // (Exif 2.32: where the stored first row and first column lie in the scene).
        let stored: [(u8, usize, &[u8]); 8] = [
            (1, 3, b"ABCDEF"),
            (2, 3, b"CBAFED"),
            (3, 3, b"FEDCBA"),
            (4, 3, b"DEFABC"),
            (5, 2, b"ADBECF"),
            (6, 2, b"CFBEAD"),
            (7, 2, b"FCEBDA"),
            (8, 2, b"DAEBFC"),
        ];
        for (value, width, pixels) in stored {
            let grey = pixels.iter().flat_map(|&pixel| [pixel; 3]).collect();
            let picture = Picture::new(width, 6 / width, 0, grey).unwrap();
            let upright = Orientation::of_exif(Some(&exif(value))).apply(picture).unwrap();
            let seen: Vec<u8> = upright.pixels().iter().step_by(3).copied().collect();
            assert_eq!(
                (upright.width(), seen.escape_ascii().to_string()),
                (3, "ABCDEF".into()),
                "{value}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_upright() {
        for block in [None, Some(&b""[..]), Some(b"II*\0"), Some(&exif(9))] {
            assert_eq!(Orientation::of_exif(block), Orientation::default());
        }
    }
}

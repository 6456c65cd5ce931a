//! Bytes of a picture file to pixels.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::pnm::PnmDecoder;
use image::{DynamicImage, ImageDecoder};

use crate::picture::{Admit, PADDING, Picture, flatten, reserve};
use crate::refusal::{Refusal, damaged};
use crate::{jpeg_in, png_in, pnm_in};

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PNG of any colour type and depth; transparency is laid over the background.
    Png,
    /// JPEG, baseline or progressive.
    Jpeg,
    /// Portable bitmap, graymap, pixmap or arbitrary map (P1 to P7).
    Pnm,
}

impl Kind {
    /// The format that `bytes` begin like.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'P', b'1'..=b'7', next, ..] if next.is_ascii_whitespace() || *next == b'#' => {
                Some(Self::Pnm)
            }
            _ => None,
        }
    }
}

/// Decodes a whole file; what is transparent shows `background`.
///
/// # Errors
/// 415 for a format that is not read, 413 where `admit` says so, 400 for a damaged file.
pub fn decode(bytes: Vec<u8>, background: [u8; 3], admit: &Admit) -> Result<Picture, Refusal> {
    let Some(kind) = Kind::of(&bytes) else {
        return Err(Refusal::Unsupported(
            "the image is none of PNG, JPEG and PNM (PPM, PGM, PBM, PAM)".into(),
        ));
    };
    let file = bytes.len() as u64;
    let beside_the_file = |width, height, held| admit(width, height, held + file);
    // The decoders are other people's code that sees whatever a stranger sends.
    let decoded = catch_unwind(AssertUnwindSafe(|| match kind {
        Kind::Png => png_in::decode(&bytes, background, &beside_the_file),
        Kind::Jpeg => jpeg_in::decode(&bytes, &beside_the_file),
        Kind::Pnm => pnm(bytes, background, admit),
    }));
    decoded.unwrap_or_else(|_| Err(damaged("file", &"its decoder gave up")))
}

fn pnm(bytes: Vec<u8>, background: [u8; 3], admit: &Admit) -> Result<Picture, Refusal> {
    if let Some(header) = pnm_in::plain_header(&bytes) {
        // The file's own bytes become the picture.
        admit(header.width, header.height, 0)?;
        return Picture::new(header.width, header.height, header.length, bytes);
    }
    let mut bytes = bytes;
    if bytes[2] == b'#' {
        // The decoder wants a blank behind the magic number, where any white space or comment will do.
        bytes.insert(2, b'\n');
    }
    let file = bytes.len() as u64;
    let decoder = PnmDecoder::new(Cursor::new(&bytes)).map_err(|e| damaged("PNM", &e))?;
    through_image(decoder, "PNM", background, &|width, height, held| {
        admit(width, height, held + file)
    })
}

fn through_image(
    decoder: impl ImageDecoder,
    name: &str,
    background: [u8; 3],
    admit: &Admit,
) -> Result<Picture, Refusal> {
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(damaged(name, &format!("it has {width}x{height} pixels")));
    }
    let (width, height) = (width as usize, height as usize);
    let bytes_per_pixel = usize::from(decoder.color_type().bytes_per_pixel());
    // As it is stored, and again widened where it is not RGB or RGBA of 8 bits.
    admit(width, height, (width * height * bytes_per_pixel) as u64)?;
    drop(reserve(width * height * bytes_per_pixel + PADDING)?);
    let decoded = DynamicImage::from_decoder(decoder).map_err(|e| damaged(name, &e))?;
    let rgb = if decoded.color().has_alpha() {
        flatten(decoded.into_rgba8().into_raw(), background)
    } else {
        decoded.into_rgb8().into_raw()
    };
    Picture::new(width, height, 0, rgb)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Format;
    use crate::{encode, pattern};

    const BLUE: [u8; 3] = [0, 0, 255];

    fn read(bytes: &[u8]) -> Result<Picture, Refusal> {
        decode(bytes.to_vec(), BLUE, &|_, _, _| Ok(()))
    }

    #[test]
    fn every_kind_of_pnm_gives_rgb() {
        let files: [(&[u8], &[u8]); 8] = [
            (b"P1 2 1\n1 0\n", &[0, 0, 0, 255, 255, 255]),
            (b"P2 2 1 255 7 9\n", &[7, 7, 7, 9, 9, 9]),
            (b"P3 1 1 255 1 2 3\n", &[1, 2, 3]),
            (b"P5 1 1 255\n\x07", &[7, 7, 7]),
            (b"P6\n# made by hand\n1 1\n255\n\x01\x02\x03", &[1, 2, 3]),
            (b"P6 1 1 65535\n\x01\x00\x02\x00\x03\x00", &[1, 2, 3]),
            (b"P6#c\n1 1 255\n\x01\x02\x03", &[1, 2, 3]),
            (b"P5#c\n1 1 255\n\x07", &[7, 7, 7]),
        ];
        for (file, pixels) in files {
            assert_eq!(read(file).unwrap().pixels(), pixels, "{}", file.escape_ascii());
        }
    }

    #[test]
    fn transparency_shows_the_background() {
        assert_eq!(
            flatten(vec![255, 0, 0, 255, 255, 0, 0, 0, 200, 0, 0, 128], BLUE),
            [255, 0, 0, 0, 0, 255, 100, 0, 127]
        );
    }

    #[test]
    fn what_was_encoded_is_read_again() {
        let picture = pattern::picture(61, 43).unwrap();
        for format in [Format::Png, Format::Ppm] {
            let file = encode::encode(format, (61, 43), None, u64::MAX, |out| {
                out.copy_from_slice(picture.pixels());
            });
            assert_eq!(read(&file.unwrap()).unwrap().pixels(), picture.pixels(), "{format:?}");
        }
    }

    #[test]
    fn damage_is_told_in_one_line() {
        let short = read(b"P6 2 2 255\nabc").unwrap_err();
        insta::assert_snapshot!(short, @"the picture is cut short: 2x2 pixels need 12 bytes, 3 are there");
        insta::assert_snapshot!(read(b"GIF89a").unwrap_err(), @"the image is none of PNG, JPEG and PNM (PPM, PGM, PBM, PAM)");
        for file in [&b"\xff\xd8\xff\xe0"[..], b"\x89PNG\r\n\x1a\n", b"P6 0 5 255\n", b"P5 3 3\n"] {
            let refusal = read(file).unwrap_err();
            assert!(matches!(refusal, Refusal::BadRequest(_)), "{refusal:?}");
            assert_eq!(refusal.to_string().lines().count(), 1);
        }
    }
}

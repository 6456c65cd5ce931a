//! PNG files to RGB, straight through the decoder that `image` stands on: it expands palettes row by
//! row, where `image` would hold the picture twice.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, Limits, Transformations};

use crate::orientation::Orientation;
use crate::picture::{Admit, PADDING, Picture, flatten, zeroed};
use crate::refusal::{Refusal, damaged};

/// Most bytes that the decoder may hold beside the picture: rows and chunks.
const BUFFERS: usize = 4 << 20;

/// Decodes a PNG file; what is transparent shows `background`.
///
/// # Errors
/// 413 where `admit` or the allocator says so, 400 for a damaged file.
pub fn decode(bytes: &[u8], background: [u8; 3], admit: &Admit) -> Result<Picture, Refusal> {
    let wrong = |e: png::DecodingError| damaged("PNG", &e);
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: BUFFERS });
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info().map_err(wrong)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    let profile = reader.info().icc_profile.as_ref().map(|profile| profile.to_vec());
    let orientation = Orientation::of_exif(reader.info().exif_metadata.as_deref());
    let (colour, depth) = reader.output_color_type();
    let samples = width * height * colour.samples();
    let length = if depth == BitDepth::Sixteen { samples * 2 } else { samples };
    // Beside the picture: as it is stored, and where it has to be turned upright.
    let held = (length as u64).max(orientation.held(width, height));
    let (shown_width, shown_height) = orientation.size(width, height);
    admit(shown_width, shown_height, held)?;
    let mut pixels = zeroed(length + PADDING)?;
    reader.next_frame(&mut pixels[..length]).map_err(wrong)?;
    drop(reader);
    if depth == BitDepth::Sixteen {
        to_eight_bits(&mut pixels[..length]);
    }
    pixels.truncate(samples);
    let rgb = match colour {
        ColorType::Rgb => pixels,
        ColorType::Rgba => flatten(pixels, background),
        ColorType::GrayscaleAlpha => {
            flatten(grey(&pixels, 2, |p| [p[0], p[0], p[0], p[1]])?, background)
        }
        _ => grey(&pixels, 1, |p| [p[0]; 3])?,
    };
    let picture = Picture::new(width, height, 0, rgb)?;
    Ok(orientation.apply(picture)?.with_profile(profile))
}

/// Samples of 16 bits, high byte first, to the nearest of 8 bits, in place: the first half holds
/// them then.
fn to_eight_bits(bytes: &mut [u8]) {
    for index in 0..bytes.len() / 2 {
        let sample = u32::from(u16::from_be_bytes([bytes[index * 2], bytes[index * 2 + 1]]));
        bytes[index] = ((sample * 255 + 32_767) / 65_535) as u8;
    }
}

/// Widens each pixel of `from` bytes to `N`.
fn grey<const N: usize>(
    pixels: &[u8],
    from: usize,
    widen: impl Fn(&[u8]) -> [u8; N],
) -> Result<Vec<u8>, Refusal> {
    let mut wide = crate::picture::reserve(pixels.len() / from * N + PADDING)?;
    pixels.chunks_exact(from).for_each(|pixel| wide.extend(widen(pixel)));
    Ok(wide)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(colour: ColorType, depth: png::BitDepth, data: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 2, 1);
        encoder.set_color(colour);
        encoder.set_depth(depth);
        if colour == ColorType::Indexed {
            encoder.set_palette(&[1, 2, 3, 4, 5, 6][..]);
            encoder.set_trns(&[255, 0][..]);
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(data).unwrap();
        writer.finish().unwrap();
        file
    }

    #[test]
    fn every_colour_type_gives_rgb() {
        use png::BitDepth::{Eight, One, Sixteen};
        let files: [(ColorType, png::BitDepth, &[u8], [u8; 6]); 8] = [
            (ColorType::Rgb, Eight, &[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]),
            (ColorType::Rgba, Eight, &[1, 2, 3, 255, 4, 5, 6, 0], [1, 2, 3, 9, 9, 9]),
            (ColorType::Grayscale, One, &[0b0100_0000], [0, 0, 0, 255, 255, 255]),
            (ColorType::Grayscale, Sixteen, &[7, 0, 8, 0], [7, 7, 7, 8, 8, 8]),
            (ColorType::Grayscale, Sixteen, &[0, 0xff, 0, 0x80], [1, 1, 1, 0, 0, 0]),
            (ColorType::Grayscale, Sixteen, &[0, 0x81, 0xff, 0xff], [1, 1, 1, 255, 255, 255]),
            (ColorType::GrayscaleAlpha, Eight, &[7, 255, 8, 0], [7, 7, 7, 9, 9, 9]),
            (ColorType::Indexed, One, &[0b0100_0000], [1, 2, 3, 9, 9, 9]),
        ];
        for (colour, depth, data, expected) in files {
            let picture = decode(&png(colour, depth, data), [9; 3], &|_, _, _| Ok(())).unwrap();
            assert_eq!(picture.pixels(), expected, "{colour:?} {depth:?}");
        }
    }

    #[test]
    fn the_size_is_judged_before_the_pixels() {
        let mut bomb = png(ColorType::Rgb, png::BitDepth::Eight, &[0; 6]);
        bomb[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
        let checksum = crc32fast::hash(&bomb[12..29]).to_be_bytes();
        bomb[29..33].copy_from_slice(&checksum);
        let refusal = decode(&bomb, [0; 3], &|w, h, _| Err(Refusal::TooLarge(format!("{w}x{h}"))));
        assert_eq!(refusal.unwrap_err(), Refusal::TooLarge("65535x65535".into()));
    }
}

//! A canvas to the bytes of a picture file.

use std::io::Write;

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use png::{BitDepth, ColorType, Compression, Encoder, Filter};

use crate::params::Format;
use crate::picture::zeroed;
use crate::refusal::Refusal;

const JPEG_QUALITY: u8 = 90;

/// Most compressed bytes in one chunk of a PNG file.
const PNG_CHUNK: usize = 1 << 16;

impl Format {
    /// The media type of a reply.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Ppm => "image/x-portable-pixmap",
        }
    }

    /// The name as it is asked for.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Ppm => "ppm",
        }
    }
}

/// Has a canvas of `size` pixels drawn by `draw` (which may drop its source) and encodes it.
///
/// # Errors
/// 413 where there is no memory for it; 500 where the encoder fails.
pub fn encode(
    format: Format,
    size: (usize, usize),
    draw: impl FnOnce(&mut [u8]),
) -> Result<Vec<u8>, Refusal> {
    let header = match format {
        Format::Ppm => format!("P6\n{} {}\n255\n", size.0, size.1).into_bytes(),
        Format::Png | Format::Jpeg => Vec::new(),
    };
    // A pixmap is drawn right behind its header: no second copy.
    let mut canvas = zeroed(header.len() + size.0 * size.1 * 3)?;
    canvas[..header.len()].copy_from_slice(&header);
    draw(&mut canvas[header.len()..]);
    match format {
        Format::Ppm => Ok(canvas),
        Format::Png => png(size, &canvas).map_err(|e| failed("PNG", &e)),
        Format::Jpeg => jpeg(size, &canvas).map_err(|e| failed("JPEG", &e)),
    }
}

/// Filter *up* with a compressor made for PNG: the fastest that still compresses.
fn png(size: (usize, usize), canvas: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, size.0 as u32, size.1 as u32);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Fastest);
    encoder.set_filter(Filter::Up);
    let mut writer = encoder.write_header()?;
    let mut stream = writer.stream_writer_with_size(PNG_CHUNK)?;
    stream.write_all(canvas)?;
    stream.finish()?;
    writer.finish()?;
    Ok(file)
}

fn jpeg(size: (usize, usize), canvas: &[u8]) -> Result<Vec<u8>, image::ImageError> {
    let mut file = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY);
    encoder.encode(canvas, size.0 as u32, size.1 as u32, ExtendedColorType::Rgb8)?;
    Ok(file)
}

fn failed(name: &str, cause: &dyn std::fmt::Display) -> Refusal {
    Refusal::Server(format!("cannot encode the {name} image: {cause}"))
}

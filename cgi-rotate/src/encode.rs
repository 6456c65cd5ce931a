//! A canvas to the bytes of a picture file.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use png::{BitDepth, ColorType, Compression, Encoder, Filter, Info};

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

/// Has a canvas of `size` pixels drawn by `draw` (which may drop its source) and encodes it, with
/// an ICC `profile` where the format has a place for one. Canvas and file take at most `memory`
/// bytes.
///
/// # Errors
/// 413 where there is no memory for it; 500 where the encoder fails.
pub fn encode(
    format: Format,
    size: (usize, usize),
    profile: Option<&[u8]>,
    memory: u64,
    draw: impl FnOnce(&mut [u8]),
) -> Result<Vec<u8>, Refusal> {
    let header = match format {
        Format::Ppm => pixmap_header(size),
        Format::Png | Format::Jpeg => Vec::new(),
    };
    // A pixmap is drawn right behind its header: no second copy.
    let mut canvas = zeroed(header.len() + size.0 * size.1 * 3)?;
    canvas[..header.len()].copy_from_slice(&header);
    draw(&mut canvas[header.len()..]);
    if format == Format::Ppm {
        return Ok(canvas);
    }
    let most = memory.saturating_sub(canvas.len() as u64);
    let mut file = Bounded { bytes: Vec::new(), most, refused: false };
    let encoded = if format == Format::Png {
        png(size, &canvas, profile, &mut file).map_err(|e| failed("PNG", &e))
    } else {
        jpeg(size, &canvas, profile, &mut file).map_err(|e| failed("JPEG", &e))
    };
    match encoded {
        Err(_) if file.refused => Err(Refusal::TooLarge(format!(
            "the encoded picture needs more than {most} bytes of memory beside the canvas's {}",
            canvas.len()
        ))),
        outcome => outcome.map(|()| file.bytes),
    }
}

/// What stands before the pixels of a pixmap.
pub fn pixmap_header(size: (usize, usize)) -> Vec<u8> {
    format!("P6\n{} {}\n255\n", size.0, size.1).into_bytes()
}

/// A file in memory that does not grow beyond a limit.
struct Bounded {
    bytes: Vec<u8>,
    most: u64,
    refused: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.bytes.len() + bytes.len()) as u64 > self.most {
            self.refused = true;
            return Err(ErrorKind::OutOfMemory.into());
        }
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Filter *up* with a compressor made for PNG: the fastest that still compresses.
fn png(
    size: (usize, usize),
    canvas: &[u8],
    profile: Option<&[u8]>,
    file: &mut Bounded,
) -> Result<(), png::EncodingError> {
    let mut info = Info::with_size(size.0 as u32, size.1 as u32);
    info.color_type = ColorType::Rgb;
    info.bit_depth = BitDepth::Eight;
    info.icc_profile = profile.map(Cow::Borrowed);
    let mut encoder = Encoder::with_info(file, info)?;
    encoder.set_compression(Compression::Fastest);
    encoder.set_filter(Filter::Up);
    let mut writer = encoder.write_header()?;
    let mut stream = writer.stream_writer_with_size(PNG_CHUNK)?;
    stream.write_all(canvas)?;
    stream.finish()?;
    writer.finish()
}

fn jpeg(
    size: (usize, usize),
    canvas: &[u8],
    profile: Option<&[u8]>,
    file: &mut Bounded,
) -> Result<(), image::ImageError> {
    let mut encoder = JpegEncoder::new_with_quality(file, JPEG_QUALITY);
    if let Some(profile) = profile {
        // An encoder that had no place for it would say so; JPEG has one.
        encoder.set_icc_profile(profile.to_vec()).map_err(image::ImageError::Unsupported)?;
    }
    encoder.encode(canvas, size.0 as u32, size.1 as u32, ExtendedColorType::Rgb8)
}

fn failed(name: &str, cause: &dyn std::fmt::Display) -> Refusal {
    Refusal::Server(format!("cannot encode the {name} image: {cause}"))
}

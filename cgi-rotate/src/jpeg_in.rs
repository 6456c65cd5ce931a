//! JPEG files to RGB, through the decoder that `image` stands on: what it holds beside the picture is
//! known from the file's headers, and a file that was cut short is told from a whole one.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::orientation::Orientation;
use crate::picture::{Admit, PADDING, Picture, zeroed};
use crate::refusal::{Refusal, damaged};

/// What a frame header (SOFn) says (ITU-T T.81, section B.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    /// Its marker's low byte.
    marker: u8,
    /// Bits of a sample.
    precision: u8,
    width: usize,
    height: usize,
    /// Horizontal and vertical sampling factors of each component.
    sampling: Vec<(usize, usize)>,
    /// Whether some scan leaves components out: coefficients are then kept until the last one.
    several_scans: bool,
}

/// Decodes a JPEG file; a profile and an orientation are kept.
///
/// # Errors
/// 413 where `admit` or the allocator says so, 400 for a damaged file or one that was cut short.
pub fn decode(bytes: &[u8], admit: &Admit) -> Result<Picture, Refusal> {
    let wrong = |e: zune_jpeg::errors::DecodeErrors| damaged("JPEG", &e);
    let frame = survey(bytes)?;
    if frame.precision != 8 {
        return Err(Refusal::Unsupported(format!(
            "the JPEG image has {} bits a sample; 8 are read",
            frame.precision
        )));
    }
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(wrong)?;
    let orientation = Orientation::of_exif(decoder.exif().map(Vec::as_slice));
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let held = frame.coefficients() + orientation.held(width, height);
    let (shown_width, shown_height) = orientation.size(width, height);
    admit(shown_width, shown_height, held)?;
    let mut pixels = zeroed(width * height * 3 + PADDING)?;
    decoder.decode_into(&mut pixels[..width * height * 3]).map_err(wrong)?;
    let profile = decoder.icc_profile();
    drop(decoder);
    let picture = Picture::new(width, height, 0, pixels)?;
    Ok(orientation.apply(picture)?.with_profile(profile))
}

impl Frame {
    /// Bytes of the coefficients that the decoder keeps until the last scan: 2 each, of whole units
    /// of all components.
    fn coefficients(&self) -> u64 {
        // SOF2 is progressive.
        if self.marker != 0xc2 && !self.several_scans {
            return 0;
        }
        let most =
            |of: fn(&(usize, usize)) -> usize| self.sampling.iter().map(of).max().unwrap_or(1);
        let (across, down) = (most(|s| s.0), most(|s| s.1));
        let units = self.width.div_ceil(8 * across) * self.height.div_ceil(8 * down);
        let blocks: usize = self.sampling.iter().map(|(h, v)| h * v).sum();
        (units * blocks * 64 * 2) as u64
    }
}

/// Walks the file's segments to its end marker.
fn survey(bytes: &[u8]) -> Result<Frame, Refusal> {
    let cut = || {
        let text = "the JPEG image is cut short: it has no end marker";
        Refusal::BadRequest(text.into())
    };
    let mut frame: Option<Frame> = None;
    let mut at = 2;
    loop {
        let marker = next_marker(bytes, &mut at).ok_or_else(cut)?;
        match marker {
            // End of image.
            0xd9 => return frame.ok_or_else(|| damaged("JPEG", &"it has no frame header")),
            // Restart markers and TEM stand alone.
            0xd0..=0xd7 | 0x01 => continue,
            _ => {}
        }
        let length = bytes.get(at..at + 2).ok_or_else(cut)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let segment = bytes.get(at + 2..at + length).ok_or_else(cut)?;
        at += length;
        match marker {
            // Start of frame; the others of C0 to CF are tables.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) && frame.is_none() => {
                frame = Some(frame_header(marker, segment).ok_or_else(cut)?);
            }
            // Start of scan.
            0xda => {
                if let Some(frame) = &mut frame {
                    let components = segment.first().map_or(0, |&count| usize::from(count));
                    frame.several_scans |= components < frame.sampling.len();
                }
            }
            _ => {}
        }
    }
}

/// The next marker from `at` on, past coded data and fill bytes; `at` is then behind it.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let found = bytes.get(*at..)?.iter().position(|&byte| byte == 0xff)?;
        *at += found + 1;
        match *bytes.get(*at)? {
            // A coded 255, or filling.
            0x00 => *at += 1,
            0xff => {}
            marker => {
                *at += 1;
                return Some(marker);
            }
        }
    }
}

fn frame_header(marker: u8, segment: &[u8]) -> Option<Frame> {
    let [precision, h1, h0, w1, w0, count, components @ ..] = segment else { return None };
    let components = components.get(..usize::from(*count) * 3)?;
    let side = |high: &u8, low: &u8| usize::from(u16::from_be_bytes([*high, *low]));
    Some(Frame {
        marker,
        precision: *precision,
        width: side(w1, w0),
        height: side(h1, h0),
        sampling: components
            .chunks_exact(3)
            .map(|component| (usize::from(component[1] >> 4), usize::from(component[1] & 15)))
            .collect(),
        several_scans: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Format;
    use crate::{encode, pattern};

    fn jpeg() -> Vec<u8> {
        let picture = pattern::picture(61, 43).unwrap();
        encode::encode(Format::Jpeg, (61, 43), None, u64::MAX, |out| {
            out.copy_from_slice(picture.pixels());
        })
        .unwrap()
    }

    #[test]
    fn a_file_that_was_cut_anywhere_is_refused() {
        let whole = jpeg();
        assert!(decode(&whole, &|_, _, _| Ok(())).is_ok());
        for length in [3, 20, 200, whole.len() / 2, whole.len() - 2, whole.len() - 1] {
            let refusal = decode(&whole[..length], &|_, _, _| Ok(())).unwrap_err();
            assert!(refusal.to_string().contains("cut short"), "{length}: {refusal}");
        }
        let trailing = [&whole[..], b"what some cameras append"].concat();
        assert!(decode(&trailing, &|_, _, _| Ok(())).is_ok());
    }

    #[test]
    fn coefficients_are_counted_where_they_are_kept() {
        let frame = |marker, sampling: &[(usize, usize)]| Frame {
            marker,
            precision: 8,
            width: 6400,
            height: 6400,
            sampling: sampling.to_vec(),
            several_scans: false,
        };
        let cmyk = [(1, 1); 4];
        assert_eq!(frame(0xc0, &cmyk).coefficients(), 0);
        assert_eq!(frame(0xc2, &cmyk).coefficients(), 6400 * 6400 * 4 * 2);
        assert_eq!(frame(0xc2, &[(2, 2), (1, 1), (1, 1)]).coefficients(), 6400 * 6400 * 3);
        let baseline = Frame { several_scans: true, ..frame(0xc0, &cmyk) };
        assert_eq!(baseline.coefficients(), 6400 * 6400 * 8);
    }

    #[test]
    fn the_headers_are_read() {
        let found = survey(&jpeg()).unwrap();
        assert_eq!((found.width, found.height, found.precision), (61, 43, 8));
        assert!(found.sampling.len() == 3 && !found.several_scans && found.marker == 0xc0);
    }

    #[test]
    fn twelve_bits_are_refused_with_the_reason() {
        let mut file = jpeg();
        let at = file.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        file[at + 4] = 12;
        let refusal = decode(&file, &|_, _, _| Ok(())).unwrap_err();
        insta::assert_snapshot!(refusal, @"the JPEG image has 12 bits a sample; 8 are read");
    }
}

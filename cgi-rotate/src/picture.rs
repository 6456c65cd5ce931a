//! A picture in memory: rows of red, green and blue bytes.

use crate::refusal::Refusal;

/// Bytes that may be read past the last pixel, so that the inner loop can load whole words.
pub const PADDING: usize = 8;

/// Eight-bit RGB, row by row from the top, no gaps between rows.
///
/// The pixels may start anywhere in the buffer: a PPM file is used as it was read, header and all.
#[derive(Debug, Clone)]
pub struct Picture {
    width: usize,
    height: usize,
    start: usize,
    bytes: Vec<u8>,
    profile: Option<Vec<u8>>,
}

impl Picture {
    /// Wraps `bytes`, whose pixels begin at `start`; missing padding is added.
    ///
    /// # Errors
    /// 400 where there are fewer pixels than `width` x `height`.
    pub fn new(
        width: usize,
        height: usize,
        start: usize,
        mut bytes: Vec<u8>,
    ) -> Result<Self, Refusal> {
        let needed = width * height * 3;
        let present = bytes.len().saturating_sub(start);
        if present < needed {
            return Err(Refusal::BadRequest(format!(
                "the picture is cut short: {width}x{height} pixels need {needed} bytes, \
                 {present} are there"
            )));
        }
        bytes.truncate(start + needed);
        bytes.resize(start + needed + PADDING, 0);
        Ok(Self { width, height, start, bytes, profile: None })
    }

    /// The same with an ICC profile, if that is one of RGB: the pixels are nothing else.
    #[must_use]
    pub fn with_profile(self, profile: Option<Vec<u8>>) -> Self {
        // ICC.1:2022, section 7.2.6: the data colour space.
        let of_rgb = |profile: &Vec<u8>| profile.get(16..20) == Some(b"RGB ");
        Self { profile: profile.filter(of_rgb), ..self }
    }

    /// The ICC profile, where the file had one.
    #[must_use]
    pub fn profile(&self) -> Option<&[u8]> {
        self.profile.as_deref()
    }

    /// The buffer of the pixels, which begin at its start.
    #[must_use]
    pub fn into_pixels(mut self) -> Vec<u8> {
        self.bytes.drain(..self.start);
        self.bytes
    }

    /// Pixels in a row, at least 1.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows, at least 1.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Bytes from one row to the next.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.width * 3
    }

    /// All pixels, without padding.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.bytes[self.start..self.bytes.len() - PADDING]
    }

    /// All pixels and the [`PADDING`] after them.
    #[must_use]
    pub fn padded(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// Bytes from which on a buffer is worth huge pages: some of them, so that what the last one wastes is
/// little.
const LARGE: usize = 8 << 20;

/// An empty buffer with room for `bytes`, refused rather than aborted where memory is short.
///
/// # Errors
/// 413 where the allocator cannot give that much.
pub fn reserve(bytes: usize) -> Result<Vec<u8>, Refusal> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(bytes).map_err(|e| {
        Refusal::TooLarge(format!("{bytes} bytes of memory are more than this server has: {e}"))
    })?;
    if bytes >= LARGE {
        kernel::memory::prefer_huge_pages(buffer.spare_capacity_mut());
    }
    Ok(buffer)
}

/// A buffer of `bytes` zeros, which cost nothing until they are touched.
///
/// # Errors
/// 413 where the allocator cannot give that much.
pub fn zeroed(bytes: usize) -> Result<Vec<u8>, Refusal> {
    // A fallible zeroed allocation does not exist yet: ask first, then take.
    drop(reserve(bytes)?);
    let mut buffer = vec![0; bytes];
    if bytes >= LARGE {
        kernel::memory::prefer_huge_pages(&mut buffer);
    }
    Ok(buffer)
}

/// Asked before pixels are allocated, with width, height, and the bytes that decoding holds beside
/// the picture.
pub type Admit<'a> = dyn Fn(usize, usize, u64) -> Result<(), Refusal> + 'a;

/// Lays red, green, blue and alpha over `background`, in place.
#[must_use]
pub fn flatten(mut bytes: Vec<u8>, background: [u8; 3]) -> Vec<u8> {
    let pixels = bytes.len() / 4;
    for pixel in 0..pixels {
        let alpha = u32::from(bytes[pixel * 4 + 3]);
        for (colour, behind) in background.into_iter().enumerate() {
            let front = u32::from(bytes[pixel * 4 + colour]);
            let mixed = (front * alpha + u32::from(behind) * (255 - alpha) + 127) / 255;
            bytes[pixel * 3 + colour] = mixed as u8;
        }
    }
    bytes.truncate(pixels * 3);
    bytes
}

//! The built-in test picture: the same bytes on every machine, from integers alone.

use crate::picture::{PADDING, Picture, reserve};
use crate::refusal::Refusal;

/// Rings are at least this many pixels apart, at the picture's farthest corner.
const CLOSEST_RINGS: u64 = 12;

/// Ramps of red to the right and of green downwards; blue rings around the centre that come
/// closer as they grow; every 100th row and column is drawn lighter.
///
/// # Errors
/// 413 where there is no memory for it.
pub fn picture(width: usize, height: usize) -> Result<Picture, Refusal> {
    let mut bytes = reserve(width * height * 3 + PADDING)?;
    let ramp = |side: usize| (255 << 16) / (side as u64).saturating_sub(1).max(1);
    let (right, down) = (ramp(width), ramp(height));
    let (cx, cy) = (width as i64 / 2, height as i64 / 2);
    let turn = ring_turn(width as u64, height as u64);
    for y in 0..height {
        let green = (y as u64 * down) >> 16;
        let dy = y as i64 - cy;
        for x in 0..width {
            let red = (x as u64 * right) >> 16;
            let dx = x as i64 - cx;
            let rings = wave(((dx * dx + dy * dy) as u64 * turn) >> 24);
            let line = if x % 100 == 0 || y % 100 == 0 { 64 } else { 0 };
            bytes.extend([red as u8, green as u8, rings].map(|c: u8| c.saturating_add(line)));
        }
    }
    Picture::new(width, height, 0, bytes)
}

/// Phase (512 a ring, 24 fraction bits) for each unit of squared distance r²: rings at r are
/// 512·2²⁴ / (2r·turn) apart.
fn ring_turn(width: u64, height: u64) -> u64 {
    let corner = (width * width + height * height).isqrt() / 2;
    (512 << 24) / (2 * CLOSEST_RINGS * corner.max(1))
}

/// A triangle between 0 and 255 with a period of 512.
fn wave(phase: u64) -> u8 {
    let phase = phase & 511;
    (if phase < 256 { phase } else { 511 - phase }) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_they_always_were() {
        let picture = picture(300, 200).unwrap();
        assert_eq!(crc32fast::hash(picture.pixels()), 1_998_143_393);
    }

    #[test]
    fn the_smallest_and_the_longest_are_fine() {
        for (width, height) in [(1, 1), (2, 1), (1, 2), (65_535, 1), (1, 65_535)] {
            assert_eq!(picture(width, height).unwrap().pixels().len(), width * height * 3);
        }
    }
}

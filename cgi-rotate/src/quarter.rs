//! Exact turns by multiples of 90 degrees: the same pixels in another order.

use crate::picture::Picture;

/// Side of the squares in which columns become rows, so that neither side thrashes the cache.
const BLOCK: usize = 32;

/// Fills `canvas` with `picture`, turned clockwise by `quarters` (0 to 3) right angles.
pub fn turn(picture: &Picture, quarters: u8, canvas: &mut [u8]) {
    let (pixels, _) = picture.pixels().as_chunks::<3>();
    let (out, _) = canvas.as_chunks_mut::<3>();
    let (width, height) = (picture.width(), picture.height());
    match quarters {
        0 => out.copy_from_slice(pixels),
        2 => out.iter_mut().zip(pixels.iter().rev()).for_each(|(to, from)| *to = *from),
        1 => columns(out, height, |x, y| pixels[(height - 1 - x) * width + y]),
        _ => columns(out, height, |x, y| pixels[x * width + width - 1 - y]),
    }
}

/// Fills rows of `width` pixels from `at(column, row)`, block by block.
fn columns(out: &mut [[u8; 3]], width: usize, at: impl Fn(usize, usize) -> [u8; 3]) {
    for (band, lines) in out.chunks_mut(width * BLOCK).enumerate() {
        for left in (0..width).step_by(BLOCK) {
            let right = (left + BLOCK).min(width);
            for (y, line) in lines.chunks_exact_mut(width).enumerate() {
                for (x, pixel) in (left..right).zip(&mut line[left..right]) {
                    *pixel = at(x, band * BLOCK + y);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern;

    fn turned(picture: &Picture, quarters: u8) -> Picture {
        let mut out = vec![0; picture.pixels().len()];
        turn(picture, quarters, &mut out);
        let (w, h) = (picture.width(), picture.height());
        let (w, h) = if quarters % 2 == 1 { (h, w) } else { (w, h) };
        Picture::new(w, h, 0, out).unwrap()
    }

    #[test]
    fn a_right_angle_clockwise_brings_the_lower_left_up() {
        let picture = Picture::new(2, 2, 0, [[1; 3], [2; 3], [3; 3], [4; 3]].concat()).unwrap();
        assert_eq!(turned(&picture, 1).pixels(), [[3; 3], [1; 3], [4; 3], [2; 3]].concat());
        assert_eq!(turned(&picture, 3).pixels(), [[2; 3], [4; 3], [1; 3], [3; 3]].concat());
    }

    #[test]
    fn turns_add_up() {
        let picture = pattern::picture(77, 41).unwrap();
        let once = turned(&picture, 1);
        let twice = turned(&once, 1);
        assert_eq!(twice.pixels(), turned(&picture, 2).pixels());
        assert_eq!(turned(&twice, 1).pixels(), turned(&picture, 3).pixels());
        assert_eq!(turned(&once, 3).pixels(), picture.pixels());
        assert_eq!(turned(&picture, 0).pixels(), picture.pixels());
    }
}

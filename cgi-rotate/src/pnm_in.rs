//! The header of a plain binary pixmap, whose pixels are then used where they lie.

/// Header of a P6 file with 8 bits a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Pixels in a row, at least 1.
    pub width: usize,
    /// Rows, at least 1.
    pub height: usize,
    /// Bytes before the first pixel.
    pub length: usize,
}

/// The header of a P6 file with a largest value of 255; `None` for anything else, sound or not.
#[must_use]
pub fn plain_header(bytes: &[u8]) -> Option<Header> {
    let mut rest = bytes.strip_prefix(b"P6")?;
    let mut numbers = [0usize; 3];
    for number in &mut numbers {
        rest = after_space(rest)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (text, tail) = rest.split_at(digits);
        *number = std::str::from_utf8(text).ok()?.parse::<u32>().ok()? as usize;
        rest = tail;
    }
    let [width, height, largest] = numbers;
    let (&separator, pixels) = rest.split_first()?;
    let plain = largest == 255 && width > 0 && height > 0 && separator.is_ascii_whitespace();
    plain.then_some(Header { width, height, length: bytes.len() - pixels.len() })
}

/// What follows at least one blank or comment.
fn after_space(mut rest: &[u8]) -> Option<&[u8]> {
    let before = rest.len();
    loop {
        rest = rest.trim_ascii_start();
        match rest.strip_prefix(b"#") {
            Some(comment) => rest = &comment[comment.iter().position(|&b| b == b'\n')?..],
            None => return (rest.len() < before).then_some(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_plain_headers_only() {
        let header = |width, height, length| Some(Header { width, height, length });
        assert_eq!(plain_header(b"P6\n3 2\n255\nxyz"), header(3, 2, 11));
        assert_eq!(plain_header(b"P6 # a\n#b\n 3\t2 255\n255\n"), header(3, 2, 19));
        for other in [
            "P5 3 2 255\n",
            "P63 2 255\n",
            "P6 3 2 65535\n",
            "P6 3 2 255",
            "P6 0 2 255\n",
            "P6 3 -2 255\n",
            "P6 99999999999 1 255\n",
            "P6 #",
            "P6 3 2 255#",
        ] {
            assert_eq!(plain_header(other.as_bytes()), None, "{other}");
        }
    }
}

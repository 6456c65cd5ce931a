//! How much one request may ask for.

use std::ffi::OsString;

use crate::geometry::Geometry;
use crate::params::LONGEST_SIDE;
use crate::refusal::{Refusal, quoted};

/// Limits of one request; the server's environment may change each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most pixels of the picture and of the canvas, each.
    pub pixels: u64,
    /// Most bytes of a request's body or of an image file.
    pub body: u64,
    /// Most bytes of what is held at a time (the file, what its decoder needs, the two pictures, the
    /// encoded one) together with [`OVERHEAD`].
    pub memory: u64,
}

/// Memory beside the two pictures, in bytes: the program and its buffers.
pub const OVERHEAD: u64 = 8 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self { pixels: 50_000_000, body: 64 << 20, memory: 256 << 20 }
    }
}

impl Limits {
    /// Reads `CGI_ROTATE_MAX_PIXELS`, `CGI_ROTATE_MAX_BODY` and `CGI_ROTATE_MAX_MEMORY` (bytes).
    ///
    /// # Errors
    /// 500 where one of them is set, but not to a positive whole number.
    pub fn from_env(get: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, Refusal> {
        let read = |name: &str, default: u64| match get(name) {
            None => Ok(default),
            Some(value) => {
                value.to_str().and_then(|v| v.parse().ok()).filter(|&n| n > 0).ok_or_else(|| {
                    Refusal::Server(format!(
                        "the server's {name} is {}; it must be a positive whole number",
                        quoted(&value.to_string_lossy())
                    ))
                })
            }
        };
        let standard = Self::default();
        Ok(Self {
            pixels: read("CGI_ROTATE_MAX_PIXELS", standard.pixels)?,
            body: read("CGI_ROTATE_MAX_BODY", standard.body)?,
            memory: read("CGI_ROTATE_MAX_MEMORY", standard.memory)?,
        })
    }

    /// Refuses a body or file of `bytes` where that is too many.
    ///
    /// # Errors
    /// 413.
    pub fn admit_bytes(&self, bytes: u64) -> Result<(), Refusal> {
        if bytes > self.body {
            return Err(Refusal::TooLarge(format!(
                "the image has {bytes} bytes; at most {} are taken",
                self.body
            )));
        }
        Ok(())
    }

    /// Refuses a rotation whose picture or canvas is too large, or whose picture needs too much beside
    /// itself while it is decoded (`held`, in bytes); called before any of it is allocated.
    ///
    /// # Errors
    /// 413, naming the limit.
    pub fn admit(&self, turn: &Geometry, held: u64) -> Result<(), Refusal> {
        let picture = self.area("picture", turn.source)?;
        let canvas = self.area("rotated picture", turn.canvas)?;
        self.admit_memory("the two pictures need", (picture + canvas) * 3)?;
        self.admit_memory("decoding the picture needs", picture * 3 + held)
    }

    fn admit_memory(&self, what: &str, bytes: u64) -> Result<(), Refusal> {
        let needed = bytes.saturating_add(OVERHEAD);
        if needed > self.memory {
            return Err(Refusal::TooLarge(format!(
                "{what} {needed} bytes of memory; at most {} are given",
                self.memory
            )));
        }
        Ok(())
    }

    /// Bytes for the canvas and the encoded picture.
    #[must_use]
    pub fn for_the_result(&self) -> u64 {
        self.memory.saturating_sub(OVERHEAD)
    }

    fn area(&self, what: &str, (width, height): (usize, usize)) -> Result<u64, Refusal> {
        let (width, height) = (width as u64, height as u64);
        if width.max(height) > u64::from(LONGEST_SIDE) {
            return Err(Refusal::TooLarge(format!(
                "the {what} has {width}x{height} pixels; a side may have at most {LONGEST_SIDE}"
            )));
        }
        if width * height > self.pixels {
            return Err(Refusal::TooLarge(format!(
                "the {what} has {width}x{height} pixels; at most {} in all are taken",
                self.pixels
            )));
        }
        Ok(width * height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(limits: Limits, degrees: f64, source: (usize, usize)) -> String {
        limits.admit(&Geometry::new(degrees, source, source), 0).unwrap_err().to_string()
    }

    #[test]
    fn each_limit_is_named() {
        let standard = Limits::default();
        let large = Geometry::new(45.0, (4999, 4999), (4999, 4999));
        assert_eq!(standard.admit(&large, 0), Ok(()));
        let held = standard.admit(&large, 200_000_000).unwrap_err();
        insta::assert_snapshot!(held, @"decoding the picture needs 283358611 bytes of memory; at most 268435456 are given");
        insta::assert_snapshot!(refused(standard, 0.0, (10_000, 5001)), @"the picture has 10000x5001 pixels; at most 50000000 in all are taken");
        insta::assert_snapshot!(refused(standard, 45.0, (7000, 7000)), @"the rotated picture has 9900x9900 pixels; at most 50000000 in all are taken");
        insta::assert_snapshot!(refused(standard, 0.0, (70_000, 1)), @"the picture has 70000x1 pixels; a side may have at most 65535");
        let tight = Limits { memory: 30_000_000, ..standard };
        insta::assert_snapshot!(refused(tight, 20.0, (2000, 2000)), @"the two pictures need 40110896 bytes of memory; at most 30000000 are given");
        assert!(
            standard.admit_bytes(64 << 20).is_ok() && standard.admit_bytes((64 << 20) + 1).is_err()
        );
    }

    #[test]
    fn the_environment_may_change_them_but_only_to_numbers() {
        let set = |value: &'static str| {
            Limits::from_env(&move |name| (name == "CGI_ROTATE_MAX_BODY").then(|| value.into()))
        };
        assert_eq!(set("5").unwrap().body, 5);
        assert!(matches!(set("0"), Err(Refusal::Server(_))));
        assert!(matches!(set("5M"), Err(Refusal::Server(_))));
    }
}

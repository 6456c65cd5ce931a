//! What is asked for: the same parameters from a query string or a command line.

use crate::query;
use crate::refusal::{Refusal, quoted};

/// Longest side of a picture or a canvas, in pixels; what JPEG can hold.
pub const LONGEST_SIDE: u32 = 65_535;

/// One rotation as asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Degrees clockwise; finite.
    pub angle: f64,
    /// Width in pixels of the picture before it is turned, where given.
    pub width: Option<u32>,
    /// Height in pixels of the picture before it is turned, where given.
    pub height: Option<u32>,
    /// A file below the images folder; `None` is the built-in test picture (or the request's body).
    pub image: Option<String>,
    /// How the result is encoded.
    pub format: Format,
    /// Colour of what the picture does not cover: red, green, blue.
    pub background: [u8; 3],
    /// How a pixel between pixels is found.
    pub filter: Filter,
    /// What is answered.
    pub answer: Answer,
}

/// Encoding of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Portable Network Graphics, fast compression.
    Png,
    /// JPEG at quality 90.
    Jpeg,
    /// Binary portable pixmap (P6).
    Ppm,
}

/// Interpolation between pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    /// Weighted mean of the 2x2 pixels around.
    Bilinear,
    /// Catmull-Rom spline over the 4x4 pixels around.
    Bicubic,
}

/// What the reply holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The encoded picture.
    Picture,
    /// One line of text with its size and checksum; all the work is done none the less.
    Summary,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            angle: 0.0,
            width: None,
            height: None,
            image: None,
            format: Format::Png,
            background: [0; 3],
            filter: Filter::Bilinear,
            answer: Answer::Picture,
        }
    }
}

impl Params {
    /// Reads a query string; `angle` is required, everything else has a default.
    ///
    /// # Errors
    /// 400 for a malformed query, an unknown or repeated parameter, or a value out of range.
    pub fn from_query(query: &[u8]) -> Result<Self, Refusal> {
        let mut params = Self::default();
        let mut seen = Vec::new();
        for (name, value) in query::pairs(query)? {
            params.set(&name, &value).map_err(Refusal::BadRequest)?;
            if seen.contains(&name) {
                return Err(Refusal::BadRequest(format!("{name} is given more than once")));
            }
            seen.push(name);
        }
        if !seen.iter().any(|name| name == "angle") {
            let text = "angle is missing: give the degrees to turn clockwise, as in angle=20";
            return Err(Refusal::BadRequest(text.into()));
        }
        Ok(params)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "angle" => self.angle = angle(value)?,
            "width" => self.width = Some(side("width", value)?),
            "height" => self.height = Some(side("height", value)?),
            "image" => self.image = image(value),
            "format" => self.format = format(value)?,
            "background" => self.background = colour(value)?,
            "filter" => self.filter = filter(value)?,
            "reply" => self.answer = answer(value)?,
            _ => {
                return Err(format!(
                    "unknown parameter {}; known are angle, width, height, image, format, \
                     background, filter and reply",
                    quoted(name)
                ));
            }
        }
        Ok(())
    }
}

/// Degrees; any finite real number.
///
/// # Errors
/// What is wrong with `value`, in one line.
pub fn angle(value: &str) -> Result<f64, String> {
    match value.parse::<f64>() {
        Ok(degrees) if degrees.is_finite() => Ok(degrees),
        Ok(_) => Err(format!("angle is {}; it must be a finite number", quoted(value))),
        Err(e) => Err(format!("angle is {}; it must be a number of degrees: {e}", quoted(value))),
    }
}

/// A width or height (`name`) in pixels, 1 to [`LONGEST_SIDE`].
///
/// # Errors
/// What is wrong with `value`, in one line.
pub fn side(name: &str, value: &str) -> Result<u32, String> {
    match value.parse::<u32>() {
        Ok(pixels @ 1..=LONGEST_SIDE) => Ok(pixels),
        _ => Err(format!(
            "{name} is {}; it must be a whole number of pixels, 1 to {LONGEST_SIDE}",
            quoted(value)
        )),
    }
}

fn image(value: &str) -> Option<String> {
    (value != "test").then(|| value.to_owned())
}

/// `png`, `jpeg` or `ppm`.
///
/// # Errors
/// What is wrong with `value`, in one line.
pub fn format(value: &str) -> Result<Format, String> {
    match value {
        "png" => Ok(Format::Png),
        "jpeg" | "jpg" => Ok(Format::Jpeg),
        "ppm" => Ok(Format::Ppm),
        _ => Err(format!("format is {}; it must be png, jpeg or ppm", quoted(value))),
    }
}

/// `nearest`, `bilinear` or `bicubic`.
///
/// # Errors
/// What is wrong with `value`, in one line.
pub fn filter(value: &str) -> Result<Filter, String> {
    match value {
        "nearest" => Ok(Filter::Nearest),
        "bilinear" => Ok(Filter::Bilinear),
        "bicubic" => Ok(Filter::Bicubic),
        _ => Err(format!("filter is {}; it must be nearest, bilinear or bicubic", quoted(value))),
    }
}

/// `picture` or `summary`.
///
/// # Errors
/// What is wrong with `value`, in one line.
pub fn answer(value: &str) -> Result<Answer, String> {
    match value {
        "picture" => Ok(Answer::Picture),
        "summary" => Ok(Answer::Summary),
        _ => Err(format!("reply is {}; it must be picture or summary", quoted(value))),
    }
}

/// A colour: `rrggbb` or `rgb` in hexadecimal, with or without `#`, or a common name.
///
/// # Errors
/// What is wrong with `value`, in one line.
pub fn colour(value: &str) -> Result<[u8; 3], String> {
    let named = match value {
        "black" => Some([0, 0, 0]),
        "white" => Some([255, 255, 255]),
        "gray" | "grey" => Some([128, 128, 128]),
        "red" => Some([255, 0, 0]),
        "green" => Some([0, 128, 0]),
        "blue" => Some([0, 0, 255]),
        "yellow" => Some([255, 255, 0]),
        _ => None,
    };
    named.or_else(|| hexadecimal(value.strip_prefix('#').unwrap_or(value))).ok_or_else(|| {
        format!(
            "background is {}; it must be rrggbb in hexadecimal (# is %23 in a query) or black, \
             white, gray, red, green, blue or yellow",
            quoted(value)
        )
    })
}

fn hexadecimal(digits: &str) -> Option<[u8; 3]> {
    let values: Vec<u8> =
        digits.chars().map(|c| Some(c.to_digit(16)? as u8)).collect::<Option<_>>()?;
    match values[..] {
        [r, g, b] => Some([r * 17, g * 17, b * 17]),
        [r, rr, g, gg, b, bb] => Some([r * 16 + rr, g * 16 + gg, b * 16 + bb]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(query: &str) -> String {
        Params::from_query(query.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn reads_every_parameter() {
        let query = b"angle=-20.5&width=2000&height=10&image=a%2Fb.png&format=jpeg\
                      &background=%23ff8000&filter=bicubic&reply=summary";
        let expected = Params {
            angle: -20.5,
            width: Some(2000),
            height: Some(10),
            image: Some("a/b.png".into()),
            format: Format::Jpeg,
            background: [255, 128, 0],
            filter: Filter::Bicubic,
            answer: Answer::Summary,
        };
        assert_eq!(Params::from_query(query), Ok(expected));
        let least = Params { angle: 20.0, ..Params::default() };
        assert_eq!(Params::from_query(b"angle=2e1&image=test&background=000"), Ok(least));
    }

    #[test]
    fn says_what_is_wrong() {
        insta::assert_snapshot!(refused(""), @"angle is missing: give the degrees to turn clockwise, as in angle=20");
        insta::assert_snapshot!(refused("angle=nan"), @r#"angle is "nan"; it must be a finite number"#);
        insta::assert_snapshot!(refused("angle=1x"), @r#"angle is "1x"; it must be a number of degrees: invalid float literal"#);
        insta::assert_snapshot!(refused("angle=1&angle=2"), @"angle is given more than once");
        insta::assert_snapshot!(refused("angle=1&width=0"), @r#"width is "0"; it must be a whole number of pixels, 1 to 65535"#);
        insta::assert_snapshot!(refused("angle=1&format=gif"), @r#"format is "gif"; it must be png, jpeg or ppm"#);
        insta::assert_snapshot!(refused("angle=1&colour=red"), @r#"unknown parameter "colour"; known are angle, width, height, image, format, background, filter and reply"#);
        insta::assert_snapshot!(refused("angle=1&background=12345"), @r#"background is "12345"; it must be rrggbb in hexadecimal (# is %23 in a query) or black, white, gray, red, green, blue or yellow"#);
    }
}

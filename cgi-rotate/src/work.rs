//! One rotation from source to encoded result.

use std::io::{self, Write};

use crate::decode::decode;
use crate::encode::{encode, pixmap_header};
use crate::geometry::Geometry;
use crate::limits::Limits;
use crate::params::{Answer, Filter, Format, Params};
use crate::picture::Picture;
use crate::refusal::Refusal;
use crate::{pattern, rotate, shrink};

/// Side of the built-in picture where nothing else is asked for, in pixels; the paper's workload.
pub const STANDARD_SIDE: usize = 2000;

/// How many times a picture may be scaled down; positions stay within 64 bits up to there.
const MOST_SHRINKING: usize = 256;

/// What is rotated.
#[derive(Debug)]
pub enum Source {
    /// The built-in test picture.
    Pattern,
    /// A picture file's bytes.
    File(Vec<u8>),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Media type of `body`.
    pub media_type: &'static str,
    /// Width and height of the rotated picture, in pixels.
    pub size: (usize, usize),
    /// The encoded picture, or one line about it.
    pub body: Vec<u8>,
}

/// A picture that can be turned.
#[derive(Debug)]
pub struct Prepared<'a> {
    params: &'a Params,
    picture: Picture,
    /// An ICC profile, which goes with the result.
    profile: Option<Vec<u8>>,
    turn: Geometry,
}

impl<'a> Prepared<'a> {
    /// Decodes `source` and scales it down, as `params` say, within `limits`.
    ///
    /// # Errors
    /// Any [`Refusal`] but 405.
    pub fn new(params: &'a Params, source: Source, limits: &Limits) -> Result<Self, Refusal> {
        let picture = match source {
            Source::Pattern => {
                let (width, height) = pattern_size(params);
                limits.admit(&geometry(params, width, height)?, 0)?;
                pattern::picture(width, height)?
            }
            Source::File(bytes) => decode(bytes, params.background, &|width, height, held| {
                limits.admit(&geometry(params, width, height)?, held)
            })?,
        };
        let size = size(params, picture.width(), picture.height())?;
        let (picture, profile) = scaled_down(picture, size, params.filter)?;
        let turn = Geometry::new(params.angle, (picture.width(), picture.height()), size);
        Ok(Self { params, picture, profile, turn })
    }

    /// Turns and encodes it; canvas and file take at most `memory` bytes.
    ///
    /// # Errors
    /// 413 where there is no memory for it; 500 where the encoder fails.
    pub fn finish(self, memory: u64) -> Result<Outcome, Refusal> {
        let Self { params, picture, profile, turn } = self;
        // The source is gone before the encoder needs memory of its own.
        let body = encode(params.format, turn.canvas, profile.as_deref(), memory, |canvas| {
            rotate::rotate(&picture, &turn, params.filter, params.background, canvas);
            drop(picture);
        })?;
        Ok(answer(params, turn.canvas, body))
    }

    /// Whether [`write_pixmap`](Self::write_pixmap) is what was asked for, and the fastest way.
    #[must_use]
    pub fn is_for_rows(&self) -> bool {
        let Params { format, answer, .. } = *self.params;
        (format, answer) == (Format::Ppm, Answer::Picture) && self.turn.quarters.is_none()
    }

    /// Turns it and writes it as a pixmap, row by row, without holding all of the result.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_pixmap(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&pixmap_header(self.turn.canvas))?;
        let Params { filter, background, .. } = *self.params;
        rotate::in_bands(&self.picture, &self.turn, filter, background, |lines| {
            out.write_all(lines)
        })
    }
}

/// Rotates `source` as `params` say, within `limits`.
///
/// # Errors
/// Any [`Refusal`] but 405.
pub fn run(params: &Params, source: Source, limits: &Limits) -> Result<Outcome, Refusal> {
    Prepared::new(params, source, limits)?.finish(limits.for_the_result())
}

/// The picture with what has to become smaller as small as it will be, and its profile. The turn
/// takes single samples: it may enlarge, but not leave pixels out.
fn scaled_down(
    picture: Picture,
    size: (usize, usize),
    filter: Filter,
) -> Result<(Picture, Option<Vec<u8>>), Refusal> {
    let profile = picture.profile().map(<[u8]>::to_vec);
    let small = (size.0.min(picture.width()), size.1.min(picture.height()));
    if filter == Filter::Nearest || small == (picture.width(), picture.height()) {
        return Ok((picture, profile));
    }
    Ok((shrink::shrink(&picture, small, filter)?, profile))
}

fn answer(params: &Params, size: (usize, usize), picture: Vec<u8>) -> Outcome {
    match params.answer {
        Answer::Picture => Outcome { media_type: params.format.media_type(), size, body: picture },
        Answer::Summary => {
            let line = format!(
                "width={} height={} format={} bytes={} crc32={:08x}\n",
                size.0,
                size.1,
                params.format.name(),
                picture.len(),
                crc32fast::hash(&picture)
            );
            Outcome { media_type: "text/plain; charset=utf-8", size, body: line.into_bytes() }
        }
    }
}

/// The built-in picture has the size asked for; one side alone makes a square.
fn pattern_size(params: &Params) -> (usize, usize) {
    let width = params.width.or(params.height).map_or(STANDARD_SIDE, |side| side as usize);
    (width, params.height.map_or(width, |side| side as usize))
}

/// The turn of a picture of `width` x `height`, scaled to the size asked for.
fn geometry(params: &Params, width: usize, height: usize) -> Result<Geometry, Refusal> {
    Ok(Geometry::new(params.angle, (width, height), size(params, width, height)?))
}

/// What a picture of `width` x `height` is scaled to; one side alone keeps the proportions.
fn size(params: &Params, width: usize, height: usize) -> Result<(usize, usize), Refusal> {
    let scaled = |side: usize, to: usize, of: usize| ((side * to + of / 2) / of).max(1);
    let asked = (params.width.map(|w| w as usize), params.height.map(|h| h as usize));
    let size = match asked {
        (None, None) => (width, height),
        (Some(w), Some(h)) => (w, h),
        (Some(w), None) => (w, scaled(height, w, width)),
        (None, Some(h)) => (scaled(width, h, height), h),
    };
    if width > size.0 * MOST_SHRINKING || height > size.1 * MOST_SHRINKING {
        return Err(Refusal::BadRequest(format!(
            "width and height would scale {width}x{height} pixels to {}x{}; at most \
             {MOST_SHRINKING} times smaller is possible",
            size.0, size.1
        )));
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(query: &str, source: Source) -> Result<Outcome, Refusal> {
        run(&Params::from_query(query.as_bytes())?, source, &Limits::default())
    }

    #[test]
    fn one_side_alone_keeps_a_files_proportions() {
        let file = || Source::File([&b"P6 4 2 255\n"[..], &[50; 24]].concat());
        let size = |query| answered(query, file()).unwrap().size;
        assert_eq!(size("angle=0"), (4, 2));
        assert_eq!(size("angle=90&width=8"), (4, 8));
        assert_eq!(size("angle=0&height=8"), (16, 8));
        assert_eq!(size("angle=0&height=8&width=3"), (3, 8));
        assert_eq!(answered("angle=0&width=7", Source::Pattern).unwrap().size, (7, 7));
    }

    #[test]
    fn a_summary_tells_of_the_picture_it_stands_for() {
        let query = "angle=20&width=50&height=40&format=ppm";
        let picture = answered(query, Source::Pattern).unwrap();
        let summary = answered(&format!("{query}&reply=summary"), Source::Pattern).unwrap();
        let expected = format!(
            "width=61 height=55 format=ppm bytes={} crc32={:08x}\n",
            picture.body.len(),
            crc32fast::hash(&picture.body)
        );
        assert_eq!(String::from_utf8(summary.body).unwrap(), expected);
    }

    #[test]
    fn a_pixmap_is_the_same_written_row_by_row() {
        for query in
            ["angle=20&width=50&height=140&format=ppm", "angle=90&width=30&height=20&format=ppm"]
        {
            let params = Params::from_query(query.as_bytes()).unwrap();
            let whole = run(&params, Source::Pattern, &Limits::default()).unwrap();
            let prepared = Prepared::new(&params, Source::Pattern, &Limits::default()).unwrap();
            let mut written = Vec::new();
            prepared.write_pixmap(&mut written).unwrap();
            assert_eq!(written, whole.body, "{query}");
        }
    }

    #[test]
    fn extreme_scaling_is_refused_and_none_of_it_overflows() {
        let tall = |query| {
            answered(query, Source::File([&b"P6 1 65535 255\n"[..], &[1; 65535 * 3]].concat()))
        };
        assert!(matches!(tall("angle=0.5&width=1000&height=255"), Err(Refusal::BadRequest(_))));
        assert!(tall("angle=0.5&width=1000&height=256").is_ok());
        assert!(matches!(tall("angle=0&width=65535"), Err(Refusal::TooLarge(_))));
    }
}

//! Pictures as SVG text and as PNG bytes.

use std::{io::Cursor, sync::Once};

use image::{ImageFormat, RgbImage, imageops};
use plotters::prelude::*;

use super::{
    Figure, SCALE,
    draw::{self, Failure},
};
use crate::error::ReportError;

/// PNG pixels per unit of length: twice, so that it is sharp on a fine screen.
const PNG_SCALE: u32 = 2;

/// What can be put on a canvas.
pub trait Picture {
    /// For messages.
    fn name(&self) -> &str;
    /// Width and height in units; the canvas has [`SCALE`] pixels for each.
    fn size(&self) -> (u32, u32);
    /// Draws it over the whole canvas.
    ///
    /// # Errors
    /// What the drawing backend says.
    fn draw<B: DrawingBackend>(
        &self,
        root: &DrawingArea<B, plotters::coord::Shift>,
    ) -> Result<(), Failure>
    where
        B::ErrorType: 'static;
}

impl Picture for Figure {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> (u32, u32) {
        draw::size(self)
    }

    fn draw<B: DrawingBackend>(
        &self,
        root: &DrawingArea<B, plotters::coord::Shift>,
    ) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        draw::draw(root, self)
    }
}

/// The picture as an SVG document; text stays text, in the reader's sans-serif font.
///
/// # Errors
/// What the drawing library says.
pub fn svg(figure: &impl Picture) -> Result<String, ReportError> {
    let (width, height) = figure.size();
    let mut out = String::new();
    {
        let canvas = (width * SCALE, height * SCALE);
        let root = SVGBackend::with_string(&mut out, canvas).into_drawing_area();
        put(figure, &root)?;
    }
    // Drawn in fine units, shown in its own size, and no wider than the page.
    let (fine, shown) = (
        format!("width=\"{}\" height=\"{}\"", width * SCALE, height * SCALE),
        format!("width=\"{width}\" height=\"{height}\" style=\"max-width:100%;height:auto\""),
    );
    Ok(out.replacen(&fine, &shown, 1))
}

/// The picture as a PNG file's bytes.
///
/// # Errors
/// What the drawing library or the encoder says.
pub fn png(figure: &impl Picture) -> Result<Vec<u8>, ReportError> {
    let (width, height) = figure.size();
    let (fine_width, fine_height) = (width * SCALE, height * SCALE);
    let mut pixels = vec![255; (fine_width * fine_height * 3) as usize];
    {
        let root =
            BitMapBackend::with_buffer(&mut pixels, (fine_width, fine_height)).into_drawing_area();
        put(figure, &root)?;
    }
    let fine = RgbImage::from_raw(fine_width, fine_height, pixels).expect("three bytes a pixel");
    // Each pixel is the mean of a square of fine ones: in integers, a tenth of the time of a filter.
    let small = imageops::thumbnail(&fine, width * PNG_SCALE, height * PNG_SCALE);
    let mut bytes = Vec::new();
    small
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
        .map_err(|error| failed(figure, &error))?;
    Ok(bytes)
}

fn put<B: DrawingBackend>(
    figure: &impl Picture,
    root: &DrawingArea<B, plotters::coord::Shift>,
) -> Result<(), ReportError>
where
    B::ErrorType: 'static,
{
    font();
    figure.draw(root).map_err(|error| failed(figure, &*error))?;
    root.present().map_err(|error| failed(figure, &error))
}

fn failed(figure: &impl Picture, error: &dyn std::error::Error) -> ReportError {
    ReportError::Draw { figure: figure.name().to_owned(), message: error.to_string() }
}

/// Brings the font along, so that no host needs one.
fn font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (style, bytes) in
            [(FontStyle::Normal, notosans::REGULAR_TTF), (FontStyle::Bold, notosans::BOLD_TTF)]
        {
            // Its error type says nothing; the crate's own tests draw with this font.
            let registered = plotters::style::register_font("sans-serif", style, bytes);
            assert!(registered.is_ok(), "Noto Sans is a valid font");
        }
    });
}

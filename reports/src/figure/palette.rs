//! The colours of curves.

use super::Color;

/// Blue, vermillion, green, purple, sky and orange of Okabe and Ito (2008): they stay apart for
/// colour-blind readers.
pub(crate) const COLORS: [Color; 6] =
    [(0, 114, 178), (213, 94, 0), (0, 158, 115), (170, 68, 153), (86, 180, 233), (230, 159, 0)];

pub(crate) fn nth_color(at: usize) -> Color {
    COLORS[at % COLORS.len()]
}

pub(crate) fn pale((r, g, b): Color) -> Color {
    let lighter = |part: u8| (f64::from(part) * 0.45 + 255.0 * 0.55).round() as u8;
    (lighter(r), lighter(g), lighter(b))
}

pub(crate) fn dark((r, g, b): Color) -> Color {
    let darker = |part: u8| (f64::from(part) * 0.45).round() as u8;
    (darker(r), darker(g), darker(b))
}

/// In which place of the palette a colour stands, pale and dark ones included.
pub(crate) fn place(color: Color) -> Option<usize> {
    (0..COLORS.len()).find(|&at| {
        let plain = nth_color(at);
        [plain, pale(plain), dark(plain)].contains(&color)
    })
}

//! The page: everything a reader needs to judge a result, in one HTML file and in Markdown.
//!
//! [`content`] gathers the tables and sentences; [`html`] and [`markdown`] only write them down. The
//! curves are drawn by a script that the page brings along (`script/`), from the data of [`chart`];
//! without scripts the static picture stands there.

pub mod absent;
pub mod brief;
pub mod chart;
pub mod circumstances;
pub mod content;
pub mod headline;
pub mod html;
pub mod markdown;
pub mod numbers;
pub mod protocol;
pub mod timeline;
pub mod warnings;

use crate::{
    claims::Claim,
    error::ReportError,
    figure::{Figure, export, thin},
    folder::Results,
    grid::Grid,
};

/// A figure with all that stands for it on the page.
pub struct Drawn {
    /// The figure.
    pub figure: Figure,
    /// The picture for a reader without scripts.
    pub svg: String,
    /// What the curves show, in numbers.
    pub table: Grid,
}

impl Drawn {
    /// Of a figure.
    ///
    /// # Errors
    /// A figure that cannot be drawn.
    pub fn of(results: &Results, figure: Figure, claims: &[Claim]) -> Result<Self, ReportError> {
        let table = numbers::grid(results, &figure, claims);
        let few =
            Figure { panels: figure.panels.iter().map(thin::few).collect(), ..figure.clone() };
        Ok(Self { svg: export::svg(&few)?, figure, table })
    }
}

//! What a person or a script is shown.

pub mod csv;
pub mod demand;
pub mod json;
pub mod plot;
pub mod predicted;
pub mod reading;
pub mod series;
pub mod simulated;
pub mod text;
pub mod words;

use crate::{grid::Cell, supply::Model};

/// The trade-off under one model.
#[derive(Debug, Clone)]
pub struct Curve {
    /// The model.
    pub model: Model,
    /// On what conditions its supply is surely delivered.
    pub holds_if: String,
    /// One cell for each period, ascending.
    pub cells: Vec<Cell>,
}

//! Reports from result folders: statistics, CDF figures, tables, the scorecard and the page.
//!
//! A folder is read once into [`Results`]; everything else is a function of that. Nothing here
//! touches the host, and nothing is written but the folder's own `report/`.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod claims;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod compare;
pub mod error;
pub mod export;
pub mod figure;
pub mod folder;
pub mod grid;
pub mod history;
pub mod joined;
pub mod mechanisms;
pub mod merge;
pub mod network;
pub mod page;
pub mod predict;
pub mod render;
pub mod series;
pub mod stats;
pub mod supply;
pub mod sweep;
pub mod table;
pub mod table1;
pub mod tenants;
pub mod traced;
pub mod units;

pub use error::ReportError;
pub use folder::Results;

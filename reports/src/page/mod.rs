//! The page: everything a reader needs to judge a result, in one HTML file and in Markdown.
//!
//! [`content`] gathers the tables; [`html`] and [`markdown`] only write them down.

pub mod content;
pub mod html;
pub mod markdown;

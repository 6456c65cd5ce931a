//! Tables and messages.

use maud::{Markup, html};

use crate::{
    grid::Grid,
    page::brief::{Brief, brief},
};

/// A table that scrolls sideways where the page is narrow; by keyboard, too.
pub(crate) fn table(grid: &Grid) -> Markup {
    html! {
        (bare(grid, None))
        @for note in &grid.notes { p.note { (note) } }
    }
}

/// The same without notes, with a caption.
pub(super) fn captioned(grid: &Grid, caption: &str) -> Markup {
    bare(grid, Some(caption))
}

fn bare(grid: &Grid, caption: Option<&str>) -> Markup {
    let class = |column: usize| (column >= grid.texts).then_some("number");
    html! {
        div.scroll tabindex="0" role="group" aria-label=(caption.unwrap_or("table")) {
            table {
                @if let Some(caption) = caption { caption { (caption) } }
                thead {
                    tr {
                        @for (column, title) in grid.header.iter().enumerate() {
                            th scope="col" class=[class(column)] { (title) }
                        }
                    }
                }
                tbody {
                    @for row in &grid.rows {
                        tr {
                            @for (column, cell) in row.iter().enumerate() {
                                td class=[class(column)] { (cell) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Pairs of what and value, without a header.
pub(super) fn facts(grid: &Grid) -> Markup {
    html! {
        table.facts {
            tbody {
                @for row in &grid.rows {
                    tr { th scope="row" { (row[0]) } td { (message(&brief(&row[1]))) } }
                }
            }
        }
    }
}

/// One sentence; the whole message unfolds.
pub(super) fn message(own: &Brief) -> Markup {
    html! {
        @match &own.whole {
            None => (own.sentence),
            Some(whole) => details { summary { (own.sentence) } pre { (whole) } },
        }
    }
}

//! The report as a table for people.

use super::{Report, State};

fn mark(state: State) -> &'static str {
    match state {
        State::Good => "ok",
        State::Limited => "limited",
        State::Missing => "MISSING",
        State::Unknown => "unknown",
    }
}

/// One line a capability, its advice below it.
#[must_use]
pub fn table(report: &Report) -> String {
    let width = report.rows.iter().map(|row| row.capability.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in &report.rows {
        text += &format!("{:width$}  {:8} {}\n", row.capability, mark(row.state), row.found);
        if !row.advice.is_empty() {
            text += &format!("{:width$}           -> {}\n", "", row.advice);
        }
    }
    text += if report.ready {
        "This host can run the suites.\n"
    } else {
        "This host cannot run the suites: see the lines marked MISSING.\n"
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Row;

    #[test]
    fn a_row_shows_its_advice_only_where_something_is_wrong() {
        let report = Report {
            ready: true,
            idle_cost: None,
            rows: vec![
                Row::new("QEMU", State::Good, "7.2").advise("install it"),
                Row::new("tracefs", State::Missing, "not mounted").advise("mount it"),
            ],
        };
        assert_eq!(
            table(&report),
            "QEMU     ok       7.2\n\
             tracefs  MISSING  not mounted\n                  -> mount it\n\
             This host can run the suites.\n"
        );
    }
}

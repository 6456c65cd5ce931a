//! A table of texts, written in four formats.

use clap::ValueEnum;

use crate::units::UNKNOWN;

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Aligned columns, for a terminal.
    #[default]
    Text,
    /// A Markdown table.
    Markdown,
    /// Comma-separated values with a header; unknown values are empty cells.
    Csv,
    /// A LaTeX tabular with the rules of the booktabs package.
    Latex,
}

/// Header, rows and notes below. The first `texts` columns are words, the others numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    /// Column titles.
    pub header: Vec<String>,
    /// As many cells in each as there are titles.
    pub rows: Vec<Vec<String>>,
    /// How many leading columns are left-aligned.
    pub texts: usize,
    /// Sentences below the table; not in CSV.
    pub notes: Vec<String>,
}

impl Grid {
    /// A table without notes.
    pub(crate) fn plain(header: &[&str], texts: usize, rows: Vec<Vec<String>>) -> Self {
        let header = header.iter().map(|title| (*title).to_owned()).collect();
        Self { header, rows, texts, notes: Vec::new() }
    }

    /// The table as text, with a newline at the end.
    #[must_use]
    pub fn write(&self, format: Format) -> String {
        match format {
            Format::Text => self.text(),
            Format::Markdown => self.markdown(),
            Format::Csv => self.csv(),
            Format::Latex => self.latex(),
        }
    }

    fn text(&self) -> String {
        let widths = self.widths();
        let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        let mut out = self.aligned(&self.header, &widths, "  ");
        out.push_str(&format!("{}\n", rule.join("  ")));
        for row in &self.rows {
            out.push_str(&self.aligned(row, &widths, "  "));
        }
        self.with_notes(out, "")
    }

    fn markdown(&self) -> String {
        let escape = |cells: &[String]| -> Vec<String> {
            cells.iter().map(|cell| cell.replace('|', "\\|")).collect()
        };
        let line = |cells: &[String]| format!("| {} |\n", escape(cells).join(" | "));
        let rule: Vec<String> = (0..self.header.len())
            .map(|column| if column < self.texts { ":--" } else { "--:" }.to_owned())
            .collect();
        let mut out = line(&self.header) + &line(&rule);
        out.extend(self.rows.iter().map(|row| line(row)));
        self.with_notes(out, "\n")
    }

    fn csv(&self) -> String {
        let quoted = |cell: &String| match cell.as_str() {
            UNKNOWN => String::new(),
            cell if cell.contains(['"', ',', '\n']) => format!("\"{}\"", cell.replace('"', "\"\"")),
            cell => cell.to_owned(),
        };
        let line = |row: &Vec<String>| row.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n";
        std::iter::once(&self.header).chain(&self.rows).map(line).collect()
    }

    /// As narrow as it can be read: the paper's Table 1 beside ours has nine columns, and a column of
    /// `article` is 345 points wide.
    fn latex(&self) -> String {
        let line = |row: &[String], number: &dyn Fn(&str) -> String| {
            let cell = |(column, cell): (usize, &String)| {
                if column < self.texts { stacked(cell, 20, 'l') } else { number(cell) }
            };
            let cells: Vec<String> = row.iter().enumerate().map(cell).collect();
            format!("{} \\\\\n", cells.join(" & "))
        };
        let numbers = self.header.len() - self.texts;
        let mut out = format!(
            "\\begingroup\\footnotesize\\setlength{{\\tabcolsep}}{{3pt}}%\n\
             \\begin{{tabular}}{{{}{}}}\n\\toprule\n{}\\midrule\n",
            "l".repeat(self.texts),
            "r".repeat(numbers),
            line(&self.header, &|title| stacked(title, 9, 'r'))
        );
        out.extend(self.rows.iter().map(|row| line(row, &latex_escape)));
        out.push_str("\\bottomrule\n\\end{tabular}\\endgroup\n");
        out.extend(self.notes.iter().map(|note| format!("% {note}\n")));
        out
    }

    /// A JSON object for each row: the titles are its keys, numbers are numbers, unknown values null.
    #[must_use]
    pub fn objects(&self) -> Vec<serde_json::Map<String, serde_json::Value>> {
        let value = |column: usize, cell: &str| match cell {
            UNKNOWN => serde_json::Value::Null,
            cell if column < self.texts => cell.into(),
            cell => serde_json::from_str(cell).unwrap_or_else(|_| cell.into()),
        };
        let object = |row: &Vec<String>| {
            let cells = self.header.iter().zip(row).enumerate();
            cells.map(|(column, (title, cell))| (title.clone(), value(column, cell))).collect()
        };
        self.rows.iter().map(object).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.header[column].chars().count()]).max().unwrap_or(0)
        };
        (0..self.header.len()).map(width).collect()
    }

    fn aligned(&self, row: &[String], widths: &[usize], gap: &str) -> String {
        let cell = |(column, (cell, width)): (usize, (&String, &usize))| {
            let pad = " ".repeat(width - cell.chars().count());
            if column < self.texts { format!("{cell}{pad}") } else { format!("{pad}{cell}") }
        };
        let cells: Vec<String> = row.iter().zip(widths).enumerate().map(cell).collect();
        format!("{}\n", cells.join(gap).trim_end())
    }

    fn with_notes(&self, mut out: String, between: &str) -> String {
        if !self.notes.is_empty() {
            out.push('\n');
        }
        for note in &self.notes {
            out.push_str(&format!("{note}\n{between}"));
        }
        out
    }
}

/// A cell in lines of at most `most` characters, where it has places to break: after spaces and hyphens.
fn stacked(cell: &str, most: usize, side: char) -> String {
    let mut lines = vec![String::new()];
    for word in cell.split_inclusive([' ', '-']) {
        let length = |text: &str| text.chars().count();
        let last = lines.last_mut().expect("there is one");
        if !last.is_empty() && length(last) + length(word.trim_end()) > most {
            lines.push(word.to_owned());
        } else {
            last.push_str(word);
        }
    }
    let lines: Vec<String> = lines.iter().map(|line| latex_escape(line.trim_end())).collect();
    match &lines[..] {
        [line] => line.clone(),
        _ => format!("\\shortstack[{side}]{{{}}}", lines.join("\\\\")),
    }
}

/// Escapes what LaTeX would take as markup, and writes the signs that it has no letter for.
pub(crate) fn latex_escape(cell: &str) -> String {
    let mut out = String::new();
    for c in cell.chars() {
        match c {
            '%' | '&' | '_' | '#' | '$' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out.push_str("\\textbackslash{}"),
            '±' => out.push_str("$\\pm$"),
            '–' => out.push_str("--"),
            '≤' => out.push_str("$\\le$"),
            '×' => out.push_str("$\\times$"),
            'µ' => out.push_str("\\textmu{}"),
            'τ' => out.push_str("$\\tau$"),
            '−' => out.push_str("$-$"),
            '<' => out.push_str("$<$"),
            '\u{a0}' => out.push('~'),
            'δ' => out.push_str("$\\delta$"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn grid() -> Grid {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        Grid {
            header: row(["case", "p90 ms", "±"]),
            rows: vec![row(["fig_1, a|b", "31.20", "5 %"]), row(["x", "124.00", UNKNOWN])],
            texts: 1,
            notes: vec!["A note.".to_owned()],
        }
    }

    #[test]
    fn long_titles_are_stacked() {
        assert_eq!(
            stacked("table1-guest-loaded", 9, 'r'),
            r"\shortstack[r]{table1-\\guest-\\loaded}"
        );
        assert_eq!(stacked("slow-down, avg", 20, 'l'), "slow-down, avg");
        assert_eq!(
            stacked("of the guest_s, avg", 12, 'l'),
            r"\shortstack[l]{of the\\guest\_s, avg}"
        );
        assert_eq!(stacked("", 9, 'l'), "");
    }

    #[test]
    fn in_four_formats() {
        assert_snapshot!(grid().write(Format::Text), @"
        case        p90 ms    ±
        ──────────  ──────  ───
        fig_1, a|b   31.20  5 %
        x           124.00    –

        A note.
        ");
        assert_snapshot!(grid().write(Format::Markdown), @r"
        | case | p90 ms | ± |
        | :-- | --: | --: |
        | fig_1, a\|b | 31.20 | 5 % |
        | x | 124.00 | – |

        A note.
        ");
        assert_snapshot!(grid().write(Format::Csv), @r#"
        case,p90 ms,±
        "fig_1, a|b",31.20,5 %
        x,124.00,
        "#);
        assert_snapshot!(grid().write(Format::Latex), @r"
        \begingroup\footnotesize\setlength{\tabcolsep}{3pt}%
        \begin{tabular}{lrr}
        \toprule
        case & p90 ms & $\pm$ \\
        \midrule
        fig\_1, a|b & 31.20 & 5 \% \\
        x & 124.00 & -- \\
        \bottomrule
        \end{tabular}\endgroup
        % A note.
        ");
    }
}

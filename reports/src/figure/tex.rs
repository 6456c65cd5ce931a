//! A figure for LaTeX: pgfplots with the data inside, to be read with `\input`.

use super::{
    Bound, Color, Figure, Line, Panel, Stroke,
    marker::Shape,
    palette::{self, COLORS},
    thin::few,
};
use crate::grid::latex_escape;

/// The figure, a `tikzpicture` for each panel.
#[must_use]
pub fn write(figure: &Figure) -> String {
    let mut out = format!(
        "% {}\n% \\usepackage{{pgfplots}} \\pgfplotsset{{compat=1.16}} \\usepackage{{textcomp}}\n",
        figure.title
    );
    for (at, (r, g, b)) in COLORS.iter().enumerate() {
        out += &format!("\\definecolor{{rtvm{at}}}{{RGB}}{{{r},{g},{b}}}\n");
    }
    for panel in &figure.panels {
        out += &picture(&few(panel));
    }
    out
}

fn picture(panel: &Panel) -> String {
    let mut out = format!(
        "\\begin{{tikzpicture}}\n\\begin{{axis}}[width=\\linewidth, height=0.7\\linewidth,\n  \
         xlabel={{{}}}, ylabel={{{}}},\n  xmin={}, xmax={}, ymin=0, ymax={},\n  \
         legend style={{font=\\footnotesize, at={{(0.5,-0.2)}}, anchor=north}}, legend cell align=left, \
         legend columns=2]\n",
        latex_escape(&panel.x_label),
        latex_escape(&panel.y_label),
        panel.x_min,
        panel.x_max,
        panel.y_max
    );
    let mut named: Vec<&str> = Vec::new();
    for line in &panel.lines {
        let again = named.contains(&line.label.as_str());
        out += &curve(line, if again { "forget plot, " } else { "" });
        if !again {
            named.push(&line.label);
            out += &format!("\\addlegendentry{{{}}}\n", latex_escape(&line.label));
        }
    }
    out.extend(panel.bounds.iter().map(|own| bound(own, panel.y_max)));
    out + "\\end{axis}\n\\end{tikzpicture}\n"
}

/// Dashes and marks tell lines apart without colour.
fn style(line: &Line) -> String {
    let color = name(line.color);
    let mark = match Shape::of(line.color) {
        Shape::Circle => "*",
        Shape::Square => "square*",
        Shape::Triangle => "triangle*",
        Shape::Diamond => "diamond*",
    };
    match line.stroke {
        Stroke::Broad => format!("{color}, opacity=0.45, line width=2.4pt"),
        Stroke::Solid => {
            let every = (line.points.len() / 6).max(1);
            format!("{color}, thick, mark={mark}, mark size=1.6pt, mark repeat={every}")
        }
        Stroke::Simulated => format!("{color}, dash pattern=on 6pt off 2pt"),
        Stroke::Dashed => format!("{color}, densely dashed, thin"),
        Stroke::Dots => format!("{color}, only marks, mark={mark}, mark size=0.8pt"),
    }
}

fn name(color: Color) -> String {
    palette::place(color).map_or_else(|| "gray".to_owned(), |at| format!("rtvm{at}"))
}

fn curve(line: &Line, first: &str) -> String {
    let mut out = format!("\\addplot[{first}{}] coordinates {{", style(line));
    for (at, (x, y)) in line.points.iter().enumerate() {
        out += if at % 8 == 0 { "\n  " } else { " " };
        out += &format!("({},{})", plain(*x), plain(*y));
    }
    out + "\n};\n"
}

fn bound(own: &Bound, y_max: f64) -> String {
    format!(
        "\\addplot[forget plot, {}, dotted, thick] coordinates {{({x},0) ({x},{y_max})}} \
         node[pos=0.97, anchor=north west, font=\\footnotesize] {{{}}};\n",
        name(own.color),
        latex_escape(&own.label),
        x = plain(own.x),
    )
}

/// Six decimals at most, without needless zeros.
fn plain(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

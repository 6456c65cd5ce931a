//! `reports render`: the figures show what was measured, and the page says what a reader needs.

use std::{fs, path::Path};

use crate::made_up::MadeUp;
use reports::{
    Results,
    figure::{Figure, Line, Stroke, build, export},
    render,
};

fn figures(folder: &MadeUp) -> Vec<Figure> {
    build::figures(&Results::read(folder.path()).unwrap())
}

fn figure(folder: &MadeUp, name: &str) -> Figure {
    figures(folder).into_iter().find(|figure| figure.name == name).unwrap()
}

/// The level of a step curve just left of `x`.
fn level(line: &Line, x: f64) -> f64 {
    line.points.iter().rev().find(|point| point.0 < x).map_or(0.0, |point| point.1)
}

#[test]
fn a_whole_report_is_written() {
    let folder = MadeUp::as_in_the_paper();
    let rendered = render::render(&Results::read(folder.path()).unwrap()).unwrap();
    let report = folder.path().join("report");
    assert_eq!(rendered.index, report.join("index.html"));
    let mut on_disk: Vec<String> = fs::read_dir(&report)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    on_disk.sort();
    insta::assert_snapshot!(on_disk.join("\n"), @"
    claims.json
    fig1.png
    fig1.svg
    fig1.tex
    fig2.png
    fig2.svg
    fig2.tex
    fig3-time.png
    fig3-time.svg
    fig3-time.tex
    fig3.png
    fig3.svg
    fig3.tex
    fig4.png
    fig4.svg
    fig4.tex
    index.html
    report.md
    table.csv
    ");
    let mut listed = rendered.files;
    listed.sort();
    assert_eq!(listed, on_disk);
    keep(&report);
}

/// For a look by eye: `KEEP_REPORT=DIR cargo test -p reports the_page_has`, or another test.
pub fn keep(report: &Path) {
    let Some(to) = std::env::var_os("KEEP_REPORT") else { return };
    fs::create_dir_all(&to).unwrap();
    for entry in fs::read_dir(report).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), Path::new(&to).join(entry.file_name())).unwrap();
    }
}

#[test]
fn each_figure_of_the_paper_has_its_lines_and_bounds() {
    let folder = MadeUp::as_in_the_paper();
    let mut outline = String::new();
    for figure in figures(&folder) {
        outline.push_str(&format!("{}: {}\n", figure.name, figure.title));
        for panel in &figure.panels {
            outline.push_str(&format!("  {} up to {}\n", panel.x_label, panel.x_max));
            for line in &panel.lines {
                outline.push_str(&format!("    {:?} {}\n", line.stroke, line.label));
            }
            for bound in &panel.bounds {
                outline.push_str(&format!("    bound {}\n", bound.label));
            }
        }
        outline.push_str(&format!("  {}\n", figure.caption));
    }
    insta::assert_snapshot!(outline, @"
    fig1: Figure 1: on the host
      response time x (ms) up to 100
        Solid τ1 (30 ms, 150 ms)
        Solid τ2 (50 ms, 200 ms)
        Dashed all jobs, stalled ones included
        Dashed all jobs, stalled ones included
        bound 30 ms
        bound 80 ms
      fig1: τ1 200 jobs of which 2 stalled (left out of the solid curve), τ2 150 jobs of which 2 stalled (left out of the solid curve). Dotted: analytic worst case (the CPU to itself).
    fig2: Figure 2: in a guest, host unloaded
      response time x (ms) up to 100
        Solid τ1 (30 ms, 150 ms)
        Solid τ2 (50 ms, 200 ms)
        Dashed all jobs, stalled ones included
        Dashed all jobs, stalled ones included
        bound 30 ms
        bound 80 ms
      fig2: τ1 200 jobs of which 2 stalled (left out of the solid curve), τ2 150 jobs of which 2 stalled (left out of the solid curve). Dotted: analytic worst case (the CPU to itself).
    fig3: Figure 3: in a guest, host loaded, no reservation
      response time x (ms) up to 200
        Solid τ1 (30 ms, 150 ms)
      response time x (ms) up to 20000
        Solid τ2 (50 ms, 200 ms)
      fig3: τ1 200 jobs, τ2 150 jobs.
    fig3-time: Figure 3: response times over time
      release (s) up to 30
        Dots τ1 (30 ms, 150 ms)
      release (s) up to 30
        Dots τ2 (50 ms, 200 ms)
      Every job of 1 repetition, by its release within the repetition.
    fig4: Figure 4: in a guest with a (28 ms, 50 ms) reservation
      response time x (ms) up to 150
        Broad τ1 (30 ms, 150 ms), unloaded
        Broad τ2 (50 ms, 200 ms), unloaded
        Solid τ1 (30 ms, 150 ms), loaded
        Solid τ2 (50 ms, 200 ms), loaded
        Dashed all jobs, stalled ones included
        Dashed all jobs, stalled ones included
        Dashed all jobs, stalled ones included
        Dashed all jobs, stalled ones included
        bound 52 ms
        bound 124 ms
      fig4-unloaded: τ1 200 jobs of which 2 stalled (left out of the solid curve), τ2 150 jobs of which 2 stalled (left out of the solid curve). fig4-loaded: τ1 200 jobs of which 2 stalled (left out of the solid curve), τ2 150 jobs of which 2 stalled (left out of the solid curve). Dotted: analytic worst case (releases aligned with the reservation).
    ");
}

#[test]
fn the_solid_curve_leaves_stalled_jobs_out_and_the_dashed_one_does_not() {
    let fig1 = figure(&MadeUp::as_in_the_paper(), "fig1");
    let tau1 = |stroke| {
        let mine = |line: &&Line| line.stroke == stroke && line.color == (0, 114, 178);
        fig1.panels[0].lines.iter().find(mine).unwrap()
    };
    // Two of 200 jobs took 9 ms longer.
    assert!((level(tau1(Stroke::Solid), 32.0) - 1.0).abs() < 1e-9);
    assert!((level(tau1(Stroke::Dashed), 32.0) - 0.99).abs() < 1e-9);
}

#[test]
fn what_lies_beyond_the_edge_is_said() {
    let mut folder = MadeUp::as_in_the_paper();
    folder.reshape("fig1", |task, n| if task == 1 && n == 7 { 900.0 } else { 40.0 });
    let fig1 = figure(&folder, "fig1");
    assert!(fig1.panels[0].x_max <= 100.0);
    let tau2 = "τ2 (50 ms, 200 ms): 1 job beyond the right edge, up to 900 ms.";
    assert!(fig1.caption.contains(tau2), "{}", fig1.caption);
}

#[test]
fn jobs_that_never_finished_keep_the_curve_below_one() {
    let folder = MadeUp::as_in_the_paper();
    folder.keep_jobs("fig3", "tau2", 60);
    let fig3 = figure(&folder, "fig3");
    let tau2 = &fig3.panels[1].lines[0];
    assert!((tau2.points.last().unwrap().1 - 60.0 / 150.0).abs() < 1e-9);
    let text = "τ2 (50 ms, 200 ms): 90 more jobs never finished.";
    assert!(fig3.caption.contains(text), "{}", fig3.caption);
}

#[test]
fn any_other_experiment_gets_a_figure_of_its_own() {
    let mut folder = MadeUp::empty(
        "name = \"own\"\n[[experiment]]\nname = \"mine\"\nwhere = \"host\"\ntasks = [\"30ms/150ms\", \"50ms/200ms\"]\n",
    );
    assert_eq!(figures(&folder), []);
    folder.add("mine", |task, _| [31.0, 81.0][task]);
    let names: Vec<String> = figures(&folder).into_iter().map(|figure| figure.name).collect();
    assert_eq!(names, ["mine"]);
}

/// The pixel positions of all polylines of this colour in the SVG.
fn polylines(svg: &str, colour: &str) -> Vec<Vec<(f64, f64)>> {
    let points = |text: &str| {
        let pair = |pair: &str| {
            let (x, y) = pair.split_once(',').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        };
        text.split_whitespace().map(pair).collect()
    };
    svg.split("<polyline ")
        .skip(1)
        .filter(|tag| tag.contains(colour))
        .map(|tag| points(tag.split("points=\"").nth(1).unwrap().split('"').next().unwrap()))
        .collect()
}

#[test]
fn the_svg_puts_the_steps_where_the_axes_say() {
    let fig1 = figure(&MadeUp::as_in_the_paper(), "fig1");
    let svg = export::svg(&fig1).unwrap();
    for text in [">\nτ1 (30 ms, 150 ms)\n<", ">\nresponse time x (ms)\n<", ">\n80 ms\n<"] {
        assert!(svg.contains(text), "{text}");
    }
    let curves = polylines(&svg, "#0072B2");
    let tau1 = curves.iter().max_by_key(|curve| curve.len()).unwrap();
    // It begins at x = 0, C = 0 and ends at x = 100 ms, C = 1: that gives the scale of both axes.
    let ((left, bottom), (right, top)) = (tau1[0], tau1[tau1.len() - 1]);
    let per_ms = (right - left) / 100.0;
    let expected = &fig1.panels[0].lines[0].points;
    assert_eq!(tau1.len(), expected.len());
    for ((x, y), (ms, share)) in tau1.iter().zip(expected) {
        assert!((x - left - ms * per_ms).abs() <= 1.5, "x of {ms} ms");
        assert!((bottom - y - share * (bottom - top)).abs() <= 1.5, "y of C = {share}");
    }
}

#[test]
fn the_png_shows_the_curves_in_their_colours() {
    let fig4 = figure(&MadeUp::as_in_the_paper(), "fig4");
    let png = image::load_from_memory(&export::png(&fig4).unwrap()).unwrap().to_rgb8();
    let near = |pixel: &image::Rgb<u8>, (r, g, b): (u8, u8, u8)| {
        pixel.0.iter().zip([r, g, b]).all(|(part, wanted)| part.abs_diff(wanted) < 12)
    };
    for line in fig4.panels[0].lines.iter().filter(|line| line.stroke != Stroke::Dashed) {
        let pixels = png.pixels().filter(|pixel| near(pixel, line.color)).count();
        assert!(pixels > 2000, "{}: {pixels} pixels", line.label);
    }
    // The corners are background: nothing is drawn over the edge.
    for (x, y) in [(0, 0), (png.width() - 1, png.height() - 1)] {
        assert_eq!(png.get_pixel(x, y).0, [255; 3]);
    }
}

#[test]
fn the_page_is_one_file_that_speaks_of_everything() {
    let mut folder = MadeUp::as_in_the_paper();
    let failed = folder.add("fig1", |_, _| 0.0);
    failed.status = model::manifest::Status::Failed;
    failed.counts = false;
    failed.error = Some("the guest was killed".to_owned());
    let noisy = folder.add("fig2", |_, _| 40.0);
    (noisy.noisy, noisy.counts, noisy.stalled_share) = (true, false, Some(0.012));
    folder.save();
    let report = folder.path().join("report");
    render::render(&Results::read(folder.path()).unwrap()).unwrap();
    let page = fs::read_to_string(report.join("index.html")).unwrap();
    for text in [
        "Guests were emulated (TCG), not virtualised: the guest did not boot under KVM within 10 s.",
        "Of 7 attempts, 1 failed and 1 stalled for more than 0.5 % of the time; none of the noisy \
         ones counts.",
        "<td class=\"number\">+0.0 %</td><td class=\"number\">+0.1 %</td>",
        "fig1/rep-001 failed: the guest was killed",
        "Invented CPU &lt;2 GHz&gt;",
        "50ms/120ms, 20ms/80ms (backlog: keep)",
        "28ms/50ms by deadline",
        "yes (measured; leaving idle costs 35 %)",
    ] {
        assert!(page.contains(text), "{text}");
    }
    for needle in ["https://", "<link rel=\"stylesheet", " src=", "url(", "@import", "fetch("] {
        let inside = page.replace("url(#${this.clip})", "");
        assert!(!inside.contains(needle), "the page asks for nothing from outside: {needle}");
    }
    assert_eq!(page.matches("<svg").count(), 5);
}

#[test]
fn the_same_folder_gives_the_same_bytes() {
    let folder = MadeUp::as_in_the_paper();
    let results = Results::read(folder.path()).unwrap();
    let read = || {
        let rendered = render::render(&results).unwrap();
        let report = folder.path().join("report");
        rendered.files.iter().map(|name| fs::read(report.join(name)).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(read(), read());
}

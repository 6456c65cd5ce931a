//! `reports render`: everything into the folder's `report/`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    claims, compare,
    error::ReportError,
    figure::{build, export, tex},
    folder::{Case, Results},
    grid::{Format, Grid},
    joined, mechanisms, network,
    page::{Drawn, content::Content, html, markdown, timeline},
    series::Selection,
    supply::{self, bound::Promise, curve::Point},
    sweep, table, table1,
};

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The page to open first.
    pub index: PathBuf,
    /// Every file, relative to the report's folder, in the order written.
    pub files: Vec<String>,
}

/// Writes figures (SVG, PNG, pgfplots), `claims.json`, `table.csv`, `sweep.csv`
/// (where there is a sweep), `mechanisms.csv` (where some are ranked), `network.csv`
/// (where a web service in a VM was traced), `simulated.csv` (where a
/// simulation was joined), `report.md` and `index.html`.
///
/// The page is written last, so that it never speaks of a figure that is not there.
///
/// # Errors
/// A figure that cannot be drawn, or a file that cannot be written.
pub fn render(results: &Results) -> Result<Rendered, ReportError> {
    let folder = results.path.join("report");
    fs::create_dir_all(&folder).map_err(|error| ReportError::write(&folder, error))?;
    let mut files = Vec::new();
    let mut put = |name: String, bytes: &[u8]| write(&folder, name, bytes, &mut files);
    let claims = claims::all(results);
    let mut drawn = Vec::new();
    let curves = curves(results);
    let mut figures = build::figures(results);
    figures.extend(curves.iter().map(|own| supply::figure::figure(own.0, &own.1, &own.2)));
    figures.extend(supply::table::traced(results).filter_map(supply::asked::figure));
    let served = network::all(results);
    figures.extend(network::figure::figures(&served));
    for figure in figures {
        put(format!("{}.svg", figure.name), export::svg(&figure)?.as_bytes())?;
        put(format!("{}.png", figure.name), &export::png(&figure)?)?;
        put(format!("{}.tex", figure.name), tex::write(&figure).as_bytes())?;
        drawn.push(Drawn::of(results, figure, &claims)?);
    }
    put("claims.json".to_owned(), claims::json(results, &claims).as_bytes())?;
    let statistics = table::grid(results, Selection::All, Format::Csv).write(Format::Csv);
    put("table.csv".to_owned(), statistics.as_bytes())?;
    if let Ok(grid) = table1::grid(results, &[], true, Format::Csv) {
        put("table1.csv".to_owned(), grid.write(Format::Csv).as_bytes())?;
        let latex = table1::grid(results, &[], true, Format::Latex)?.write(Format::Latex);
        put("table1.tex".to_owned(), latex.as_bytes())?;
    }
    if !results.sweeps.is_empty() {
        put("sweep.csv".to_owned(), sweep::csv(&results.sweeps).as_bytes())?;
    }
    let groups = mechanisms::groups(results);
    if !groups.is_empty() {
        put("mechanisms.csv".to_owned(), mechanisms::table::csv(&groups).as_bytes())?;
    }
    if !served.is_empty() {
        put("network.csv".to_owned(), network::table::csv(results, &served).as_bytes())?;
    }
    let joined = joined::pairs(results);
    if !joined.is_empty() {
        let distances = compare::table::machine_grid(&joined).write(Format::Csv);
        put("simulated.csv".to_owned(), distances.as_bytes())?;
    }
    if supply::table::traced(results).next().is_some() {
        let bursts = supply::table::bursts(results).write(Format::Csv);
        put("bursts.csv".to_owned(), bursts.as_bytes())?;
        put("sbf.csv".to_owned(), sbf(&curves).write(Format::Csv).as_bytes())?;
    }
    let content = Content::of(results, &claims, &joined);
    let timeline = timeline::timeline(results);
    let picture = timeline.as_ref().map(|own| export::svg(&own.chart)).transpose()?;
    let page = html::write(&content, &drawn, timeline.as_ref().zip(picture));
    put("report.md".to_owned(), markdown::write(&content, &drawn).as_bytes())?;
    put("index.html".to_owned(), page.as_bytes())?;
    Ok(Rendered { index: folder.join("index.html"), files })
}

/// A case with what it was promised and the measured supply bound function.
pub(crate) type Curve<'a> = (&'a Case, Promise, Vec<Point>);

/// Of every traced experiment under a hard mechanism.
pub(crate) fn curves(results: &Results) -> Vec<Curve<'_>> {
    let mut curves = Vec::new();
    for case in supply::table::traced(results) {
        if let Some(Ok(promise)) = supply::promise(&results.manifest, case) {
            curves.push((case, promise, supply::curve::curve(&case.traced, &promise)));
        }
    }
    curves
}

/// `sbf.csv`.
pub(crate) fn sbf(curves: &[Curve]) -> Grid {
    let points: Vec<_> = curves.iter().map(|own| (own.0.name(), own.2.clone())).collect();
    supply::curve::grid(&points)
}

/// Written beside and renamed, so that a reader never sees half a file.
pub(crate) fn write(
    folder: &Path,
    name: String,
    bytes: &[u8],
    files: &mut Vec<String>,
) -> Result<(), ReportError> {
    let (path, beside) = (folder.join(&name), folder.join(format!(".{name}.part")));
    fs::write(&beside, bytes).map_err(|error| ReportError::write(&beside, error))?;
    fs::rename(&beside, &path).map_err(|error| ReportError::write(&path, error))?;
    files.push(name);
    Ok(())
}

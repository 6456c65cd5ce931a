//! Curves with no more points than a page shows.

use super::{Line, Panel, Stroke};

/// A curve of the page has at most so many points; the figures in files have more.
const MOST_POINTS: usize = 1600;

/// The panel with no more points than the page shows.
pub(crate) fn few(panel: &Panel) -> Panel {
    let line = |line: &Line| Line { points: thinned(line), ..line.clone() };
    Panel { lines: panel.lines.iter().map(line).collect(), ..panel.clone() }
}

/// The points by which the line looks and reads the same: a step is kept where share or value moved
/// by a visible amount since the last one kept, and the last steps, the tail, are all kept.
pub(crate) fn thinned(line: &Line) -> Vec<(f64, f64)> {
    let points = &line.points;
    if points.len() <= MOST_POINTS {
        return points.clone();
    }
    // Corners of steps come in pairs; the last few hundred are the far percentiles.
    let tail = points.len() - MOST_POINTS / 4;
    let stride = (tail / 2).div_ceil(MOST_POINTS * 3 / 8).max(1);
    let mut level = 0.0;
    let mut kept = vec![points[0]];
    for (at, pair) in points[1..].chunks(2).enumerate() {
        if 1 + 2 * at < tail && at % stride != 0 {
            continue;
        }
        match (line.stroke, pair) {
            (Stroke::Dots, _) => kept.push(pair[0]),
            // The riser begins at the level that was kept last.
            (_, [(x, _), top]) => kept.extend([(*x, level), *top]),
            _ => kept.extend(pair),
        }
        level = pair[pair.len() - 1].1;
    }
    kept
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{
        super::{About, palette},
        *,
    };

    fn line(points: Vec<(f64, f64)>) -> Line {
        let (label, color) = ("a <b>".to_owned(), palette::pale(palette::nth_color(1)));
        Line { about: About::default(), label, color, stroke: Stroke::Solid, points }
    }

    /// A CDF of so many steps, of 1 ms each.
    pub(crate) fn steps(n: u32) -> Line {
        let corners = |k: u32| {
            let share = |k: u32| f64::from(k) / f64::from(n);
            [(f64::from(k + 1), share(k)), (f64::from(k + 1), share(k + 1))]
        };
        line(std::iter::once((0.0, 0.0)).chain((0..n).flat_map(corners)).collect())
    }

    #[test]
    fn a_thinned_curve_has_its_ends_and_only_right_corners() {
        let whole = steps(3000);
        let few = thinned(&whole);
        assert!(few.len() <= MOST_POINTS + 4, "{}", few.len());
        assert_eq!((few[0], few[few.len() - 1]), ((0.0, 0.0), (3000.0, 1.0)));
        assert!(few.windows(2).all(|two| two[0].0 == two[1].0 || two[0].1 == two[1].1));
        let tops = few[1..].chunks(2).all(|pair| whole.points.contains(&pair[1]));
        assert!(tops, "the upper end of a riser lies on the whole curve");
        assert_eq!(thinned(&steps(50)).len(), 101);
    }
}

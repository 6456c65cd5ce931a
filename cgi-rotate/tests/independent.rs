//! The rotation against other people's: libvips and ImageMagick, where they are installed.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use cgi_rotate::geometry::Geometry;
use cgi_rotate::params::Filter;
use cgi_rotate::picture::Picture;
use cgi_rotate::{decode, pattern, rotate, shrink};

/// Least peak signal-to-noise ratio in the interior, in dB.
const LEAST_PSNR: f64 = 35.0;
const SIZE: (usize, usize) = (640, 480);

struct Case {
    degrees: f64,
    turn: Geometry,
    ours: Vec<u8>,
    folder: tempfile::TempDir,
}

impl Case {
    fn new(degrees: f64, filter: Filter) -> Self {
        let picture = pattern::picture(SIZE.0, SIZE.1).unwrap();
        let turn = Geometry::new(degrees, SIZE, SIZE);
        let mut ours = vec![0; turn.canvas.0 * turn.canvas.1 * 3];
        rotate::rotate(&picture, &turn, filter, [0; 3], &mut ours);
        let folder = tempfile::tempdir().unwrap();
        let header = format!("P6 {} {} 255\n", SIZE.0, SIZE.1);
        let file = [header.as_bytes(), picture.pixels()].concat();
        std::fs::write(folder.path().join("in.ppm"), file).unwrap();
        Self { degrees, turn, ours, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Peak signal-to-noise ratio within the largest disc that the picture holds, in dB.
    fn psnr(&self, theirs: &Path) -> f64 {
        let theirs: Picture =
            decode::decode(std::fs::read(theirs).unwrap(), [0; 3], &|_, _, _| Ok(())).unwrap();
        assert_eq!((theirs.width(), theirs.height()), self.turn.canvas);
        let (width, height) = self.turn.canvas;
        let radius = SIZE.0.min(SIZE.1) as f64 / 2.0 - 4.0;
        let (mut squares, mut count) = (0.0, 0.0);
        for (i, (a, b)) in self.ours.iter().zip(theirs.pixels()).enumerate() {
            let (x, y) = (i / 3 % width, i / 3 / width);
            let (dx, dy) = (x as f64 - width as f64 / 2.0, y as f64 - height as f64 / 2.0);
            if dx.hypot(dy) < radius {
                squares += (f64::from(*a) - f64::from(*b)).powi(2);
                count += 1.0;
            }
        }
        10.0 * (255.0 * 255.0 * count / squares).log10()
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// The same turn by libvips, with pixel centres where ours are.
fn vips(case: &Case, interpolate: &str) -> PathBuf {
    let (sin, cos) = case.degrees.to_radians().sin_cos();
    let (width, height) = case.turn.canvas;
    let centre = |side: usize| (side as f64 - 1.0) / 2.0;
    let out = case.path("vips.ppm");
    run(Command::new("vips")
        .args(["affine".into(), format!("--interpolate={interpolate}")])
        .arg(format!("--oarea=0 0 {width} {height}"))
        .arg(format!("--idx={}", -centre(SIZE.0)))
        .arg(format!("--idy={}", -centre(SIZE.1)))
        .arg(format!("--odx={}", centre(width)))
        .arg(format!("--ody={}", centre(height)))
        .arg("--")
        .args([case.path("in.ppm"), out.clone()])
        .arg(format!("{cos} {} {sin} {cos}", -sin)));
    out
}

fn magick(case: &Case) -> PathBuf {
    let (width, height) = case.turn.canvas;
    let out = case.path("magick.ppm");
    let offset = |canvas: usize, side: usize| (canvas as f64 - side as f64) / 2.0;
    run(Command::new("convert")
        .arg(case.path("in.ppm"))
        .args(["-virtual-pixel", "black", "-interpolate", "bilinear", "-filter", "point"])
        .arg("-define")
        .arg(format!("distort:viewport={width}x{height}+0+0"))
        .arg("-distort")
        .arg("SRT")
        .arg(format!(
            "{},{} 1 {} {},{}",
            SIZE.0 as f64 / 2.0,
            SIZE.1 as f64 / 2.0,
            case.degrees,
            SIZE.0 as f64 / 2.0 + offset(width, SIZE.0),
            SIZE.1 as f64 / 2.0 + offset(height, SIZE.1),
        ))
        .args(["-depth", "8"])
        .arg(&out));
    out
}

#[test]
fn agrees_with_libvips() {
    if !common::has("agrees_with_libvips", "vips", "--version") {
        return;
    }
    for degrees in [20.0, 45.0, 97.3, 200.0, -33.3] {
        for (filter, name) in [(Filter::Bilinear, "bilinear"), (Filter::Bicubic, "bicubic")] {
            let case = Case::new(degrees, filter);
            let psnr = case.psnr(&vips(&case, name));
            println!("{degrees} degrees, {name}: {psnr:.1} dB");
            assert!(psnr > LEAST_PSNR, "{degrees} degrees, {name}: {psnr:.1} dB");
        }
    }
}

/// Both take weighted means; libvips first averages whole blocks where the ratio allows.
#[test]
fn scaling_down_agrees_with_libvips() {
    if !common::has("scaling_down_agrees_with_libvips", "vips", "--version") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // A checkerboard of single pixels beside the test picture: single samples of it are noise.
    let pattern = pattern::picture(400, 400).unwrap();
    let mut pixels = pattern.pixels().to_vec();
    for (index, pixel) in pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let (x, y) = (index % 400, index / 400);
        if x < 200 {
            *pixel = [if (x + y) % 2 == 0 { 255 } else { 0 }; 3];
        }
    }
    std::fs::write(path("in.ppm"), [&b"P6 400 400 255\n"[..], &pixels].concat()).unwrap();
    let picture = Picture::new(400, 400, 0, pixels).unwrap();
    for (filter, kernel) in [(Filter::Bilinear, "linear"), (Filter::Bicubic, "cubic")] {
        let ours = shrink::shrink(&picture, (160, 160), filter).unwrap();
        run(Command::new("vips")
            .args(["resize".into(), path("in.ppm"), path("out.ppm")])
            .args(["0.4", "--kernel", kernel, "--gap", "0"]));
        let theirs = std::fs::read(path("out.ppm")).unwrap();
        let theirs = decode::decode(theirs, [0; 3], &|_, _, _| Ok(())).unwrap();
        let squares: f64 = ours
            .pixels()
            .iter()
            .zip(theirs.pixels())
            .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
            .sum();
        let psnr = 10.0 * (255.0 * 255.0 * ours.pixels().len() as f64 / squares).log10();
        println!("400 to 160, {kernel}: {psnr:.1} dB");
        assert!(psnr > LEAST_PSNR, "{kernel}: {psnr:.1} dB");
    }
}

#[test]
fn agrees_with_imagemagick() {
    if !common::has("agrees_with_imagemagick", "convert", "-version") {
        return;
    }
    let case = Case::new(20.0, Filter::Bilinear);
    let psnr = case.psnr(&magick(&case));
    println!("ImageMagick, 20 degrees, bilinear: {psnr:.1} dB");
    assert!(psnr > LEAST_PSNR, "{psnr:.1} dB");
}

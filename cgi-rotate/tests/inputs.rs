//! Pictures as people have them, made by ImageMagick, read by us and by libvips: the same pixels, or a
//! refusal that says why.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use cgi_rotate::decode;
use cgi_rotate::picture::Picture;
use cgi_rotate::refusal::Refusal;

/// Least peak signal-to-noise ratio, in dB.
const LEAST_PSNR: f64 = 35.0;

fn run(program: &str, arguments: &[&str], folder: &Path) {
    let output = Command::new(program).args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// The scene that all files show, 64x48, smooth so that codecs keep it, as `scene.ppm`.
fn scene() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut file = b"P6 64 48 255\n".to_vec();
    for (y, x) in (0..48u32).flat_map(|y| (0..64u32).map(move |x| (y, x))) {
        let ring = ((x * x + y * y) / 24) % 256;
        file.extend([(x * 4) as u8, (y * 5) as u8, ring.min(255 - ring) as u8]);
    }
    fs::write(folder.path().join("scene.ppm"), file).unwrap();
    folder
}

fn read(path: &Path) -> Result<Picture, Refusal> {
    decode::decode(fs::read(path).unwrap(), [0; 3], &|_, _, _| Ok(()))
}

fn psnr(ours: &Picture, theirs: &Picture) -> f64 {
    assert_eq!((ours.width(), ours.height()), (theirs.width(), theirs.height()));
    let squares: f64 = ours
        .pixels()
        .iter()
        .zip(theirs.pixels())
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
        .sum();
    10.0 * (255.0 * 255.0 * ours.pixels().len() as f64 / squares.max(1e-9)).log10()
}

/// What libvips makes of a file, as RGB of 8 bits over black.
fn vips(folder: &Path, name: &str) -> Picture {
    let step = |operation: &[&str]| run("vips", operation, folder);
    step(&["autorot", name, "upright.v"]);
    step(&["colourspace", "upright.v", "rgb.v", "srgb"]);
    // The last band is taken for transparency, whatever it is.
    let transparent = name.starts_with("alpha") || name.starts_with("transparent");
    let over_black = if transparent { "flatten" } else { "copy" };
    step(&[over_black, "rgb.v", "flat.v"]);
    step(&["cast", "flat.v", "vips.ppm", "uchar"]);
    read(&folder.join("vips.ppm")).unwrap()
}

#[test]
fn every_kind_of_picture_is_what_libvips_makes_of_it() {
    let test = "every_kind_of_picture_is_what_libvips_makes_of_it";
    if !common::has(test, "vips", "--version") || !common::has(test, "convert", "-version") {
        return;
    }
    let folder = scene();
    let folder = folder.path();
    let alpha = ["-alpha", "set", "-channel", "A", "-fx", "i/w", "+channel"];
    let kinds: [(&str, &[&str]); 15] = [
        ("rgb.png", &[]),
        ("alpha.png", &alpha),
        (
            "alpha16.png",
            &["-alpha", "set", "-channel", "A", "-fx", "i/w", "+channel", "-depth", "16"],
        ),
        ("rgb16.png", &["-depth", "16", "-evaluate", "multiply", "0.7"]),
        ("grey16.png", &["-colorspace", "Gray", "-depth", "16"]),
        ("palette.png", &["-colors", "17", "-type", "Palette"]),
        (
            "transparent.png",
            &["-colors", "9", "-fuzz", "20%", "-transparent", "black", "-type", "PaletteAlpha"],
        ),
        ("bitmap.png", &["-monochrome", "-depth", "1"]),
        ("interlaced.png", &["-interlace", "PNG"]),
        ("baseline.jpg", &["-quality", "95", "-sampling-factor", "1x1"]),
        ("subsampled.jpg", &["-quality", "95", "-sampling-factor", "2x2"]),
        ("progressive.jpg", &["-quality", "95", "-interlace", "JPEG"]),
        ("grey.jpg", &["-colorspace", "Gray", "-quality", "95"]),
        ("grey.pgm", &["-colorspace", "Gray"]),
        ("rgb16.ppm", &["-depth", "16", "-evaluate", "multiply", "0.7"]),
    ];
    for (name, arguments) in kinds {
        run("convert", &[&["scene.ppm"], arguments, &[name]].concat(), folder);
        let (ours, theirs) = (read(&folder.join(name)).unwrap(), vips(folder, name));
        let psnr = psnr(&ours, &theirs);
        println!("{name}: {psnr:.1} dB");
        assert!(psnr > LEAST_PSNR, "{name}: {psnr:.1} dB");
    }
}

/// libvips converts CMYK with a press's profile; without one in the file nothing says which. Here as
/// in ImageMagick, R = (1 - C)(1 - K).
#[test]
fn cmyk_is_what_imagemagick_makes_of_it() {
    if !common::has("cmyk_is_what_imagemagick_makes_of_it", "convert", "-version") {
        return;
    }
    let folder = scene();
    let folder = folder.path();
    for (name, interlace) in [("cmyk.jpg", "None"), ("cmyk-progressive.jpg", "JPEG")] {
        let line =
            ["scene.ppm", "-colorspace", "CMYK", "-quality", "95", "-interlace", interlace, name];
        run("convert", &line, folder);
        run("convert", &[name, "-colorspace", "sRGB", "-depth", "8", "theirs.ppm"], folder);
        let (ours, theirs) =
            (read(&folder.join(name)).unwrap(), read(&folder.join("theirs.ppm")).unwrap());
        let psnr = psnr(&ours, &theirs);
        println!("{name}: {psnr:.1} dB");
        assert!(psnr > LEAST_PSNR, "{name}: {psnr:.1} dB");
    }
}

#[test]
fn a_picture_from_a_tilted_camera_comes_out_upright() {
    let test = "a_picture_from_a_tilted_camera_comes_out_upright";
    if !common::has(test, "vips", "--version") || !common::has(test, "convert", "-version") {
        return;
    }
    let folder = scene();
    let folder = folder.path();
    run("convert", &["scene.ppm", "-crop", "40x20+0+0", "+repage", "tilted.jpg"], folder);
    let plain = fs::read(folder.join("tilted.jpg")).unwrap();
    for orientation in 1..=8 {
        // An Exif block behind the start marker, with nothing but the orientation.
        let mut block =
            b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        block.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        let mut bytes = plain.clone();
        bytes.splice(2..2, block);
        fs::write(folder.join("tilted.jpg"), bytes).unwrap();
        let output = Command::new(common::PROGRAM)
            .env_clear()
            .args(["--angle", "0", "--format", "ppm"])
            .arg(folder.join("tilted.jpg"))
            .output()
            .unwrap();
        let size = if orientation < 5 { "40 20" } else { "20 40" };
        assert!(
            output.stdout.starts_with(format!("P6\n{size}\n255\n").as_bytes()),
            "{orientation}"
        );
        fs::write(folder.join("ours.ppm"), output.stdout).unwrap();
        let psnr = psnr(&read(&folder.join("ours.ppm")).unwrap(), &vips(folder, "tilted.jpg"));
        assert!(psnr > LEAST_PSNR, "orientation {orientation}: {psnr:.1} dB");
    }
}

#[test]
fn a_profile_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // A header with the signature of RGB is all that the profile's bytes are looked at for.
    let mut profile = vec![7; 3000];
    profile[16..20].copy_from_slice(b"RGB ");
    let mut info = png::Info::with_size(2, 1);
    (info.color_type, info.bit_depth) = (png::ColorType::Rgb, png::BitDepth::Eight);
    info.icc_profile = Some(profile.clone().into());
    let mut file = Vec::new();
    let mut writer = png::Encoder::with_info(&mut file, info).unwrap().write_header().unwrap();
    writer.write_image_data(&[1, 2, 3, 4, 5, 6]).unwrap();
    writer.finish().unwrap();
    fs::write(path("in.png"), file).unwrap();
    let turn = |from: &str, to: &str| {
        let mut program = Command::new(common::PROGRAM);
        program.env_clear().args(["--angle", "20", "-o"]).args([path(to), path(from)]);
        assert!(program.status().unwrap().success());
        read(&path(to)).unwrap().profile().map(<[u8]>::to_vec)
    };
    assert_eq!(turn("in.png", "out.png"), Some(profile.clone()));
    assert_eq!(turn("out.png", "out.jpg"), Some(profile.clone()));
    assert_eq!(turn("out.jpg", "again.png"), Some(profile));
}

/// 413 before the decoder takes what the limit does not give; within the limit, no more than that.
#[test]
fn the_decoders_own_memory_counts() {
    if !common::has("the_decoders_own_memory_counts", "convert", "-version") {
        return;
    }
    let folder = scene();
    let folder = folder.path();
    run(
        "convert",
        &[
            "scene.ppm",
            "-resize",
            "1600x1600!",
            "-colorspace",
            "CMYK",
            "-interlace",
            "JPEG",
            "big.jpg",
        ],
        folder,
    );
    let body = fs::read(folder.join("big.jpg")).unwrap();
    let ask = |limit: u64| {
        let limit = limit.to_string();
        let length = body.len().to_string();
        common::cgi(
            &[
                ("REQUEST_METHOD", "POST"),
                ("QUERY_STRING", "angle=0&format=ppm"),
                ("CONTENT_LENGTH", &length),
                ("CGI_ROTATE_MAX_MEMORY", &limit),
            ],
            &body,
        )
    };
    // Four components of 2 bytes, the picture, the file, and what the program itself needs.
    let needed = 1600 * 1600 * (4 * 2 + 3) + body.len() as u64 + (8 << 20);
    let refused = ask(needed - 1);
    assert_eq!(refused.status, 413, "{}", refused.text());
    assert!(refused.text().contains(&needed.to_string()), "{}", refused.text());
    assert_eq!(ask(needed).status, 200);
}

//! The program as users meet it: by hand, and as a CGI script.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::{PROGRAM, cgi, get, run_cgi};

#[test]
fn a_picture_comes_with_its_length_size_and_checksum() {
    for (format, media_type, magic) in [
        ("png", "image/png", &b"\x89PNG"[..]),
        ("jpeg", "image/jpeg", b"\xff\xd8\xff"),
        ("ppm", "image/x-portable-pixmap", b"P6\n127 124\n255\n"),
    ] {
        let answer = get(&format!("angle=20&width=100&height=95&format={format}"));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["content-type"], media_type);
        assert_eq!(answer.headers["x-image-size"], "127x124");
        assert!(answer.body.starts_with(magic), "{format}");
        answer.assert_whole();
    }
}

#[test]
fn head_describes_what_get_would_send() {
    let variables = |method| [("REQUEST_METHOD", method), ("QUERY_STRING", "angle=3&width=50")];
    let (head, get) = (cgi(&variables("HEAD"), b""), cgi(&variables("GET"), b""));
    assert_eq!(head.headers, get.headers);
    assert!(head.body.is_empty() && !get.body.is_empty());
}

#[test]
fn a_posted_picture_is_turned() {
    let picture = b"P6 2 1 255\nabcdef";
    let post = |variables: &[(&'static str, &'static str)]| {
        let mut all = vec![
            ("REQUEST_METHOD", "POST"),
            ("QUERY_STRING", "angle=90&format=ppm"),
            ("CONTENT_TYPE", "image/x-portable-pixmap"),
            ("CONTENT_LENGTH", "17"),
        ];
        all.extend_from_slice(variables);
        cgi(&all, picture)
    };
    let answer = post(&[]);
    assert_eq!(answer.body, b"P6\n1 2\n255\nabcdef");
    answer.assert_whole();
    let refused = |name, value| {
        let answer = post(&[(name, value)]);
        answer.assert_whole();
        format!("{} {}", answer.status, answer.text())
    };
    insta::assert_snapshot!(refused("CONTENT_LENGTH", "18"), @"400 the image is cut short: 18 bytes were announced, 17 came");
    insta::assert_snapshot!(refused("CONTENT_LENGTH", ""), @r#"400 Content-Length is ""; it must be the body's number of bytes: cannot parse integer from empty string"#);
    insta::assert_snapshot!(refused("CONTENT_LENGTH", "0"), @"400 the body is empty; it must be an image");
    insta::assert_snapshot!(refused("CONTENT_LENGTH", "99999999999"), @"413 the image has 99999999999 bytes; at most 67108864 are taken");
    insta::assert_snapshot!(refused("CONTENT_TYPE", "image/gif"), @r#"415 Content-Type is "image/gif"; it must be image/png, image/jpeg, image/x-portable-pixmap or application/octet-stream"#);
    insta::assert_snapshot!(refused("CONTENT_TYPE", "image/png"), @r#"415 the body is called "image/png" but begins like a PNM file"#);
    insta::assert_snapshot!(refused("QUERY_STRING", "angle=1&image=a"), @"400 image names a file, but the request's body is the image: leave one out");
    insta::assert_snapshot!(refused("CGI_ROTATE_MAX_BODY", "16"), @"413 the image has 17 bytes; at most 16 are taken");
}

#[test]
fn other_requests_are_refused_with_a_line() {
    let refused = |variables: &[(&str, &str)]| {
        let answer = cgi(variables, b"");
        answer.assert_whole();
        (format!("{} {}", answer.status, answer.text()), answer)
    };
    let (text, answer) = refused(&[("REQUEST_METHOD", "DELETE"), ("QUERY_STRING", "angle=1")]);
    insta::assert_snapshot!(text, @r#"405 method "DELETE" is not served; use one of GET, HEAD, POST"#);
    assert_eq!(answer.headers["allow"], "GET, HEAD, POST");
    let (text, _) = refused(&[("QUERY_STRING", "angle=1&image=a.png")]);
    insta::assert_snapshot!(text, @r#"400 image is "a.png"; this server offers no files, only image=test"#);
    let (text, _) = refused(&[("QUERY_STRING", "angle=1&width=9000&height=9000")]);
    insta::assert_snapshot!(text, @"413 the picture has 9000x9000 pixels; at most 50000000 in all are taken");
    let (text, _) = refused(&[("QUERY_STRING", "angle=1"), ("CGI_ROTATE_MAX_MEMORY", "9000000")]);
    insta::assert_snapshot!(text, @"413 the two pictures need 32812283 bytes of memory; at most 9000000 are given");
    let (text, _) = refused(&[("QUERY_STRING", "angle=1"), ("CGI_ROTATE_MAX_PIXELS", "many")]);
    insta::assert_snapshot!(text, @r#"500 the server's CGI_ROTATE_MAX_PIXELS is "many"; it must be a positive whole number"#);
}

#[test]
fn a_server_may_pass_words_of_the_query_as_arguments() {
    let output = Command::new(PROGRAM)
        .args(["--output", "owned"])
        .env("REQUEST_METHOD", "GET")
        .env("QUERY_STRING", "--output+owned")
        .output()
        .unwrap();
    assert!(output.status.success() && output.stdout.starts_with(b"Status: 400 "));
}

#[test]
fn a_client_that_goes_away_is_an_error_and_no_crash() {
    let mut child = Command::new(PROGRAM)
        .env("QUERY_STRING", "angle=1&format=ppm")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    insta::assert_snapshot!(text, @"cgi-rotate: cannot send the reply: Broken pipe (os error 32)");
}

fn by_hand(arguments: &[&str]) -> (Option<i32>, Vec<u8>, String) {
    let output = Command::new(PROGRAM).env_clear().args(arguments).output().unwrap();
    (output.status.code(), output.stdout, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn by_hand_a_file_goes_in_and_a_file_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (from, to) = (path("from.ppm"), path("to.PNG"));
    let (code, picture, _) = by_hand(&["--angle", "0", "--width", "30", "--format", "ppm"]);
    assert_eq!(code, Some(0));
    std::fs::write(&from, &picture).unwrap();
    assert_eq!(by_hand(&["--angle", "-90", &from, "--output", &to]).0, Some(0));
    assert!(std::fs::read(&to).unwrap().starts_with(b"\x89PNG"));
    let (_, back, _) = by_hand(&["--angle=90", "--format=ppm", &to]);
    assert_eq!(back, picture, "there and back");
    let (_, line, _) = by_hand(&["--angle", "90", "--format=ppm", "--reply", "summary", &to]);
    let line = String::from_utf8(line).unwrap();
    assert_eq!(line, get("angle=0&width=30&format=ppm&reply=summary").text().to_owned() + "\n");
}

#[test]
fn by_hand_wrong_input_is_exit_code_2_with_one_line() {
    let (code, out, err) = by_hand(&["--angle", "1", "none.png"]);
    assert_eq!((code, out.len()), (Some(2), 0));
    insta::assert_snapshot!(err, @"cgi-rotate: cannot read none.png: No such file or directory (os error 2)");
    assert_eq!(by_hand(&[]).0, Some(2));
    assert_eq!(by_hand(&["--angle", "inf"]).0, Some(2));
    assert_eq!(by_hand(&["--angle", "1", "--width", "9", "-o", "/dev/full"]).0, Some(1));
    let (code, help, _) = by_hand(&["--help"]);
    let help = String::from_utf8(help).unwrap();
    assert!(code == Some(0) && help.contains("QUERY_STRING") && help.contains("Exit codes: 0"));
}

#[test]
fn angles_may_be_written_as_numbers_are() {
    for (angle, like) in [("-.5", "-0.5"), ("-1e-30", "0"), ("-1e2", "-100"), (".5", "0.5")] {
        let picture =
            |angle: &str| by_hand(&["--angle", angle, "--width", "30", "--format", "ppm"]);
        let (code, out, err) = picture(angle);
        assert_eq!(code, Some(0), "{angle}: {err}");
        assert_eq!(out, picture(like).1, "{angle}");
    }
    assert_eq!(by_hand(&["--angle", "--width"]).0, Some(2));
}

#[test]
fn the_outputs_name_says_the_format_or_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, more: &[&str]| {
        let to = path(name);
        by_hand(&[&["--angle", "0", "--width", "9", "-o", &to], more].concat())
    };
    for (name, magic) in
        [("x.pnm", &b"P6"[..]), ("x.ppm", b"P6"), ("x.JPG", b"\xff\xd8"), ("x", b"\x89PNG")]
    {
        assert_eq!(write(name, &[]).0, Some(0), "{name}");
        assert!(std::fs::read(path(name)).unwrap().starts_with(magic), "{name}");
    }
    let (code, _, err) = write("x.gif", &[]);
    assert_eq!(code, Some(2));
    insta::assert_snapshot!(err, @r#"cgi-rotate: the output's name ends in .gif; what is written is png, jpeg or ppm: end it so, or choose with --format"#);
    assert!(!Path::new(&path("x.gif")).exists());
    assert_eq!(write("x.gif", &["--format", "png"]).0, Some(0));
}

#[test]
fn what_is_enlarged_has_no_dark_frame() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("white.ppm");
    std::fs::write(&from, [&b"P6 100 100 255\n"[..], &[255; 30_000]].concat()).unwrap();
    let (_, picture, _) =
        by_hand(&["--angle=0", "--width=1000", "--format=ppm", from.to_str().unwrap()]);
    let pixels = picture.strip_prefix(b"P6\n1000 1000\n255\n").unwrap();
    assert_eq!(pixels.iter().filter(|&&byte| byte != 255).count(), 0);
}

#[test]
fn nobody_listening_is_a_quiet_end() {
    let program = || {
        let mut program = Command::new(PROGRAM);
        program.env_clear().args(["--angle", "0", "--format", "ppm"]);
        program.stdout(Stdio::piped()).stderr(Stdio::piped());
        program
    };
    let mut child = program().spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = program().stdout(full()).stderr(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_link_stays_a_link_and_a_failure_leaves_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("old.png"), "precious").unwrap();
    std::os::unix::fs::symlink("old.png", path("link.png")).unwrap();
    let to = path("link.png");
    let line = |file: &str| by_hand(&["--angle", "1", "-o", to.to_str().unwrap(), file]).0;
    assert_eq!(line("none.png"), Some(2));
    assert_eq!(std::fs::read(path("old.png")).unwrap(), b"precious");
    std::fs::write(path("from.ppm"), b"P6 2 1 255\nabcdef").unwrap();
    assert_eq!(line(path("from.ppm").to_str().unwrap()), Some(0));
    assert!(std::fs::symlink_metadata(&to).unwrap().is_symlink());
    assert!(std::fs::read(path("old.png")).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn a_reply_is_the_same_every_time() {
    let query = [("QUERY_STRING", "angle=-17.25&width=200&height=100&filter=bicubic")];
    assert_eq!(run_cgi(&query, b"").stdout, run_cgi(&query, b"").stdout);
}

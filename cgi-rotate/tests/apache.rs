//! The program behind a real Apache: two ways to run processes, two ways to start scripts.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Answer;

const APACHE: &str = "apache2";
const MODULES: &str = "/usr/lib/apache2/modules";

/// An Apache of our own on a loopback port; stopped and waited for when dropped.
struct Apache {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Apache {
    fn start(mpm: &str, cgi: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The server drops its privileges, then has to reach the program.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["cgi-bin", "images"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::copy(common::PROGRAM, folder.path().join("cgi-bin/rotate")).unwrap();
        fs::write(folder.path().join("images/a.ppm"), b"P6 2 1 255\nabcdef").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let configuration = folder.path().join("httpd.conf");
        fs::write(&configuration, configure(folder.path(), port, mpm, cgi)).unwrap();
        let child = Command::new(APACHE)
            .args(["-D", "FOREGROUND", "-f"])
            .arg(&configuration)
            .stdin(Stdio::null())
            // When it is stopped, Apache ends its whole process group: it needs one of its own.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut server = Self { child, port, folder };
        server.await_ready();
        server
    }

    fn await_ready(&mut self) {
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "Apache ended: {ended:?}\n{}", self.log());
            assert!(since.elapsed() < Duration::from_secs(20), "not ready\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }

    fn ask(&self, method: &str, query: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head = format!(
            "{method} /cgi-bin/rotate?{query} HTTP/1.1\r\nHost: localhost\r\n\
             Connection: close\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        assert!(!reply.is_empty(), "no reply to {method} {query}\n{}", self.log());
        Answer::parse(&reply)
    }

    fn post(&self, query: &str, content_type: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let headers = format!("Content-Type: {content_type}\r\nContent-Length: {length}\r\n");
        self.ask("POST", query, &headers, body)
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        let id = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

fn configure(folder: &Path, port: u16, mpm: &str, cgi: &str) -> String {
    let root = folder.display();
    let load = |name: &str| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n");
    let modules: String = [mpm, cgi, "alias", "authz_core", "env"].map(load).concat();
    let user =
        if nix::unistd::geteuid().is_root() { "User www-data\nGroup www-data\n" } else { "" };
    let socket =
        if cgi == "cgid" { format!("ScriptSock {root}/cgid.sock\n") } else { String::new() };
    format!(
        "ServerRoot {root}\nDefaultRuntimeDir {root}\nPidFile {root}/pid\nServerName localhost\n\
         Listen 127.0.0.1:{port}\nErrorLog {root}/error.log\n{modules}{user}{socket}\
         ScriptAlias /cgi-bin/ {root}/cgi-bin/\nSetEnv CGI_ROTATE_IMAGES {root}/images\n\
         SetEnv CGI_ROTATE_MAX_BODY 1000000\nSetEnv ap_trust_cgilike_cl yes\n"
    )
}

fn serves(server: &Apache) {
    let picture = server.ask("GET", "angle=20&width=300&height=200", "", b"");
    assert_eq!((picture.status, picture.headers["x-image-size"].as_str()), (200, "351x291"));
    picture.assert_whole();
    let summary = server.ask("GET", "angle=20&width=300&height=200&reply=summary", "", b"");
    let expected =
        format!("bytes={} crc32={}", picture.body.len(), picture.headers["x-content-crc32"]);
    assert!(summary.text().ends_with(&expected), "{}", summary.text());
    let head = server.ask("HEAD", "angle=20&width=300&height=200", "", b"");
    assert_eq!(head.headers["content-length"], picture.headers["content-length"]);
    assert!(head.body.is_empty());
    let file = server.ask("GET", "angle=90&image=a.ppm&format=ppm", "", b"");
    assert_eq!(file.body, b"P6\n1 2\n255\nabcdef");
    let posted =
        server.post("angle=180&format=ppm", "image/x-portable-pixmap", b"P6 2 1 255\nabcdef");
    assert_eq!(posted.body, b"P6\n2 1\n255\ndefabc");
}

fn refuses(server: &Apache) {
    let status = |method: &str, query: &str| {
        let answer = server.ask(method, query, "", b"");
        answer.assert_whole();
        (answer.status, answer.body.iter().filter(|&&byte| byte == b'\n').count())
    };
    assert_eq!(status("GET", ""), (400, 1));
    assert_eq!(status("GET", "angle=%zz"), (400, 1));
    assert_eq!(status("GET", "--help"), (400, 1));
    assert_eq!(status("GET", "angle=1&image=../error.log"), (400, 1));
    assert_eq!(status("PUT", "angle=1"), (405, 1));
    assert_eq!(status("GET", "angle=1&width=60000&height=60000"), (413, 1));
    assert_eq!(server.post("angle=1", "text/plain", b"hello").status, 415);
    assert_eq!(server.post("angle=1", "image/png", b"\x89PNG\r\n\x1a\nhello").status, 400);
    assert_eq!(server.post("angle=1", "image/png", &[0; 1_000_001]).status, 413);
    let chunked = server.ask(
        "POST",
        "angle=1",
        "Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n",
        b"3\r\nabc\r\n0\r\n\r\n",
    );
    assert_eq!(chunked.status, 400);
}

#[test]
fn serves_and_refuses_under_every_kind_of_apache() {
    let test = "serves_and_refuses_under_every_kind_of_apache";
    if !common::has(test, APACHE, "-v") {
        return;
    }
    for (mpm, cgi) in [
        ("mpm_prefork", "cgi"),
        ("mpm_prefork", "cgid"),
        ("mpm_event", "cgi"),
        ("mpm_event", "cgid"),
    ] {
        if ![mpm, cgi].iter().all(|m| Path::new(&format!("{MODULES}/mod_{m}.so")).exists()) {
            eprintln!("SKIPPED: {test} ({mpm}, {cgi}): no such Apache module");
            continue;
        }
        let server = Apache::start(mpm, cgi);
        serves(&server);
        refuses(&server);
        assert!(!server.log().contains("Premature"), "{}", server.log());
    }
}

//! Each fault of a service is counted for what it is, and for nothing else.

use std::{
    io::Write,
    net::{Shutdown, SocketAddr, TcpListener},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::common::{answering, config, head, ok, server};
use model::sample::Request;
use webload::{Config, Run, Summary};

fn run(config: &Config) -> Run {
    webload::run(config, &AtomicBool::new(false), |_| {}).expect("a run takes place")
}

/// All six requests failed for `cause`, with the error text `error`, in both connection modes.
fn all_fail(address: SocketAddr, cause: &str, error: &str, check: impl Fn(&Request)) {
    for keep_alive in [false, true] {
        let config = Config { keep_alive, ..config(address) };
        let run = run(&config);
        let summary = Summary::of(&config, &run);
        let causes: Vec<_> = summary.causes.iter().collect();
        assert_eq!(causes, [(&cause, &6)], "keep-alive {keep_alive}: {:?}", run.rows);
        assert_eq!((summary.requests, summary.failures), (6, 6));
        assert!(summary.response_ns.is_none() && summary.uncorrected_ns.is_none());
        assert!(summary.fails(0.5));
        for row in &run.rows {
            assert_eq!(row.error.as_deref(), Some(error));
            assert_eq!(row.response_ns, None);
            assert!(row.finish_ns.unwrap() >= row.start_ns);
            check(row);
        }
    }
}

#[test]
fn a_server_that_hangs_before_its_answer() {
    let address = server(|mut stream| {
        head(&mut stream);
        thread::sleep(Duration::from_secs(60));
    });
    let config = Config { requests: 1, timeout: Duration::from_millis(200), ..config(address) };
    let run = run(&config);
    for row in &run.rows {
        assert_eq!(row.error.as_deref(), Some("timeout: no whole answer within 200ms"));
        let waited = row.finish_ns.unwrap() - row.start_ns;
        assert!((200_000_000..1_000_000_000).contains(&waited), "{waited}");
        assert_eq!((row.status, row.first_byte_ns), (None, None));
    }
    assert_eq!(run.rows.len(), 2);
}

#[test]
fn a_server_that_hangs_within_its_body() {
    let address = server(|mut stream| {
        head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
        thread::sleep(Duration::from_secs(60));
    });
    let config = Config { requests: 1, timeout: Duration::from_millis(200), ..config(address) };
    for row in run(&config).rows {
        assert_eq!(row.error.as_deref(), Some("timeout: no whole answer within 200ms"));
        assert_eq!((row.status, row.bytes), (Some(200), 5));
        assert!(row.first_byte_ns.is_some());
    }
}

/// Sends small chunks as fast as the connection takes them, until the client is gone.
fn flood(mut stream: std::net::TcpStream) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunks = b"1\r\nx\r\n".repeat(10_000);
    while stream.write_all(&chunks).is_ok() {}
}

#[test]
fn a_server_that_sends_without_a_pause_is_given_up_in_time() {
    let address = server(|mut stream| {
        head(&mut stream);
        flood(stream);
    });
    for keep_alive in [false, true] {
        let timeout = Duration::from_millis(100);
        let config = Config { requests: 1, timeout, keep_alive, ..config(address) };
        for row in run(&config).rows {
            assert_eq!(row.error.as_deref(), Some("timeout: no whole answer within 100ms"));
            let waited = row.finish_ns.unwrap() - row.start_ns;
            assert!((100_000_000..600_000_000).contains(&waited), "{waited}");
        }
    }
}

#[test]
fn a_server_that_sends_without_a_pause_does_not_keep_us_from_stopping() {
    let address = server(|mut stream| {
        head(&mut stream);
        flood(stream);
    });
    let stop = AtomicBool::new(false);
    let config = Config { timeout: Duration::from_secs(120), ..config(address) };
    let began = Instant::now();
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(300));
            stop.store(true, Ordering::Relaxed);
        });
        webload::run(&config, &stop, |_| {}).unwrap()
    });
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(run.interrupted && run.rows.is_empty());
    assert_eq!((run.repetitions[0].unanswered, run.repetitions[0].unsent), (2, 0));
}

#[test]
fn a_server_that_closes_before_its_answer() {
    let address = server(|mut stream| {
        head(&mut stream);
    });
    all_fail(address, "closed", "closed: before the answer", |row| assert_eq!(row.status, None));
}

#[test]
fn a_server_that_closes_within_the_head() {
    let address = answering("HTTP/1.1 200 OK\r\nContent-Le", false);
    all_fail(address, "closed", "closed: before the answer", |row| {
        assert!(row.first_byte_ns.is_some());
    });
}

#[test]
fn a_body_that_is_cut_off() {
    let address = answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", false);
    all_fail(address, "cut-off", "cut-off: 5 of 10 bytes", |row| {
        assert_eq!((row.status, row.bytes), (Some(200), 5));
    });
}

#[test]
fn a_chunked_body_that_is_cut_off() {
    let address =
        answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n", false);
    all_fail(address, "cut-off", "cut-off: 5 of ? bytes", |row| assert_eq!(row.bytes, 5));
}

#[test]
fn a_chunk_size_that_is_none() {
    for size in ["xyz", "-5", ""] {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let address = answering(format!("{head}{size}\r\n12345\r\n0\r\n\r\n"), false);
        let config = config(address);
        let run = run(&config);
        let causes = Summary::of(&config, &run).causes;
        assert_eq!(causes.get("malformed"), Some(&6), "{size}: {:?}", run.rows);
    }
}

#[test]
fn a_coding_that_the_end_of_the_connection_delimits_is_not_verified() {
    let address = answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n123456789", false);
    let run = run(&config(address));
    assert!(run.rows.iter().all(|row| row.error.is_none() && row.bytes == 9), "{:?}", run.rows);
    assert_eq!(run.account.unverified, 6);
}

#[test]
fn a_body_longer_than_announced() {
    let address = answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1234567890", true);
    all_fail(address, "too-long", "too-long: more than the 5 bytes announced", |_| {});
}

#[test]
fn a_wrong_checksum() {
    let address = answering(
        "HTTP/1.1 200 OK\r\nX-Content-CRC32: cbf43926\r\nContent-Length: 9\r\n\r\n123456780",
        true,
    );
    all_fail(address, "checksum", "checksum: b2288182 instead of cbf43926", |_| {});
}

#[test]
fn a_checksum_that_is_none() {
    let address =
        answering("HTTP/1.1 200 OK\r\nX-Content-CRC32: xyz\r\nContent-Length: 1\r\n\r\n1", true);
    let error = "malformed: X-Content-CRC32 \"xyz\" is not 8 hexadecimal digits";
    all_fail(address, "malformed", error, |_| {});
}

#[test]
fn a_bad_status() {
    let address =
        answering("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops", true);
    all_fail(address, "status", "status: 500", |row| {
        assert_eq!((row.status, row.bytes), (Some(500), 4));
    });
    let address = answering("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", true);
    all_fail(address, "status", "status: 302", |_| {});
}

#[test]
fn nobody_listens() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    all_fail(address, "refused", "refused", |row| assert_eq!(row.first_byte_ns, None));
}

#[test]
fn a_server_that_resets() {
    let address = server(|mut stream| {
        // Closing with the request unread makes the kernel send a reset.
        let mut first = [0];
        let _ = std::io::Read::read(&mut stream, &mut first);
    });
    all_fail(address, "reset", "reset", |_| {});
}

#[test]
fn an_answer_that_is_not_http() {
    let address = answering("220 mail.example ESMTP\r\n\r\n", false);
    all_fail(address, "malformed", "malformed: invalid HTTP version parsed", |_| {});
}

#[test]
fn failures_stay_out_of_the_good_ones_statistics() {
    let address = server(|mut stream| {
        let Some(head) = head(&mut stream) else { return };
        // A failure that takes longer than any good answer.
        let answer = if head.starts_with("GET /bad") {
            thread::sleep(Duration::from_millis(300));
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned()
        } else {
            ok("good")
        };
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
    });
    let target = |path: &str| webload::Target::new(&format!("http://{address}{path}")).unwrap();
    let config = Config { targets: vec![target("/good"), target("/bad")], ..config(address) };
    let run = run(&config);
    let summary = Summary::of(&config, &run);
    assert_eq!((summary.requests, summary.failures), (6, 3));
    let response = summary.response_ns.unwrap();
    assert_eq!(response.count, 3);
    assert!(response.max < 300_000_000, "{response:?}");
    assert!(summary.fails(0.49) && !summary.fails(0.5));
    assert!(run.rows.iter().all(|row| (row.client == 1) == row.error.is_some()));
}

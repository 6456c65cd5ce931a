//! What a run records of a service that works.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::common::{answering, config, head, ok, server};
use webload::{Config, Run, Summary};

fn run(config: &Config) -> Run {
    webload::run(config, &AtomicBool::new(false), |_| {}).expect("a run takes place")
}

/// The connections that were opened for measured requests.
fn connections_of(run: &Run) -> u64 {
    run.account.connect.summary().map_or(0, |connects| connects.count)
}

/// A server that counts its connections and answers with `ok("body")` after `delay`.
fn counting(delay: Duration) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let address = server(move |mut stream| {
        count.fetch_add(1, Ordering::SeqCst);
        while head(&mut stream).is_some() {
            thread::sleep(delay);
            if stream.write_all(ok("body").as_bytes()).is_err() {
                break;
            }
        }
    });
    (address, connections)
}

#[test]
fn a_closed_loop_records_every_request_once() {
    let (address, connections) = counting(Duration::from_millis(2));
    let config = Config {
        repetitions: 2,
        first_repetition: 7,
        experiment: Some("table1-host".into()),
        ..config(address)
    };
    let mut ended = Vec::new();
    let run = webload::run(&config, &AtomicBool::new(false), |one| ended.push(one.number)).unwrap();
    assert_eq!(ended, [7, 8]);
    let mut keys: Vec<_> =
        run.rows.iter().map(|row| (row.repetition.unwrap(), row.client, row.request)).collect();
    keys.sort_unstable();
    let all: Vec<_> = (7..9)
        .flat_map(|rep| (0..2).flat_map(move |client| (0..3).map(move |n| (rep, client, n))))
        .collect();
    assert_eq!(keys, all);
    for row in &run.rows {
        assert_eq!(row.experiment.as_deref(), Some("table1-host"));
        assert_eq!((row.status, row.bytes, row.error.as_deref()), (Some(200), 4, None));
        assert_eq!(row.intended_ns, row.start_ns);
        let (first, finish) = (row.first_byte_ns.unwrap(), row.finish_ns.unwrap());
        assert!(row.start_ns < first && first <= finish);
        assert_eq!(row.response_ns, Some(finish - row.start_ns));
        assert!(finish - row.start_ns >= 2_000_000);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 12, "a new connection for each request");
    assert_eq!(connections_of(&run), 12);
    assert!(!run.interrupted);
}

#[test]
fn kept_connections_are_one_per_client() {
    let (address, connections) = counting(Duration::ZERO);
    let config = Config { keep_alive: true, repetitions: 3, ..config(address) };
    let run = run(&config);
    assert_eq!(run.rows.iter().filter(|row| row.error.is_none()).count(), 18);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    assert!(connections_of(&run) == 0, "connected before the first request");
}

#[test]
fn a_server_that_closes_kept_connections_is_asked_again() {
    let address = answering(ok("body").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"), false);
    let config = Config { keep_alive: true, ..config(address) };
    let run = run(&config);
    assert!(run.rows.iter().all(|row| row.error.is_none()), "{:?}", run.rows);
    assert_eq!(connections_of(&run), 4, "all but each client's first");
}

#[test]
fn a_server_that_silently_closes_idle_connections_is_asked_again() {
    let address = answering(ok("body"), false);
    let config = Config {
        keep_alive: true,
        clients: 1,
        requests: 4,
        rate: Some("20/s".parse().unwrap()),
        ..config(address)
    };
    let run = run(&config);
    assert!(run.rows.iter().all(|row| row.error.is_none()), "{:?}", run.rows);
}

#[test]
fn warm_up_is_counted_and_not_recorded() {
    let (address, connections) = counting(Duration::ZERO);
    let config = Config { warm_up: 4, repetitions: 2, ..config(address) };
    let run = run(&config);
    assert_eq!((run.warm_up.requests, run.warm_up.failures), (8, 0));
    assert_eq!(run.rows.len(), 12);
    assert_eq!(connections.load(Ordering::SeqCst), 20);
}

#[test]
fn each_client_has_its_url() {
    let (first, first_count) = counting(Duration::ZERO);
    let (second, second_count) = counting(Duration::ZERO);
    let mut config = Config { clients: 3, requests: 2, ..config(first) };
    config.targets.extend(crate::common::config(second).targets);
    assert!(run(&config).rows.iter().all(|row| row.error.is_none()));
    assert_eq!(first_count.load(Ordering::SeqCst), 4, "clients 0 and 2");
    assert_eq!(second_count.load(Ordering::SeqCst), 2, "client 1");
}

#[test]
fn an_open_loop_counts_from_the_schedule() {
    // One client at 100/s against 50 ms an answer: each request waits for those before it.
    let (address, _) = counting(Duration::from_millis(50));
    let config =
        Config { clients: 1, requests: 8, rate: Some("100/s".parse().unwrap()), ..config(address) };
    let run = run(&config);
    let start = run.rows[0].intended_ns;
    for (index, row) in run.rows.iter().enumerate() {
        assert_eq!(row.intended_ns, start + index as u64 * 10_000_000);
        assert!(row.start_ns >= row.intended_ns);
        assert_eq!(row.response_ns, Some(row.finish_ns.unwrap() - row.intended_ns));
    }
    let summary = Summary::of(&config, &run);
    let (corrected, uncorrected) = (summary.response_ns.unwrap(), summary.uncorrected_ns.unwrap());
    // Seven answers of 50 ms stand before the last one, which was due after 70 ms.
    assert!(corrected.max >= 8 * 50_000_000 - 70_000_000, "{corrected:?}");
    assert!(uncorrected.p50 < corrected.p50 / 2, "{uncorrected:?} {corrected:?}");
}

#[test]
fn an_open_loop_keeps_its_rate_where_a_client_is_free() {
    let (address, _) = counting(Duration::from_millis(20));
    let config =
        Config { clients: 8, requests: 5, rate: Some("200/s".parse().unwrap()), ..config(address) };
    let run = run(&config);
    assert_eq!(run.rows.len(), 40);
    let mut late: Vec<u64> = run.rows.iter().map(|row| row.start_ns - row.intended_ns).collect();
    late.sort_unstable();
    assert!(late[20] < 1_000_000, "half of them start within 1 ms of their instant: {late:?}");
    let length = run.repetitions[0].end_ns - run.repetitions[0].start_ns;
    assert!(length >= 39 * 5_000_000, "{length}");
}

#[test]
fn bodies_are_verified_chunked_or_delimited_by_the_end() {
    let chunked = "HTTP/1.1 200 OK\r\nX-Content-CRC32: CBF43926\r\nTransfer-Encoding: chunked\r\n\
                   \r\n4\r\n1234\r\n5\r\n56789\r\n0\r\n\r\n";
    let run_1 = run(&config(answering(chunked, true)));
    assert!(run_1.rows.iter().all(|row| row.error.is_none() && row.bytes == 9), "{:?}", run_1.rows);
    assert_eq!(run_1.account.unverified, 0);
    let run_2 = run(&config(answering("HTTP/1.1 200 OK\r\n\r\n123456789", false)));
    assert!(run_2.rows.iter().all(|row| row.error.is_none() && row.bytes == 9), "{:?}", run_2.rows);
    assert_eq!(run_2.account.unverified, 6);
}

#[test]
fn the_first_byte_is_the_final_answers() {
    let pause = Duration::from_millis(50);
    // An interim answer at once, the final one after a pause.
    let hinting = server(move |mut stream| {
        while head(&mut stream).is_some() {
            let _ = stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
            thread::sleep(pause);
            let _ = stream.write_all(ok("body").as_bytes());
        }
    });
    for keep_alive in [false, true] {
        for row in run(&Config { keep_alive, ..config(hinting) }).rows {
            assert!(row.first_byte_ns.unwrap() - row.start_ns >= 50_000_000, "{row:?}");
        }
    }
    // Bytes that nobody asked for, between two requests on a kept connection; then the next
    // connection answers after a pause.
    let stale = server(move |mut stream| {
        if head(&mut stream).is_some() {
            thread::sleep(pause);
            let _ = stream.write_all(ok("body").as_bytes());
            thread::sleep(Duration::from_millis(10));
            let _ = stream.write_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let rate = Some("8/s".parse().unwrap());
    let config = Config { keep_alive: true, clients: 1, requests: 4, rate, ..config(stale) };
    for row in run(&config).rows {
        assert_eq!(row.error, None);
        assert!(row.first_byte_ns.unwrap() - row.start_ns >= 50_000_000, "{row:?}");
    }
}

#[test]
fn a_host_is_asked_at_the_address_that_listens() {
    let (address, _) = counting(Duration::ZERO);
    let mut target = webload::Target::new(&format!("http://{address}/")).unwrap();
    // The resolver's first address is one where nobody listens, as `localhost` often has.
    target.addresses.insert(0, format!("[::1]:{}", address.port()).parse().unwrap());
    let config = Config { targets: vec![target], ..config(address) };
    assert!(run(&config).rows.iter().all(|row| row.error.is_none()));
}

#[test]
fn method_headers_and_body_are_sent_every_time() {
    let address = server(|mut stream| {
        while let Some(text) = head(&mut stream) {
            let mut body = [0; 5];
            let _ = std::io::Read::read_exact(&mut stream, &mut body);
            let asked = text.starts_with("POST ")
                && text.contains("x-tag: 7\r\n")
                && text.contains("content-length: 5\r\n")
                && &body == b"hello";
            let status = if asked { "200 OK" } else { "400 Bad Request" };
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        }
    });
    for keep_alive in [false, true] {
        let config = Config {
            method: "POST".parse().unwrap(),
            headers: vec![("x-tag".parse().unwrap(), "7".parse().unwrap())],
            body: "hello".into(),
            keep_alive,
            ..config(address)
        };
        let rows = run(&config).rows;
        assert!(rows.iter().all(|row| row.error.is_none()), "{rows:?}");
    }
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX-Content-CRC32: cbf43926\r\n\r\n";
    let config = Config { method: "HEAD".parse().unwrap(), ..config(answering(answer, true)) };
    assert!(run(&config).rows.iter().all(|row| row.error.is_none() && row.bytes == 0));
}

#[test]
fn an_answer_that_comes_before_the_whole_request_is_read() {
    // It reads no more than the head: the body fills every buffer on the way.
    let refusing = server(|mut stream| {
        head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
        thread::sleep(Duration::from_secs(60));
    });
    for keep_alive in [false, true] {
        let body = vec![b'x'; 32 << 20].into();
        let config =
            Config { keep_alive, body, timeout: Duration::from_secs(20), ..config(refusing) };
        let rows = run(&config).rows;
        assert!(rows.iter().all(|row| row.status == Some(413)), "{rows:?}");
    }
}

#[test]
fn more_clients_than_are_told_of_at_once_are_all_served() {
    let (address, connections) = counting(Duration::ZERO);
    let config = Config {
        clients: 600,
        keep_alive: true,
        timeout: Duration::from_secs(20),
        ..config(address)
    };
    let rows = run(&config).rows;
    assert_eq!(rows.iter().filter(|row| row.error.is_none()).count(), 1800);
    assert_eq!(connections.load(Ordering::SeqCst), 600);
}

#[test]
fn a_run_tells_what_it_did_not_send_and_what_it_took_of_a_cpu() {
    // Two clients at 50/s against a server that never answers: 2 are sent, the rest is due.
    let hanging = server(|mut stream| {
        head(&mut stream);
        thread::sleep(Duration::from_secs(60));
    });
    let rate = Some("50/s".parse().unwrap());
    let config =
        Config { requests: 1000, rate, timeout: Duration::from_secs(120), ..config(hanging) };
    let stop = AtomicBool::new(false);
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(500));
            stop.store(true, Ordering::Relaxed);
        });
        webload::run(&config, &stop, |_| {}).unwrap()
    });
    let summary = Summary::of(&config, &run);
    let elapsed = run.repetitions[0].end_ns - run.repetitions[0].start_ns;
    let due = elapsed / 20_000_000 + 1;
    assert_eq!((summary.requests, summary.unanswered), (0, 2));
    assert_eq!(summary.unsent, due - 2, "after {elapsed} ns");
    let share = summary.own_cpu_share.unwrap();
    assert!(share > 0.0 && share < 0.5, "{share}");
    assert!(summary.to_string().contains("requests were due and not sent"), "{summary}");
}

#[test]
fn a_generator_at_its_limit_says_so() {
    // As fast as a closed loop goes: the answers come from another thread at once.
    let (address, _) = counting(Duration::ZERO);
    let slow = Config { rate: Some("100/s".parse().unwrap()), requests: 10, ..config(address) };
    let quiet = Summary::of(&slow, &run(&slow));
    assert!(
        !quiet.warnings.iter().any(|warning| warning.contains("own CPU")),
        "{:?}",
        quiet.warnings
    );
    let late = quiet.late_start_ns.unwrap();
    assert!(late.count >= 15 && late.p50 < 5_000_000, "{late:?}");
    // A summary of a run whose clients took all of a CPU.
    let mut full = run(&slow);
    full.repetitions[0].cpu_ns = full.repetitions[0].end_ns - full.repetitions[0].start_ns;
    full.account.late_start = full.account.response.clone();
    let warnings = Summary::of(&slow, &full).warnings.join("\n");
    assert!(warnings.contains("own CPU was 100 % busy") && warnings.contains("late"), "{warnings}");
    assert!(!warnings.contains("others took it"), "{warnings}");
}

#[test]
fn clients_whose_cpu_others_take_say_so() {
    // Both on one CPU with two threads that never sleep: of what they ask for they get a third.
    let (address, _) = counting(Duration::ZERO);
    let cpus = kernel::affinity::get(kernel::affinity::SELF).unwrap();
    let one = [cpus[0]];
    let fast = Config { requests: 4000, ..config(address) };
    let done = AtomicBool::new(false);
    let summary = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                kernel::affinity::set(kernel::affinity::SELF, &one).unwrap();
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let clients = scope.spawn(|| {
            kernel::affinity::set(kernel::affinity::SELF, &one).unwrap();
            Summary::of(&fast, &run(&fast))
        });
        let summary = clients.join().unwrap();
        done.store(true, Ordering::Relaxed);
        summary
    });
    let wait = summary.own_wait_share.unwrap();
    assert!(wait > 0.3, "{wait}");
    let warned = summary.warnings.iter().any(|warning| warning.contains("others took it"));
    assert_eq!(warned, summary.own_cpu_share.unwrap() + wait > 0.9, "{:?}", summary.warnings);
}

#[test]
fn a_large_body_arrives_whole() {
    let body = "x".repeat(5_000_000);
    let crc = crc32fast::hash(body.as_bytes());
    let answer = ok(&body).replacen("\r\n", &format!("\r\nX-Content-CRC32: {crc:08x}\r\n"), 1);
    for keep_alive in [false, true] {
        let config = Config {
            keep_alive,
            timeout: Duration::from_secs(20),
            ..config(answering(answer.clone(), true))
        };
        let run = run(&config);
        assert!(run.rows.iter().all(|row| row.error.is_none() && row.bytes == 5_000_000));
    }
}

#[test]
fn stopping_keeps_what_was_measured() {
    let (address, _) = counting(Duration::from_millis(30));
    let config = Config { requests: 1000, timeout: Duration::from_secs(120), ..config(address) };
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(400));
            stop.store(true, Ordering::Relaxed);
        });
        webload::run(&config, &stop, |_| {}).unwrap()
    });
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(run.interrupted);
    assert!((4..200).contains(&run.rows.len()), "{}", run.rows.len());
    assert!(!run.repetitions[0].complete);
}

#[test]
fn the_clients_run_on_the_cpu_given_and_the_caller_stays() {
    let before = kernel::affinity::get(kernel::affinity::SELF).unwrap();
    let (address, _) = counting(Duration::ZERO);
    let config = Config { cpu: before.first().copied(), ..config(address) };
    assert_eq!(run(&config).rows.len(), 6);
    assert_eq!(kernel::affinity::get(kernel::affinity::SELF).unwrap(), before);
    let config = Config { cpu: Some(1000), ..config };
    let error = webload::run(&config, &AtomicBool::new(false), |_| {}).unwrap_err();
    assert!(error.to_string().contains("CPU 1000"), "{error}");
}

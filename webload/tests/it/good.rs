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
    assert_eq!(run.connects_ns.len(), 12);
    assert!(!run.interrupted);
}

#[test]
fn kept_connections_are_one_per_client() {
    let (address, connections) = counting(Duration::ZERO);
    let config = Config { keep_alive: true, repetitions: 3, ..config(address) };
    let run = run(&config);
    assert_eq!(run.rows.iter().filter(|row| row.error.is_none()).count(), 18);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    assert!(run.connects_ns.is_empty(), "connected before the first request");
}

#[test]
fn a_server_that_closes_kept_connections_is_asked_again() {
    let address = answering(ok("body").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"), false);
    let config = Config { keep_alive: true, ..config(address) };
    let run = run(&config);
    assert!(run.rows.iter().all(|row| row.error.is_none()), "{:?}", run.rows);
    assert_eq!(run.connects_ns.len(), 4, "all but each client's first");
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
    assert_eq!(run_1.unverified, 0);
    let run_2 = run(&config(answering("HTTP/1.1 200 OK\r\n\r\n123456789", false)));
    assert!(run_2.rows.iter().all(|row| row.error.is_none() && row.bytes == 9), "{:?}", run_2.rows);
    assert_eq!(run_2.unverified, 6);
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
    assert!(began.elapsed() < Duration::from_secs(5));
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

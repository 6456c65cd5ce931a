//! The smallest service that `web = { command = […], listen = … }` measures: it answers every request
//! with its path, `/health` after a third of a second, and ends at `/end`. `answer PORT`

use std::{
    env,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process, thread,
    time::{Duration, Instant},
};

fn answer(stream: &TcpStream, since: Instant) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    // The rest of the head; a body is not expected.
    for line in lines.by_ref() {
        if line?.is_empty() {
            break;
        }
    }
    let path = first.split_whitespace().nth(1).unwrap_or("?");
    if path == "/end" {
        process::exit(7);
    }
    let ready = path != "/health" || since.elapsed() >= Duration::from_millis(300);
    let status = if ready { "200 OK" } else { "503 Service Unavailable" };
    let length = path.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    (&*stream).write_all(format!("{head}{path}").as_bytes())
}

fn main() -> std::io::Result<()> {
    let port: u16 = env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(9000);
    let (listener, since) = (TcpListener::bind(("0.0.0.0", port))?, Instant::now());
    for stream in listener.incoming() {
        let stream = stream?;
        // A client that is gone is no reason to end.
        thread::spawn(move || answer(&stream, since).ok());
    }
    Ok(())
}

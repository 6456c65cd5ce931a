//! The server of `bench.sh`: it answers each request with 1 kB, at once or after a fixed delay.
//!
//! `bench_server ADDRESS DELAY`, for example `bench_server 127.0.0.1:8080 5ms`. Without a delay all
//! connections share one event loop that does as little as possible, so that the client is the
//! slower one of the two and is what gets measured. With one, each connection has its thread, so
//! that no answer waits for another.

use std::{
    env,
    error::Error,
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [address, delay] = &args[..] else {
        return Err("usage: bench_server ADDRESS DELAY".into());
    };
    let delay = model::duration::parse(delay)?;
    let listener = TcpListener::bind(address)?;
    let body = "x".repeat(1024);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    if delay.is_zero() {
        return Ok(at_once(listener, &answer)?);
    }
    for stream in listener.incoming() {
        let (stream, answer) = (stream?, answer.clone());
        // A client that goes away ends its thread and nothing else.
        thread::spawn(move || delayed(&stream, &answer, delay));
    }
    Ok(())
}

fn delayed(mut stream: &TcpStream, answer: &str, delay: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = BufReader::new(stream);
    let mut line = String::new();
    while requests.read_line(&mut line)? > 0 {
        if line == "\r\n" {
            thread::sleep(delay);
            stream.write_all(answer.as_bytes())?;
        }
        line.clear();
    }
    Ok(())
}

fn at_once(listener: TcpListener, answer: &str) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(echo(stream, answer.to_owned()));
        }
    })
}

/// One answer for each request that ends in what was read. No client of the benchmark sends a
/// request before it has the answer to the one before, so a read never holds more than one.
async fn echo(stream: tokio::net::TcpStream, answer: String) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) if buffer[..n].ends_with(b"\r\n\r\n") => {
                // 1 kB always fits into the send buffer of a client that reads its answers.
                stream.try_write(answer.as_bytes())?;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

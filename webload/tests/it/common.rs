//! Small servers that behave as told.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use webload::{Config, Target};

/// Serves every connection on a thread of its own with `serve`, until the test process ends.
pub fn server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Answers every request on a connection with `answer`, then goes on or closes.
pub fn answering(answer: impl Into<Vec<u8>>, keep_alive: bool) -> SocketAddr {
    let answer = answer.into();
    server(
        move |mut stream| {
            while head(&mut stream).is_some() && stream.write_all(&answer).is_ok() && keep_alive {}
        },
    )
}

/// Reads a request's head; `None` where the client is gone.
pub fn head(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    let mut reader = BufReader::with_capacity(1, &mut *stream);
    while !text.ends_with("\r\n\r\n") {
        if reader.read_line(&mut text).ok()? == 0 {
            return None;
        }
    }
    Some(text)
}

/// An answer with a true length.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Two clients with three requests each, given up after a second.
pub fn config(address: SocketAddr) -> Config {
    let target = Target::new(&format!("http://{address}/path?query")).expect("a valid URL");
    Config { clients: 2, requests: 3, timeout: Duration::from_secs(1), ..Config::new(vec![target]) }
}

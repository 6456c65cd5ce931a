//! The agent's service over a socket pair. One test: its reaper takes every child of the process.

use std::{os::unix::net::UnixStream, thread, time::Duration};

use guest_agent::{
    facts,
    message::{Hello, Reply, Request, Status, Stream, VERSION},
    protocol::{self, Frame},
    serve,
};

struct Host {
    stream: UnixStream,
    number: u32,
}

impl Host {
    fn ask(&mut self, request: &Request, payload: &[u8]) -> u32 {
        self.number += 1;
        protocol::write(&mut self.stream, self.number, request, payload).unwrap();
        self.number
    }

    fn frame(&mut self) -> Frame<Reply> {
        protocol::read(&mut self.stream).unwrap().expect("the agent closed the port")
    }

    fn answer(&mut self, request: &Request, payload: &[u8]) -> Reply {
        let number = self.ask(request, payload);
        let frame = self.frame();
        assert_eq!(frame.number, number);
        frame.message
    }

    fn run(&mut self, script: &str) -> u32 {
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        let env = vec![("WORD".to_owned(), "hello".to_owned())];
        let number = self.ask(&Request::Run { argv, env, cwd: Some("/tmp".to_owned()) }, &[]);
        let started = self.frame();
        assert_eq!(started.number, number);
        assert!(matches!(started.message, Reply::Started { pid } if pid > 0));
        number
    }

    /// What the command wrote to (stdout, stderr), and its end.
    fn outcome(&mut self, number: u32) -> (String, String, Status) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        loop {
            let frame = self.frame();
            assert_eq!(frame.number, number);
            match frame.message {
                Reply::Output { stream: Stream::Stdout } => out.extend(frame.payload),
                Reply::Output { stream: Stream::Stderr } => err.extend(frame.payload),
                Reply::Exited { status } => {
                    let text = |bytes| String::from_utf8(bytes).unwrap();
                    return (text(out), text(err), status);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

fn hello() -> Hello {
    Hello {
        version: VERSION,
        kernel: facts::kernel_release(),
        cpus: facts::cpus(),
        clock_source: facts::clock_source(),
        init_ns: 1,
        hello_ns: 2,
        network: None,
        warnings: vec![],
    }
}

#[test]
fn serves() {
    let (stream, port) = UnixStream::pair().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let agent = thread::spawn(move || serve::serve(&port, hello()));
    let mut host = Host { stream, number: 0 };
    assert_eq!(host.frame().message, Reply::Hello(hello()));

    commands(&mut host);
    clock_while_a_command_runs(&mut host);
    files(&mut host);
    errors(&mut host);

    let asleep = host.run("sleep 100");
    assert_eq!(host.answer(&Request::Shutdown, &[]), Reply::Done);
    assert_eq!(host.outcome(asleep).2, Status::Signal(9));
    agent.join().unwrap().unwrap();
}

fn commands(host: &mut Host) {
    let number = host.run("pwd; echo $WORD >&2; exit 3");
    assert_eq!(host.outcome(number), ("/tmp\n".into(), "hello\n".into(), Status::Code(3)));
    let number = host.run("head -c 1000000 /dev/zero | tr '\\0' x");
    let (out, _, status) = host.outcome(number);
    assert_eq!((out.len(), status), (1_000_000, Status::Code(0)));
    // A process left behind that holds the output open does not hold up the end.
    let number = host.run("sleep 30 & echo done; exit 0");
    assert_eq!(host.outcome(number).0, "done\n");
}

fn clock_while_a_command_runs(host: &mut Host) {
    let number = host.run("sleep 100");
    let before = facts::monotonic_ns();
    let Reply::Clock { monotonic_ns } = host.answer(&Request::Clock, &[]) else { panic!() };
    assert!((before..=facts::monotonic_ns()).contains(&monotonic_ns));
    host.ask(&Request::Signal { run: number, signal: 15 }, &[]);
    assert_eq!(host.frame().message, Reply::Done);
    assert_eq!(host.outcome(number).2, Status::Signal(15));
}

fn files(host: &mut Host) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x/y").to_str().unwrap().to_owned();
    let put = Request::Put { path: path.clone(), mode: 0o644, append: false };
    assert_eq!(host.answer(&put, b"content"), Reply::Done);
    host.ask(&Request::Get { path }, &[]);
    assert_eq!(host.frame().payload, b"content");
    assert_eq!(host.frame().message, Reply::File { last: true });
}

fn errors(host: &mut Host) {
    let run = |program: &str| Request::Run { argv: vec![program.into()], env: vec![], cwd: None };
    for (request, part) in [
        (run("no-such-program"), "no-such-program"),
        (Request::Run { argv: vec![], env: vec![], cwd: None }, "no program"),
        (Request::Get { path: "/no/such/file".into() }, "/no/such/file"),
        (Request::Signal { run: 9999, signal: 15 }, "9999"),
        (Request::Put { path: "/proc/none/x".into(), mode: 0o644, append: false }, "/proc/none/x"),
    ] {
        match host.answer(&request, &[]) {
            Reply::Error { message } => assert!(message.contains(part), "{message}"),
            other => panic!("{request:?}: {other:?}"),
        }
    }
}

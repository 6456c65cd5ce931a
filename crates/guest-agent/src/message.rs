//! What host and guest say to each other. Bytes (file contents, output) travel as the payload of
//! the frame that carries the message.

use serde::{Deserialize, Serialize};

/// The version of these messages; the host refuses an agent that says another.
pub const VERSION: u32 = 1;

/// The name of the virtio-serial port.
pub const PORT_NAME: &str = "rtvm.agent";

/// From the host to the guest. The frame's number names the request; each reply repeats it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Start a command. Replies: `Started`, any number of `Output`, `Exited`; or `Error`.
    Run {
        /// Program and arguments; a program without a slash is searched for in PATH.
        argv: Vec<String>,
        /// Variables set beside the agent's own.
        env: Vec<(String, String)>,
        /// Where it runs; `/` if none.
        cwd: Option<String>,
    },
    /// Send a signal to the process group of a running command. Reply: `Done` or `Error`.
    Signal {
        /// The number of the `Run` request.
        run: u32,
        /// The signal, for example 15.
        signal: i32,
    },
    /// Write the payload to a file, whose folders are made as needed. Reply: `Done` or `Error`.
    Put {
        /// Absolute path.
        path: String,
        /// Permission bits, for example 0o755.
        mode: u32,
        /// Add to the file instead of replacing it: how files above one payload travel.
        append: bool,
    },
    /// Send a file. Replies: any number of `File`, the last one marked; or `Error`.
    Get {
        /// Absolute path.
        path: String,
    },
    /// Read the guest's clock. Reply: `Clock`.
    Clock,
    /// Power off. Reply: `Done`.
    Shutdown,
}

/// From the guest to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reply {
    /// The guest is up; sent once, unasked, as number 0.
    Hello(Hello),
    /// The command runs.
    Started {
        /// Its process, in the guest.
        pid: i32,
    },
    /// The payload is output of the command.
    Output {
        /// Which of the two.
        stream: Stream,
    },
    /// The command is over; all its output was sent before.
    Exited {
        /// How it ended.
        status: Status,
    },
    /// The payload is a part of the file.
    File {
        /// No more will come.
        last: bool,
    },
    /// The guest's time.
    Clock {
        /// CLOCK_MONOTONIC of the guest.
        monotonic_ns: u64,
    },
    /// Done as asked.
    Done,
    /// Not done.
    Error {
        /// Why not.
        message: String,
    },
}

/// What the guest found when it came up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the agent.
    pub version: u32,
    /// Kernel release.
    pub kernel: String,
    /// CPUs online.
    pub cpus: u32,
    /// The guest's clock source.
    pub clock_source: Option<String>,
    /// CLOCK_MONOTONIC when /init began and when the hello was sent, in ns: the boot's own share
    /// and the agent's.
    pub init_ns: u64,
    /// See `init_ns`.
    pub hello_ns: u64,
    /// The network device that was brought up.
    pub network: Option<String>,
    /// What went wrong on the way and did not stop the boot.
    pub warnings: Vec<String>,
}

/// One of a command's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl Status {
    /// Whether it is exit code 0.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

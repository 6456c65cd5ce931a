//! Frames: how a message and its bytes travel over a stream.
//!
//! ```text
//! "RTVM" | number u32 | header length u32 | payload length u32 | header (JSON) | payload
//! ```
//!
//! Integers are little-endian. Both lengths are bounded, so that garbage on the line is an error
//! and never a gigabyte of memory.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

const MAGIC: [u8; 4] = *b"RTVM";

/// The longest header, in bytes.
pub const MAX_HEADER: usize = 256 * 1024;

/// The longest payload, in bytes; longer files and outputs travel in several frames.
pub const MAX_PAYLOAD: usize = 256 * 1024;

/// A message, the number of the request that it belongs to, and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<T> {
    /// The request's number.
    pub number: u32,
    /// The message.
    pub message: T,
    /// File contents or output; often empty.
    pub payload: Vec<u8>,
}

/// Why a frame could not be read or written.
#[derive(Debug, Error)]
pub enum ProtocolError {
    /// The stream failed, or ended inside a frame.
    #[error("the control channel failed")]
    Io(#[from] io::Error),
    /// Something else than a frame is on the line.
    #[error("the control channel carries {0:02x?} where a frame should begin")]
    NotAFrame([u8; 4]),
    /// A length is above its bound.
    #[error("a frame's {part} has {length} bytes; at most {limit} are allowed")]
    TooLong {
        /// `header` or `payload`.
        part: &'static str,
        /// What it says.
        length: usize,
        /// What it may be.
        limit: usize,
    },
    /// The header is not one of the messages.
    #[error("a frame's header is not a message of this protocol version")]
    Header(#[from] serde_json::Error),
}

/// Writes one frame, in one call of `write_all`.
///
/// # Errors
/// [`ProtocolError::TooLong`] before anything is written; else what the stream says.
pub fn write<T: Serialize>(
    out: &mut impl Write,
    number: u32,
    message: &T,
    payload: &[u8],
) -> Result<(), ProtocolError> {
    let header = serde_json::to_vec(message)?;
    let header_length = bounded("header", header.len(), MAX_HEADER)?;
    let payload_length = bounded("payload", payload.len(), MAX_PAYLOAD)?;
    let mut bytes = Vec::with_capacity(16 + header.len() + payload.len());
    bytes.extend_from_slice(&MAGIC);
    for word in [number, header_length, payload_length] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(payload);
    out.write_all(&bytes)?;
    Ok(out.flush()?)
}

/// Reads one frame; none if the stream ends before its first byte.
///
/// # Errors
/// One [`ProtocolError`] a rule. The stream is of no use afterwards.
pub fn read<T: DeserializeOwned>(input: &mut impl Read) -> Result<Option<Frame<T>>, ProtocolError> {
    let mut prefix = [0_u8; 16];
    if !read_first(input, &mut prefix)? {
        return Ok(None);
    }
    let word = |at: usize| u32::from_le_bytes(prefix[at..at + 4].try_into().expect("four bytes"));
    if prefix[..4] != MAGIC {
        return Err(ProtocolError::NotAFrame(prefix[..4].try_into().expect("four bytes")));
    }
    let header_length = bounded("header", word(8) as usize, MAX_HEADER)?;
    let payload_length = bounded("payload", word(12) as usize, MAX_PAYLOAD)?;
    let mut header = vec![0; header_length as usize];
    input.read_exact(&mut header)?;
    let mut payload = vec![0; payload_length as usize];
    input.read_exact(&mut payload)?;
    Ok(Some(Frame { number: word(4), message: serde_json::from_slice(&header)?, payload }))
}

/// Fills `buffer`; false if the stream ends before its first byte.
fn read_first(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    let got = loop {
        match input.read(buffer) {
            Ok(got) => break got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    if got == 0 {
        return Ok(false);
    }
    input.read_exact(&mut buffer[got..])?;
    Ok(true)
}

fn bounded(part: &'static str, length: usize, limit: usize) -> Result<u32, ProtocolError> {
    if length > limit {
        return Err(ProtocolError::TooLong { part, length, limit });
    }
    Ok(u32::try_from(length).expect("limits are below 2^32"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Reply, Request, Status};
    use proptest::prelude::*;

    fn requests() -> impl Strategy<Value = Request> {
        prop_oneof![
            (
                prop::collection::vec(".*", 0..5),
                prop::collection::vec((".*", ".*"), 0..3),
                prop::option::of(".*")
            )
                .prop_map(|(argv, env, cwd)| Request::Run { argv, env, cwd }),
            (any::<u32>(), any::<i32>()).prop_map(|(run, signal)| Request::Signal { run, signal }),
            (".*", any::<u32>(), any::<bool>()).prop_map(|(path, mode, append)| Request::Put {
                path,
                mode,
                append
            }),
            ".*".prop_map(|path| Request::Get { path }),
            Just(Request::Clock),
            Just(Request::Shutdown),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            frames in prop::collection::vec(
                (any::<u32>(), requests(), prop::collection::vec(any::<u8>(), 0..2000)), 1..5)
        ) {
            let mut bytes = Vec::new();
            for (number, message, payload) in &frames {
                write(&mut bytes, *number, message, payload).unwrap();
            }
            let mut input = bytes.as_slice();
            for (number, message, payload) in frames {
                let frame = read::<Request>(&mut input).unwrap().unwrap();
                prop_assert_eq!(frame, Frame { number, message, payload });
            }
            prop_assert!(read::<Request>(&mut input).unwrap().is_none());
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read::<Reply>(&mut bytes.as_slice());
        }

        #[test]
        fn a_damaged_frame_never_panics(at in 0_usize..100, value: u8, cut in 0_usize..100) {
            let mut bytes = Vec::new();
            let reply = Reply::Exited { status: Status::Code(3) };
            write(&mut bytes, 7, &reply, b"some bytes").unwrap();
            let at = at % bytes.len();
            bytes[at] = value;
            bytes.truncate(bytes.len() - cut % bytes.len());
            let _ = read::<Reply>(&mut bytes.as_slice());
        }
    }

    #[test]
    fn lengths_are_bounded_both_ways() {
        let error = write(&mut Vec::new(), 1, &Request::Clock, &vec![0; MAX_PAYLOAD + 1]);
        assert!(matches!(error, Err(ProtocolError::TooLong { part: "payload", .. })));
        let mut bytes = Vec::new();
        write(&mut bytes, 1, &Request::Clock, b"").unwrap();
        bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = read::<Request>(&mut bytes.as_slice());
        assert!(matches!(error, Err(ProtocolError::TooLong { part: "header", .. })));
    }

    #[test]
    fn an_end_inside_a_frame_is_an_error() {
        let mut bytes = Vec::new();
        write(&mut bytes, 1, &Request::Clock, b"abc").unwrap();
        bytes.pop();
        assert!(matches!(read::<Request>(&mut bytes.as_slice()), Err(ProtocolError::Io(_))));
    }

    /// Every frame of `bytes`; those that are whole are written again as they were.
    fn all<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(mut bytes: &[u8]) {
        while let Ok(Some(frame)) = read::<T>(&mut bytes) {
            let mut again = Vec::new();
            write(&mut again, frame.number, &frame.message, &frame.payload).unwrap();
            assert_eq!(read::<T>(&mut again.as_slice()).unwrap(), Some(frame));
        }
    }

    #[test]
    fn mutated_frames_are_frames_or_errors_both_ways() {
        let mut seeds = Vec::new();
        let run = Request::Run {
            argv: vec!["sh".into(), "-c".into(), "true".into()],
            env: vec![("A".into(), "b".into())],
            cwd: Some("/".into()),
        };
        let put = Request::Put { path: "/tmp/x".into(), mode: 0o755, append: true };
        for request in [run, put, Request::Signal { run: 3, signal: 15 }, Request::Clock] {
            let mut bytes = Vec::new();
            write(&mut bytes, 7, &request, b"payload").unwrap();
            seeds.push(bytes);
        }
        for reply in [
            Reply::Exited { status: Status::Code(3) },
            Reply::Clock { monotonic_ns: 17 },
            Reply::Error { message: "no".into() },
        ] {
            let mut bytes = Vec::new();
            write(&mut bytes, 7, &reply, b"").unwrap();
            seeds.push(bytes);
        }
        seeds.push(seeds.concat());
        mutate::inputs(&seeds, |bytes| {
            all::<Request>(bytes);
            all::<Reply>(bytes);
        });
    }
}

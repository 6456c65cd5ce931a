//! An answer, as its bytes arrive.

use std::mem;

use http::Method;

use super::{
    chunks::Chunks,
    head::{self, Framing, Head, Parsed, malformed},
};
use crate::Failure;

/// The most bytes of a head that is not whole.
const LONGEST_HEAD: usize = 400 << 10;

/// What is known of an answer so far: a request which is given up still tells how far it came.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Of a head that is not whole.
    held: Vec<u8>,
    stage: Stage,
    pub(crate) status: Option<u16>,
    /// Of the body.
    pub(crate) bytes: u64,
    /// Whether something told where the body ends, so that a cut could be seen.
    pub(crate) delimited: bool,
    /// The length announced.
    announced: Option<u64>,
    /// Whether the connection can take another request afterwards.
    pub(crate) keeps: bool,
    checksum: Option<Result<u32, Failure>>,
    crc: Option<crc32fast::Hasher>,
}

/// What comes next.
#[derive(Debug, Default)]
enum Stage {
    #[default]
    Head,
    /// So many bytes of the body.
    Length(u64),
    Chunks(Chunks),
    UntilEnd,
    /// All of it has come.
    Whole,
}

impl Answer {
    /// Forgets the answer before.
    pub(crate) fn reset(&mut self) {
        let mut held = mem::take(&mut self.held);
        held.clear();
        *self = Self { held, ..Self::default() };
    }

    /// Takes bytes that arrived, of an answer to `method`. Where the answer is whole, how many of them
    /// came after its end.
    ///
    /// # Errors
    /// Those that a head or chunk has which is none, or that is too long.
    pub(crate) fn feed(&mut self, bytes: &[u8], method: &Method) -> Result<Option<usize>, Failure> {
        if !matches!(self.stage, Stage::Head) {
            return self.body(bytes);
        }
        let mut held = mem::take(&mut self.held);
        let all = if held.is_empty() {
            bytes
        } else {
            held.extend_from_slice(bytes);
            &held[..]
        };
        let rest = self.heads(all, method)?;
        if !matches!(self.stage, Stage::Head) {
            return self.body(rest);
        }
        if rest.len() > LONGEST_HEAD {
            return Err(malformed("message head is too large"));
        }
        self.held = rest.to_vec();
        Ok(None)
    }

    /// What follows the heads of `bytes`, or the beginning of one that is not whole.
    fn heads<'b>(&mut self, mut bytes: &'b [u8], method: &Method) -> Result<&'b [u8], Failure> {
        while !bytes.is_empty() {
            match head::parse(bytes, method)? {
                Parsed::Partial => break,
                Parsed::Interim(length) => bytes = &bytes[length..],
                Parsed::Final(length, head) => {
                    self.begin(head);
                    return Ok(&bytes[length..]);
                }
            }
        }
        Ok(bytes)
    }

    fn begin(&mut self, head: Head) {
        self.status = Some(head.status);
        self.keeps = head.keeps;
        self.delimited = head.framing != Framing::UntilEnd;
        self.stage = match head.framing {
            Framing::Length(length) => {
                self.announced = Some(length);
                Stage::Length(length)
            }
            Framing::Chunked => Stage::Chunks(Chunks::default()),
            Framing::UntilEnd => Stage::UntilEnd,
        };
        self.crc = head.checksum.as_ref().map(|_| crc32fast::Hasher::new());
        self.checksum = head.checksum;
    }

    fn body(&mut self, bytes: &[u8]) -> Result<Option<usize>, Failure> {
        let after = match &mut self.stage {
            Stage::Length(left) => {
                let here = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= here as u64;
                let after = (*left == 0).then_some(bytes.len() - here);
                self.count(&bytes[..here]);
                after
            }
            Stage::Chunks(_) => self.chunks(bytes)?,
            Stage::UntilEnd => {
                self.count(bytes);
                None
            }
            Stage::Head | Stage::Whole => Some(bytes.len()),
        };
        if after.is_some() {
            self.stage = Stage::Whole;
        }
        Ok(after)
    }

    fn chunks(&mut self, mut bytes: &[u8]) -> Result<Option<usize>, Failure> {
        while let Stage::Chunks(chunks) = &mut self.stage {
            match chunks.next(&mut bytes).map_err(malformed)? {
                Some(data) => self.count(data),
                None if chunks.have_ended() => return Ok(Some(bytes.len())),
                None => break,
            }
        }
        Ok(None)
    }

    fn count(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        if let Some(crc) = &mut self.crc {
            crc.update(data);
        }
    }

    /// The service has closed the connection, which may be the end of the body.
    ///
    /// # Errors
    /// [`Failure::Closed`] within the head, [`Failure::CutOff`] within a body whose end was told.
    pub(crate) fn close(&mut self) -> Result<(), Failure> {
        match self.stage {
            Stage::Head => Err(Failure::Closed),
            Stage::UntilEnd | Stage::Whole => Ok(()),
            Stage::Length(_) | Stage::Chunks(_) => {
                Err(Failure::CutOff { got: self.bytes, announced: self.announced })
            }
        }
    }

    /// Whether a whole answer is a good one, after which so many bytes came.
    ///
    /// # Errors
    /// A status other than 2xx, a wrong checksum, bytes too many; the first of these.
    pub(crate) fn judge(&mut self, after: usize) -> Result<(), Failure> {
        if let Some(status) = self.status.filter(|status| !(200..=299).contains(status)) {
            return Err(Failure::Status(status));
        }
        if let (Some(announced), Some(crc)) = (self.checksum.take().transpose()?, self.crc.take()) {
            let got = crc.finalize();
            if got != announced {
                return Err(Failure::Checksum { got, announced });
            }
        }
        match self.announced {
            _ if after == 0 => Ok(()),
            Some(announced) => Err(Failure::TooLong(announced)),
            None => Err(malformed("bytes after the last chunk")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::cut::taken;

    fn get(text: &str) -> (Result<usize, Failure>, Option<u16>, u64) {
        taken([text.as_bytes()], &Method::GET)
    }

    #[test]
    fn each_end_is_known_for_what_it_is() {
        let ok = "HTTP/1.1 200 OK\r\n";
        assert_eq!(get(&format!("{ok}Content-Length: 4\r\n\r\nbody")), (Ok(0), Some(200), 4));
        assert_eq!(get(&format!("{ok}\r\nbody")), (Ok(0), Some(200), 4));
        assert_eq!(get("HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 204 X\r\n\r\n"), (Ok(0), Some(204), 0));
        assert_eq!(get(""), (Err(Failure::Closed), None, 0));
        assert_eq!(get("HTTP/1.1 100 Go\r\n\r\n"), (Err(Failure::Closed), None, 0));
        let cut = Failure::CutOff { got: 3, announced: Some(4) };
        assert_eq!(get(&format!("{ok}Content-Length: 4\r\n\r\nbod")), (Err(cut), Some(200), 3));
        let long = get(&format!("{ok}Content-Length: 4\r\n\r\nbody!"));
        assert_eq!(long, (Err(Failure::TooLong(4)), Some(200), 4));
        let chunked = format!("{ok}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n");
        assert_eq!(get(&chunked), (Ok(0), Some(200), 4));
        assert!(matches!(get(&format!("{chunked}!")).0, Err(Failure::Malformed(_))));
    }

    #[test]
    fn a_head_without_an_end_is_given_up() {
        let endless = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(LONGEST_HEAD));
        assert_eq!(get(&endless).0, Err(malformed("message head is too large")));
    }

    #[test]
    fn an_answer_is_forgotten_before_the_next_one() {
        let mut answer = Answer::default();
        let bad =
            b"HTTP/1.1 200 OK\r\nX-Content-CRC32: 00000000\r\nContent-Length: 9\r\n\r\n123456789";
        assert_eq!(answer.feed(bad, &Method::GET), Ok(Some(0)));
        assert!(matches!(
            answer.judge(0),
            Err(Failure::Checksum { got: 0xcbf4_3926, announced: 0 })
        ));
        answer.reset();
        assert_eq!(answer.feed(b"HTTP/1.1 204 X\r\n", &Method::GET), Ok(None));
        answer.reset();
        assert_eq!(answer.feed(b"HTTP/1.1 204 X\r\n\r\n", &Method::GET), Ok(Some(0)));
        assert_eq!((answer.bytes, answer.judge(0)), (0, Ok(())));
    }
}

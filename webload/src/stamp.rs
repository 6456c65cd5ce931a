//! When the bytes of an answer arrived.

/// When the bytes of one answer arrived (0: not yet). Interim answers (1xx, RFC 9110 section 15.2)
/// before it are none of its bytes.
#[derive(Debug, Default)]
pub(crate) struct Stamps {
    first: u64,
    last: u64,
    end: u64,
    /// Within an interim answer: how much of the blank line at its end has come.
    interim: Option<usize>,
}

/// How an interim answer begins.
const INTERIM: &[u8] = b"HTTP/1.1 1";
/// One that is final: the connection speaks another protocol from here.
const SWITCHING: &[u8] = b"HTTP/1.1 101";
/// How every head ends.
const BLANK_LINE: &[u8] = b"\r\n\r\n";

impl Stamps {
    /// The first read that brought bytes.
    pub(crate) fn first_byte_ns(&self) -> Option<u64> {
        known(self.first)
    }

    /// The latest read that brought bytes.
    pub(crate) fn last_byte_ns(&self) -> Option<u64> {
        known(self.last)
    }

    /// The read that found the end of the stream.
    pub(crate) fn end_ns(&self) -> Option<u64> {
        known(self.end)
    }

    /// What a read brought, and when; nothing where it found the end of the stream.
    pub(crate) fn note(&mut self, bytes: &[u8], now: u64) {
        if bytes.is_empty() {
            self.end = now;
            return;
        }
        self.last = now;
        if self.first == 0 && self.is_past_interim(bytes) {
            self.first = now;
        }
    }

    /// Whether `bytes` hold some of the final answer.
    fn is_past_interim(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let Some(mut matched) = self.interim else {
                if !bytes.starts_with(INTERIM) || bytes.starts_with(SWITCHING) {
                    return !bytes.is_empty();
                }
                self.interim = Some(0);
                continue;
            };
            let Some((&byte, rest)) = bytes.split_first() else { return false };
            bytes = rest;
            matched = match byte {
                _ if byte == BLANK_LINE[matched] => matched + 1,
                b'\r' => 1,
                _ => 0,
            };
            self.interim = (matched < BLANK_LINE.len()).then_some(matched);
        }
    }
}

fn known(ns: u64) -> Option<u64> {
    (ns != 0).then_some(ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The read that the first byte of the final answer came with, counted from 1.
    fn first(reads: &[&str]) -> Option<u64> {
        let mut stamps = Stamps::default();
        for (read, at) in reads.iter().zip(1..) {
            stamps.note(read.as_bytes(), at);
        }
        stamps.first_byte_ns()
    }

    #[test]
    fn interim_answers_are_no_first_byte() {
        let (hint, ok) = ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "HTTP/1.1 200 OK\r\n");
        assert_eq!(first(&[ok]), Some(1));
        assert_eq!(first(&[hint]), None);
        assert_eq!(first(&[hint, ok]), Some(2));
        assert_eq!(first(&[&[hint, ok].concat()]), Some(1));
        assert_eq!(
            first(&[&hint[..20], &hint[20..hint.len() - 1], &hint[hint.len() - 1..], ok]),
            Some(4)
        );
        assert_eq!(first(&["HTTP/1.1 100 Continue\r\n\r\n", hint, ok]), Some(3));
        assert_eq!(first(&["HTTP/1.1 101 Switching Protocols\r\n"]), Some(1));
    }
}

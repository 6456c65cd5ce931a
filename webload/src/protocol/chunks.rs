//! A body in chunks (RFC 9112, section 7.1), as it arrives.

use super::head;

/// The most bytes of chunk extensions in a body, and the most of its trailers.
const MOST_ASIDE: usize = 16 << 10;

/// The most trailers.
const MOST_TRAILERS: usize = 100;

/// How far the chunks of a body have come.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: State,
    /// The size of the chunk, and then what of it is still to come.
    left: u64,
    extensions: usize,
    trailers: Vec<u8>,
    trailer_lines: usize,
}

/// What comes next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    FirstDigit,
    Digit,
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerOrEnd,
    Trailer,
    TrailerLf,
    EndLf,
    Ended,
}

impl Chunks {
    /// Whether the last chunk and what follows it have come.
    pub(super) fn have_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// The next data of `bytes`, which moves past it; none where there is no more, or all have come.
    ///
    /// # Errors
    /// What is not as it should be.
    pub(super) fn next<'b>(
        &mut self,
        bytes: &mut &'b [u8],
    ) -> Result<Option<&'b [u8]>, &'static str> {
        while self.state != State::Ended {
            if self.state == State::Data {
                let here = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                let (data, rest) = bytes.split_at(here);
                *bytes = rest;
                self.left -= here as u64;
                self.state = if self.left == 0 { State::DataCr } else { State::Data };
                return Ok((here > 0).then_some(data));
            }
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(None) };
            *bytes = rest;
            self.state = self.after(byte)?;
        }
        Ok(None)
    }

    /// The state after `byte`, which is none of the data.
    fn after(&mut self, byte: u8) -> Result<State, &'static str> {
        match (self.state, byte) {
            (State::FirstDigit | State::Digit, _) if byte.is_ascii_hexdigit() => self.digit(byte),
            (State::FirstDigit, _) => Err("a chunk's size has no hexadecimal digit"),
            (State::Digit | State::Blank | State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Digit | State::Blank, b' ' | b'\t') => Ok(State::Blank),
            (State::Digit | State::Blank, b';') => Ok(State::Extension),
            (State::Digit | State::Blank, _) => Err("a chunk's size is not hexadecimal"),
            (State::Extension, b'\n') => Err("a chunk's extension has a line feed alone"),
            (State::Extension, _) => self.extension(),
            (State::SizeLf, b'\n') if self.left == 0 => Ok(State::TrailerOrEnd),
            (State::SizeLf, b'\n') => Ok(State::Data),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::FirstDigit),
            (State::DataCr | State::DataLf, _) => Err("a chunk is longer than its size"),
            (State::TrailerOrEnd, b'\r') => Ok(State::EndLf),
            (State::TrailerOrEnd | State::Trailer | State::TrailerLf, _) => self.trailer(byte),
            (State::EndLf, b'\n') => self.end(),
            (State::SizeLf | State::EndLf, _) => Err("a line ends without a line feed"),
            (State::Data | State::Ended, _) => unreachable!("`next` takes data, and ends"),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<State, &'static str> {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        let size =
            self.left.checked_mul(16).zip(digit).and_then(|(high, low)| high.checked_add(low));
        self.left = size.ok_or("a chunk's size is above 2^64")?;
        Ok(State::Digit)
    }

    fn extension(&mut self) -> Result<State, &'static str> {
        self.extensions += 1;
        if self.extensions >= MOST_ASIDE {
            Err("chunk extensions are too long")
        } else {
            Ok(State::Extension)
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, &'static str> {
        if self.trailers.len() >= MOST_ASIDE {
            return Err("trailers are too long");
        }
        self.trailers.push(byte);
        match (self.state, byte) {
            (State::TrailerLf, b'\n') => {
                self.trailer_lines += 1;
                if self.trailer_lines > MOST_TRAILERS {
                    Err("too many trailers")
                } else {
                    Ok(State::TrailerOrEnd)
                }
            }
            (State::TrailerLf, _) => Err("a trailer ends without a line feed"),
            (_, b'\r') => Ok(State::TrailerLf),
            _ => Ok(State::Trailer),
        }
    }

    /// All has come: trailers have to be such.
    fn end(&mut self) -> Result<State, &'static str> {
        self.trailers.extend_from_slice(b"\r\n");
        let mut headers = [httparse::EMPTY_HEADER; MOST_TRAILERS];
        match httparse::parse_headers(&self.trailers, &mut headers) {
            Ok(httparse::Status::Complete(_)) => Ok(State::Ended),
            Ok(httparse::Status::Partial) => Err("trailers are cut off"),
            Err(error) => Err(head::reason(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data of a body that comes in pieces, and what follows it.
    fn decoded<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Vec<u8>, bool, usize), &'static str> {
        let (mut chunks, mut data, mut after) = (Chunks::default(), Vec::new(), 0);
        for mut piece in pieces {
            while let Some(more) = chunks.next(&mut piece)? {
                data.extend_from_slice(more);
            }
            after += piece.len();
        }
        Ok((data, chunks.have_ended(), after))
    }

    #[test]
    fn extensions_and_trailers_are_none_of_the_data() {
        let body =
            b"4;name=value\r\n1234\r\n0005 \t\r\n56789\r\n0\r\nDigest: x\r\nMore: y\r\n\r\nrest";
        assert_eq!(decoded([&body[..]]), Ok((b"123456789".to_vec(), true, 4)));
        assert_eq!(decoded([&b"0\r\n\r\n"[..]]), Ok((vec![], true, 0)));
        assert_eq!(decoded([&b"5\r\n1234"[..]]), Ok((b"1234".to_vec(), false, 0)));
    }

    #[test]
    fn what_is_no_chunk_is_told() {
        let long = [b"1;", &[b'x'; MOST_ASIDE][..], b"\r\n"].concat();
        let trailers = [b"0\r\na: ", &[b'x'; MOST_ASIDE][..], b"\r\n\r\n"].concat();
        let many = [b"0\r\n", "a: b\r\n".repeat(MOST_TRAILERS + 1).as_bytes(), b"\r\n"].concat();
        for body in [
            &b"\r\n"[..],
            b"xyz\r\n",
            b"-5\r\n",
            b"5x\r\n",
            b"5 5\r\n",
            b"5;a\n",
            b"5\rx",
            b"10000000000000000\r\n",
            b"1\r\nxy\r\n",
            b"1\r\nx\ry",
            b"0\r\n\rx",
            b"0\r\na: b\rx",
            b"0\r\nno trailer\r\n\r\n",
            &long,
            &trailers,
            &many,
        ] {
            assert!(decoded([body]).is_err(), "{}", body.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn how_it_is_cut_makes_no_difference(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            mutation in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\na: b\r\n\r\nrest");
            match &mutation {
                Some((at, byte)) => *at.get_mut(&mut body) = *byte,
                None => prop_assert_eq!(decoded([&body[..]]), Ok((chunks.concat(), true, 4))),
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]);
            prop_assert_eq!(decoded(pieces), decoded([&body[..]]));
        }
    }
}

//! A query string (`application/x-www-form-urlencoded`) as pairs of names and values.

use crate::refusal::{Refusal, quoted};

/// Names and values in the order given, percent-decoded; empty pieces (`a=1&&b=2`) are skipped.
///
/// # Errors
/// 400 where a percent escape is malformed or the decoded bytes are not UTF-8.
pub fn pairs(query: &[u8]) -> Result<Vec<(String, String)>, Refusal> {
    query
        .split(|&byte| byte == b'&')
        .filter(|piece| !piece.is_empty())
        .map(|piece| {
            let cut = piece.iter().position(|&byte| byte == b'=');
            let (name, value) = match cut {
                Some(at) => (&piece[..at], &piece[at + 1..]),
                None => (piece, &[][..]),
            };
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

fn decoded(text: &[u8]) -> Result<String, Refusal> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let Some(byte) = tail.first_chunk::<2>().and_then(|pair| hex(*pair)) else {
                    let shown = quoted(&String::from_utf8_lossy(text));
                    return bad(format!(
                        "{shown} has a % that two hexadecimal digits do not follow"
                    ));
                };
                bytes.push(byte);
                rest = &tail[2..];
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).or_else(|e| {
        bad(format!("{} in the query is not UTF-8: {e}", quoted(&String::from_utf8_lossy(text))))
    })
}

fn bad<T>(text: String) -> Result<T, Refusal> {
    Err(Refusal::BadRequest(text))
}

fn hex([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decodes_names_and_values() {
        let read = pairs(b"angle=20&background=%23fF0000&&note=a+b&bare&x=1=2").unwrap();
        let expected = [
            ("angle", "20"),
            ("background", "#fF0000"),
            ("note", "a b"),
            ("bare", ""),
            ("x", "1=2"),
        ];
        assert_eq!(read, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn refuses_bad_escapes_and_text_that_is_not_utf8() {
        for query in [&b"a=%"[..], b"a=%2", b"a=%zz", b"a=%+1", b"%ff=1", b"a=\xff"] {
            assert!(matches!(pairs(query), Err(Refusal::BadRequest(_))), "{query:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_survives_being_escaped(text in "\\PC{0,40}") {
            let escaped: String = text.bytes().map(|b| format!("%{b:02X}")).collect();
            let read = pairs(format!("k={escaped}").as_bytes()).unwrap();
            prop_assert_eq!(&read[0].1, &text);
        }
    }
}

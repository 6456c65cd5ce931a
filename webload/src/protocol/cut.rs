//! Answers that come in pieces: how they are cut makes no difference.

use http::Method;
use proptest::prelude::*;

use super::answer::Answer;
use crate::Failure;

/// What becomes of an answer that comes in pieces, after which the connection is closed: the failure
/// or the bytes after its end, with status and length.
pub(super) fn taken<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    method: &Method,
) -> (Result<usize, Failure>, Option<u16>, u64) {
    let (mut answer, mut after) = (Answer::default(), None);
    for piece in pieces {
        match (after, answer.feed(piece, method)) {
            (_, Err(failure)) => return (Err(failure), answer.status, answer.bytes),
            (None, Ok(more)) => after = more,
            (Some(before), Ok(_)) => after = Some(before + piece.len()),
        }
    }
    let result = match after {
        Some(after) => answer.judge(after).map(|()| after),
        None => answer.close().and_then(|()| answer.judge(0)).map(|()| 0),
    };
    (result, answer.status, answer.bytes)
}

#[test]
fn mutated_answers_are_taken_or_refused_however_they_are_cut() {
    let seeds = [
        "HTTP/1.1 200 OK\r\nX-Content-CRC32: cbf43926\r\nContent-Length: 9\r\n\r\n123456789",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n9;a=b\r\n123456789\r\n0\r\nc: d\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n12",
    ];
    mutate::inputs(&seeds.map(|seed| seed.as_bytes().to_vec()), |bytes| {
        let whole = taken([bytes], &Method::GET);
        assert_eq!(taken(bytes.chunks(bytes.len() / 5 + 1), &Method::GET), whole);
        assert!(whole.2 <= bytes.len() as u64);
    });
}

/// Answers of all kinds, sound and not.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let head = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX-Content-CRC32: cbf43926\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n",
        "HTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 None\r\n\r\n",
        "HTTP/1.1 304 Same\r\n\r\n",
    ]);
    let body = prop::sample::select(vec!["", "123456789", "5\r\n56789\r\n0\r\n\r\n", "no"]);
    let mutation = prop::option::of((any::<prop::sample::Index>(), any::<u8>()));
    (head, body, mutation).prop_map(|(head, body, mutation)| {
        let mut bytes = [head, body].concat().into_bytes();
        if let Some((at, byte)) = mutation {
            *at.get_mut(&mut bytes) = byte;
        }
        bytes
    })
}

proptest! {
    #[test]
    fn how_it_is_cut_makes_no_difference(
        bytes in answers(), head in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let method = if head { Method::HEAD } else { Method::GET };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        prop_assert_eq!(taken(pieces, &method), taken([&bytes[..]], &method));
    }
}

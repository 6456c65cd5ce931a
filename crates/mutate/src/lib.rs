//! Spoiled inputs: good ones with bits flipped, parts removed, repeated, cut off and grafted onto each
//! other. Every reader of bytes that others write is given them, a few in `make test`, and as many
//! as fit into `FUZZ_SECONDS` in `make fuzz`.
//!
//! Without `FUZZ_SECONDS` the same inputs come every time; with it, `FUZZ_SEED` repeats a campaign.

use std::{
    env,
    io::Write,
    thread::panicking,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use fastrand::Rng;

/// How many inputs `make test` tries.
const FEW: u64 = 3000;
/// Longer than this no input grows.
const LONGEST: usize = 1 << 16;
/// What readers of text stumble over.
const SCRAPS: [&[u8]; 14] = [
    b"-1",
    b"0",
    b"18446744073709551616",
    b"1e309",
    b"nan",
    b"\"",
    b"{",
    b"]",
    b"null",
    b"\\u0000",
    b"\n",
    b"\0",
    b"\xff\xfe",
    b"=",
];

/// Shows the input with which a check panics.
struct Shown<'a>(&'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if panicking() {
            let text = format!("input: b\"{}\"\n", self.0.escape_ascii());
            let _lost = std::io::stderr().write_all(text.as_bytes());
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// Has `check` look at every seed and at spoiled ones. It panics where something is wrong. Returns how
/// many inputs there were.
pub fn inputs(seeds: &[Vec<u8>], check: impl Fn(&[u8])) -> u64 {
    let limit = number("FUZZ_SECONDS").map(Duration::from_secs);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seed = limit.map_or(1, |_| number("FUZZ_SEED").unwrap_or(now));
    let mut random = Rng::with_seed(seed);
    let begin = Instant::now();
    let look = |input: &[u8]| {
        let _shown = Shown(input);
        check(input);
    };
    seeds.iter().for_each(|seed| look(seed));
    let mut count = seeds.len() as u64;
    while limit.map_or(count < FEW, |limit| begin.elapsed() < limit) {
        look(&spoiled(seeds, &mut random));
        count += 1;
    }
    count
}

fn spoiled(seeds: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let mut input = random.choice(seeds).cloned().unwrap_or_default();
    for _ in 0..random.usize(1..5) {
        spoil(&mut input, seeds, random);
    }
    input.truncate(LONGEST);
    input
}

fn spoil(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Rng) {
    let at = random.usize(..=input.len());
    let end = random.usize(at..=input.len().min(at + 40));
    match random.u8(..8) {
        0 if at < input.len() => input[at] ^= 1 << random.u8(..8),
        1 if at < input.len() => input[at] = random.u8(..),
        2 => drop(input.drain(at..end)),
        3 => {
            let part = input[at..end].to_vec();
            drop(input.splice(at..at, part));
        }
        4 => input.truncate(at),
        5 => {
            let scrap = random.choice(SCRAPS).unwrap_or_default();
            drop(input.splice(at..end, scrap.iter().copied()));
        }
        6 => {
            let other = random.choice(seeds).map(Vec::as_slice).unwrap_or_default();
            let from = random.usize(..=other.len());
            drop(input.splice(at.., other[from..].iter().copied()));
        }
        _ => digits(input, at, random),
    }
}

/// Another number in place of the first one from `at` on.
fn digits(input: &mut Vec<u8>, at: usize, random: &mut Rng) {
    let Some(begin) = input[at..].iter().position(u8::is_ascii_digit).map(|far| at + far) else {
        return;
    };
    let length = input[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = match random.u8(..4) {
        0 => u64::MAX.to_string(),
        1 => u32::MAX.to_string(),
        2 => "0".to_owned(),
        _ => random.u64(..).to_string(),
    };
    drop(input.splice(begin..begin + length, number.into_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_come_first_and_then_what_is_near_them() {
        let seen = std::cell::RefCell::new(Vec::new());
        let seeds = [b"{\"number\": 17}".to_vec(), b"other".to_vec()];
        let count = inputs(&seeds, |input| seen.borrow_mut().push(input.to_vec()));
        let seen = seen.into_inner();
        assert_eq!((&seen[0], &seen[1]), (&seeds[0], &seeds[1]));
        assert_eq!(seen.len() as u64, count);
        let spoiled = seen.iter().filter(|one| !seeds.contains(one)).count() as u64;
        assert!(spoiled * 10 > count * 8, "{spoiled} of {count}");
        assert!(seen.iter().any(|one| one.windows(4).any(|four| four == b"4294")), "numbers grow");
    }
}

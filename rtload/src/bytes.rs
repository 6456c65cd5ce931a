//! Sizes of memory.

use std::str::FromStr;

use serde::Serialize;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            format!(
                "`{text}` is no size; write a number and KiB, MiB, GiB or TiB, for example `64MiB`"
            )
        };
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
        let (number, shift) = units
            .iter()
            .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))
            .ok_or_else(wrong)?;
        let number: u64 = number.trim().parse().map_err(|_not_a_number| wrong())?;
        let bytes = number.checked_mul(1 << shift).filter(|bytes| (LEAST..=MOST).contains(bytes));
        bytes.map(Self).ok_or_else(|| format!("`{text}`: a size lies from 4KiB to 1024TiB"))
    }
}

/// The least buffer, and more than any machine has.
pub(crate) const LEAST: u64 = 4 << 10;
pub(crate) const MOST: u64 = 1 << 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_nonsense_is_refused() {
        assert_eq!("64MiB".parse(), Ok(Bytes(64 << 20)));
        assert_eq!("4 KiB".parse(), Ok(Bytes(4096)));
        for wrong in ["", "64", "64MB", "-1MiB", "1KiB", "1025TiB", "99999999999999999999GiB"] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
    }
}

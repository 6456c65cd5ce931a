//! Whole nanoseconds, wide enough that no sum or product of the analysis overflows.

use std::time::Duration;

/// Nanoseconds of time or of work. Task parameters stay below 2^63; sums and horizons above it.
pub(crate) type Ns = u128;

/// Beyond this a fixed point counts as not found: 2^96 ns are 2.5 trillion years.
pub(crate) const FOREVER: Ns = 1 << 96;

/// ⌈a / b⌉, by 64-bit division where that is enough (128-bit division is several times slower).
pub(crate) fn ceil_div(a: Ns, b: Ns) -> Ns {
    match (u64::try_from(a), u64::try_from(b)) {
        (Ok(a), Ok(b)) => a.div_ceil(b).into(),
        _ => a.div_ceil(b),
    }
}

/// ⌊a / b⌋ and the remainder.
pub(crate) fn div_rem(a: Ns, b: Ns) -> (Ns, Ns) {
    match (u64::try_from(a), u64::try_from(b)) {
        (Ok(a), Ok(b)) => ((a / b).into(), (a % b).into()),
        _ => (a / b, a % b),
    }
}

/// The greatest common divisor; that of 0 and n is n.
pub(crate) fn gcd(a: Ns, b: Ns) -> Ns {
    if b == 0 { a } else { gcd(b, div_rem(a, b).1) }
}

/// The duration of that many nanoseconds; saturates after 584 years.
pub(crate) fn duration(ns: Ns) -> Duration {
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

//! What a probe of the clock saw: rows of `clock.csv`.

use serde::{Deserialize, Serialize};

use super::Columns;

/// Something that the clocks of a system did: a row of `clock.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockRow {
    /// The experiment that it belongs to; none for a program run on its own.
    pub experiment: Option<String>,
    /// The repetition of the experiment, from 0.
    pub repetition: Option<u32>,
    /// The VM whose clock it is; none on the host, or for a program run on its own.
    pub vm: Option<String>,
    /// The service that it belongs to; none for a program run on its own.
    pub service: Option<String>,
    /// What it is.
    pub what: ClockWhat,
    /// The clock that it is of.
    pub clock: ClockName,
    /// The read before (a timer: when it was due), on CLOCK_MONOTONIC: the host's in a result folder,
    /// that of the system that was probed for a program run on its own.
    pub start_ns: u64,
    /// How long a gap was, how far a clock stepped, or how late a wake-up was; none of an offset.
    pub length_ns: Option<u64>,
    /// By how much a clock stepped, with its sign; or the guest's clock minus the host's.
    pub offset_ns: Option<i64>,
    /// The offset, or where an event is on the host's clock, is known to within this; none for a
    /// program run on its own.
    pub uncertainty_ns: Option<u64>,
}

impl Columns for ClockRow {
    const COLUMNS: &'static [&'static str] = &[
        "experiment",
        "repetition",
        "vm",
        "service",
        "what",
        "clock",
        "start_ns",
        "length_ns",
        "offset_ns",
        "uncertainty_ns",
    ];
}

/// What a row of `clock.csv` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockWhat {
    /// Two successive reads of CLOCK_MONOTONIC in a tight loop lie further apart than the threshold.
    Gap,
    /// A read of a clock is below the one before it.
    Backward,
    /// A clock moved against CLOCK_MONOTONIC by more than the threshold, and than drift explains.
    Step,
    /// A wake-up by a timer, on a CPU that was idle until then.
    Timer,
    /// A wake-up by a timer, on a CPU that another thread kept busy.
    TimerBusy,
    /// The guest's clock was read from the host.
    Offset,
}

impl ClockWhat {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Gap, Self::Backward, Self::Step, Self::Timer, Self::TimerBusy, Self::Offset];

    /// The word in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Backward => "backward",
            Self::Step => "step",
            Self::Timer => "timer",
            Self::TimerBusy => "timer-busy",
            Self::Offset => "offset",
        }
    }
}

/// A clock of Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockName {
    /// CLOCK_MONOTONIC: slewed by NTP, never set.
    Monotonic,
    /// CLOCK_MONOTONIC_RAW: the clock source as it is.
    MonotonicRaw,
    /// CLOCK_REALTIME: may be set.
    Realtime,
}

impl ClockName {
    /// Every clock that is looked at.
    pub const ALL: [Self; 3] = [Self::Monotonic, Self::MonotonicRaw, Self::Realtime];

    /// The word in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Monotonic => "monotonic",
            Self::MonotonicRaw => "monotonic-raw",
            Self::Realtime => "realtime",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::write_rows;

    #[test]
    fn a_row_has_the_promised_columns_and_reads_back() {
        let row = |what, length_ns, offset_ns| ClockRow {
            experiment: Some("free".into()),
            repetition: Some(0),
            vm: Some("vm".into()),
            service: Some("clock".into()),
            what,
            clock: ClockName::MonotonicRaw,
            start_ns: 7,
            length_ns,
            offset_ns,
            uncertainty_ns: Some(9),
        };
        let rows =
            [row(ClockWhat::TimerBusy, Some(3), None), row(ClockWhat::Offset, None, Some(-5))];
        let mut bytes = Vec::new();
        write_rows(&mut bytes, &rows).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            "experiment,repetition,vm,service,what,clock,start_ns,length_ns,offset_ns,uncertainty_ns\n\
             free,0,vm,clock,timer-busy,monotonic-raw,7,3,,9\n\
             free,0,vm,clock,offset,monotonic-raw,7,,-5,9\n"
        );
        let read: Vec<ClockRow> =
            csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect();
        assert_eq!(read, rows);
    }

    #[test]
    fn words_are_those_of_the_files() {
        for what in ClockWhat::ALL {
            assert_eq!(serde_json::to_value(what).unwrap(), what.name());
        }
        for (at, clock) in ClockName::ALL.into_iter().enumerate() {
            assert_eq!(serde_json::to_value(clock).unwrap(), clock.name());
            assert_eq!(clock as usize, at);
        }
        assert!(ClockWhat::ALL.into_iter().enumerate().all(|(at, what)| what as usize == at));
    }
}

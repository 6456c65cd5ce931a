//! Latencies in the formats of cyclictest (rt-tests 2.4): `--histfile` and `--json`.
//!
//! A latency here is a cyclictest latency: from the scheduled release to the start of the job. Each
//! task stands where cyclictest has a thread; values are whole microseconds, rounded down, and what
//! is longer than a second is an overflow.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::SystemTime,
};

use jiff::Timestamp;
use model::duration::as_ns;
use nix::sys::utsname::uname;
use serde_json::{Map, Value, json};

use crate::engine::{Outcome, TaskOutcome};

/// cyclictest's own limit of its histogram, in microseconds.
const MOST_US: u64 = 1_000_000;

/// The latencies of one task.
struct Thread {
    /// How many of each, in microseconds.
    bins: BTreeMap<u64, u64>,
    overflows: u64,
    cycles: u64,
    min: u64,
    max: u64,
    avg: f64,
}

impl Thread {
    fn of(task: &TaskOutcome, first_release_ns: u64) -> Self {
        let mut own = Self::empty();
        if let Some(counted) = &task.histograms {
            for bin in counted.latency.histogram().iter_recorded() {
                own.add(bin.value_iterated_to(), bin.count_at_value());
            }
            // Not rounded to the width of a bin.
            if let Some(exact) = counted.latency.summary() {
                (own.min, own.max) = (exact.min / 1_000, exact.max / 1_000);
                own.avg = exact.mean / 1_000.0;
            }
            return own;
        }
        let period_ns = as_ns(task.planned.task.period());
        let mut sum = 0.0;
        for record in &task.records {
            let latency_ns = record.start_ns - (first_release_ns + record.job * period_ns);
            own.add(latency_ns, 1);
            sum += latency_ns as f64 / 1_000.0;
        }
        own.avg = if own.cycles > 0 { sum / own.cycles as f64 } else { 0.0 };
        own
    }

    fn empty() -> Self {
        Self { bins: BTreeMap::new(), overflows: 0, cycles: 0, min: u64::MAX, max: 0, avg: 0.0 }
    }

    fn add(&mut self, latency_ns: u64, count: u64) {
        let us = latency_ns / 1_000;
        self.cycles += count;
        self.min = self.min.min(us);
        self.max = self.max.max(us);
        if us < MOST_US {
            *self.bins.entry(us).or_default() += count;
        } else {
            self.overflows += count;
        }
    }

    /// cyclictest has 0 where there was no cycle.
    fn min(&self) -> u64 {
        if self.cycles == 0 { 0 } else { self.min }
    }
}

fn threads(outcome: &Outcome) -> Vec<Thread> {
    outcome.tasks.iter().map(|task| Thread::of(task, outcome.first_release_ns)).collect()
}

/// Writes what `cyclictest --histfile` writes.
pub(super) fn histfile(out: &mut dyn Write, outcome: &Outcome) -> io::Result<()> {
    let threads = threads(outcome);
    let cells = |of: &dyn Fn(&Thread) -> String, between: &str| {
        threads.iter().map(of).collect::<Vec<_>>().join(between)
    };
    writeln!(out, "# Histogram")?;
    let last = threads.iter().filter_map(|thread| thread.bins.keys().next_back()).max();
    for us in 0..last.map_or(0, |last| last + 1) {
        let count = |thread: &Thread| format!("{:06}", thread.bins.get(&us).unwrap_or(&0));
        writeln!(out, "{us:06} {}", cells(&count, "\t"))?;
    }
    let total = |thread: &Thread| format!("{:09}", thread.cycles - thread.overflows);
    writeln!(out, "# Total: {}", cells(&total, " "))?;
    writeln!(out, "# Min Latencies: {}", cells(&|thread| format!("{:05}", thread.min()), " "))?;
    let avg = |thread: &Thread| format!("{:05}", thread.avg as u64);
    writeln!(out, "# Avg Latencies: {}", cells(&avg, " "))?;
    writeln!(out, "# Max Latencies: {}", cells(&|thread| format!("{:05}", thread.max), " "))?;
    let overflows = |thread: &Thread| format!("{:05}", thread.overflows);
    writeln!(out, "# Histogram Overflows: {}", cells(&overflows, " "))?;
    writeln!(out, "# Histogram Overflow at cycle number:")?;
    for (number, thread) in threads.iter().enumerate() {
        let others = match thread.overflows {
            0 => String::new(),
            some => format!(" # {some:05} others"),
        };
        writeln!(out, "# Thread {number}:{others}")?;
    }
    writeln!(out)
}

/// Writes what `cyclictest --json` writes, with its own spelling of the keys.
pub(super) fn json(out: &mut dyn Write, outcome: &Outcome, cpu: Option<u32>) -> io::Result<()> {
    let threads = threads(outcome);
    let system = uname().map_err(io::Error::from)?;
    let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
    let command: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let whole = json!({
        "file_version": 1,
        "cmdline:": command.join(" "),
        "rt_test_version:": concat!("rtload ", env!("CARGO_PKG_VERSION")),
        "start_time": rfc_2822(kernel::clock::wall_of(outcome.first_release_ns)),
        "end_time": rfc_2822(kernel::clock::wall_of(outcome.end_ns)),
        "return_code": 0,
        "sysinfo": {
            "sysname": text(system.sysname()),
            "nodename": text(system.nodename()),
            "release": text(system.release()),
            "version": text(system.version()),
            "machine": text(system.machine()),
            "realtime": u8::from(text(system.version()).contains("PREEMPT_RT")),
        },
        "num_threads": threads.len(),
        "resolution_in_ns": 0,
        "thread": numbered(threads.iter().map(|thread| thread_json(thread, cpu))),
    });
    serde_json::to_writer_pretty(&mut *out, &whole)?;
    writeln!(out)
}

fn thread_json(thread: &Thread, cpu: Option<u32>) -> Value {
    let bins: Map<String, Value> =
        thread.bins.iter().map(|(us, count)| (us.to_string(), json!(count))).collect();
    json!({
        "histogram": bins,
        "cycles": thread.cycles,
        "min": thread.min(),
        "max": thread.max,
        "avg": (thread.avg * 100.0).round() / 100.0,
        // As cyclictest has it for a thread that is not pinned.
        "cpu": cpu.map_or(-1, i64::from),
        "node": 0,
    })
}

fn numbered(values: impl Iterator<Item = Value>) -> Map<String, Value> {
    values.enumerate().map(|(number, value)| (number.to_string(), value)).collect()
}

/// `Thu, 26 Nov 2026 07:32:05 +0000`; the epoch for an instant that no calendar has.
fn rfc_2822(instant: SystemTime) -> String {
    let instant = Timestamp::try_from(instant).unwrap_or_default();
    instant.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::Record, output::text::tests::outcome};

    fn written(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// tau1 started 2, 5 and 5 microseconds late, then 2 s; tau2 never ran.
    fn late() -> Outcome {
        let mut outcome = outcome();
        let first = outcome.first_release_ns;
        let period = as_ns(outcome.tasks[0].planned.task.period());
        outcome.tasks[0].records = [2_900, 5_000, 5_999, 2_000_000_000]
            .into_iter()
            .zip(0..)
            .map(|(latency, job)| {
                let start_ns = first + job * period + latency;
                Record { job, start_ns, finish_ns: start_ns + 1, cpu_ns: 1 }
            })
            .collect();
        outcome
    }

    #[test]
    fn the_histfile_is_cyclictests() {
        insta::assert_snapshot!(written(|out| histfile(out, &late())), @r"
        # Histogram
        000000 000000	000000
        000001 000000	000000
        000002 000001	000000
        000003 000000	000000
        000004 000000	000000
        000005 000002	000000
        # Total: 000000003 000000000
        # Min Latencies: 00002 00000
        # Avg Latencies: 500003 00000
        # Max Latencies: 2000000 00000
        # Histogram Overflows: 00001 00000
        # Histogram Overflow at cycle number:
        # Thread 0: # 00001 others
        # Thread 1:
        ");
    }

    #[test]
    fn the_json_has_cyclictests_keys() {
        let text = written(|out| json(out, &late(), Some(1)));
        let value: Value = serde_json::from_str(&text).unwrap();
        let keys = |value: &Value| -> Vec<String> {
            value.as_object().unwrap().keys().map(Clone::clone).collect()
        };
        let mut expected = [
            "cmdline:",
            "end_time",
            "file_version",
            "num_threads",
            "resolution_in_ns",
            "return_code",
            "rt_test_version:",
            "start_time",
            "sysinfo",
            "thread",
        ];
        expected.sort_unstable();
        let mut got = keys(&value);
        got.sort_unstable();
        assert_eq!(got, expected);
        assert_eq!(value["num_threads"], 2);
        let thread = &value["thread"]["0"];
        assert_eq!(thread["histogram"], json!({"2": 1, "5": 2}));
        assert_eq!(
            (&thread["cycles"], &thread["min"], &thread["max"]),
            (&json!(4), &json!(2), &json!(2_000_000))
        );
        assert_eq!((&thread["cpu"], &thread["node"]), (&json!(1), &json!(0)));
        assert_eq!(value["thread"]["1"]["histogram"], json!({}));
    }

    #[test]
    fn dates_are_those_of_mail() {
        let at =
            |seconds| rfc_2822(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds));
        assert_eq!(at(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(at(951_782_400), "Tue, 29 Feb 2000 00:00:00 +0000");
        assert_eq!(at(1_795_678_325), "Thu, 26 Nov 2026 07:32:05 +0000");
        assert_eq!(at(4_107_542_399), "Sun, 28 Feb 2100 23:59:59 +0000");
    }
}

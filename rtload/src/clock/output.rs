//! Rows and the summary of `rtload clock`; promised in `docs/formats.md`.

use std::fmt::Write;

use model::{
    hist::Distribution,
    sample::{ClockName, ClockRow, ClockWhat},
    stats,
};
use serde::Serialize;

use super::{
    probe::{Plan, Tally},
    source::Source,
    watch::Event,
};
use crate::{
    Error,
    options::{ClockPolicy, Format},
    output::{Labels, answer, print_json, print_warnings},
};

/// The row of an event.
pub fn row(labels: &Labels, event: &Event) -> ClockRow {
    let sign = if event.ahead { 1 } else { -1 };
    ClockRow {
        experiment: labels.experiment.clone(),
        repetition: labels.repetition,
        vm: None,
        service: None,
        what: event.what,
        clock: event.clock,
        start_ns: event.start_ns,
        length_ns: Some(event.length_ns),
        offset_ns: (event.what == ClockWhat::Step).then(|| sign * event.length_ns.cast_signed()),
        uncertainty_ns: None,
    }
}

/// How many, and the greatest; null where there were none.
#[derive(Debug, Clone, Serialize)]
pub struct Counted {
    /// How many.
    pub count: u64,
    /// The longest, or farthest.
    pub longest_ns: Option<u64>,
}

impl Counted {
    fn of(distribution: &Distribution) -> Self {
        let summary = distribution.summary();
        Self {
            count: summary.as_ref().map_or(0, |own| own.count),
            longest_ns: summary.map(|own| own.max),
        }
    }
}

/// Steps of one clock.
#[derive(Debug, Clone, Serialize)]
pub struct Steps {
    /// The clock.
    pub clock: ClockName,
    /// Reads below the one before.
    pub backward: Counted,
    /// Steps against CLOCK_MONOTONIC above the threshold; null for that clock itself.
    pub steps: Option<Counted>,
}

/// Steal time of the CPU as this system sees it, to 10 ms; null where the kernel does not tell.
#[derive(Debug, Clone, Serialize)]
pub struct Steal {
    /// Since boot, at the begin.
    pub begin_ns: Option<u64>,
    /// Since boot, at the end.
    pub end_ns: Option<u64>,
    /// Meanwhile.
    pub stolen_ns: Option<u64>,
}

impl Steal {
    fn of((begin_ns, end_ns): (Option<u64>, Option<u64>)) -> Self {
        let stolen_ns = begin_ns.zip(end_ns).map(|(begin, end)| end.saturating_sub(begin));
        Self { begin_ns, end_ns, stolen_ns }
    }
}

/// Everything that is said about a probe; statistics are null where nothing was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The CPU.
    pub cpu: u32,
    /// Of the thread that reads and waits for timers.
    pub policy: ClockPolicy,
    /// Reads of all clocks.
    pub reads: u64,
    /// Time in which it read.
    pub read_ns: u64,
    /// From read to read of CLOCK_MONOTONIC.
    pub distance_ns: Option<stats::Summary>,
    /// What is a gap, or a step.
    pub threshold_ns: u64,
    /// Distances above the threshold.
    pub gaps: Counted,
    /// Their sum.
    pub gaps_ns: u64,
    /// Of each clock.
    pub clocks: Vec<Steps>,
    /// From timer to timer.
    pub timer_period_ns: u64,
    /// Wake-up minus due, on an idle CPU.
    pub timer_ns: Option<stats::Summary>,
    /// The same on a busy CPU.
    pub timer_busy_ns: Option<stats::Summary>,
    /// The clock source.
    pub clock_source: Source,
    /// What the hypervisor took, as far as it says.
    pub steal: Steal,
    /// The start on CLOCK_MONOTONIC.
    pub start_ns: u64,
    /// It was to last for this long.
    pub duration_ns: u64,
    /// From the start to the end.
    pub elapsed_ns: u64,
    /// Whether a signal ended it.
    pub interrupted: bool,
    /// `histogram`: within 1 part in 1000.
    pub percentiles: &'static str,
    /// What may have spoilt the figures.
    pub warnings: Vec<String>,
}

/// What the system told beside its clocks: the source, and steal time before and after.
pub type Told = (Source, (Option<u64>, Option<u64>));

impl Summary {
    /// Summarises a probe from `start_ns` to `end_ns`.
    pub fn of(
        plan: &Plan,
        policy: ClockPolicy,
        tally: &Tally,
        (clock_source, steal): Told,
        (start_ns, end_ns): (u64, u64),
    ) -> Self {
        let steps = |clock: ClockName| Steps {
            clock,
            backward: Counted::of(&tally.backward[clock as usize]),
            steps: (clock != ClockName::Monotonic)
                .then(|| Counted::of(&tally.steps[clock as usize])),
        };
        let distance_ns = tally.distance.summary();
        Self {
            cpu: plan.cpu,
            policy,
            reads: distance_ns.as_ref().map_or(0, |own| own.count),
            read_ns: tally.read_ns,
            distance_ns,
            threshold_ns: plan.threshold_ns,
            gaps: Counted::of(&tally.gaps),
            gaps_ns: tally.gaps_ns,
            clocks: ClockName::ALL.map(steps).to_vec(),
            timer_period_ns: plan.period_ns,
            timer_ns: tally.timers[0].summary(),
            timer_busy_ns: tally.timers[1].summary(),
            clock_source,
            steal: Steal::of(steal),
            start_ns,
            duration_ns: model::duration::as_ns(plan.length),
            elapsed_ns: end_ns.saturating_sub(start_ns),
            interrupted: false,
            percentiles: "histogram",
            warnings: Vec::new(),
        }
    }

    /// Prints it on standard output, the warnings on standard error.
    ///
    /// # Errors
    /// [`Error::System`] where it cannot be printed though somebody reads.
    pub fn print(&self, format: Format) -> Result<(), Error> {
        print_warnings(&self.warnings);
        match format {
            Format::Text => answer(&self.text()),
            Format::Json => print_json(self),
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let unknown = || "not known".to_owned();
        let source = self.clock_source.current.clone().unwrap_or_else(unknown);
        let available =
            self.clock_source.available.as_ref().map_or_else(unknown, |own| own.join(" "));
        let mut line = |what: &str, rest: String| {
            writeln!(out, "{what:<18} {rest}").expect("a string takes it");
        };
        line("clock source", format!("{source} (available: {available})"));
        let distance = self.distance_ns.as_ref().map_or_else(unknown, |own| {
            format!("{}, {} apart at the median, {} at most", own.count, us(own.p50), us(own.max))
        });
        line("reads", distance);
        line("gaps", format!("{} above {}", counted(&self.gaps), us(self.threshold_ns)));
        for own in &self.clocks {
            let steps = own.steps.as_ref().map_or_else(String::new, |steps| {
                format!("; against monotonic {}", counted(steps))
            });
            line(own.clock.name(), format!("steps back {}{steps}", counted(&own.backward)));
        }
        for (what, timers) in
            [("timers, CPU idle", &self.timer_ns), ("timers, CPU busy", &self.timer_busy_ns)]
        {
            let late = timers.as_ref().map_or_else(unknown, |own| {
                let [p50, p99, max] = [own.p50, own.p99, own.max].map(us);
                format!("late by p50 {p50}, p99 {p99}, max {max} ({})", own.count)
            });
            line(what, late);
        }
        let stolen =
            self.steal.stolen_ns.map_or_else(unknown, |ns| format!("{} ms", ns / 1_000_000));
        line("steal", stolen);
        out
    }
}

fn us(ns: u64) -> String {
    format!("{:.1} us", ns as f64 / 1e3)
}

fn counted(own: &Counted) -> String {
    match own.longest_ns {
        Some(ns) => format!("{}, at most {}", own.count, us(ns)),
        None => own.count.to_string(),
    }
}

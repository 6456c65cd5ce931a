//! Which reservation a virtual machine needs whose tasks nobody knows: it is watched through the
//! kernel's trace, what it asked for becomes a demand bound function
//! ([`model::demand`]), and real-time calculus ([`rtplan::demand`]) says which budgets delay its work
//! by at most the latency. `docs/advise.md` has the theory and what an observation cannot promise.

mod advice;
mod commands;
mod proof;
mod watch;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::Args;
use model::{Mechanism, Reservation, duration, say};
use rtplan::{
    Cell, Costs, Model,
    demand::{Wish, periods, recommended},
};

pub use advice::Advice;

use self::{
    proof::Proof,
    watch::{Seen, watch},
};
use crate::{
    error::Refusal,
    host::{Cpus, Roots, Stop},
    mechanism::{Vm, placement, room},
    reserve::{self, Target, record::Recorded},
    trace,
};

/// What `orchestrator advise` is told.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// By how much the VM's work may be delayed beyond what it would take with the CPU to itself:
    /// all that it would have done by some instant, it has done at most this much later
    #[arg(long, value_name = "TIME", value_parser = duration::parse, allow_hyphen_values = true)]
    latency: Duration,
    /// How long to watch
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse, default_value = "60s", allow_hyphen_values = true)]
    length: Duration,
    /// Advise for this reservation period only [default: several from 1ms to 500ms]
    #[arg(long, value_name = "P", value_parser = duration::parse, allow_hyphen_values = true)]
    period: Option<Duration>,
    /// By how many percent the recommended budget exceeds the least one; with --apply a negative
    /// number shows what less than the least comes to
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, allow_hyphen_values = true)]
    margin: f64,
    /// The mechanism that is to enforce the reservation
    #[arg(long, default_value = "deadline")]
    mechanism: Mechanism,
    /// The CPU to reserve on [default: as `orchestrator reserve` chooses]
    #[arg(long)]
    cpu: Option<u32>,
    /// Put the vCPU threads above all ordinary threads (SCHED_FIFO) while watching, so that they do
    /// not wait for the CPU; undone afterwards
    #[arg(long)]
    isolate: bool,
    /// Reserve what is recommended, for as long as was watched, and hold the delays that the trace
    /// shows against the latency; exit code 4 where one is longer
    #[arg(long)]
    apply: bool,
    /// Write `demand.csv` and the traces into this new folder, for `rtplan budget --demand` and
    /// `reports supply`
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// A budget of no more than this share of its period is not recommended: guests do something at
/// times.
const LEAST_SHARE: f64 = 0.01;
/// Recommended budgets are multiples of it, in ns.
const ROUND_NS: u64 = 10_000;
/// Where the host does not say how long its tick is: the longest that Linux has.
const LONGEST_TICK: Duration = Duration::from_millis(10);

/// Watches, advises and, where asked to, reserves and proves.
///
/// # Errors
/// [`Refusal::Usage`] before anything is touched, [`Refusal::Lacking`] where this host cannot be
/// traced, and what the kernel refused.
pub fn run(options: &Options, stop: &Stop) -> Result<Advice> {
    options.check()?;
    let roots = Roots::default();
    trace::available(&roots).map_err(|why| {
        Refusal::Lacking(format!(
            "watching takes the kernel's trace: {why}; run as root, on a kernel with \
             CONFIG_FTRACE and CONFIG_SCHED_TRACER"
        ))
    })?;
    let vm = options.target.find(&roots, stop)?;
    if options.isolate || options.apply {
        reserve::unreserved(&vm)?;
    }
    let reservation = options.reservation();
    let place = Place::find(&reservation, &roots, &vm)?;
    let wish = options.wish(&roots, &vm, &place);
    let mut seen = watch(options, &vm, place.cpus.clone(), stop)?;
    let cells = wish.trade_off(&seen.demands(), options.periods())?;
    let chosen = recommended(&options.with_margin(&cells, wish.most));
    seen.warnings.extend(place.warnings);
    let mut advice = Advice::new(options, &wish, &seen, cells, chosen);
    advice.commands = commands::of(options, &roots, &vm, chosen);
    if let Some(cell) = chosen.filter(|_| options.apply) {
        advice.proof = Some(apply(options, reservation, &wish, &seen, cell)?);
        stop.check()?;
    }
    seen.save(options.out.as_deref(), &advice)?;
    Ok(advice)
}

/// Reserves as `orchestrator reserve` does, and looks at what came of it.
fn apply(
    options: &Options,
    reserve: reserve::Options,
    wish: &Wish,
    seen: &Seen,
    cell: Cell,
) -> Result<Proof> {
    let budget = cell.budget.unwrap_or(cell.period);
    let reservation = Reservation::new(budget, cell.period).expect("a budget within its period");
    let folder = seen.folder.join("reserved");
    say!("reserving {reservation} for {}", duration::format(options.length));
    reserve::hold(&reserve.traced(reservation, options.length, folder.clone()))?;
    let recorded = Recorded::read(&folder)?;
    Ok(Proof::of(&recorded, seen, wish, reservation))
}

impl Options {
    fn check(&self) -> Result<(), Refusal> {
        let usage = |text: &str| Err(Refusal::Usage(text.to_owned()));
        if self.latency.is_zero() {
            return usage("--latency: 0 is what no reservation gives; write for example 20ms");
        }
        if self.length < Duration::from_millis(100) {
            return usage("--for: too short to see anything; write for example 60s");
        }
        if self.period.is_some_and(|period| period.is_zero()) {
            return usage("--period: it must be above zero, for example 50ms");
        }
        if !(-90.0..=100.0).contains(&self.margin) {
            return usage(
                "--margin: it must be a number of percent from -90 to 100, for example 5",
            );
        }
        if !self.mechanism.has_budget() {
            return Err(Refusal::Usage(format!(
                "--mechanism: `{}` has no budget; choose for example `deadline`",
                self.mechanism
            )));
        }
        Ok(())
    }

    fn periods(&self) -> Vec<Duration> {
        self.period.map_or_else(|| periods().collect(), |period| vec![period])
    }

    fn reservation(&self) -> reserve::Options {
        reserve::Options::of(self.target.clone(), self.mechanism, self.cpu)
    }

    fn wish(&self, roots: &Roots, vm: &Vm, place: &Place) -> Wish {
        let (most, neighbours) = room::left(&vm.vcpus, &place.reserved_on, roots);
        let tick = roots.host_facts(&place.cpus).budget_tick_ns(self.mechanism);
        let tick = tick.map_or(LONGEST_TICK, Duration::from_nanos);
        let costs = Costs { tick, neighbours, ..Costs::default() };
        Wish { latency: self.latency, model: Model::TwoGap, costs, most }
    }

    /// The cells with the margin, as far as there is room for it, in round numbers.
    fn with_margin(&self, cells: &[Cell], most: f64) -> Vec<Cell> {
        let round = |cell: &Cell| {
            let period = cell.period.as_nanos() as f64;
            let budget = cell.budget.map(|least| {
                let wanted = least.as_nanos() as f64 * (1.0 + self.margin / 100.0);
                let wanted = wanted.max(period * LEAST_SHARE).min(period * most).round() as u64;
                let even = wanted.next_multiple_of(ROUND_NS);
                let fits = even as f64 <= period * most;
                Duration::from_nanos(if fits { even } else { wanted })
            });
            Cell { budget, ..*cell }
        };
        cells.iter().map(round).collect()
    }
}

/// Where the reservation would be.
struct Place {
    cpus: Cpus,
    /// The CPUs that it shares with other reservations.
    reserved_on: Vec<u32>,
    warnings: Vec<String>,
}

impl Place {
    /// As `orchestrator reserve` chooses; where it finds none, that is a warning: watching needs no
    /// place.
    fn find(reserve: &reserve::Options, roots: &Roots, vm: &Vm) -> Result<Self> {
        match reserve.place(roots, vm) {
            Ok((chosen, cpus)) => {
                let span = || placement::span(roots, *vm.vcpus.first()?);
                let one = chosen.cpu.map(|cpu| vec![cpu]);
                let reserved_on = one.or_else(span).unwrap_or_else(|| cpus.measured.clone());
                Ok(Self { cpus, reserved_on, warnings: Vec::new() })
            }
            Err(error) => {
                let usage = |error: &&anyhow::Error| {
                    matches!(error.downcast_ref(), Some(Refusal::Usage(_)))
                };
                if Some(&error).filter(usage).is_some() {
                    return Err(error);
                }
                let cpus = Cpus::divide(&roots.sys, &[])?;
                let reserved_on = cpus.measured.clone();
                let warnings = vec![format!("no reservation is possible here now: {error:#}")];
                Ok(Self { cpus, reserved_on, warnings })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(more: &[&str]) -> Options {
        let line = ["advise", "--pid", "7", "--latency", "20ms"];
        Line::parse_from(line.into_iter().chain(more.iter().copied())).options
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_what_can() {
        assert!(options(&[]).check().is_ok());
        for (more, said) in [
            (["--for", "0"], "--for"),
            (["--period", "0"], "--period"),
            (["--margin", "-91"], "--margin"),
            (["--margin", "NaN"], "--margin"),
            (["--mechanism", "fifo-above"], "has no budget"),
        ] {
            let error = options(&more).check().unwrap_err();
            assert!(matches!(&error, Refusal::Usage(text) if text.contains(said)), "{error}");
        }
        let mut zero = options(&[]);
        zero.latency = Duration::ZERO;
        assert!(zero.check().unwrap_err().to_string().contains("--latency"));
        for wrong in [&["--latency", "20ms"][..], &["--pid", "7", "--qmp", "s", "--latency", "1ms"]]
        {
            assert!(Line::try_parse_from([&["advise"], wrong].concat()).is_err());
        }
    }

    #[test]
    fn the_margin_is_added_where_there_is_room() {
        let cell = |budget_us: u64| Cell {
            period: Duration::from_millis(50),
            budget: Some(Duration::from_micros(budget_us)),
        };
        let with = |budget_us: u64| {
            options(&[]).with_margin(&[cell(budget_us)], 0.95)[0].budget.unwrap().as_micros()
        };
        assert_eq!(
            [with(43_334), with(20_000), with(0), with(47_000)],
            [45_510, 21_000, 500, 47_500]
        );
        let none = Cell { budget: None, ..cell(1) };
        assert_eq!(options(&[]).with_margin(&[none], 0.95), [none]);
    }
}

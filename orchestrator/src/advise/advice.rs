//! The advice: as JSON, as text, as an exit code.

use std::fmt::Write;

use model::{Exit, Mechanism, duration::as_ns};
use rtplan::{Cell, demand::Wish};
use serde::Serialize;

use super::{Options, commands::Commands, proof::Proof, watch::Seen};

/// What `orchestrator advise` found; serialised it is the JSON.
#[derive(Debug, Serialize)]
pub struct Advice {
    latency_ns: u64,
    watched_ns: u64,
    isolated: bool,
    mechanism: Mechanism,
    /// The model of the supply.
    supply: &'static str,
    holds_if: String,
    tick_ns: u64,
    neighbours: u32,
    /// The most of a CPU that a vCPU could get here.
    most_share: f64,
    /// Of the vCPU that asks for most.
    demand_share: f64,
    recommended: Option<Recommended>,
    margin_percent: f64,
    points: Vec<Point>,
    vcpus: Vec<Row>,
    warnings: Vec<String>,
    /// None where no budget is enough.
    pub(super) commands: Option<Commands>,
    /// With `--apply`.
    pub(super) proof: Option<Proof>,
    folder: Option<String>,
}

#[derive(Debug, Serialize)]
struct Recommended {
    budget_ns: u64,
    period_ns: u64,
    /// The least budget for that period, without the margin.
    least_budget_ns: u64,
}

#[derive(Debug, Serialize)]
struct Point {
    period_ns: u64,
    budget_ns: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Row {
    vcpu: String,
    demand_share: f64,
    wake_ups: usize,
    longest_ns: u64,
    /// Time runnable and not running, as a share of the demand.
    waited_share: f64,
}

impl Advice {
    pub(super) fn new(
        options: &Options,
        wish: &Wish,
        seen: &Seen,
        cells: Vec<Cell>,
        chosen: Option<Cell>,
    ) -> Self {
        let least = |chosen: &Cell| {
            let same = cells.iter().find(|cell| cell.period == chosen.period);
            same.and_then(|cell| cell.budget).map_or(0, as_ns)
        };
        let recommended = chosen.and_then(|cell| {
            Some(Recommended {
                budget_ns: as_ns(cell.budget?),
                period_ns: as_ns(cell.period),
                least_budget_ns: least(&cell),
            })
        });
        let row = |vcpu: &super::watch::Vcpu| Row {
            vcpu: vcpu.name.clone(),
            demand_share: vcpu.demand.share(),
            wake_ups: vcpu.wake_ups,
            longest_ns: vcpu.longest_ns,
            waited_share: vcpu.waited_share(),
        };
        let period = chosen.or_else(|| cells.first().copied()).map_or(wish.latency, |c| c.period);
        let vcpus: Vec<Row> = seen.vcpus.iter().map(row).collect();
        Self {
            latency_ns: as_ns(wish.latency),
            watched_ns: seen.watched_ns,
            isolated: options.isolate,
            mechanism: options.mechanism,
            supply: wish.model.name(),
            holds_if: wish.holds_if(period),
            tick_ns: as_ns(wish.costs.tick),
            neighbours: wish.costs.neighbours,
            most_share: wish.most,
            demand_share: vcpus.iter().map(|row| row.demand_share).fold(0.0, f64::max),
            recommended,
            margin_percent: options.margin,
            points: cells
                .iter()
                .map(|cell| Point {
                    period_ns: as_ns(cell.period),
                    budget_ns: cell.budget.map(as_ns),
                })
                .collect(),
            vcpus,
            warnings: seen.warnings.clone(),
            commands: None,
            proof: None,
            folder: options.out.as_ref().map(|out| out.display().to_string()),
        }
    }

    /// 4 where no budget is enough, or the proof failed.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let held = self.proof.as_ref().is_none_or(|proof| proof.held);
        if self.recommended.is_some() && held { Exit::Done } else { Exit::NotHeld }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.watched(&mut text);
        self.trade_off(&mut text);
        self.recommendation(&mut text);
        if let Some(proof) = &self.proof {
            proved(&mut text, proof, self.latency_ns);
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "\nwarning: {warning}");
        }
        if let Some(folder) = &self.folder {
            let _ = writeln!(text, "\nwritten: {folder} (reports supply {folder})");
        }
        text
    }

    fn watched(&self, text: &mut String) {
        let seconds = self.watched_ns as f64 / 1e9;
        let _ = writeln!(text, "watched for {seconds:.1} s");
        for row in &self.vcpus {
            let _ = writeln!(
                text,
                "{}: asked for {:.3} of a CPU, woke {} times, ran for {} at most at a time, waited \
                 {:.1} % of that",
                row.vcpu,
                row.demand_share,
                row.wake_ups,
                ms(row.longest_ns),
                row.waited_share * 100.0
            );
        }
    }

    fn trade_off(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\nleast budgets with which work is at most {} later than with the CPU to itself",
            ms(self.latency_ns)
        );
        let _ = writeln!(text, "{:>12}{:>18}{:>9}", "period", "budget", "share");
        for point in &self.points {
            let budget = point.budget_ns.map_or("none is enough".to_owned(), ms);
            let share = point.budget_ns.map_or("-".to_owned(), |budget_ns| {
                format!("{:.3}", budget_ns as f64 / point.period_ns as f64)
            });
            let _ = writeln!(text, "{:>12}{budget:>18}{share:>9}", ms(point.period_ns));
        }
    }

    fn recommendation(&self, text: &mut String) {
        let (Some(recommended), Some(commands)) = (&self.recommended, &self.commands) else {
            let _ = writeln!(
                text,
                "\nno budget is enough: at most {:.3} of a CPU can be reserved here, and the VM asks \
                 for {:.3}, all at once for {}; give it a CPU of its own, or a longer latency",
                self.most_share,
                self.demand_share,
                ms(self.vcpus.iter().map(|row| row.longest_ns).max().unwrap_or(0))
            );
            return;
        };
        let (budget_ns, period_ns) = (recommended.budget_ns, recommended.period_ns);
        let added = (budget_ns as f64 / recommended.least_budget_ns.max(1) as f64 - 1.0) * 100.0;
        let margin = if recommended.least_budget_ns * 100 < period_ns {
            "at least 1 % of the period".to_owned()
        } else {
            format!("the least one and {added:.1} %")
        };
        let _ = writeln!(
            text,
            "\nrecommended: {} in every {} ({:.3} of a CPU): the longest period that costs at most \
             0.02 more than the cheapest; its budget is {margin}",
            ms(budget_ns),
            ms(period_ns),
            budget_ns as f64 / period_ns as f64
        );
        let tick = match self.tick_ns {
            0 => String::new(),
            tick_ns => format!(" (budgets end at a tick of {}, which is allowed for)", ms(tick_ns)),
        };
        let _ = writeln!(text, "  holds if {}{tick},", self.holds_if);
        let _ = writeln!(
            text,
            "  and if the VM never asks for more, in a window of any length, than it did while it was \
             watched:\n  no observation promises that"
        );
        let _ = writeln!(text, "\nreserve it:\n  {}", commands.reserve);
        let _ = writeln!(
            text,
            "or limit it to that, which promises it nothing while others want the CPU:\n  {}\n  {}\n  \
             {}",
            commands.virsh, commands.cputune, commands.systemd
        );
    }
}

fn proved(text: &mut String, proof: &Proof, latency_ns: u64) {
    let verdict = match &proof.flaw {
        Some(flaw) => format!("not proven: {flaw}"),
        None if proof.held => "holds".to_owned(),
        None => format!("does NOT hold: {} intervals were later", proof.late),
    };
    let _ = writeln!(
        text,
        "\nreserved: {verdict}\n  of {} busy intervals the work was at most {} later than with the \
         CPU to itself (latency {}; calculated {})\n  the longest wait in one was {}",
        proof.intervals,
        ms(proof.worst_added_delay_ns),
        ms(latency_ns),
        proof.bound_ns.map_or("unbounded".to_owned(), ms),
        ms(proof.longest_wait_ns)
    );
    if proof.beyond_demand > 0 {
        let _ = writeln!(
            text,
            "  {} intervals asked for more than was ever seen while watching: watch for longer",
            proof.beyond_demand
        );
    }
}

/// Milliseconds with three decimals at most.
fn ms(ns: u64) -> String {
    let text = format!("{:.3}", ns as f64 / 1e6);
    format!("{}ms", text.trim_end_matches('0').trim_end_matches('.'))
}

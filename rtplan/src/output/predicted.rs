//! What tasks take on another host, for people and scripts.

use std::{fmt::Write, time::Duration};

use model::{
    costs::{CostVector, MeasuredHost},
    duration::as_ns,
};
use serde::Serialize;

use crate::predict::{CountedWork, Part, PredictedTask, Prediction, Scale, Transport};

/// Where a vector was measured.
#[derive(Debug, Serialize)]
struct HostReport {
    measured_utc: String,
    cpu: u32,
    #[serde(flatten)]
    host: MeasuredHost,
}

/// One execution time on both hosts.
#[derive(Debug, Serialize)]
struct ExecutionReport {
    from_execution_ns: u64,
    to_execution_ns: u64,
    to_low_ns: u64,
    to_high_ns: u64,
}

/// The whole answer.
#[derive(Debug, Serialize)]
pub struct Report {
    from: HostReport,
    to: HostReport,
    scale: Scale,
    mix: Vec<Part>,
    counted: Option<CountedWork>,
    execution: Option<ExecutionReport>,
    experiments: Vec<Prediction>,
}

impl Report {
    /// Gathers it; the execution time is scaled where it is given.
    #[must_use]
    pub fn new(
        (from, to): (&CostVector, &CostVector),
        transport: &Transport,
        counted: Option<CountedWork>,
        (execution, experiments): (Option<Duration>, Vec<Prediction>),
    ) -> Self {
        let host = |vector: &CostVector| HostReport {
            measured_utc: vector.measured_utc.clone(),
            cpu: vector.cpu,
            host: vector.host.clone(),
        };
        let execution = execution.map(|execution| {
            let scaled = transport.scaled(execution);
            ExecutionReport {
                from_execution_ns: as_ns(execution),
                to_execution_ns: as_ns(scaled.typical),
                to_low_ns: as_ns(scaled.low),
                to_high_ns: as_ns(scaled.high),
            }
        });
        let (scale, mix) = (transport.scale, transport.parts.clone());
        Self { from: host(from), to: host(to), scale, mix, counted, execution, experiments }
    }

    /// Whether no deadline is said not to hold.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.experiments.iter().all(|own| own.schedulable != Some(false))
    }

    /// As tables, times in milliseconds.
    #[must_use]
    pub fn text(&self) -> String {
        let Scale { typical, low, high } = self.scale;
        let mut text = format!(
            "from {}\n  to {}\n\nexecution times × {typical:.4} ({low:.4} to {high:.4})\n",
            words(&self.from),
            words(&self.to)
        );
        for part in &self.mix {
            let _ = writeln!(
                text,
                "  {:<19} {:>5.1} % here, {:>5.1} % there: {:.3} ns here, {:.3} ns there (× {:.4})",
                part.component.name(),
                part.weight * 100.0,
                part.to_weight * 100.0,
                part.from_ns,
                part.to_ns,
                part.ratio.typical
            );
        }
        if let Some(own) = self.counted {
            let whole = own.of_execution.map_or_else(String::new, |share| {
                format!(", {:.1} % of the execution time", share * 100.0)
            });
            let cost = own.cost_ns / 1e6;
            let _ =
                writeln!(text, "  the operations that were counted cost {cost:.3} ms here{whole}");
        }
        if let Some(own) = &self.execution {
            let _ = writeln!(
                text,
                "\n{} ms here take {} ms there ({} to {})",
                ms(own.from_execution_ns),
                ms(own.to_execution_ns),
                ms(own.to_low_ns),
                ms(own.to_high_ns)
            );
        }
        self.experiments.iter().for_each(|own| experiment(&mut text, own));
        if !self.experiments.is_empty() {
            text += "\nTimes are in ms. C there: by the medians of both vectors, and the range that their 10th and 90th \
                     percentiles allow.\nWorst response times are calculated with the upper end of C, \
                     the simulation with the medians.\nThe host's load is paced: its CPU time is the \
                     same there.\n";
        }
        text
    }
}

fn words(own: &HostReport) -> String {
    let host = &own.host;
    let platform = host.platform.map_or("platform unknown", model::host::Platform::name);
    format!(
        "{} ({}, {platform}), CPU {}, {}",
        host.name.as_deref().unwrap_or("unknown"),
        host.cpu_model.as_deref().unwrap_or("processor unknown"),
        own.cpu,
        own.measured_utc
    )
}

fn ms(ns: u64) -> String {
    format!("{:.3}", ns as f64 / 1e6)
}

fn experiment(text: &mut String, own: &Prediction) {
    let vm = own.vm.as_ref().map_or_else(String::new, |vm| format!(", VM {vm}"));
    let verdict = match own.schedulable {
        Some(true) => "every deadline holds",
        Some(false) => "NOT every deadline holds",
        None if own.supply.is_some() => "no verdict: the analysis was given up",
        None => "nothing is promised",
    };
    let supply =
        own.supply.as_ref().map_or_else(String::new, |supply| format!("{supply} supply, "));
    let _ = writeln!(text, "\n{}{vm}, {}: {supply}{verdict}", own.experiment, own.service);
    if let Some(reason) = &own.not_simulated {
        let _ = writeln!(text, "  not simulated: {reason}");
    }
    let _ = writeln!(
        text,
        "  {:<6}{:>10}{:>10}{:>20}{:>10}{:>10}{:>9}{:>8}{:>11}{:>10}{:>10}",
        "task",
        "C here",
        "C there",
        "range",
        "D",
        "worst",
        "jobs",
        "misses",
        "unfinished",
        "p50",
        "max"
    );
    own.tasks.iter().for_each(|task| row(text, task));
}

fn row(text: &mut String, task: &PredictedTask) {
    let count =
        |count: Option<u64>| count.map_or_else(|| "–".to_owned(), |count| count.to_string());
    let time = |ns: Option<u64>| ns.map_or_else(|| "–".to_owned(), ms);
    let range = format!("{} to {}", ms(task.to_low_ns), ms(task.to_high_ns));
    let _ = writeln!(
        text,
        "  {:<6}{:>10}{:>10}{range:>20}{:>10}{:>10}{:>9}{:>8}{:>11}{:>10}{:>10}",
        task.task,
        ms(task.from_execution_ns),
        ms(task.to_execution_ns),
        ms(task.deadline_ns),
        time(task.wcrt_ns),
        count(task.jobs),
        count(task.misses),
        count(task.unfinished),
        time(task.response_ns.map(|own| own.p50)),
        time(task.response_ns.map(|own| own.max)),
    );
}

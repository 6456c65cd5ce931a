//! What a simulation came to, for people and scripts; the keys are those of `rtload run`.

use std::fmt::Write;

use model::{Reservation, Task, TaskSet, duration, duration::as_ns, load::Backlog, stats::Summary};
use serde::Serialize;

use crate::{
    sim::{Count, Outcome, Recorder},
    workload::{Scheduler, Workload},
};

/// A simulation and what was asked for.
#[derive(Debug)]
pub struct Played<'a> {
    /// The measured tasks.
    pub workload: &'a Workload,
    /// In the guest.
    pub scheduler: Scheduler,
    /// The server's name.
    pub server: String,
    /// (Q, P), where it has them.
    pub reservation: Option<Reservation>,
    /// The host's load.
    pub load: &'a [Task],
    /// What it does with its backlog.
    pub backlog: Backlog,
    /// The tick at which budgets were enforced; none: exactly.
    pub tick_ns: Option<u64>,
    /// How long tasks were released.
    pub duration_ns: u64,
    /// Of every random choice.
    pub seed: u64,
    /// The tasks of each vCPU.
    pub vcpus: &'a [Vec<usize>],
    /// One for each vCPU: the virtual machine first, then the load.
    pub outcomes: &'a [Outcome],
    /// Statistics.
    pub recorder: &'a Recorder,
}

/// One measured task.
#[derive(Debug, Serialize)]
pub struct TaskReport {
    task: String,
    execution_ns: u64,
    period_ns: u64,
    deadline_ns: u64,
    vcpu: usize,
    jobs: u64,
    misses: u64,
    skipped: u64,
    unfinished: u64,
    response_ns: Option<Summary>,
    cpu_ns: Option<Summary>,
    latency_ns: Option<Summary>,
}

/// One task of the load, on one CPU.
#[derive(Debug, Serialize)]
struct LoadReport {
    task: String,
    vcpu: usize,
    jobs: u64,
    misses: u64,
    skipped: u64,
    unfinished: u64,
}

/// The whole answer.
#[derive(Debug, Serialize)]
pub struct Report {
    tasks: Vec<TaskReport>,
    scheduler: &'static str,
    server: String,
    budget_ns: Option<u64>,
    period_ns: Option<u64>,
    tick_ns: Option<u64>,
    load: Vec<LoadReport>,
    backlog: &'static str,
    vcpu_shares: Vec<f64>,
    duration_ns: u64,
    elapsed_ns: u64,
    seed: u64,
    unfinished: u64,
    /// What to keep in mind.
    pub warnings: Vec<String>,
}

impl Report {
    /// Gathers it.
    #[must_use]
    pub fn new(played: &Played) -> Self {
        let tasks: Vec<TaskReport> =
            (0..played.workload.tasks().len()).map(|index| task(played, index)).collect();
        let elapsed_ns = played.outcomes.iter().map(|outcome| outcome.end_ns).max().unwrap_or(0);
        let share =
            |outcome: &Outcome| outcome.threads[0].ran_ns as f64 / outcome.end_ns.max(1) as f64;
        let reserved =
            |of: fn(Reservation) -> std::time::Duration| Some(as_ns(of(played.reservation?)));
        Self {
            unfinished: tasks.iter().map(|task| task.unfinished).sum(),
            warnings: warnings(played),
            scheduler: played.scheduler.name(),
            server: played.server.clone(),
            budget_ns: reserved(Reservation::budget),
            period_ns: reserved(Reservation::period),
            tick_ns: played.tick_ns,
            load: load(played),
            backlog: played.backlog.name(),
            vcpu_shares: played.outcomes.iter().map(share).collect(),
            duration_ns: played.duration_ns,
            elapsed_ns,
            seed: played.seed,
            tasks,
        }
    }

    /// Jobs that missed their deadline or were not done at the end.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.unfinished + self.tasks.iter().map(|task| task.misses).sum::<u64>()
    }

    /// As a table, times in milliseconds.
    #[must_use]
    pub fn text(&self) -> String {
        let time = |ns: u64| duration::format(std::time::Duration::from_nanos(ns));
        let server = match (self.budget_ns, self.period_ns) {
            (Some(q), Some(p)) => format!("{} {}/{}", self.server, time(q), time(p)),
            _ => self.server.clone(),
        };
        let mut text = format!(
            "simulated {} with seed {}: server {server}, scheduler {}, {} of load\n\n",
            time(self.duration_ns),
            self.seed,
            self.scheduler,
            tasks_in_words(self.load.len()),
        );
        let _ = writeln!(
            text,
            "{:<8}{:>10}{:>8}{:>11}{:>12}{:>12}{:>12}{:>12}{:>12}{:>12}{:>12}",
            "task",
            "jobs",
            "misses",
            "unfinished",
            "min ms",
            "mean",
            "p50",
            "p99",
            "p99.9",
            "p99.99",
            "max"
        );
        for task in &self.tasks {
            let ms = |value: f64| format!("{:.3}", value / 1e6);
            let cells = task.response_ns.map_or_else(
                || ["–"; 7].map(str::to_owned),
                |own| {
                    let rest = [own.p50, own.p99, own.p999, own.p9999, own.max].map(|ns| ns as f64);
                    let [p50, p99, p999, p9999, max] = rest;
                    [own.min as f64, own.mean, p50, p99, p999, p9999, max].map(ms)
                },
            );
            let _ = write!(
                text,
                "{:<8}{:>10}{:>8}{:>11}",
                task.task, task.jobs, task.misses, task.unfinished
            );
            cells.iter().for_each(|cell| text.push_str(&format!("{cell:>12}")));
            text.push('\n');
        }
        for (index, share) in self.vcpu_shares.iter().enumerate() {
            let _ = write!(text, "\nvCPU {index} had {:.2} % of its CPU", share * 100.0);
        }
        text.push('\n');
        text
    }
}

fn tasks_in_words(count: usize) -> String {
    match count {
        0 => "no tasks".to_owned(),
        1 => "1 task".to_owned(),
        count => format!("{count} tasks"),
    }
}

fn task(played: &Played, index: usize) -> TaskReport {
    let own = played.workload.tasks()[index].task;
    let tally = &played.recorder.tasks[index];
    let vcpu = played.vcpus.iter().position(|members| members.contains(&index)).unwrap_or(0);
    let counted = &played.outcomes[vcpu].threads[0].tasks;
    let count = counted.iter().find(|(name, _)| *name == index);
    let count = count.map_or(Count::default(), |(_, count)| *count);
    TaskReport {
        task: TaskSet::name(index),
        execution_ns: as_ns(own.execution()),
        period_ns: as_ns(own.period()),
        deadline_ns: as_ns(own.deadline()),
        vcpu,
        jobs: count.done,
        misses: count.missed,
        skipped: count.skipped,
        unfinished: count.unfinished,
        response_ns: tally.response.summary(),
        cpu_ns: tally.cpu.summary(),
        latency_ns: tally.latency.summary(),
    }
}

fn load(played: &Played) -> Vec<LoadReport> {
    if played.load.is_empty() {
        return Vec::new();
    }
    let of_cpu = |(vcpu, outcome): (usize, &Outcome)| {
        let report = move |(index, count): &(usize, Count)| LoadReport {
            task: TaskSet::name(*index),
            vcpu,
            jobs: count.done,
            misses: count.missed,
            skipped: count.skipped,
            unfinished: count.unfinished,
        };
        outcome.threads[1].tasks.iter().map(report).collect::<Vec<_>>()
    };
    played.outcomes.iter().enumerate().flat_map(of_cpu).collect()
}

fn warnings(played: &Played) -> Vec<String> {
    let share = |members: &Vec<usize>| -> f64 {
        members.iter().map(|&index| played.workload.tasks()[index].task.utilisation()).sum()
    };
    let most = played.vcpus.iter().map(share).fold(0.0, f64::max);
    let room = played.reservation.map_or(1.0, Reservation::bandwidth);
    if most <= room + 1e-9 {
        return Vec::new();
    }
    vec![format!(
        "the tasks of a vCPU ask for {:.1} % of a CPU and {:.1} % is what it can get: a backlog grows",
        most * 100.0,
        room * 100.0
    )]
}

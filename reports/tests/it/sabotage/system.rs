//! Simulated systems: what the manifest promises is sound, what ran beneath it need not be.

use std::{fs, time::Duration};

use model::{
    Suite,
    duration::as_ns,
    manifest::{RepetitionRecord, ThreadFacts, TraceFacts},
    sample::{self, BudgetRow, Ended, Job, Supply},
    suite::{Experiment, Place},
};
use rtplan::sim::{
    Adapted, Cpu, Done, Observer, Server, Stalls, Thread, Times,
    experiment::{Conditions, LOAD_PRIORITY, cpus},
    simulate,
};

use crate::made_up::{MadeUp, record};

/// What is wrong with one repetition of one experiment.
pub struct Bent {
    /// The CPU on which the tasks run, with the load.
    pub cpu: Cpu,
    /// How much longer the tasks take, as a factor.
    pub slower: f64,
    /// How much that varies from one repetition to another, either way.
    pub drift: f64,
    /// The load runs, but on another CPU.
    pub elsewhere: bool,
    /// Applied to the rows of the tasks.
    pub rows: fn(&mut Vec<Job>),
    /// The sentinel sees the stalls of `cpu`.
    pub watched: bool,
}

impl Bent {
    /// Replaces what enforces the guest's reservation.
    pub fn serve(&mut self, server: Server) {
        self.cpu.threads[0].server = server;
    }

    /// The host's load, where there is one.
    pub fn load(&mut self) -> Option<&mut Thread> {
        self.cpu.threads.get_mut(1)
    }
}

/// How a sabotage changes a repetition.
pub type Bend = fn(&mut Bent, &Experiment, u32);

/// Of every guest: what its emulator adds to the same work.
const GUEST: f64 = 1.03;

/// Simulates every repetition of `suite`, each bent, into a folder that promises a sound system.
pub fn folder(suite: &str, seed: u64, bend: Bend) -> MadeUp {
    let mut folder = MadeUp::empty(suite);
    folder.manifest.accelerator.as_mut().unwrap().name = "kvm".to_owned();
    let suite: Suite = folder.manifest.suite.clone();
    for experiment in suite.experiments.iter().filter(|own| !own.workloads()[0].tasks().is_empty())
    {
        for repetition in 0..experiment.repetitions {
            let record = run(&folder, experiment, repetition, seed, bend);
            folder.manifest.repetitions.push(record);
        }
    }
    folder.save();
    folder
}

fn run(
    folder: &MadeUp,
    experiment: &Experiment,
    repetition: u32,
    seed: u64,
    bend: Bend,
) -> RepetitionRecord {
    let name: u64 = experiment.name.bytes().map(u64::from).sum();
    let mut rng = fastrand::Rng::with_seed(seed ^ name << 20 ^ u64::from(repetition));
    let bare = cpus(experiment, &Conditions::default()).unwrap().remove(0).set_up;
    let slower = if experiment.workloads()[0].place() == Place::Guest { GUEST } else { 1.0 };
    let rows: fn(&mut Vec<Job>) = |_| ();
    let mut bent = Bent { cpu: bare, slower, drift: 0.003, elsewhere: false, rows, watched: true };
    bend(&mut bent, experiment, repetition);
    // Each repetition finds the processor a little faster or slower, and so does each job.
    let speed = bent.slower * (1.0 + (2.0 * rng.f64() - 1.0) * bent.drift);
    for task in &mut bent.cpu.threads[0].tasks {
        let length = |factor: f64| (task.execution.median() as f64 * speed * factor) as u64;
        task.execution = Times::Uniform(length(0.998), length(1.002));
    }
    let place = folder.path().join(&experiment.name).join(format!("rep-{repetition:03}"));
    fs::create_dir_all(&place).unwrap();
    let load = bent.elsewhere.then(|| bent.cpu.threads.remove(1));
    let mut seen = watch(bent.cpu, experiment, rng.u64(..));
    if let Some(mut load) = load {
        load.measured = true;
        seen.load = watch(Cpu::new(vec![load], experiment.duration), experiment, 1).jobs;
        seen.load.retain(|job| job.finish_ns <= as_ns(experiment.duration));
    }
    // What ran is told before what is said of it is bent.
    let supply = seen.supply();
    if !bent.watched {
        seen.jobs.iter_mut().for_each(|job| job.stalled_ns = Some(0));
    }
    (bent.rows)(&mut seen.jobs);
    sample::write_csv(&place.join("jobs.csv"), &seen.jobs).unwrap();
    if !seen.budgets.is_empty() {
        sample::write_csv(&place.join("budget.csv"), &seen.budgets).unwrap();
    }
    let mut record = record(&experiment.name, repetition);
    if !experiment.loads.is_empty() {
        sample::write_csv(&place.join("load-jobs.csv"), &seen.load).unwrap();
    }
    if experiment.workloads()[0].place() == Place::Guest {
        sample::write_csv(&place.join("supply.csv"), &supply).unwrap();
        let length = as_ns(experiment.duration);
        record.facts.vcpu_share = Some(seen.ran(length) as f64 / length as f64);
        record.facts.trace = Some(seen.trace(length));
    }
    record
}

fn is_load(thread: &Thread) -> bool {
    thread.server == Server::Fifo { priority: LOAD_PRIORITY }
}

/// What was seen of a repetition.
#[derive(Default)]
struct Seen {
    experiment: String,
    /// Of the first workload, whose jobs are told.
    vm: Option<String>,
    service: Option<String>,
    jobs: Vec<Job>,
    load: Vec<Job>,
    /// How its budget adapted.
    budgets: Vec<BudgetRow>,
    /// When the vCPU had the CPU; what joins is one.
    runs: Vec<(u64, u64)>,
}

fn watch(mut cpu: Cpu, experiment: &Experiment, seed: u64) -> Seen {
    // The load's jobs are told only of a measured thread.
    for load in cpu.threads.iter_mut().skip(1).filter(|own| is_load(own)) {
        load.measured = true;
    }
    cpu.drain = 10_000_000_000;
    let first = experiment.workloads()[0];
    let mut seen = Seen {
        experiment: experiment.name.clone(),
        vm: first.vm.map(|vm| vm.name.clone()),
        service: first.service.map(|service| service.name.clone()),
        ..Seen::default()
    };
    simulate(&cpu, seed, &mut seen).unwrap();
    let end = as_ns(experiment.duration);
    // The load ends with the workload.
    seen.load.retain(|job| job.finish_ns <= end);
    seen
}

impl Observer for Seen {
    fn done(&mut self, done: &Done) {
        let job = Job {
            experiment: Some(self.experiment.clone()),
            repetition: None,
            task: model::TaskSet::name(done.task),
            job: done.job,
            release_ns: done.release_ns,
            start_ns: done.start_ns,
            finish_ns: done.finish_ns,
            response_ns: done.response_ns(),
            cpu_ns: Some(done.cpu_ns),
            deadline_ns: done.deadline_ns,
            missed: done.response_ns() > done.deadline_ns,
            stalled_ns: Some(done.stalled_ns),
            vm: self.vm.clone(),
            service: self.service.clone(),
        };
        if done.thread == 0 {
            self.jobs.push(job);
        } else {
            self.load.push(Job { vm: None, service: None, ..job });
        }
    }

    fn adapted(&mut self, adapted: &Adapted) {
        if adapted.thread == 0 {
            self.budgets.push(BudgetRow {
                time_ns: adapted.time_ns,
                vm: self.vm.clone().unwrap_or_default(),
                vcpu: 0,
                budget_ns: adapted.budget_ns,
                consumed_ns: adapted.seen.map(|seen| as_ns(seen.consumed)),
                waited_ns: adapted.seen.and_then(|seen| seen.waited).map(as_ns),
                why: adapted.why,
                wish_ns: adapted.wish_ns,
            });
        }
    }

    fn ran(&mut self, thread: usize, from: u64, to: u64) {
        if thread != 0 || from == to {
            return;
        }
        match self.runs.last_mut().filter(|last| last.1 == from) {
            Some(last) => last.1 = to,
            None => self.runs.push((from, to)),
        }
    }
}

impl Seen {
    /// When a job of the guest was unfinished.
    fn busy(&self) -> Vec<(u64, u64)> {
        let mut jobs: Vec<(u64, u64)> =
            self.jobs.iter().map(|job| (job.release_ns, job.finish_ns)).collect();
        jobs.sort_unstable();
        let mut busy: Vec<(u64, u64)> = Vec::new();
        for (release, finish) in jobs {
            match busy.last_mut().filter(|last| release < last.1) {
                Some(last) => last.1 = last.1.max(finish),
                None => busy.push((release, finish)),
            }
        }
        busy
    }

    fn supply(&self) -> Vec<Supply> {
        let busy = self.busy();
        let row = |&(start_ns, end_ns): &(u64, u64)| {
            let own = busy.iter().find(|own| own.0 <= start_ns && start_ns < own.1);
            let first =
                own.filter(|own| !self.runs.iter().any(|run| run.0 >= own.0 && run.0 < start_ns));
            let slept = own.is_some_and(|own| own.1 <= end_ns);
            Supply {
                start_ns: ORIGIN + start_ns,
                end_ns: ORIGIN + end_ns,
                thread: "vcpu0".to_owned(),
                cpu: Some(1),
                woken_ns: first.map(|own| ORIGIN + own.0),
                ended: Some(if slept { Ended::Slept } else { Ended::Runnable }),
                vm: self.vm.clone(),
            }
        };
        self.runs.iter().map(row).collect()
    }

    fn ran(&self, until: u64) -> u64 {
        self.runs.iter().map(|run| run.1.min(until).saturating_sub(run.0)).sum()
    }

    fn trace(&self, length: u64) -> TraceFacts {
        let traced_ns = self.ran(u64::MAX);
        let end = ORIGIN + self.runs.last().map_or(0, |run| run.1) + 1;
        TraceFacts {
            from_ns: 0,
            to_ns: end,
            workload_from_ns: Some(ORIGIN),
            workload_to_ns: Some(end.max(ORIGIN + length)),
            lost_events: 0,
            unpaired: 0,
            threads: vec![ThreadFacts {
                vm: self.vm.clone(),
                thread: "vcpu0".to_owned(),
                tid: 7,
                traced_ns,
                measured_cpu_ns: traced_ns,
                clock_ns: Some(traced_ns),
            }],
        }
    }
}

/// The workload begins so long after the trace.
const ORIGIN: u64 = 1_000_000_000;

/// An ordinary thread beside the guest, which asks for this share of the CPU: what makes an
/// unreserved guest late on a real host.
pub fn neighbour(share: f64) -> Thread {
    let mut thread = Thread::hog(Server::NONE);
    let task = &mut thread.tasks[0];
    (task.period, task.deadline) = (10_000_000, 10_000_000);
    task.execution = Times::Constant((share * 1e7) as u64);
    thread
}

/// Stalls of this length so long apart.
pub fn stalls(gap: Duration, length: Duration) -> Stalls {
    let constant = |own| Times::Constant(as_ns(own));
    Stalls::Drawn { gaps: constant(gap), lengths: constant(length) }
}

/// A guest whose tasks have the CPU to themselves, whatever is promised.
pub fn everything() -> Server {
    Server::Fifo { priority: LOAD_PRIORITY + 10 }
}

/// A task's times multiplied.
pub fn scaled(thread: &mut Thread, factor: f64) {
    for task in &mut thread.tasks {
        task.execution = task.execution.map(|ns| (ns as f64 * factor) as u64);
    }
}

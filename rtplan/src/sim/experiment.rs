//! From a suite's experiment to its CPUs, which are played one by one: nothing moves between them.

use model::{
    Mechanism, Reservation,
    suite::{Emulator, Experiment, Place, ReservationSettings, Service, Vm, Workload as Measured},
};

use super::{
    chance::{Stalls, Times},
    setup::{Control, Cpu, Entry, ORDINARY_WEIGHT, Server, SimError, Thread, Tick},
};
use crate::workload::{Scheduler, Workload};

/// Priorities on the host, as `rtload run` and `rtload load` have them.
pub const HOST_PRIORITY: u32 = 80;
/// The host's load.
pub const LOAD_PRIORITY: u32 = 50;
/// A virtual CPU with a fixed priority: above the load.
pub const GUEST_PRIORITY: u32 = 60;
/// A virtual CPU with a fixed priority below the load.
const LOW_PRIORITY: u32 = 40;

/// What a suite does not say of a task, each where it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskTimes {
    /// From a job's arrival until its thread wakes up: the timer.
    pub delay: Option<Times>,
    /// CPU time from where its thread can turn to it until it starts.
    pub entry: Option<Entry>,
    /// CPU time of a job.
    pub execution: Option<Times>,
}

/// When budgets are looked at in a repetition, counted from a release; chance where absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    /// The sentinel's look, in its millisecond.
    pub look: Option<u64>,
    /// The host's tick.
    pub tick: Option<u64>,
}

/// What a suite does not say of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// By task, as they stand in the suite, one workload after the other.
    pub tasks: Vec<TaskTimes>,
    /// When the machine runs nobody.
    pub stalls: Stalls,
    /// Between two ticks, where budgets are enforced only there; above zero.
    pub tick: Option<u64>,
    /// Lost at each switch.
    pub switch_overhead: u64,
    /// What ordinary threads get under a real-time load.
    pub fair_server: Option<Reservation>,
    /// The stall sentinel is there. Its wake-ups preempt a virtual CPU every millisecond, and the
    /// kernel looks at the budget of a thread that is preempted: where budgets are enforced at the
    /// tick, the sentinel makes them sharper.
    pub sentinel: bool,
    /// Its reservation, where it is known; else the one of a host of usual speed.
    pub sentinel_reservation: Option<Reservation>,
    /// CPU time of one of its looks, where it is known.
    pub look: Option<Times>,
    /// When budgets are looked at.
    pub phases: Phases,
    /// How late a used-up budget comes back.
    pub timer_latency: u64,
}

/// The sentinel's reservation, how often it wakes, and for how long: `orchestrator::sentinel`.
const SENTINEL: &str = "25us/800us";
pub(super) const SENTINEL_INTERVAL_NS: u64 = 1_000_000;
pub(super) const SENTINEL_WORK_NS: u64 = 20_000;

fn sentinel(conditions: &Conditions) -> Thread {
    let usual = || SENTINEL.parse().expect("a valid reservation");
    let server = Server::HardCbs(conditions.sentinel_reservation.unwrap_or_else(usual));
    let mut thread = Thread::hog(server);
    let task = &mut thread.tasks[0];
    task.execution = conditions.look.clone().unwrap_or(Times::Constant(SENTINEL_WORK_NS));
    (task.period, task.deadline) = (SENTINEL_INTERVAL_NS, SENTINEL_INTERVAL_NS);
    thread
}

/// The server that does what a mechanism does.
///
/// # Errors
/// [`SimError::Reclaiming`]: nothing here does what `deadline-reclaim` does.
pub fn server(settings: Option<&ReservationSettings>) -> Result<Server, SimError> {
    let Some(settings) = settings else { return Ok(Server::NONE) };
    let reservation = settings.reservation();
    Ok(match settings.mechanism {
        Mechanism::None => Server::NONE,
        Mechanism::FifoAbove => Server::Fifo { priority: GUEST_PRIORITY },
        Mechanism::FifoBelow => Server::Fifo { priority: LOW_PRIORITY },
        Mechanism::Deadline => Server::HardCbs(reservation),
        Mechanism::DeadlineReclaim => return Err(SimError::Reclaiming),
        Mechanism::TimerServer => Server::TimerServer(reservation),
        Mechanism::RtGroup => Server::RtQuota { reservation, priority: GUEST_PRIORITY },
        Mechanism::CfsQuota => Server::Quota { reservation, weight: ORDINARY_WEIGHT },
        Mechanism::CfsWeight => Server::Share { weight: weight(reservation) },
        Mechanism::CfsQuotaWeight => Server::Quota { reservation, weight: weight(reservation) },
    })
}

/// The law that chooses its budget.
fn control(settings: &ReservationSettings) -> Option<Control> {
    let own = settings.control?;
    let bounds = own.bounds(settings.budget, settings.period).ok()?;
    Some(Control { law: own.law, bounds, weight: own.weight })
}

/// Gets Q/P of the CPU against one rival of ordinary weight.
fn weight(reservation: Reservation) -> u32 {
    let share = reservation.bandwidth().min(0.999);
    (f64::from(ORDINARY_WEIGHT) * share / (1.0 - share)).round().max(1.0) as u32
}

/// What can be played: services of tasks, each alone in its place.
#[must_use]
pub fn played(experiment: &Experiment) -> Vec<Measured<'_>> {
    let workloads = experiment.workloads().into_iter();
    workloads.filter(|workload| !workload.tasks().is_empty()).collect()
}

/// A measured CPU of an experiment.
#[derive(Debug, Clone)]
pub struct OnCpu {
    /// Which; none where the suite names none.
    pub cpu: Option<u32>,
    /// The places in [`played`] of its first threads.
    pub played: Vec<usize>,
    /// What runs there.
    pub set_up: Cpu,
}

/// The CPUs on which something is measured in `experiment`.
///
/// # Errors
/// [`SimError`].
pub fn cpus(experiment: &Experiment, conditions: &Conditions) -> Result<Vec<OnCpu>, SimError> {
    let played = played(experiment);
    let mut cpus: Vec<Option<u32>> = Vec::new();
    for own in played.iter().map(|own| own.cpu()) {
        if !cpus.contains(&own) {
            cpus.push(own);
        }
    }
    let on_cpu = |cpu: Option<u32>| {
        let here = (0..played.len()).filter(|&at| played[at].cpu() == cpu).collect();
        set_up(experiment, cpu, conditions).map(|set_up| OnCpu { cpu, played: here, set_up })
    };
    cpus.into_iter().map(on_cpu).collect()
}

/// One CPU in `experiment`, with every release and job that rtload would wait for. Its first threads are
/// those of [`played`] that are there. Each vCPU of a VM with other services than tasks alone asks for all
/// that it can get.
fn set_up(
    experiment: &Experiment,
    cpu: Option<u32>,
    conditions: &Conditions,
) -> Result<Cpu, SimError> {
    let mut threads = Vec::new();
    let mut times = &conditions.tasks[..];
    for workload in played(experiment) {
        let (own, others) = times.split_at(workload.tasks().len().min(times.len()));
        if workload.cpu() == cpu {
            threads.push(measured(workload, own, conditions)?);
        }
        times = others;
    }
    for vm in experiment.vms.iter().filter(|vm| only_asks(vm)) {
        for vcpu in vm.vcpus.iter().filter(|vcpu| vcpu.cpu == cpu) {
            let mut hog = Thread::hog(server(vcpu.reservation.as_ref())?);
            hog.control = vcpu.reservation.as_ref().and_then(control);
            threads.push(hog);
        }
    }
    for load in experiment.loads.iter().filter(|load| load.cpu == cpu) {
        threads.push(Thread::load(&load.tasks, load.backlog, LOAD_PRIORITY)?);
    }
    threads.extend(conditions.sentinel.then(|| sentinel(conditions)));
    let adaptable = adaptable(&threads, experiment, cpu, conditions);
    Ok(Cpu {
        adaptable,
        stalls: conditions.stalls.clone(),
        tick: conditions.tick.map(|period| Tick { period, phase: 0 }),
        switch_overhead: conditions.switch_overhead,
        fair_server: conditions.fair_server,
        drain: 10_000_000_000,
        ..Cpu::new(threads, experiment.duration)
    })
}

/// The share of a CPU that the kernel admits as long as nobody changes it (`sched_rt_runtime_us`).
const LIMIT: f64 = 0.95;

/// What budgets that adapt have together: as [`LIMIT`] admits beside the fair server and all other
/// reservations. The emulators' are counted, though their threads are not played.
fn adaptable(
    threads: &[Thread],
    experiment: &Experiment,
    cpu: Option<u32>,
    conditions: &Conditions,
) -> f64 {
    let reserved = |own: &Thread| match own.server {
        Server::HardCbs(own) | Server::SoftCbs(own) | Server::TimerServer(own) => own.bandwidth(),
        _ => 0.0,
    };
    let fixed: f64 = threads.iter().filter(|own| own.control.is_none()).map(reserved).sum();
    let there = |vm: &&Vm| vm.vcpus.first().is_some_and(|vcpu| vcpu.cpu == cpu);
    let emulators = experiment.vms.iter().filter(there).map(|vm| match vm.emulator {
        Emulator::Reserved(own) => own.budget.as_secs_f64() / own.period.as_secs_f64(),
        Emulator::Place(_) => 0.0,
    });
    let fair = conditions.fair_server.map_or(0.0, Reservation::bandwidth);
    LIMIT - fair - fixed - emulators.sum::<f64>()
}

/// Whether a VM has services, and none of tasks.
fn only_asks(vm: &Vm) -> bool {
    let without = |service: &Service| service.tasks().is_empty();
    !vm.services.is_empty() && vm.services.iter().all(without)
}

fn measured(
    workload: Measured,
    times: &[TaskTimes],
    conditions: &Conditions,
) -> Result<Thread, SimError> {
    let server = match workload.place() {
        Place::Host => Server::Fifo { priority: HOST_PRIORITY },
        Place::Guest => server(workload.reservation())?,
    };
    let tasks = Workload::of(workload.tasks())?;
    let mut measured = Thread::new(server, &tasks, Scheduler::RateMonotonic)?;
    measured.timer_latency = conditions.timer_latency;
    measured.control = workload.reservation().and_then(control);
    measured.tasks.iter_mut().for_each(|task| task.surge = workload.experiment.surge);
    for (task, &name) in measured.tasks.iter_mut().zip(&measured.names) {
        let Some(TaskTimes { delay, entry, execution }) = times.get(name) else {
            continue;
        };
        if let Some(delay) = delay {
            task.delay = delay.clone();
        }
        if let Some(entry) = entry {
            task.entry = entry.clone();
        }
        if let Some(execution) = execution {
            task.execution = execution.clone();
        }
    }
    Ok(measured)
}

//! What the analysis calls schedulable misses no deadline in the simulator, over 10,000 random
//! sets; and servers deliver what they may, and no more.

use fastrand::Rng;
use model::{Reservation, Task};
use proptest::prelude::*;
use rtplan::{
    Costs, Scheduler, Supply, TaskSpec, Workload, schedulable,
    sim::{Cpu, Done, Observer, Server, Stalls, Thread, Tick, Times, simulate},
};

use crate::support::{ns, reservation, uunifast};

const SETS: u64 = 10_000;

/// Periods of 20 to 400 ns, a third with shorter deadlines; multiples of `grid`.
fn tasks(rng: &mut Rng, total: f64, grid: u64) -> Workload {
    let count = rng.usize(1..=5);
    let shares = uunifast(rng, count, total);
    let spec = |share: f64| {
        let period = (rng.u64(20..=400) / grid).max(1) * grid;
        let execution = ((share * period as f64) as u64).clamp(1, period);
        let constrained = rng.u64(0..3) == 0;
        let deadline = if constrained { rng.u64(execution..=period) } else { period };
        TaskSpec::from(Task::new(ns(execution), ns(period), ns(deadline)).unwrap())
    };
    Workload::new(shares.into_iter().map(spec).collect()).unwrap()
}

/// What may happen beside a virtual machine, and what is promised it then.
#[derive(Debug, Clone, Copy)]
enum Circumstance {
    /// The CPU to itself.
    Alone,
    /// A hard server above a load.
    Undelayed,
    /// The same, enforced by a tick.
    Ticking,
    /// Releases together with the server's periods.
    Aligned,
    /// A periodic server, aligned although no period is a multiple of the server's.
    Drifting,
    /// Other servers with the rest of the CPU.
    Crowded,
}

const CIRCUMSTANCES: [Circumstance; 6] = [
    Circumstance::Alone,
    Circumstance::Undelayed,
    Circumstance::Ticking,
    Circumstance::Aligned,
    Circumstance::Drifting,
    Circumstance::Crowded,
];

fn own_server(rng: &mut Rng) -> Reservation {
    let period = rng.u64(5..=60);
    reservation(rng.u64(1 + period / 2..=period), period)
}

/// A supply and a CPU that gives it.
fn circumstances(
    kind: Circumstance,
    rng: &mut Rng,
    scheduler: Scheduler,
) -> (Workload, Supply, Cpu) {
    let own = own_server(rng);
    let (q, p) = (own.budget().as_nanos() as u64, own.period().as_nanos() as u64);
    let total = own.bandwidth() * (0.3 + 0.7 * rng.f64());
    let grid = if matches!(kind, Circumstance::Aligned) { p } else { 1 };
    let workload = tasks(rng, total, grid);
    let thread = |server| Thread::new(server, &workload, scheduler).unwrap();
    let load = Thread::hog(Server::Fifo { priority: 50 });
    let (supply, threads) = match kind {
        Circumstance::Alone => (Supply::dedicated(), vec![thread(Server::Fifo { priority: 80 })]),
        Circumstance::Undelayed | Circumstance::Ticking => {
            (Supply::one_gap(own), vec![thread(Server::HardCbs(own)), load])
        }
        Circumstance::Aligned => (Supply::aligned(own), vec![thread(Server::HardCbs(own)), load]),
        Circumstance::Drifting => (Supply::aligned(own), vec![thread(Server::Periodic(own)), load]),
        Circumstance::Crowded => {
            let mut threads = vec![thread(Server::HardCbs(own)), load];
            // One with the rest of the CPU, at another pace.
            let period = rng.u64(5..=80);
            let budget = (p - q) * period / p;
            if budget > 0 {
                threads.push(Thread::hog(Server::HardCbs(reservation(budget, period))));
            }
            (Supply::two_gap(own), threads)
        }
    };
    let mut cpu = Cpu { drain: 1000, ..Cpu::new(threads, ns(6_000)) };
    let vm = &mut cpu.threads[0];
    let together = matches!(kind, Circumstance::Aligned | Circumstance::Drifting) || rng.bool();
    for task in &mut vm.tasks {
        if !together {
            task.offset = rng.u64(0..task.period);
        }
        // Less work never hurts (Ha and Liu 1994: preemptive, independent tasks).
        if rng.u64(0..3) == 0 {
            let most = task.execution.greatest();
            task.execution = Times::Uniform(most.div_ceil(2), most);
        }
    }
    if matches!(kind, Circumstance::Ticking) {
        let period = rng.u64(1..=12);
        cpu.tick = Some(Tick { period, phase: rng.u64(0..period) });
        let costs = Costs { tick: ns(period), ..Costs::default() };
        return (workload, supply.with_costs(costs), cpu);
    }
    (workload, supply, cpu)
}

#[test]
fn no_schedulable_set_misses_a_deadline() {
    let mut schedulables = [0; CIRCUMSTANCES.len()];
    for seed in 0..SETS {
        let kind = seed as usize % CIRCUMSTANCES.len();
        for scheduler in [Scheduler::RateMonotonic, Scheduler::DeadlineMonotonic, Scheduler::Edf] {
            let mut rng = Rng::with_seed(seed);
            let (workload, supply, cpu) = circumstances(CIRCUMSTANCES[kind], &mut rng, scheduler);
            if !schedulable(&workload, &supply, scheduler).unwrap() {
                continue;
            }
            schedulables[kind] += 1;
            let mut jobs = 0_u32;
            let mut see = |done: &Done| {
                jobs += 1;
                assert!(
                    done.response_ns() <= done.deadline_ns,
                    "seed {seed}, {:?}, {scheduler:?}: {done:?} of {workload:?} on {supply:?}",
                    CIRCUMSTANCES[kind]
                );
            };
            let outcome = simulate(&cpu, seed, &mut see).unwrap();
            let left: u64 = outcome.threads[0].tasks.iter().map(|(_, own)| own.unfinished).sum();
            assert!(jobs > 10 && left == 0, "seed {seed}: {jobs} jobs, {left} left");
        }
    }
    // A test that finds nothing to test would pass, too.
    assert!(schedulables.iter().all(|count| *count > 500), "{schedulables:?}");
}

/// When each thread ran.
struct Ran(Vec<Vec<(u64, u64)>>);

impl Observer for Ran {
    fn done(&mut self, _: &Done) {}
    fn ran(&mut self, thread: usize, from: u64, to: u64) {
        self.0[thread].push((from, to));
    }
}

fn within(ran: &[(u64, u64)], from: u64, to: u64) -> u64 {
    ran.iter().map(|&(a, b)| b.min(to).saturating_sub(a.max(from))).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn nobody_runs_twice_at_once_and_no_work_is_lost(
        seed in any::<u64>(), kind in 0..CIRCUMSTANCES.len(), stalled in any::<bool>(),
    ) {
        let mut rng = Rng::with_seed(seed);
        let (_, _, mut cpu) = circumstances(CIRCUMSTANCES[kind], &mut rng, Scheduler::Edf);
        let stalls = [(100, 30), (500, 7), (2000, 200)];
        if stalled {
            cpu.stalls = Stalls::At(stalls.into());
        }
        let mut ran = Ran(vec![Vec::new(); cpu.threads.len()]);
        let outcome = simulate(&cpu, seed, &mut ran).unwrap();
        let mut all: Vec<(u64, u64)> = ran.0.concat();
        all.sort_unstable();
        prop_assert!(all.windows(2).all(|pair| pair[0].1 <= pair[1].0), "one at a time");
        let busy: u64 = all.iter().map(|(from, to)| to - from).sum();
        prop_assert!(busy <= outcome.end_ns);
        for (thread, own) in outcome.threads.iter().zip(&ran.0) {
            prop_assert_eq!(thread.ran_ns, own.iter().map(|(from, to)| to - from).sum::<u64>());
        }
        let machine_stood = |&(from, to): &(u64, u64)| {
            stalled && stalls.iter().any(|&(start, length)| from < start + length && start < to)
        };
        prop_assert!(!all.iter().any(machine_stood));
        // A fixed-priority hog takes whatever is left.
        if cpu.threads.len() > 1 {
            let lost: u64 = if stalled { stalls.iter().map(|stall| stall.1).sum() } else { 0 };
            prop_assert_eq!(busy + lost.min(outcome.end_ns), outcome.end_ns);
        }
    }

    /// Hard servers give at most Q in P from one replenishment to the next, and a tick more where
    /// budgets are enforced there, two where a tick can exceed a budget.
    #[test]
    fn hard_servers_give_no_more_than_promised(seed in any::<u64>(), tick in 0..6_u64) {
        let mut rng = Rng::with_seed(seed);
        let own = own_server(&mut rng);
        let (q, p) = (own.budget().as_nanos() as u64, own.period().as_nanos() as u64);
        let others = Thread::hog(Server::Fifo { priority: 50 });
        let mut cpu = Cpu::new(vec![Thread::hog(Server::HardCbs(own)), others], ns(3_000));
        cpu.tick = (tick > 0).then_some(Tick { period: tick.max(1), phase: 0 });
        let mut ran = Ran(vec![Vec::new(); 2]);
        simulate(&cpu, seed, &mut ran).unwrap();
        for periods in [1, 2, 5, 20] {
            for start in (0..1_000).step_by(7) {
                let got = within(&ran.0[0], start, start + periods * p);
                prop_assert!(got <= periods * q + 2 * tick, "{got} in {periods} periods of ({q}, {p})");
            }
        }
    }
}

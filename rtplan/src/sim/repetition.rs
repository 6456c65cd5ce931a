//! A repetition of a simulated suite: what chance decides, and what it came to.

use model::{
    manifest::{Facts, VmFacts},
    sample::Stall,
    suite::{Experiment, Workload},
};

use super::{
    chance::{StallSource, Stalls, generator},
    experiment::{self, Phases},
    setup::{Cpu, Tick},
};

/// What became of a workload that was played.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Share {
    /// Of its CPU.
    pub of_cpu: f64,
    /// Jobs that were released and not finished.
    pub unfinished: u64,
}

/// What a manifest says of it.
pub(super) fn facts(shares: &[Share], experiment: &Experiment, notes: &[String]) -> Facts {
    let unfinished: u64 = shares.iter().map(|own| own.unfinished).sum();
    let mut warnings = notes.to_vec();
    if unfinished > 0 {
        warnings.push(format!(
            "{unfinished} jobs were released but not finished within 10s after the last release; \
             they have no row"
        ));
    }
    let of_vm = |(own, share): (&Workload, &Share)| {
        let vm = own.vm?.name.clone();
        Some(VmFacts { vm, vcpu_share: Some(share.of_cpu), ..VmFacts::default() })
    };
    let played = experiment::played(experiment);
    let mut vms: Vec<VmFacts> = played.iter().zip(shares).filter_map(of_vm).collect();
    if vms.len() < 2 {
        vms.clear();
    }
    Facts { vcpu_share: shares.first().map(|own| own.of_cpu), warnings, vms, ..Facts::default() }
}

/// Each repetition of each experiment has its own; the order and number of others do not matter.
pub(super) fn seed_of(seed: u64, experiment: &str, repetition: u32) -> u64 {
    // FNV-1a.
    let hash = experiment.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    generator(seed ^ hash, repetition.into()).u64(..)
}

/// Nothing that happens by chance on one CPU of a repetition tells of another.
pub(super) fn seed_on(seed: u64, cpu: usize) -> u64 {
    seed ^ (cpu as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// When the first tick falls is chance, and so is the first wake-up of what is neither measured nor
/// load, where `known` does not tell it.
pub(super) fn with_phases(cpu: &Cpu, seed: u64, known: Phases) -> Cpu {
    let mut rng = generator(seed, u64::MAX - 2);
    let mut threads = cpu.threads.clone();
    for thread in threads.iter_mut().filter(|own| !own.measured && own.server.is_deadline()) {
        for task in &mut thread.tasks {
            task.offset = known.look.unwrap_or_else(|| rng.u64(..task.period));
        }
    }
    let chance = |tick: Tick| generator(seed, u64::MAX - 1).u64(..tick.period);
    let tick =
        cpu.tick.map(|tick| Tick { phase: known.tick.unwrap_or_else(|| chance(tick)), ..tick });
    Cpu { tick, threads, ..cpu.clone() }
}

/// The stalls that the simulation met on `cpu`.
pub(super) fn stalls_until(stalls: &Stalls, cpu: Option<u32>, seed: u64, end: u64) -> Vec<Stall> {
    let mut source = StallSource::of(stalls, seed);
    let mut met = Vec::new();
    let mut from = 0;
    loop {
        let (start_ns, stop) = source.after(from);
        if start_ns >= end {
            return met;
        }
        met.push(Stall { start_ns, length_ns: stop.min(end) - start_ns, cpu });
        from = stop;
    }
}

//! Everything that is measured, in turn.

use std::{
    collections::BTreeMap,
    io,
    thread::{self, Scope},
    time::Duration,
};

use kernel::{
    clock::{monotonic_ns, sleep_until, thread_cpu_ns},
    memory::fault_in,
    procfs::Proc,
};
use model::{
    costs::{Component, Cost},
    duration::as_ns,
};
use nix::unistd::getppid;

use super::{
    BATCH,
    batches::Probe,
    loops::{self, BITS, CHAINS},
    memory::{LOADS, Ring},
    start::Trivial,
    streams::{ACCESSES, BRANCHES, Buffers, VECTOR_OPERATIONS},
    switch::Partner,
};
use crate::{Error, traffic::available, warning::Warning};

/// Fewer batches have no percentiles to speak of.
const LEAST_BATCHES: u64 = 20;

/// How long a sleep of the timer's probe is meant to last.
const SLEEP_NS: u64 = 50_000;

/// Pages of a mapping whose first touches are measured: 1 MiB.
const PAGES: u64 = 256;

/// What was measured.
pub struct Taken {
    /// By component.
    pub costs: BTreeMap<Component, Option<Cost>>,
    /// An iteration of an empty loop.
    pub loop_ns: Option<f64>,
    /// A reading of the clock.
    pub clock_read_ns: Option<f64>,
    /// What could not be measured, and why.
    pub warnings: Vec<Warning>,
}

/// Measures everything for about `length`, a batch of each in turn.
pub fn take(length: Duration, keep_going: &dyn Fn() -> bool) -> Result<Taken, Error> {
    let words = loops::bits();
    thread::scope(|scope| {
        let mut warnings = Vec::new();
        let mut probes = Vec::new();
        for component in Component::ALL {
            match probe(component, &words, scope)? {
                Ok(probe) => probes.push((Some(component), probe)),
                Err(why) => warnings.push(why),
            }
        }
        probes.push((None, Probe::timed(1, loops::empty)));
        probes.push((None, Probe::timed(1, loops::clock_reads)));
        let batches = as_ns(length) / (as_ns(BATCH) * probes.len() as u64);
        measure(&mut probes, batches.max(LEAST_BATCHES), keep_going)?;
        let own = |at: usize| Some(probes[probes.len() - at].1.cost(None)?.per_operation_ns);
        let (loop_ns, clock_read_ns) = (own(2), own(1));
        let mut costs: BTreeMap<_, _> = Component::ALL.map(|component| (component, None)).into();
        for (component, probe) in &probes {
            let Some(component) = component else { continue };
            let cost = probe.cost(component.size_bytes());
            if cost.is_none() {
                warnings.push(Warning::NothingMeasured { component: *component });
            }
            costs.insert(*component, cost);
        }
        Ok(Taken { costs, loop_ns, clock_read_ns, warnings })
    })
}

fn measure(
    probes: &mut [(Option<Component>, Probe)],
    batches: u64,
    keep_going: &dyn Fn() -> bool,
) -> Result<(), Error> {
    for (_, probe) in probes.iter_mut() {
        probe.size(BATCH).map_err(failed)?;
        stop_unless(keep_going())?;
    }
    for _ in 0..batches {
        for (_, probe) in probes.iter_mut() {
            probe.add().map_err(failed)?;
        }
        stop_unless(keep_going())?;
    }
    Ok(())
}

fn stop_unless(goes_on: bool) -> Result<(), Error> {
    if goes_on { Ok(()) } else { Err(Error::Interrupted) }
}

fn failed(error: io::Error) -> Error {
    Error::system("cannot measure")(error)
}

/// A warning where this host has not what it takes.
fn probe<'scope>(
    component: Component,
    words: &'scope [u64],
    scope: &'scope Scope<'scope, '_>,
) -> Result<Result<Probe<'scope>, Warning>, Error> {
    Ok(Ok(match component {
        Component::IntegerLatency => Probe::timed(1, loops::latency),
        Component::IntegerThroughput => Probe::timed(CHAINS, loops::throughput),
        Component::FloatingPoint => Probe::timed(1, loops::floating_point),
        Component::Vector => {
            let mut buffers = Buffers::new();
            Probe::timed(VECTOR_OPERATIONS, move |units| buffers.vectors(units))
        }
        Component::Branches => Probe::timed(BITS, move |units| loops::branches(units, words)),
        Component::BranchThroughput => {
            let buffers = Buffers::new();
            Probe::timed(BRANCHES, move |units| buffers.branches(units))
        }
        Component::LoadThroughput => {
            let buffers = Buffers::new();
            Probe::timed(ACCESSES, move |units| buffers.loads(units))
        }
        Component::StoreThroughput => {
            let mut buffers = Buffers::new();
            Probe::timed(ACCESSES, move |units| buffers.stores(units))
        }
        Component::MemoryL1 | Component::MemoryL2 | Component::MemoryL3 | Component::MemoryDram => {
            let bytes = component.size_bytes().expect("memory has a size");
            // Half of what is there stays.
            if available(&Proc::default()).is_some_and(|there| there / 2 < bytes) {
                return Ok(Err(Warning::NoRoomFor { component }));
            }
            let Some(mut ring) = Ring::new(bytes) else {
                return Ok(Err(Warning::NoRoomFor { component }));
            };
            Probe::timed(LOADS, move |units| ring.walk(units))
        }
        Component::SystemCall => Probe::timed(1, |units| {
            for _ in 0..units {
                std::hint::black_box(getppid());
            }
        }),
        Component::PageFault => Probe::new(PAGES, faults),
        Component::ProcessStart => {
            match Trivial::new().and_then(|trivial| trivial.start(1).map(|_time| trivial)) {
                Ok(trivial) => Probe::new(1, move |times| trivial.start(times)),
                Err(why) => return Ok(Err(Warning::NoStart { why: why.to_string() })),
            }
        }
        Component::ContextSwitch => {
            let mut partner = Partner::start(scope).map_err(failed)?;
            Probe::new(2, move |rounds| partner.switch(rounds))
        }
        Component::Timer => Probe::new(1, sleeps),
    }))
}

fn faults(units: u64) -> io::Result<u64> {
    let begin = thread_cpu_ns();
    for _ in 0..units {
        fault_in(PAGES as usize)?;
    }
    Ok(thread_cpu_ns() - begin)
}

fn sleeps(units: u64) -> io::Result<u64> {
    let begin = thread_cpu_ns();
    for _ in 0..units {
        sleep_until(monotonic_ns() + SLEEP_NS)?;
    }
    Ok(thread_cpu_ns() - begin)
}

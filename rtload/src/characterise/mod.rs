//! What a host's elementary operations cost: a vector by which execution times travel.
//!
//! Each component is measured in batches of [`BATCH`], in CPU time of the thread, all components in
//! turn: what drifts during the measurement meets every component alike. A batch is as long as a
//! short job, so that what the machine takes behind the kernel's back (ticks, interrupts) counts as it
//! will in jobs. The median of the batches is the cost, and their 10th and 90th percentile the
//! interval: a machine that stalls spoils single batches, which move neither (`docs/method.md`).

mod batches;
mod host;
mod loops;
mod memory;
mod probes;
mod start;
mod streams;
mod switch;

use std::{thread, time::Duration};

use kernel::{
    affinity::{self, SELF},
    memory::touch_stack,
    sched::{self, Policy},
};
use model::{
    Exit,
    costs::{CostVector, SCHEMA_VERSION},
    duration::as_ns,
    outfile::{self, OutFile},
};

use crate::{Error, options::CharacteriseArgs, output, plan, signals::Signals, warning::Warning};

/// How long a batch takes, roughly.
pub const BATCH: Duration = Duration::from_millis(10);

/// How long a measurement takes, unless told otherwise.
pub const LENGTH: Duration = Duration::from_secs(7);

/// The priority while measuring, where the kernel grants it.
const PRIORITY: u8 = 80;

/// `rtload characterise`.
///
/// # Errors
/// [`Error::Usage`] before anything is measured, then those of [`measure`] and of the file.
pub fn command(args: &CharacteriseArgs) -> Result<Exit, Error> {
    plan::above_zero("--for", args.length)?;
    let cpu = plan::choose_cpu(args.cpu)?;
    let file = output::open("--out", args.out.as_deref())?;
    outfile::distinct(&file.iter().map(|file| ("--out", file)).collect::<Vec<_>>())
        .map_err(Error::Usage)?;
    let signals = Signals::block()?;
    let (vector, warnings) = measure(cpu, args.length, &|| !signals.pending())?;
    let saved = file.map_or(Ok(()), |file| save(file, &vector));
    output::print_costs(&vector, &warnings, args.summary)?;
    saved.map(|()| Exit::Done)
}

fn save(file: OutFile, vector: &CostVector) -> Result<(), Error> {
    let what = format!("cannot write the vector to {}", file.path().display());
    file.fill(|file| {
        serde_json::to_writer_pretty(&mut *file, vector)?;
        file.write_all(b"\n")
    })
    .map_err(|source: std::io::Error| Error::File { what, source })
}

/// Measures on `cpu` for about `length`, as long as `keep_going` says so; with what could not be
/// measured.
///
/// # Errors
/// [`Error::Usage`] where `cpu` cannot be used, [`Error::Interrupted`] where `keep_going` said no.
pub fn measure(
    cpu: u32,
    length: Duration,
    keep_going: &(dyn Fn() -> bool + Sync),
) -> Result<(CostVector, Vec<Warning>), Error> {
    let measuring = || -> Result<_, Error> {
        affinity::set(SELF, &[cpu]).map_err(|error| Error::pin(&format!("--cpu {cpu}"), &error))?;
        let granted = sched::set(SELF, Policy::Fifo { priority: PRIORITY }).is_ok();
        touch_stack();
        let measured_utc = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let taken = probes::take(length, keep_going)?;
        let vector = CostVector {
            schema_version: SCHEMA_VERSION,
            measured_utc,
            host: host::facts(cpu),
            cpu,
            policy: if granted { "fifo" } else { "other" }.to_owned(),
            loop_ns: taken.loop_ns,
            clock_read_ns: taken.clock_read_ns,
            batch_ns: as_ns(BATCH),
            costs: taken.costs,
        };
        Ok((vector, taken.warnings))
    };
    thread::scope(|scope| {
        let measuring = scope.spawn(measuring);
        measuring.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_that_is_stopped_is_none() {
        let stopped = measure(plan::choose_cpu(None).unwrap(), LENGTH, &|| false);
        assert!(matches!(stopped, Err(Error::Interrupted)));
    }
}

//! `reports network`: who used CPU time for a request, and who pays, as a table.

use model::suite::Network;

use super::{Account, Part, Payer, Served};
use crate::{
    folder::Results,
    grid::{Format, Grid},
    series::{SERVICE, Selection},
    units::{UNKNOWN, ms_or_unknown, short},
};

/// Over which network guests are reached.
fn network(results: &Results) -> String {
    match &results.manifest.suite.guest.network {
        Network::User(_) => "user".to_owned(),
        Network::Tap(own) => format!("tap {}", own.tap),
    }
}

/// A row for each service; CPU time for each request.
#[must_use]
pub fn grid(results: &Results, served: &[Served]) -> Grid {
    let mut header = vec!["experiment", "network", "emulator", "requests", "per s", "reply"];
    header.extend(Part::ALL.map(Part::name));
    header.extend(["sum", "softirq in vCPUs"]);
    header.extend(Payer::ALL.map(Payer::name));
    header.extend(["p50", "p99"]);
    let rows = served.iter().map(|own| row(results, own)).collect();
    let mut notes = Vec::new();
    if !served.is_empty() {
        notes.push(
            "CPU time of the host for each good answer, between the first request and the last \
             answer, from the trace: all repetitions together. Softirq: of the network, in nobody's \
             time of the VM's threads, from all traffic of the host; the clients' own time is not \
             counted. Reserved: within reservations of the VM's vCPUs or main loop. Measured CPU: \
             there, outside of any reservation. p50 and p99 in milliseconds."
                .to_owned(),
        );
    }
    if served.iter().any(|own| own.accounts.iter().any(|(_, own)| !own.softirqs)) {
        notes.push("Where softirqs were not recorded, their columns are empty.".to_owned());
    }
    Grid { header: header.into_iter().map(str::to_owned).collect(), rows, texts: 3, notes }
}

fn row(results: &Results, own: &Served) -> Vec<String> {
    let all = own.together();
    let each =
        |ns: Option<u64>| ns.and_then(|ns| all.each(ns)).map_or_else(|| UNKNOWN.to_owned(), some);
    let series = own.case.task(SERVICE);
    let p = |p| {
        ms_or_unknown(series.and_then(|own| own.percentile(Selection::All, p)).map(|ns| ns as f64))
    };
    let mut row = vec![
        own.case.name().to_owned(),
        network(results),
        own.emulator(),
        all.answered.to_string(),
        all.rate_per_s().map_or_else(|| UNKNOWN.to_owned(), |rate| format!("{rate:.1}")),
        all.reply_bytes().map_or_else(|| UNKNOWN.to_owned(), size),
    ];
    row.extend(Part::ALL.map(|part| each(all.part_ns(part))));
    row.extend([each(Some(all.total_ns())), each(all.within_ns(Some(Part::Vcpu)))]);
    row.extend(Payer::ALL.map(|payer| each(Some(all.payer_ns(payer)))));
    row.extend([p(50.0), p(99.0)]);
    row
}

/// Nothing is a bare zero.
fn some(ns: f64) -> String {
    if ns > 0.0 { short(ns) } else { "0".to_owned() }
}

/// Bytes as text, in powers of 1000: `950 B`, `12.0 kB`.
fn size(bytes: f64) -> String {
    match bytes {
        few if few < 1e3 => format!("{few:.0} B"),
        some if some < 1e6 => format!("{:.1} kB", some / 1e3),
        many => format!("{:.2} MB", many / 1e6),
    }
}

/// For scripts: a row for each repetition, sums in nanoseconds.
#[must_use]
pub fn csv(results: &Results, served: &[Served]) -> String {
    let header = [
        "experiment",
        "attempt",
        "network",
        "emulator",
        "answered",
        "bytes",
        "window_ns",
        "vcpus_ns",
        "main_loop_ns",
        "other_threads_ns",
        "vhost_ns",
        "softirq_ns",
        "softirq_in_vcpus_ns",
        "softirq_in_vm_ns",
        "reserved_ns",
        "measured_cpu_ns",
        "other_cpus_ns",
    ];
    let number = |ns: Option<u64>| ns.map_or_else(|| UNKNOWN.to_owned(), |ns| ns.to_string());
    let one = |own: &Served, (attempt, account): &(u32, Account)| {
        let mut row =
            vec![own.case.name().to_owned(), attempt.to_string(), network(results), own.emulator()];
        let counts = [account.answered, account.bytes, account.window_ns];
        row.extend(counts.map(|n| n.to_string()));
        row.extend(Part::ALL.map(|part| number(account.part_ns(part))));
        row.extend([Some(Part::Vcpu), None].map(|part| number(account.within_ns(part))));
        row.extend(Payer::ALL.map(|payer| account.payer_ns(payer).to_string()));
        row
    };
    let rows = served.iter().flat_map(|own| own.accounts.iter().map(move |each| one(own, each)));
    Grid::plain(&header, 4, rows.collect()).write(Format::Csv)
}

/// As text or in a document's table format, or for scripts; none where nothing can be accounted.
#[must_use]
pub fn write(results: &Results, format: Format) -> Option<String> {
    let served = super::all(results);
    if served.is_empty() {
        return None;
    }
    Some(match format {
        Format::Csv => csv(results, &served),
        _ => grid(results, &served).write(format),
    })
}

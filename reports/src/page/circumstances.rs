//! How quiet the host was, how constant the work, and what the host is.

use model::{manifest::HostFacts, stats::Summary};

use crate::{
    folder::{Case, Results},
    grid::Grid,
    series::Selection,
    units::{UNKNOWN, count, ms, percent, signed_percent},
};

/// CPU times of the undisturbed jobs, where nothing but the tasks had the CPU: elsewhere a guest
/// counts the time that was taken from it as its own.
#[must_use]
pub fn execution(results: &Results) -> Grid {
    let mut rows = Vec::new();
    for case in &results.cases {
        if !case.workload().is_free() {
            continue;
        }
        let tasks = case.tasks().iter().enumerate();
        rows.extend(tasks.filter_map(|(at, task)| {
            let series = case.task(&model::TaskSet::name(at))?;
            let asked = task.execution().as_nanos() as f64;
            let selected = series.selected(Selection::Undisturbed);
            let mut cpu: Vec<u64> = selected.filter_map(|job| job.cpu_ns()).collect();
            let summary = Summary::of(&mut cpu)?;
            let error = |ns: u64| signed_percent(ns as f64 / asked - 1.0);
            let mut row = vec![case.name().to_owned(), series.task.clone(), ms(asked)];
            row.extend([summary.min, summary.p50, summary.p99].map(|ns| ms(ns as f64)));
            row.extend([error(summary.p50), error(summary.p99)]);
            Some(row)
        }));
    }
    let header = ["experiment", "task", "asked ms", "min", "p50", "p99", "p50 off", "p99 off"];
    Grid::plain(&header, 2, rows)
}

/// Attempts, failures and stalls of each experiment.
#[must_use]
pub fn noise(results: &Results) -> Grid {
    let row = |case: &Case| {
        let shares: Vec<String> = case
            .counted
            .iter()
            .map(|record| record.stalled_share.map_or_else(|| UNKNOWN.to_owned(), percent))
            .collect();
        vec![
            case.name().to_owned(),
            case.attempts.to_string(),
            case.failed.to_string(),
            case.noisy.to_string(),
            case.counted.len().to_string(),
            if shares.is_empty() { "not measured".to_owned() } else { shares.join(", ") },
        ]
    };
    let header =
        ["experiment", "attempts", "failed", "noisy", "counted", "stalled, of the counted"];
    let mut noise = Grid::plain(&header, 1, results.cases.iter().map(row).collect());
    let settings = &results.manifest.suite.noise;
    noise.notes.push(format!(
        "A repetition is noisy where the measured CPU ran no thread for more than {} of the time; it \
         is tried again up to {}, and the quietest attempt counts.",
        percent(settings.max_stalled),
        count(settings.retries as usize, "time")
    ));
    noise
}

/// The measured CPUs.
#[must_use]
pub fn listed(host: &HostFacts) -> String {
    host.measured().iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// What it means that no CPU was left for everything else, where none was.
#[must_use]
pub fn shared(host: &HostFacts) -> Option<String> {
    host.shared_cpu().map(|cpu| {
        format!(
            "Every CPU was measured: the host, QEMU and the bench ran on CPU {cpu} as well, and at most \
             0.6 of each was reserved or taken by real-time tasks."
        )
    })
}

/// Machine, programs, settings.
#[must_use]
pub fn provenance(results: &Results) -> Grid {
    let (manifest, host) = (&results.manifest, &results.manifest.host);
    let guests_under =
        manifest.accelerator.as_ref().map(|own| (own.name.clone(), own.reason.clone()));
    let known = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    let guests = manifest.accelerator.is_some();
    let mut rows = vec![
        ("processor", known(host.cpu_model.clone())),
        ("CPUs online", host.cpus.to_string()),
        (if host.measured().len() > 1 { "measured CPUs" } else { "measured CPU" }, listed(host)),
        (
            "memory",
            known(host.memory_bytes.map(|b| format!("{:.1} GiB", b as f64 / f64::from(1 << 30)))),
        ),
        ("hypervisor below", host.hypervisor.clone().unwrap_or_else(|| "none seen".to_owned())),
        ("system", known(host.os.clone())),
        ("kernel", host.kernel.clone()),
        ("tick", known(host.tick_hz.map(|hz| format!("{hz} Hz")))),
        ("budgets enforced finer than a tick (HRTICK_DL)", known(host.hrtick_dl.map(yes_no))),
        ("clock source", known(host.clock_source.clone())),
        ("real-time throttling", throttling(results)),
        ("cpuset controller", known(host.cpuset_version.map(|v| format!("cgroup v{v}")))),
        ("measured CPU kept awake", awake(results)),
        ("this project", manifest.versions.bench.clone()),
    ];
    if let Some((name, reason)) = guests_under {
        rows.push(("accelerator", format!("{name}: {reason}")));
    }
    if guests {
        rows.push(("QEMU", known(manifest.versions.qemu.clone())));
        let kernel = manifest.versions.guest_kernel.clone();
        if kernel.is_some() || manifest.disks.is_empty() {
            rows.push(("guest kernel", known(kernel)));
        }
    }
    for disk in &manifest.disks {
        let mib = disk.bytes as f64 / f64::from(1 << 20);
        let (image, format, changed) = (disk.image.display(), &disk.format, &disk.modified_utc);
        rows.push(("disk image", format!("{image} ({format}, {mib:.0} MiB, changed {changed})")));
    }
    rows.push(("seed", manifest.seed.to_string()));
    rows.push(("started", manifest.started_utc.clone()));
    let finished = manifest.finished_utc.clone();
    rows.push(("finished", finished.unwrap_or_else(|| "not yet".to_owned())));
    let cells = rows.into_iter().map(|(what, value)| vec![what.to_owned(), value]).collect();
    Grid::plain(&["", ""], 2, cells)
}

fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

fn throttling(results: &Results) -> String {
    let host = &results.manifest.host;
    match (host.rt_runtime_us, host.rt_period_us) {
        (Some(runtime), _) if runtime < 0 => "off".to_owned(),
        (Some(runtime), Some(period)) => format!("{runtime} of {period} µs"),
        _ => "unknown".to_owned(),
    }
}

fn awake(results: &Results) -> String {
    let keep = &results.manifest.keep_awake;
    let cost = keep.idle_cost.map_or_else(
        || "what leaving idle costs was not measured".to_owned(),
        |cost| match cost {
            cost if cost <= 0.0 => "leaving idle costs nothing here".to_owned(),
            cost => format!("leaving idle costs {}", percent(cost)),
        },
    );
    format!("{} ({}; {cost})", yes_no(keep.on), keep.reason)
}
